"""Variants of a batch's sequences: described, and made into rows only when their turn to be run has come."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .data import Batch

_ROWS_AT_ONCE = 8192


class Variants(Protocol):
    """V sequences, each made from one of the batch's and of its length."""

    @property
    def instance(self) -> Tensor:
        """int64[V]: the sequence of the batch that each variant comes from."""

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """The inputs [len(chosen), T(, D)] of some variants, given by position."""


@dataclass(frozen=True, eq=False)
class Given:
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
class Masked:
    """Variants in which what is not kept is replaced by the reference.

    Attributes:
        keep: bool[V, T] for whole steps or bool[V, T, D] for cells.
        instance: int64[V].
        replacement: inputs [V, T(, D)] to take instead of the reference; optional.
    """

    keep: Tensor
    instance: Tensor
    replacement: Tensor | None = field(default=None)

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`Variants`."""
        instance = self.instance[chosen]
        kept = batch.inputs[instance]
        other = reference[instance] if self.replacement is None else self.replacement[chosen]
        keep = self.keep[chosen]
        return torch.where(keep[:, :, None] if kept.dim() > keep.dim() else keep, kept, other)


def unique_rows(variants: Variants, batch: Batch, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Which variants are worth running.

    Rows are compared by a 64-bit keyed hash and a checksum of everything the model sees (the unpadded values and the
    length); the chance that two different rows of a million are taken for one is below 1e-15.

    Returns:
        first int64[U], the position of the first of each set of identical rows, in order of appearance, and inverse
        int64[V], for each variant its place in first.
    """
    seen: dict[tuple[int, int, int], int] = {}
    first: list[int] = []
    inverse: list[int] = []
    for chosen in torch.arange(len(variants.instance)).split(_ROWS_AT_ONCE):
        for position, key in zip(chosen.tolist(), _keys(variants, chosen, batch, reference), strict=True):
            place = seen.setdefault(key, len(seen))
            if place == len(first):
                first.append(position)
            inverse.append(place)
    return torch.tensor(first, dtype=torch.int64), torch.tensor(inverse, dtype=torch.int64)


def _keys(variants: Variants, chosen: Tensor, batch: Batch, reference: Tensor) -> Iterator[tuple[int, int, int]]:
    """Length, hash and checksum of each row, what lies on padding left out of account."""
    instance = variants.instance[chosen]
    rows = variants.rows(chosen, batch, reference)
    valid = batch.valid[instance]
    if not valid.all():
        rows = rows.masked_fill(~(valid if batch.tokens else valid[:, :, None]), 0)
    lengths = batch.lengths[instance].tolist()
    for length, row in zip(lengths, rows.flatten(1).contiguous().numpy(), strict=True):
        content = row.tobytes()
        yield length, hash(content), zlib.crc32(content)
