"""Effects of removing single features and random subsets of features.

Neither depends on a ranking or on the method. Effects are computed once for a subject and an intervention, and the
attributions of every method are compared with the same numbers. An effect is Δ = s·(f(x) − f(x without some features)),
where f is the raw explained output and s the sign of evidence. The raw output is used because it is what attributions
decompose; those of signed methods are multiplied by s as well.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...fingerprints import seed_from
from ...methods.perturbation.single_features import OneChanged
from ...tasks.data.masking import feature_shape
from ...tasks.engine.variants import Replaced
from .removing import flat_values, remover_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tasks.data.batch import Batch
    from ..base import Evidence
    from .removing import FeatureRemover

# Bytes of masks that are held at once, and that are cached from one method to the next for each number of features.
_KEPT: Final = 1 << 22
# Variants described at once. The variants of one sequence, which share most of their steps, stay together.
_VARIANTS_AT_ONCE: Final = 1 << 13


@dataclass(frozen=True, eq=False)
class SingleEffects:
    """Effects of removing each feature alone.

    Attributes:
        feature: int64[B, F], the feature of each column.
        valid: bool[B, F], False in columns without a feature.
        effect: float64[B, F], Δ, mean over the draws of the intervention.
        squares: float64[B, F], the mean of Δ² over the draws; None where there is one draw.
    """

    feature: Tensor
    valid: Tensor
    effect: Tensor
    squares: Tensor | None

    @property
    def squared(self) -> Tensor:
        """Mean of Δ² over the draws of the intervention, float64[B, F]."""
        return self.effect.square() if self.squares is None else self.squares


def single_effects(evidence: Evidence, by: str, limit: int) -> SingleEffects:
    """Effects of removing single features, shared by all methods.

    Args:
        evidence: the cell; effects are cached in ``evidence.shared``.
        by: spec of the intervention.
        limit: maximum number of features of a sequence; from longer ones so many are drawn at random.
    """
    remover = remover_for(evidence, by)
    key = ("singles", remover.by.spec, remover.granularity, limit)
    return evidence.shared.get(key, lambda _: _run_single_removals(remover, limit))


def evidence_values(evidence: Evidence, remover: FeatureRemover) -> Tensor:
    """Attributions on the evidence scale, float64[B, N]: s·Φ of signed methods, Φ of others."""
    values = flat_values(evidence.attribution, remover.granularity)
    return values * remover.sign[:, None] if evidence.attribution.signed else values.double()


def _run_single_removals(remover: FeatureRemover, limit: int) -> SingleEffects:
    n = remover.valid.sum(1)
    width = min(limit, int(n.max()))
    columns = feature_columns(remover.valid)
    feature, valid = _sampled_features(n, width, limit), torch.arange(width) < n[:, None]
    feature = feature if columns is None else columns.gather(1, feature)
    cells = 1 if remover.granularity == "step" else remover.subject.batch.inputs.shape[2]
    effect = torch.zeros(valid.shape, dtype=torch.float64)
    squared = torch.zeros_like(effect) if len(remover.views) > 1 else None
    for chunk in _chunks(len(n), width):
        place, column = valid[chunk].nonzero(as_tuple=True)
        of = chunk[place]
        variants = remover.without(OneChanged(of, feature[of, column], cells))
        draws = torch.stack([view.score.double()[of] - view.scores(variants).double() for view in remover.views])
        effect[of, column] = draws.mean(0) * remover.sign[of]
        if squared is not None:
            squared[of, column] = draws.square().mean(0)
    return SingleEffects(feature, valid, effect, squared)


def feature_columns(valid: Tensor) -> Tensor | None:
    """Columns int64[B, N] of the features of each sequence, in order, before those of no feature.

    None where the features of every sequence are its first columns, as they are of one padded input.

    Args:
        valid: bool[B, N].
    """
    absent = (~valid).to(torch.int8)  # signed, because differences are taken
    return absent.argsort(dim=1, stable=True) if bool((absent.diff(dim=1) < 0).any() | absent[:, 0].any()) else None


def _sampled_features(n: Tensor, width: int, limit: int) -> Tensor:
    """Features of sequences of int64[B] features, int64[B, width]; a random ``limit`` of them where there are more."""
    every = torch.arange(width).expand(len(n), width)
    if int(n.max()) <= limit:
        return every
    features = every.clone()
    for row in (n > limit).nonzero().flatten().tolist():
        rng = torch.Generator().manual_seed(seed_from("single features", row))
        features[row] = torch.randperm(int(n[row]), generator=rng)[:limit].sort().values
    return features


def _chunks(count: int, variants_each: int) -> Iterator[Tensor]:
    """Instances int64[C] in groups that have few enough variants to be described at once."""
    yield from torch.arange(count).split(max(1, _VARIANTS_AT_ONCE // variants_each))


@dataclass(frozen=True)
class SubsetSampling:
    """Sampling plan of random subsets; the subsets are the same for all sequences with the same number of features.

    Attributes:
        by: spec of the intervention.
        masks: number of subsets.
        levels: number of subset sizes, from 1 to n − 1 and equally spaced on a logarithmic scale.
        size: a single size of all subsets instead, at most n; 0 to use levels.
    """

    by: str
    masks: int
    levels: int
    size: int = 0

    def sizes(self, n: int) -> Tensor:
        """Number of features in each subset of n features, int64[masks], ascending."""
        if self.size:
            return torch.full((self.masks,), min(self.size, n))
        logs = torch.linspace(0, math.log(max(n - 1, 1)), self.levels, dtype=torch.float64)
        spaced: Tensor = logs.exp().round().long().unique()
        return spaced[torch.arange(self.masks) * len(spaced) // self.masks]

    def subsets(self, n: int, number: Tensor) -> Tensor:
        """Membership of n features in some subsets, bool[C, n].

        Args:
            n: number of features.
            number: int64[C], which of the subsets, from 0.
        """
        if self.masks * n <= _KEPT:
            return _cached_subsets(self, n)[number]
        different, place = number.unique(return_inverse=True)
        return _draw_subsets(self.sizes(n), n, different)[place]

    def chunks(self, n: int) -> Iterator[Tensor]:
        """Numbers of all subsets in order, int64[C] at a time, few enough to hold their masks at once."""
        yield from torch.arange(self.masks).split(max(1, _KEPT // n))


@functools.lru_cache(maxsize=64)
def _cached_subsets(sampling: SubsetSampling, n: int) -> Tensor:
    return _draw_subsets(sampling.sizes(n), n, torch.arange(sampling.masks))


def _draw_subsets(sizes: Tensor, n: int, number: Tensor) -> Tensor:
    """Draw subsets int64[C], bool[C, n]; each depends only on n and its number, so that it can be drawn again alone."""
    masks = torch.zeros(len(number), n, dtype=torch.bool)
    for row, (own, size) in enumerate(zip(number.tolist(), sizes[number].tolist(), strict=True)):
        rng = torch.Generator().manual_seed(seed_from("subset", n, own))
        masks[row, torch.randperm(n, generator=rng)[:size]] = True
    return masks


@dataclass(frozen=True, eq=False)
class WithoutSubsets(Replaced):
    """Variants without the features of random subsets; their masks are only made when they are run.

    Attributes:
        of: int64[V], the instance of each variant, ascending.
        number: int64[V], the subset that each variant lacks.
        n: int64[B], number of features of each sequence.
        sampling: the subsets.
        shape: shape of the features of one sequence, (T,) or (T, D).
        columns: see :func:`feature_columns`.
    """

    of: Tensor
    number: Tensor
    n: Tensor
    sampling: SubsetSampling
    shape: tuple[int, ...]
    columns: Tensor | None = None

    @property
    def instance(self) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.of

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002  # the shape is a field
        """See :class:`xrnnbench.tasks.engine.variants.Removal`."""
        keep = torch.ones(len(chosen), math.prod(self.shape), dtype=torch.bool)
        n = self.n[self.of[chosen]]
        for count in n.unique().tolist():
            rows = (n == count).nonzero().squeeze(1)
            kept = ~self.sampling.subsets(count, self.number[chosen[rows]])
            if self.columns is None:
                keep[rows, :count] = kept
            else:
                keep[rows[:, None], self.columns[self.of[chosen[rows]], :count]] = kept
        return keep.view(-1, *self.shape)

    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Replaced`."""
        different, place = chosen.unique(return_inverse=True)
        return self.kept(different, batch)[place, step]


@dataclass(frozen=True, eq=False)
class SubsetEffects:
    """Effects of removing random subsets, with the attributions to compare them with.

    Attributes:
        sampling: the subsets.
        valid: bool[B, N], the features of each sequence.
        values: float64[B, N], attributions on the evidence scale, see :func:`evidence_values`.
        effect: float64[B, S], Δ of each subset, mean over the draws of the intervention.
    """

    sampling: SubsetSampling
    valid: Tensor
    values: Tensor
    effect: Tensor

    @property
    def attribution_sums(self) -> Tensor:
        """Sum of the attributions over the features of each subset, float64[B, S].

        It is computed on each access: that is cheap, and a stored copy would take as much memory as the effects.
        """
        sums, n = torch.empty_like(self.effect), self.valid.sum(1)
        columns = feature_columns(self.valid)
        ordered = self.values if columns is None else self.values.gather(1, columns)
        for count in n.unique().tolist():
            rows = (n == count).nonzero().squeeze(1)
            for number in self.sampling.chunks(count):
                masks = self.sampling.subsets(count, number).double()
                sums[rows[:, None], number] = ordered[rows, :count] @ masks.T
        return sums

    @property
    def size(self) -> Tensor:
        """Number of features in each subset, int32[B, S]."""
        different, place = self.valid.sum(1).unique(return_inverse=True)
        return torch.stack([self.sampling.sizes(count).int() for count in different.tolist()])[place]


def subset_effects(evidence: Evidence, sampling: SubsetSampling) -> SubsetEffects:
    """Effects of random subsets, shared by all methods, with the attributions of one."""
    remover = remover_for(evidence, sampling.by)
    key = ("subset effects", sampling, remover.granularity)
    effect = evidence.shared.get(key, lambda _: _run_subset_removals(remover, sampling))
    return SubsetEffects(sampling, remover.valid, evidence_values(evidence, remover), effect)


def _run_subset_removals(remover: FeatureRemover, sampling: SubsetSampling) -> Tensor:
    count, n = len(remover.subject), remover.valid.sum(1)
    shape = tuple(feature_shape(remover.subject.batch, remover.granularity))
    effect = torch.empty(count, sampling.masks, dtype=torch.float64)
    columns = feature_columns(remover.valid)
    for chunk in _chunks(count, sampling.masks):
        of = chunk.repeat_interleave(sampling.masks)
        removal = WithoutSubsets(of, torch.arange(sampling.masks).repeat(len(chunk)), n, sampling, shape, columns)
        signed_scores = remover.signed_scores(remover.without(removal))
        effect[chunk] = (remover.unperturbed_scores[of] - signed_scores).view(len(chunk), -1)
    return effect
