"""Shared probes of faithfulness that no order decides: the effects of removing single features, and random subsets.

Neither depends on the method: they are made once for a subject and a way of removing, and every method's attributions
are compared with the same numbers. An effect is Δ = s·(f(x) − f(x without some features)), f being the raw explained
output and s the sign of evidence, so that attributions, which speak of the raw output, are compared with what they
speak of; those of signed methods are multiplied by s as well.
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
from ...tasks.engine.variants import Replaced
from .removing import flat, removing_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tasks.data.batch import Batch
    from ..base import Evidence
    from .removing import Removing

# Masks that are held at once, and that are kept from one method to the next, in bytes for each number of features.
_KEPT: Final = 1 << 22
# Variants described at once; those of one sequence, which have most in common, stay together.
_VARIANTS_AT_ONCE: Final = 1 << 13


@dataclass(frozen=True, eq=False)
class Singles:
    """The effect of removing each feature alone.

    Attributes:
        feature: int64[B, F], which feature each column is about.
        there: bool[B, F], whether there is one.
        effect: float64[B, F], Δ, mean over the draws of the intervention.
        squares: float64[B, F], the mean of Δ² over the draws; None where there is one draw.
    """

    feature: Tensor
    there: Tensor
    effect: Tensor
    squares: Tensor | None

    @property
    def squared(self) -> Tensor:
        """float64[B, F], Δ², mean over the draws."""
        return self.effect.square() if self.squares is None else self.squares


def singles(evidence: Evidence, by: str, limit: int) -> Singles:
    """The effects of single features; of sequences of more than ``limit``, of so many drawn at random."""
    found = removing_for(evidence, by)
    key = ("singles", found.by.spec, found.granularity, limit)
    return evidence.shared.get(key, lambda _: _singles(found, limit))


def spoken(evidence: Evidence, found: Removing) -> Tensor:
    """float64[B, N]: what a method says of each feature as evidence: s·Φ if it is signed, Φ if not."""
    values = flat(evidence.attribution, found.granularity)
    return values * found.sign[:, None] if evidence.attribution.signed else values.double()


def _singles(found: Removing, limit: int) -> Singles:
    n = found.valid.sum(1)
    width = min(limit, int(n.max()))
    feature, there = _chosen(n, width, limit), torch.arange(width) < n[:, None]
    cells = 1 if found.granularity == "step" else found.subject.batch.inputs.shape[2]
    effect = torch.zeros(there.shape, dtype=torch.float64)
    squared = torch.zeros_like(effect) if len(found.views) > 1 else None
    for chunk in _chunks(len(n), width):
        place, column = there[chunk].nonzero(as_tuple=True)
        of = chunk[place]
        variants = found.without(OneChanged(of, feature[of, column], cells))
        each = torch.stack([view.score.double()[of] - view.scores(variants).double() for view in found.views])
        effect[of, column] = each.mean(0) * found.sign[of]
        if squared is not None:
            squared[of, column] = each.square().mean(0)
    return Singles(feature, there, effect, squared)


def _chosen(n: Tensor, width: int, limit: int) -> Tensor:
    """int64[B, width]: the features of sequences of n, or so many of them drawn at random."""
    every = torch.arange(width).expand(len(n), width)
    if int(n.max()) <= limit:
        return every
    found = every.clone()
    for row in (n > limit).nonzero().flatten().tolist():
        rng = torch.Generator().manual_seed(seed_from("single features", row))
        found[row] = torch.randperm(int(n[row]), generator=rng)[:limit].sort().values
    return found


def _chunks(count: int, variants_each: int) -> Iterator[Tensor]:
    """Instances int64[C] of so many, in groups with few enough variants."""
    yield from torch.arange(count).split(max(1, _VARIANTS_AT_ONCE // variants_each))


@dataclass(frozen=True)
class Draw:
    """Which subsets are drawn; the same for all sequences of as many features.

    Attributes:
        by: spec of the intervention.
        masks: how many subsets.
        levels: their sizes are so many numbers from 1 to n − 1, equally spaced on a logarithmic scale.
        size: one size for all instead, at most n; 0 for levels.
    """

    by: str
    masks: int
    levels: int
    size: int = 0

    def sizes(self, n: int) -> Tensor:
        """int64[masks], ascending: how many features of n each subset holds."""
        if self.size:
            return torch.full((self.masks,), min(self.size, n))
        logs = torch.linspace(0, math.log(max(n - 1, 1)), self.levels, dtype=torch.float64)
        spaced: Tensor = logs.exp().round().long().unique()
        return spaced[torch.arange(self.masks) * len(spaced) // self.masks]

    def subsets(self, n: int, number: Tensor) -> Tensor:
        """bool[C, n]: which features some subsets hold, int64[C] of them from 0."""
        if self.masks * n <= _KEPT:
            return _kept(self, n)[number]
        different, place = number.unique(return_inverse=True)
        return _drawn(self.sizes(n), n, different)[place]

    def parts(self, n: int) -> Iterator[Tensor]:
        """All subsets in order, int64[C] at a time, so many that they may be held at once."""
        yield from torch.arange(self.masks).split(max(1, _KEPT // n))


@functools.lru_cache(maxsize=64)
def _kept(draw: Draw, n: int) -> Tensor:
    return _drawn(draw.sizes(n), n, torch.arange(draw.masks))


def _drawn(sizes: Tensor, n: int, number: Tensor) -> Tensor:
    """bool[C, n]: subsets int64[C]; each follows from n and its number, so that any can be drawn again alone."""
    found = torch.zeros(len(number), n, dtype=torch.bool)
    for row, (own, size) in enumerate(zip(number.tolist(), sizes[number].tolist(), strict=True)):
        rng = torch.Generator().manual_seed(seed_from("subset", n, own))
        found[row, torch.randperm(n, generator=rng)[:size]] = True
    return found


@dataclass(frozen=True, eq=False)
class WithoutSubsets(Replaced):
    """Variants that lack subsets; masks are made when their turn to be run has come.

    Attributes:
        of: int64[V], ascending.
        number: int64[V], which of the subsets.
        n: int64[B], how many features each sequence has.
        draw: the subsets.
        shape: (T,) or (T, D), of the features.
    """

    of: Tensor
    number: Tensor
    n: Tensor
    draw: Draw
    shape: tuple[int, ...]

    @property
    def instance(self) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.of

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002  # the shape says it
        """See :class:`xrnnbench.tasks.engine.variants.Removal`."""
        found = torch.ones(len(chosen), math.prod(self.shape), dtype=torch.bool)
        n = self.n[self.of[chosen]]
        for count in n.unique().tolist():
            rows = (n == count).nonzero().squeeze(1)
            found[rows, :count] = ~self.draw.subsets(count, self.number[chosen[rows]])
        return found.view(-1, *self.shape)

    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Replaced`."""
        different, place = chosen.unique(return_inverse=True)
        return self.kept(different, batch)[place, step]


@dataclass(frozen=True, eq=False)
class Subsets:
    """What removing subsets does, beside what a method says of them.

    Attributes:
        draw: which subsets.
        valid: bool[B, N], the features each sequence has.
        spoken: float64[B, N], see :func:`spoken`.
        effect: float64[B, S], Δ of each subset, mean over the draws of the intervention.
    """

    draw: Draw
    valid: Tensor
    spoken: Tensor
    effect: Tensor

    @property
    def said(self) -> Tensor:
        """float64[B, S], the sum of what the method says of the features of each subset.

        Made anew for whoever reads it: that costs next to nothing, and kept it would weigh as much as the effects.
        """
        said, n = torch.empty_like(self.effect), self.valid.sum(1)
        for count in n.unique().tolist():
            rows = (n == count).nonzero().squeeze(1)
            for number in self.draw.parts(count):
                said[rows[:, None], number] = self.spoken[rows, :count] @ self.draw.subsets(count, number).double().T
        return said

    @property
    def size(self) -> Tensor:
        """int32[B, S], how many features each subset holds."""
        different, place = self.valid.sum(1).unique(return_inverse=True)
        return torch.stack([self.draw.sizes(count).int() for count in different.tolist()])[place]


def subsets(evidence: Evidence, draw: Draw) -> Subsets:
    """The effects of random subsets, shared by all methods, and what one says of them."""
    found = removing_for(evidence, draw.by)
    key = ("subset effects", draw, found.granularity)
    effect = evidence.shared.get(key, lambda _: _subset_effects(found, draw))
    return Subsets(draw, found.valid, spoken(evidence, found), effect)


def _subset_effects(found: Removing, draw: Draw) -> Tensor:
    count, n = len(found.subject), found.valid.sum(1)
    shape = tuple(found.subject.batch.inputs.shape[1 : 2 if found.granularity == "step" else None])
    effect = torch.empty(count, draw.masks, dtype=torch.float64)
    for chunk in _chunks(count, draw.masks):
        of = chunk.repeat_interleave(draw.masks)
        removal = WithoutSubsets(of, torch.arange(draw.masks).repeat(len(chunk)), n, draw, shape)
        effect[chunk] = (found.whole[of] - found.raw(found.without(removal))).view(len(chunk), -1)
    return effect
