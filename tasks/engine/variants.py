"""Variants of a batch's sequences: described, and made into rows only when their turn to be run has come.

What is asked of a description: which variants are equal, and where they begin to differ (:meth:`Variants.prints`, cheap
where whole steps are replaced: a step's print is then one of two); single steps, when common beginnings are run once
(:meth:`Variants.at`); and whole rows, when they are not (:meth:`Variants.rows`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from .hashing import prints

if TYPE_CHECKING:
    from ..data.batch import Batch

# Masks looked at together, in bytes.
_MASKS_AT_ONCE: Final = 1 << 24


class Variants(ABC):
    """V sequences, each made from one of the batch's.

    A variant keeps its sequence's length unless its class says otherwise by :meth:`lengths`, and always its target and
    context.
    """

    @property
    @abstractmethod
    def instance(self) -> Tensor:
        """int64[V]: the sequence of the batch that each variant comes from."""

    @abstractmethod
    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """The inputs [len(chosen), T(, D)] of some variants, given by position."""

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """The print of each step of some variants, int64[len(chosen), T]; see :mod:`xrnnbench.tasks.engine.hashing`."""
        return prints(self.rows(chosen, batch, reference))

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """Single steps [N(, D)]: step int64[N] of the variants int64[N]; each variant should be asked for at once."""
        different, place = chosen.unique(return_inverse=True)
        return self.rows(different, batch, reference)[place, step]

    def lengths(self, batch: Batch) -> Tensor:
        """int64[V]: how many steps each variant has, from 1 to T."""
        return batch.lengths[self.instance]


@dataclass(frozen=True, eq=False)
class Given(Variants):
    """Variants spelled out: inputs [V, T(, D)], by default one for each sequence in order."""

    inputs: Tensor
    of: Tensor | None = None

    @cached_property
    def instance(self) -> Tensor:
        """int64[V]."""
        return torch.arange(len(self.inputs)) if self.of is None else self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # the protocol's signature
        """See :class:`Variants`."""
        return self.inputs[chosen]

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # as above
        """See :class:`Variants`."""
        return self.inputs[chosen, step]


class Removal(Variants):
    """Variants in which some features are absent: whatever is not kept takes the value of the reference."""

    @abstractmethod
    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """Which features some variants keep, given by position: bool[C, T] of steps or bool[C, T, D] of cells."""

    def deleted(self) -> Deleted:
        """The same steps taken out instead of replaced."""
        return Deleted(self)


class Replaced(Removal):
    """Removals that put the reference in the place of what is not kept."""

    @abstractmethod
    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """Which features are kept at step int64[N] of the variants int64[N]: bool[N], or bool[N, D] of cells."""

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance, keep = self.instance[chosen], self.kept(chosen, batch)
        if keep.dim() == 3:
            return torch.where(keep, batch.inputs[instance], reference[instance])
        # whole steps are copied from where they are, once
        different, place = instance.unique(return_inverse=True)
        steps = torch.cat([batch.inputs[different], reference[different]]).flatten(0, 1)
        begin = (place[:, None] + torch.where(keep, 0, len(different))) * keep.shape[1]
        taken = (begin + torch.arange(keep.shape[1])).flatten()
        return steps.index_select(0, taken).view(*keep.shape, *steps.shape[1:])

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`; of whole steps, without building them."""
        keep = self.kept(chosen, batch)
        if keep.dim() == 3:
            return super().prints(chosen, batch, reference)
        instance = self.instance[chosen]
        return torch.where(keep, own_prints(batch.inputs, instance), own_prints(reference, instance))

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.instance[chosen]
        kept = batch.inputs[instance, step]
        keep = self.kept_at(chosen, step, batch)
        return torch.where(_spread(keep, kept), kept, reference[instance, step])


@dataclass(frozen=True, eq=False)
class Masked(Replaced):
    """Variants given by masks.

    Attributes:
        keep: bool[V, T] for whole steps or bool[V, T, D] for cells.
        of: int64[V], the sequence of the batch that each variant comes from.
    """

    keep: Tensor
    of: Tensor

    @property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return self.of

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Replaced`."""
        return self.keep[chosen]

    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Replaced`."""
        return self.keep[chosen, step]


@dataclass(frozen=True, eq=False)
class Ranked(Replaced):
    """Variants along orders: the first features of an order are removed, or only they are kept; masks made when run.

    There are V = M · J of them: variant m · J + j is the one at point j of order m.

    Attributes:
        ranks: int[M, N], the place of each feature in each order, from 0; of steps (N = T) or cells (N = T · D, in the
            order of time).
        of: int64[M], the sequence of the batch that each order is about.
        counts: int64[M, J], how many of the first features each point is about.
        keep_first: bool[J], whether only these are kept; if not, they are removed.
    """

    ranks: Tensor
    of: Tensor
    counts: Tensor
    keep_first: Tensor

    @cached_property
    def instance(self) -> Tensor:
        """int64[V]."""
        return self.of.repeat_interleave(self.counts.shape[1])

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """See :class:`Replaced`."""
        order = chosen // self.counts.shape[1]
        return self._kept(chosen, self._by_step(batch.inputs.shape[1])[order])

    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """See :class:`Replaced`."""
        order = chosen // self.counts.shape[1]
        return self._kept(chosen, self._by_step(batch.inputs.shape[1])[order, step])

    def _by_step(self, steps: int) -> Tensor:
        """The ranks int[M, T] or int[M, T, D]."""
        return self.ranks if self.ranks.shape[1] == steps else self.ranks.view(len(self.ranks), steps, -1)

    def _kept(self, chosen: Tensor, ranks: Tensor) -> Tensor:
        width = [1] * (ranks.dim() - 1)
        first = ranks < self.counts.to(ranks.dtype).flatten()[chosen].view(-1, *width)
        return first == self.keep_first[chosen % self.counts.shape[1]].view(-1, *width)


@dataclass(frozen=True, eq=False)
class Prefix(Variants):
    """Beginnings of the batch's sequences: what the model knew after so many steps.

    Attributes:
        of: int64[V], the sequence of the batch.
        steps: int64[V], how many of its first steps are left, from 1 to its length.
    """

    of: Tensor
    steps: Tensor

    @property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Variants`."""
        return batch.inputs[self.of[chosen]]

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Variants`."""
        return own_prints(batch.inputs, self.of[chosen])

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # as above
        """See :class:`Variants`."""
        return batch.inputs[self.of[chosen], step]

    def lengths(self, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Variants`."""
        return self.steps


@dataclass(frozen=True, eq=False)
class Deleted(Variants):
    """Variants from which steps are taken out, so that they are shorter and what followed moves up.

    A sequence cannot have no step at all: where none is kept, one step of the reference remains.

    Attributes:
        removal: which steps are kept; what it says of padding is ignored.
    """

    removal: Removal

    @property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return self.removal.instance

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.instance[chosen]
        keep = self._steps(chosen, batch)
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)  # kept steps first, in their order
        inputs = batch.inputs[instance]
        found = inputs.gather(1, order.view(*order.shape, *[1] * (inputs.dim() - 2)).expand_as(inputs))
        empty = ~keep.any(1)
        found[empty, 0] = reference[instance[empty], 0]
        return found

    def lengths(self, batch: Batch) -> Tensor:
        """See :class:`Variants`."""
        parts = torch.arange(len(self.instance)).split(max(1, _MASKS_AT_ONCE // batch.inputs.shape[1]))
        return torch.cat([self._steps(part, batch).sum(1) for part in parts]).clamp_min(1)

    def _steps(self, chosen: Tensor, batch: Batch) -> Tensor:
        """bool[C, T]: the steps that are kept."""
        return self.removal.kept(chosen, batch) & batch.valid[self.instance[chosen]]


def own_prints(values: Tensor, instance: Tensor) -> Tensor:
    """The prints int64[N, T] of the sequences int64[N] among values [B, T(, D)], each computed once."""
    different, place = instance.unique(return_inverse=True)
    return prints(values[different])[place]


def _spread(keep: Tensor, values: Tensor) -> Tensor:
    """A mask of whole steps or of cells, as wide as the values."""
    return keep[..., None] if values.dim() > keep.dim() else keep
