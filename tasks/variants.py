"""Variants of a batch's sequences: described, and made into rows only when their turn to be run has come."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .data import Batch

_ROWS_AT_ONCE = 8192


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


@dataclass(frozen=True, eq=False)
class Masked(Variants):
    """Variants in which what is not kept is replaced by the reference.

    Attributes:
        keep: bool[V, T] for whole steps or bool[V, T, D] for cells.
        of: int64[V], the sequence of the batch that each variant comes from.
        replacement: inputs [V, T(, D)] to take instead of the reference; optional.
    """

    keep: Tensor
    of: Tensor
    replacement: Tensor | None = None

    @property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.instance[chosen]
        kept = batch.inputs[instance]
        other = reference[instance] if self.replacement is None else self.replacement[chosen]
        keep = self.keep[chosen]
        return torch.where(keep[:, :, None] if kept.dim() > keep.dim() else keep, kept, other)


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

    def lengths(self, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`Variants`."""
        return self.steps


@dataclass(frozen=True, eq=False)
class Deleted(Variants):
    """Variants from which steps are taken out, so that they are shorter and what followed moves up.

    A sequence cannot have no step at all: where none is kept, one step of the reference remains.

    Attributes:
        keep: bool[V, T]; what is said of padding is ignored.
        of: int64[V], the sequence of the batch.
    """

    keep: Tensor
    of: Tensor

    @property
    def instance(self) -> Tensor:
        """See :class:`Variants`."""
        return self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.of[chosen]
        keep = self.keep[chosen] & batch.valid[instance]
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)  # kept steps first, in their order
        inputs = batch.inputs[instance]
        found = inputs.gather(1, order.view(*order.shape, *[1] * (inputs.dim() - 2)).expand_as(inputs))
        empty = ~keep.any(1)
        found[empty, 0] = reference[instance[empty], 0]
        return found

    def lengths(self, batch: Batch) -> Tensor:
        """See :class:`Variants`."""
        return (self.keep & batch.valid[self.of]).sum(1).clamp_min(1)


def unique_rows(variants: Variants, batch: Batch, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Which variants are worth running.

    Rows are compared by a 64-bit keyed hash and a checksum of everything the model sees (the unpadded values, the
    length, and whose context it is, if there is one); the chance that two different rows of a million are taken for one
    is below 1e-15.

    Returns:
        first int64[U], the position of the first of each set of identical rows, in order of appearance, and inverse
        int64[V], for each variant its place in first.
    """
    seen: dict[tuple[int, ...], int] = {}
    first: list[int] = []
    inverse: list[int] = []
    lengths = variants.lengths(batch)
    for chosen in torch.arange(len(lengths)).split(_ROWS_AT_ONCE):
        keys = _keys(variants, chosen, lengths[chosen], batch, reference)
        for position, key in zip(chosen.tolist(), keys, strict=True):
            place = seen.setdefault(key, len(seen))
            if place == len(first):
                first.append(position)
            inverse.append(place)
    return torch.tensor(first, dtype=torch.int64), torch.tensor(inverse, dtype=torch.int64)


def _keys(
    variants: Variants, chosen: Tensor, lengths: Tensor, batch: Batch, reference: Tensor
) -> Iterator[tuple[int, ...]]:
    """Length, owner of the context, hash and checksum of each row, what lies on padding left out of account."""
    rows = variants.rows(chosen, batch, reference)
    valid = torch.arange(rows.shape[1]) < lengths[:, None]
    if not valid.all():
        rows = rows.masked_fill(~(valid if batch.tokens else valid[:, :, None]), 0)
    owners = variants.instance[chosen].tolist() if batch.context else [-1] * len(chosen)
    for length, owner, row in zip(lengths.tolist(), owners, rows.flatten(1).contiguous().numpy(), strict=True):
        content = row.tobytes()
        yield length, owner, hash(content), zlib.crc32(content)
