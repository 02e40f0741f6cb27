"""Variants: lazy descriptions of perturbed sequences, made into rows only when they are run.

A description gives the hashes of its steps, by which duplicates and shared prefixes are found (:meth:`Variants.prints`,
cheap where whole steps are replaced: a step's hash is then one of two); single steps, for running shared prefixes once
(:meth:`Variants.at`); and whole rows, for plain batches (:meth:`Variants.rows`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from .hashing import step_hashes

if TYPE_CHECKING:
    from ..data.batch import Batch

# Bytes of masks that are built at once.
_MASKS_AT_ONCE: Final = 1 << 24


class Variants(ABC):
    """V perturbed sequences, each derived from a sequence of the batch.

    A variant always keeps the target and the context of its sequence. It keeps the length too, unless its class
    overrides :meth:`lengths`.
    """

    @property
    @abstractmethod
    def instance(self) -> Tensor:
        """int64[V]: the sequence of the batch that each variant is derived from."""

    @abstractmethod
    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """Inputs [C, T(, D)] of the variants at positions chosen int64[C]."""

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """Hash int64[C, T] of each step of the variants at positions chosen int64[C].

        See :mod:`xrnnbench.tasks.engine.hashing`.
        """
        return step_hashes(self.rows(chosen, batch, reference))

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """Single steps [N(, D)]: step int64[N] of the variants at positions chosen int64[N].

        By default the rows of all chosen variants are built: ask for all steps of a variant in one call.
        """
        distinct, place = chosen.unique(return_inverse=True)
        return self.rows(distinct, batch, reference)[place, step]

    def lengths(self, batch: Batch) -> Tensor:
        """int64[V]: the number of steps of each variant, from 1 to T."""
        return batch.lengths[self.instance]

    def origins(self, chosen: Tensor, batch: Batch) -> Tensor | None:  # noqa: ARG002  # most steps stay where they are
        """int64[C, T]: the step of its sequence that each step comes from; None if every step is where it was.

        The context that runs along the steps moves with them.
        """
        return None


@dataclass(frozen=True, eq=False)
class Given(Variants):
    """Variants given as rows.

    Attributes:
        inputs: [V, T(, D)].
        of: int64[V], the sequence of the batch that each variant is derived from; by default one variant for each
            sequence, in order.
    """

    inputs: Tensor
    of: Tensor | None = None

    @cached_property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return torch.arange(len(self.inputs)) if self.of is None else self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # the protocol's signature
        """See :class:`Variants`."""
        return self.inputs[chosen]

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # as above
        """See :class:`Variants`."""
        return self.inputs[chosen, step]


class Removal(Variants):
    """Variants in which some features are absent: features that are not kept take the value of the reference."""

    @abstractmethod
    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """Mask of the features that the variants at positions chosen int64[C] keep: bool[C, T] or bool[C, T, D]."""

    def deleted(self) -> Deleted:
        """Variants from which the same steps are deleted instead of replaced."""
        return Deleted(self)


class Replaced(Removal):
    """Removals that replace the features they do not keep by the reference."""

    @abstractmethod
    def kept_at(self, chosen: Tensor, step: Tensor, batch: Batch) -> Tensor:
        """Mask of the features kept at step int64[N] of the variants chosen int64[N]: bool[N], or bool[N, D]."""

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance, keep = self.instance[chosen], self.kept(chosen, batch)
        if keep.dim() == 3:
            return torch.where(keep, batch.inputs[instance], reference[instance])
        # whole steps are gathered by index from inputs and reference: one copy
        distinct, place = instance.unique(return_inverse=True)
        steps = torch.cat([batch.inputs[distinct], reference[distinct]]).flatten(0, 1)
        begin = (place[:, None] + torch.where(keep, 0, len(distinct))) * keep.shape[1]
        index = (begin + torch.arange(keep.shape[1])).flatten()
        return steps.index_select(0, index).view(*keep.shape, *steps.shape[1:])

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`; for masks of whole steps no row is built."""
        keep = self.kept(chosen, batch)
        if keep.dim() == 3:
            return super().prints(chosen, batch, reference)
        instance = self.instance[chosen]
        return torch.where(keep, sequence_hashes(batch.inputs, instance), sequence_hashes(reference, instance))

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.instance[chosen]
        kept = batch.inputs[instance, step]
        keep = self.kept_at(chosen, step, batch)
        return torch.where(_broadcastable(keep, kept), kept, reference[instance, step])


@dataclass(frozen=True, eq=False)
class Masked(Replaced):
    """Variants given by masks.

    Attributes:
        keep: bool[V, T] for whole steps or bool[V, T, D] for cells; True where a feature is kept.
        of: int64[V], the sequence of the batch that each variant is derived from.
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
    """Points of removal curves: the first features of an order are removed, or only they are kept.

    There are V = M · J variants: variant m · J + j is point j of order m. Their masks are built when they are run.

    Attributes:
        ranks: int[M, N], the rank of each feature in each order, from 0; of steps (N = T) or cells (N = T · D, in the
            order of time).
        of: int64[M], the sequence of the batch that each order belongs to.
        counts: int64[M, J], the number of first features that are removed or kept at each point.
        keep_first: bool[J], whether only the first features are kept; if not, they are removed.
    """

    ranks: Tensor
    of: Tensor
    counts: Tensor
    keep_first: Tensor

    @cached_property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
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
        """Ranks as int[M, T] or int[M, T, D]."""
        return self.ranks if self.ranks.shape[1] == steps else self.ranks.view(len(self.ranks), steps, -1)

    def _kept(self, chosen: Tensor, ranks: Tensor) -> Tensor:
        width = [1] * (ranks.dim() - 1)
        first = ranks < self.counts.to(ranks.dtype).flatten()[chosen].view(-1, *width)
        return first == self.keep_first[chosen % self.counts.shape[1]].view(-1, *width)


@dataclass(frozen=True, eq=False)
class Prefix(Variants):
    """Prefixes of the batch's sequences, as the model has seen them after so many steps.

    Attributes:
        of: int64[V], the sequence of the batch.
        steps: int64[V], the number of steps of the prefix, from 1 to the length of its sequence.
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
        return sequence_hashes(batch.inputs, self.of[chosen])

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # as above
        """See :class:`Variants`."""
        return batch.inputs[self.of[chosen], step]

    def lengths(self, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Variants`."""
        return self.steps


@dataclass(frozen=True, eq=False)
class Deleted(Variants):
    """Variants from which steps are deleted: they are shorter, and later steps move up.

    A sequence has at least one step: where none is kept, one step of the reference remains.

    Attributes:
        removal: the removal whose kept steps remain; its mask on padding is ignored.
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
        order = _kept_first(keep)
        inputs = batch.inputs[instance]
        rows = inputs.gather(1, order.view(*order.shape, *[1] * (inputs.dim() - 2)).expand_as(inputs))
        empty = ~keep.any(1)
        rows[empty, 0] = reference[instance[empty], 0]
        return rows

    def lengths(self, batch: Batch) -> Tensor:
        """See :class:`Variants`."""
        parts = torch.arange(len(self.instance)).split(max(1, _MASKS_AT_ONCE // batch.inputs.shape[1]))
        return torch.cat([self._steps(part, batch).sum(1) for part in parts]).clamp_min(1)

    def origins(self, chosen: Tensor, batch: Batch) -> Tensor:
        """See :class:`Variants`."""
        return _kept_first(self._steps(chosen, batch))

    def _steps(self, chosen: Tensor, batch: Batch) -> Tensor:
        """Mask bool[C, T] of the steps that are kept, False on padding."""
        return self.removal.kept(chosen, batch) & batch.valid[self.instance[chosen]]


def _kept_first(keep: Tensor) -> Tensor:
    """Order int64[C, T] of steps in which those of a mask bool[C, T] come first, in their order."""
    return (~keep).to(torch.uint8).argsort(dim=1, stable=True)


def sequence_hashes(values: Tensor, instance: Tensor) -> Tensor:
    """Step hashes int64[N, T] of sequences instance int64[N] among values [B, T(, D)], each computed once."""
    distinct, place = instance.unique(return_inverse=True)
    return step_hashes(values[distinct])[place]


def _broadcastable(keep: Tensor, values: Tensor) -> Tensor:
    """A mask of whole steps or of cells, in a shape that broadcasts to the values."""
    return keep[..., None] if values.dim() > keep.dim() else keep
