"""Variants of a batch's sequences: described, and made into rows only when their turn to be run has come."""

from __future__ import annotations

import functools
import itertools
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .data import Batch

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


class Removal(Variants):
    """Variants in which some features are absent: whatever is not kept takes the value of the reference."""

    @abstractmethod
    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """Which features some variants keep, given by position: bool[C, T] of steps or bool[C, T, D] of cells."""

    def deleted(self) -> Deleted:
        """The same steps taken out instead of replaced."""
        return Deleted(self)


@dataclass(frozen=True, eq=False)
class Masked(Removal):
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

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:  # noqa: ARG002  # it is given
        """See :class:`Removal`."""
        return self.keep[chosen]

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


def prints(rows: Tensor, lengths: Tensor, bounds: list[int]) -> Tensor:
    """A 64-bit keyed hash of each segment of some rows, int64[N, S].

    The chance that two different ones of a million are taken for one is below 1e-7.

    Args:
        rows: [N, T] or [N, T, D].
        lengths: int64[N]; what lies beyond does not count.
        bounds: S + 1 ascending steps from 0: where segments begin and end. A segment in which a row has no step is 0.
    """
    array = rows.flatten(1).contiguous().numpy()
    step = array.itemsize * array.shape[1] // rows.shape[1]
    cuts = [slice(step * a, step * b) for a, b in itertools.pairwise(bounds)]
    # Python hashes bytes at memory speed, torch would need a pass of multiplications
    contents = (row.tobytes()[: step * length] for row, length in zip(array, lengths.tolist(), strict=True))
    found = [hash(part) if part else 0 for content in contents for part in (content[cut] for cut in cuts)]
    return torch.tensor(found, dtype=torch.int64).view(len(rows), len(cuts))


def mixed(keys: Tensor) -> Tensor:
    """One number for each row of keys int64[N, C]: int64[N], their sum modulo 2⁶⁴ with odd random weights.

    Zeros behind the others change nothing, so that a row has the same number however many segments its mates have.
    """
    return (keys * _weights(keys.shape[1])).sum(1)


@functools.lru_cache(maxsize=256)
def _weights(count: int) -> Tensor:
    drawn = random.Random(0)  # noqa: S311  # no secret: they only have to be odd and unlike each other
    return torch.tensor([drawn.getrandbits(62) * 2 + 1 for _ in range(count)])


def same(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the keys int64[N] are equal.

    Returns:
        first int64[U], the first of each set in order of appearance, and inverse int64[N], the set each is in. The
        order is that of the rows, not that of the hashes, which are others in every process.
    """
    _, first, inverse = np.unique(keys.numpy(), return_index=True, return_inverse=True)
    order = first.argsort()
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return torch.from_numpy(first[order]), torch.from_numpy(rank[inverse])
