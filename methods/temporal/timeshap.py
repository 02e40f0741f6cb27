"""TimeSHAP: Shapley values of steps, features or cells of a sequence, its insignificant past being one player."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.variants import Masked
from ..base import Explainer
from ..surrogate.shapley import KernelShap

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Masks held at once, in bytes.
_MASKS_AT_ONCE = 1 << 26


@register
@dataclass(frozen=True)
class TimeShap(Explainer):
    """Shapley values by kernel regression, of players that are steps, features over time, or cells.

    First the past is pruned: of all beginnings of a sequence whose Shapley value, in a game of two against all that
    follows, is within the tolerance, the longest becomes one player. The others are, by level,

    * ``event``: each later step;
    * ``feature``: each column over all later steps;
    * ``cell``: the cells where the ``top`` later steps and the ``top`` columns cross, by size of their values at the
      other two levels; for each of those steps its other cells; for each of those columns its other cells; all else.

    A player's value is shared equally among its steps or cells, so that the values sum to f(x) − f(x⁰) at every level.
    The feature level gives every later step the same; where a step is one feature only events can be told apart.

    Parameters:
        level: ``"event"``, ``"feature"``, ``"cell"``, or ``"auto"``: cells, or events where a step is one feature.
        samples: coalitions for each regression, as in ``kernel-shap``: when all fit, it is exact.
        tolerance: η as a share of |f(x) − f(x⁰)|; 0 prunes nothing. (The paper's scores are probabilities, and its
            η absolute.)
        top: steps and columns at level ``cell``.
        scale: ``"raw"`` for the score itself, whose values sum to f(x) − f(x⁰), or ``"probability"`` of the class.

    Cost: 2 T forward sequence-equivalents for a sequence of T steps to prune it, if the tolerance is not 0, and
        min(2⌊samples / 2⌋, 2ⁿ) for n players; at level ``cell`` those of the other two levels as well.
    Fails where: kernel-shap does; and where players that stand in for each other hide in the pruned past.
    Source: Bento et al. 2021, arXiv:2012.00073, its pruning algorithm included; the cells that are left over as in
        the timeshap package.
    """

    name: ClassVar[str] = "timeshap"
    group: ClassVar[str] = "temporal"
    stochastic: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Bento et al. 2021"

    level: Literal["auto", "event", "feature", "cell"] = "auto"
    samples: int = 2048
    tolerance: float = 0.025
    top: int = 3
    scale: Literal["raw", "probability"] = "raw"

    def __post_init__(self) -> None:
        if self.samples < 4:  # empty, full and one pair
            raise ParameterError(f"timeshap: samples={self.samples} does not fit (at least 4).")
        if not 0 <= self.tolerance < 1:
            raise ParameterError(f"timeshap: tolerance={self.tolerance} does not fit (0 or more, below 1).")
        if self.top < 1:
            raise ParameterError(f"timeshap: top={self.top} does not fit (at least 1).")
        # as with kernel-shap: values of probabilities sum to another difference, and claim nothing
        object.__setattr__(self, "complete", self.scale == "raw")
        object.__setattr__(self, "granularity", "step" if self.level == "event" else "any")

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if self.level in {"feature", "cell"} and subject.granularity == "step":
            return f"a step has no {self.level}s of its own"
        players = self._most(subject)
        # as many equations as there are values would be fitted whatever they say, so twice as many
        if self.samples < (least := min(4 * players, 1 << players)):
            return f"there are {players} players, which take samples={least} or more"
        return super().applicable(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        later = self._later(subject)
        level = self._level(subject)
        if level == "event":
            return self._shared(subject, seeds, _events(later))
        features = self._shared(subject, seeds, _features(later, subject.shape[2]))
        if level == "feature":
            return features
        events = self._shared(subject, seeds, _events(later))
        # the last step is never pruned, and has each column's share
        last = features[torch.arange(len(subject)), subject.batch.lengths - 1]
        return self._shared(subject, seeds, _crossings(later, events, last, self.top))

    def _level(self, subject: Subject) -> str:
        """The level at which a subject is explained."""
        if self.level != "auto":
            return self.level
        return "event" if subject.granularity == "step" else "cell"

    def _most(self, subject: Subject) -> int:
        """The most players a regression may have: with the pruned past, and what is left over at level ``cell``."""
        steps, columns = int(subject.batch.lengths.max()), subject.batch.inputs.shape[-1]
        level = self._level(subject)
        if level == "event":
            return steps
        if level == "feature":
            return columns + 1
        return max(steps, columns + 1, (min(self.top, steps) + 1) * (min(self.top, columns) + 1) + 1)

    def _later(self, subject: Subject) -> Tensor:
        """bool[B, T]: the steps that are not pruned."""
        valid = subject.batch.valid
        if self.tolerance == 0:
            return valid
        found = valid.clone()
        steps = torch.arange(valid.shape[1])
        for rows in torch.arange(len(subject)).split(max(1, _MASKS_AT_ONCE // (2 * valid.shape[1] ** 2))):
            # nothing, then ever longer beginnings up to the whole; and of each what follows it
            sizes = subject.batch.lengths[rows]
            cuts = torch.cat([torch.arange(size) for size in sizes.tolist()])
            old = steps < cuts[:, None]
            of = rows.repeat_interleave(sizes)
            scores = subject.scores(Masked(torch.cat([old, ~old]), of.repeat(2)), self.scale).double()
            for row, own, rest in zip(
                rows.tolist(), *(half.split(sizes.tolist()) for half in scores.chunk(2)), strict=True
            ):
                span = rest[0] - own[0]
                share = (own - own[0] + rest[0] - rest) / 2
                slight = (share.abs() <= self.tolerance * span.abs())[1:].nonzero()
                found[row, : int(slight[-1]) + 1 if len(slight) else 0] = False
        return found

    def _shared(self, subject: Subject, seeds: list[int], players: Tensor) -> Tensor:
        """Each player's value, shared equally among what it holds.

        Args:
            subject: what is asked.
            seeds: of each sequence's coalitions.
            players: int64[B, T(, D)], who holds each step or cell; what is said of padding is ignored.

        Returns:
            float of the players' shape, 0 on padding.
        """
        regression = KernelShap(samples=self.samples)
        valid = subject.batch.valid if players.dim() == 2 else subject.valid  # [B, T]
        found = torch.zeros(players.shape, dtype=torch.float64)
        each = max(1, _MASKS_AT_ONCE // (regression.coalitions(self._most(subject)) * players[0].numel()))
        for rows in torch.arange(len(subject)).split(each):
            kept, solved = [], []
            for row in rows.tolist():
                names, player, held = players[row][valid[row]].unique(return_inverse=True, return_counts=True)
                masks, solve = regression.design(len(names), seeds[row])
                keep = torch.ones(len(masks), *players.shape[1:], dtype=torch.bool)
                keep[:, valid[row]] = masks[:, player]
                kept.append(keep)
                solved.append((row, solve, player, held))
            of = rows.repeat_interleave(torch.tensor([len(keep) for keep in kept]))
            scores = subject.scores(Masked(torch.cat(kept), of), self.scale).double()
            parts = scores.split([len(keep) for keep in kept])
            for (row, solve, player, held), own in zip(solved, parts, strict=True):
                found[row, valid[row]] = (solve(own) / held)[player]
        return found.to(subject.batch_outputs.dtype)


def _events(later: Tensor) -> Tensor:
    """int64[B, T]: every later step by itself, and −1 the pruned ones together."""
    return torch.where(later, torch.arange(later.shape[1]), -1)


def _features(later: Tensor, columns: int) -> Tensor:
    """int64[B, T, D]: every column of the later steps by itself, and −1 the pruned steps together."""
    return torch.where(later[:, :, None], torch.arange(columns), -1)


def _crossings(later: Tensor, events: Tensor, features: Tensor, top: int) -> Tensor:
    """int64[B, T, D]: the cells where top steps and top columns cross, and what is left over.

    Args:
        later: bool[B, T], the steps that are not pruned.
        events: float[B, T], their values.
        features: float[B, D], the columns' values.
        top: how many of each.
    """
    size = events.abs().masked_fill(~later, -1)
    # 0 for what is not among the top, else its place among them
    step, column = (
        torch.zeros(values.shape, dtype=torch.int64).scatter(
            1, (order := values.argsort(dim=1, descending=True, stable=True)[:, :top]),
            torch.arange(1, order.shape[1] + 1).expand_as(order),
        )
        for values in (size, features.abs())
    )  # fmt: skip
    found = step[:, :, None] * (top + 1) + column[:, None]
    return torch.where(later[:, :, None], found, -1)
