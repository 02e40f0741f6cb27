"""Variants of a batch's sequences: described, and made into rows only when their turn to be run has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
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

    Rows are compared by 128 bits of a random hash over everything the model sees (the unpadded values and the
    length); the chance that two different rows of a million collide is below 1e-25.

    Returns:
        first int64[U], the position of the first of each set of identical rows, in order of appearance, and inverse
        int64[V], for each variant its place in first.
    """
    chunks = torch.arange(len(variants.instance)).split(_ROWS_AT_ONCE)
    keys = np.concatenate([_hashes(variants, chosen, batch, reference) for chosen in chunks])
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return torch.from_numpy(first[order]), torch.from_numpy(rank[inverse.reshape(-1)])


def _hashes(variants: Variants, chosen: Tensor, batch: Batch, reference: Tensor) -> np.ndarray:
    """Two 64-bit hashes of each row, as one value that NumPy can sort."""
    instance = variants.instance[chosen]
    rows = variants.rows(chosen, batch, reference)
    valid = batch.valid[instance]
    rows = rows.masked_fill(~(valid if batch.tokens else valid[:, :, None]), 0).flatten(1).contiguous()
    words = rows.numpy().view(np.uint32).reshape(len(rows), -1).astype(np.uint64)
    words = np.concatenate([words, batch.lengths[instance, None].numpy().astype(np.uint64)], axis=1)
    words *= np.uint64(0x9E3779B97F4A7C15)
    words ^= words >> np.uint64(32)
    weights = np.random.default_rng(0).integers(0, 2**64, size=(words.shape[1], 2), dtype=np.uint64) | np.uint64(1)
    return np.ascontiguousarray(words @ weights).view([("low", np.uint64), ("high", np.uint64)]).reshape(-1)
