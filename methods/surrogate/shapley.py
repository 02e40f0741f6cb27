"""Shapley values of the features of a sequence: exact, by kernel regression, and by random permutations.

A removed feature is replaced by the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Masked
from ..base import Explainer
from .coalitions import pairs_of_coalitions

if TYPE_CHECKING:
    from ...tasks.subject import Scale, Subject

# Limit of the masks held at once, in bytes.
_MASKS_AT_ONCE = 1 << 26
# All coalitions of so many features are a million model rows.
_MOST = 20
# The samples do not determine directions of the regression with less than this share of the largest eigenvalue.
_UNDETERMINED = 1e-10

Design = tuple[Tensor, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class CoalitionExplainer(Explainer):
    """Base class of the Shapley methods, which differ in their coalitions and in how they combine the scores.

    A coalition is a subset of the features of a sequence. It is run as the sequence with every feature outside the
    subset replaced by the reference; v is its score.
    """

    group: ClassVar[str] = "surrogate"
    complete: ClassVar[bool] = True

    def coalitions(self, count: int) -> int:
        """Return the number of coalitions that are run for a sequence of ``count`` features."""
        raise NotImplementedError

    def design(self, count: int, seed: int) -> Design:
        """Return the coalitions of a sequence, and the function from their scores to Shapley values.

        Args:
            count: n, the number of features.
            seed: seed of the sequence's random stream.

        Returns:
            coalitions bool[S, n], True where a feature is kept; and the function from their scores float64[S] to the
            values of the features float64[n].
        """
        raise NotImplementedError

    def _explained(self, subject: Subject, rng: torch.Generator, scale: Scale) -> Tensor:
        """Attribution of the subject's shape.

        Each sequence has its own random stream, so that its values do not depend on the other sequences.
        """
        valid = subject.valid.flatten(1)
        counts = valid.sum(1).tolist()
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        attribution = torch.zeros(valid.shape, dtype=torch.float64)
        rows_at_once = max(1, _MASKS_AT_ONCE // (self.coalitions(max(counts)) * valid.shape[1]))
        for rows in torch.arange(len(subject)).split(rows_at_once):
            designs = [self.design(counts[row], seeds[row]) for row in rows.tolist()]
            values = _values(subject, rows, [masks for masks, _ in designs], scale)
            for row, (_, solve), value in zip(rows.tolist(), designs, values, strict=True):
                attribution[row, valid[row]] = solve(value)
        return attribution.view(subject.shape).to(subject.batch_outputs.dtype)

    def _claim_completeness(self, scale: Scale) -> None:
        """Claim completeness on the raw scale only.

        On the probability scale, the values sum to a difference of probabilities and not to f(x) − f(x⁰).
        """
        object.__setattr__(self, "complete", scale == "raw")


@register
@dataclass(frozen=True)
class ExactShapley(CoalitionExplainer):
    """Shapley values by their definition, over all 2ⁿ coalitions of n features; the other methods approximate them.

    φᵢ = Σ |S|! (n − |S| − 1)! / n! · (v(S + i) − v(S)) over all S without i, where v(S) is the score of the sequence
    with every feature outside S replaced by the reference.

    Parameters:
        most: the most features a sequence may have, up to 20; the method is not applicable to longer ones.
        scale: ``"raw"`` for the score itself, whose values sum to f(x) − f(x⁰), or ``"probability"`` of the class.

    Cost: 2ⁿ forward sequence-equivalents for a sequence of n features.
    Fails where: n is above ``most``; and where a mixture of sequence and reference is unlike the sequences on which the
        model was trained.
    Source: Shapley 1953; Lundberg & Lee 2017, equation 4, with missing features replaced by the reference.
    """

    name: ClassVar[str] = "exact-shapley"
    source: ClassVar[str] = "Shapley 1953"

    most: int = 12
    scale: Literal["raw", "probability"] = "raw"

    def __post_init__(self) -> None:
        if not 1 <= self.most <= _MOST:
            raise ParameterError(f"exact-shapley: most={self.most} does not fit (1 to {_MOST}).")
        self._claim_completeness(self.scale)

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        count, row = _largest(subject)
        if count > self.most:
            return f"sequence {row} has n={count} features, above most={self.most}: 2^n coalitions are too many"
        return super().applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        return self._explained(subject, rng, self.scale)

    def coalitions(self, count: int) -> int:
        """See :meth:`CoalitionExplainer.coalitions`."""
        return 1 << count

    def design(self, count: int, seed: int) -> Design:  # noqa: ARG002  # nothing random
        """See :meth:`CoalitionExplainer.design`."""
        masks = (torch.arange(1 << count)[:, None] >> torch.arange(count)) & 1 == 1

        def solve(values: Tensor) -> Tensor:
            # weight of joining a coalition of size s: 1 / (n · C(n − 1, s)); no feature can join the one of size n
            weight = torch.tensor(
                [*(1 / (count * math.comb(count - 1, size)) for size in range(count)), 0.0], dtype=torch.float64
            )
            size = masks.sum(1, keepdim=True)
            gain = torch.where(masks, weight[(size - 1).clamp_min(0)], -weight[size])
            return gain.T @ (values - values[0])

        return masks, solve


@register
@dataclass(frozen=True)
class KernelShap(CoalitionExplainer):
    """Shapley values as the solution of a weighted least-squares regression of scores on which features are kept.

    The weight of a coalition of size s is (n − 1) / (C(n, s) s (n − s)). Two constraints are built into the equations:
    the empty coalition has the score v(∅), and the values sum to v(N) − v(∅). Coalitions come in pairs with their
    complements. The smallest and the largest sizes are run completely, as long as the budget covers their share; of the
    remaining sizes, pairs are drawn until the budget is used up, each weighted by how often it was drawn. The values
    are exact if the budget covers all 2ⁿ coalitions, and where no more than two features interact. Directions that the
    drawn coalitions leave undetermined are shared equally among the features.

    Parameters:
        samples: coalitions for each sequence, with the empty and the full one; an odd number is rounded down. The
            method is not applicable to sequences of more than samples / 4 features.
        scale: ``"raw"`` for the score itself, whose values sum to f(x) − f(x⁰), or ``"probability"`` of the class.

    Cost: min(2⌊samples / 2⌋, 2ⁿ) forward sequence-equivalents for a sequence of n features.
    Fails where: n is large compared with samples and three or more features interact; and where a mixture of sequence
        and reference is unlike the sequences on which the model was trained.
    Source: Lundberg & Lee 2017, theorem 2; pairs: Covert & Lee 2021, section 4.1; the order of sizes as in the shap
        package, ``KernelExplainer``.
    """

    name: ClassVar[str] = "kernel-shap"
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Lundberg & Lee 2017"

    samples: int = 2048
    scale: Literal["raw", "probability"] = "raw"

    def __post_init__(self) -> None:
        if self.samples < 4:  # empty, full and one pair
            raise ParameterError(f"kernel-shap: samples={self.samples} does not fit (at least 4).")
        self._claim_completeness(self.scale)

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        count, row = _largest(subject)
        # each pair is one equation; with only as many equations as values, any scores would fit: ask for twice as many
        if self.samples < (least := min(4 * count, 1 << count)):
            return f"sequence {row} has n={count} features, which need samples={least} or more"
        return super().applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        return self._explained(subject, rng, self.scale)

    def coalitions(self, count: int) -> int:
        """See :meth:`CoalitionExplainer.coalitions`."""
        return min(2 * (self.samples // 2), 1 << count)

    def design(self, count: int, seed: int) -> Design:
        """See :meth:`CoalitionExplainer.design`."""
        pairs, weights = pairs_of_coalitions(count, self.coalitions(count) // 2 - 1, seed)
        ends = torch.tensor([[False], [True]]).expand(2, count)

        def solve(values: Tensor) -> Tensor:
            empty, full = values[:2]
            share = (full - empty) / count
            of, complement = values[2:].chunk(2) if len(pairs) else (values[2:], values[2:])
            size = pairs.sum(1).double()
            # u = φ − share sums to 0, so it lies in the span of the centred masks
            centred = pairs.double() - size[:, None] / count
            gap = (of - complement + full - empty) / 2 - size * share
            weighted = centred * weights[:, None]
            inverse = torch.linalg.pinv(weighted.T @ centred, rtol=_UNDETERMINED, hermitian=True)
            solved: Tensor = share + inverse @ (weighted.T @ gap)
            return solved

        return torch.cat([ends, pairs, ~pairs]), solve


@register
@dataclass(frozen=True)
class PermutationShapley(CoalitionExplainer):
    """Shapley values by sampling orders (permutations): mean contribution of a feature when features join in order.

    Orders come in pairs, each with its reverse. The contributions along one order telescope, so their sum is
    f(x) − f(x⁰) for any number of orders. The values are exact where no more than two features interact.

    Parameters:
        permutations: number of pairs of orders.
        scale: ``"raw"`` for the score itself, whose values sum to f(x) − f(x⁰), or ``"probability"`` of the class.

    Cost: 2 · permutations · (n − 1) + 2 forward sequence-equivalents for a sequence of n features.
    Fails where: three or more features interact and permutations are few; and where a mixture of sequence and reference
        is unlike the sequences on which the model was trained.
    Source: Castro, Gómez & Tejada 2009, section 3; pairs: Mitchell et al. 2022, section 4.1, and the shap package,
        ``PermutationExplainer``.
    """

    name: ClassVar[str] = "permutation-shapley"
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Castro et al. 2009"

    permutations: int = 10
    scale: Literal["raw", "probability"] = "raw"

    def __post_init__(self) -> None:
        if self.permutations < 1:
            raise ParameterError(f"permutation-shapley: permutations={self.permutations} does not fit (at least 1).")
        self._claim_completeness(self.scale)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        return self._explained(subject, rng, self.scale)

    def coalitions(self, count: int) -> int:
        """See :meth:`CoalitionExplainer.coalitions`."""
        return 2 * self.permutations * (count - 1) + 2

    def design(self, count: int, seed: int) -> Design:
        """See :meth:`CoalitionExplainer.design`."""
        rng = torch.Generator().manual_seed(seed)
        rank = torch.rand(self.permutations, count, generator=rng, dtype=torch.float64).argsort(1)
        rank = torch.cat([rank, count - 1 - rank])
        between = rank[:, None] < torch.arange(1, count)[:, None]
        ends = torch.tensor([[False], [True]]).expand(2, count)

        def solve(values: Tensor) -> Tensor:
            first, last = values[:2].view(2, 1, 1).expand(2, len(rank), 1)
            path = torch.cat([first, values[2:].view(len(rank), count - 1), last], 1)
            return path.diff(dim=1).gather(1, rank).mean(0)

        return torch.cat([ends, between.flatten(0, 1)]), solve


def _largest(subject: Subject) -> tuple[int, int]:
    """Largest number of features of a sequence, and the index of that sequence."""
    counts = subject.valid.flatten(1).sum(1)
    row = int(counts.argmax())
    return int(counts[row]), row


def _values(subject: Subject, rows: Tensor, masks: list[Tensor], scale: Scale) -> list[Tensor]:
    """Scores float64[S] of the coalitions bool[S, n] of each sequence; the sequences are run together."""
    valid = subject.valid.flatten(1)[rows]
    sizes = [len(mask) for mask in masks]
    keep = torch.ones(sum(sizes), valid.shape[1], dtype=torch.bool)
    for part, mask, features in zip(keep.split(sizes), masks, valid, strict=True):
        part[:, features] = mask
    of = rows.repeat_interleave(torch.tensor(sizes))
    scores = subject.scores(Masked(keep.view(-1, *subject.shape[1:]), of), scale)
    return list(scores.double().split(sizes))
