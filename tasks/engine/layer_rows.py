"""Rows that a recurrent layer reads, in one form for padded and packed inputs: steps at positions of a flat tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.nn.utils.rnn import PackedSequence

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Rows:
    """R rows of at most T steps, in the order in which one direction of a layer reads them.

    Attributes:
        values: float[P, D], contiguous: the steps of all rows.
        position: int64[R, T], the place of each step among the values; beyond a row's length any of its places.
        target: int64[R, T], the place of the output of each step among the P outputs, in torch's own order.
        lengths: int64[R], from 1 to T.
        padded: whether a row is shorter than T.
        backwards: whether each row is read from its own end.
    """

    values: Tensor
    position: Integers
    target: Integers
    lengths: Integers
    padded: bool
    backwards: bool = False

    @property
    def count(self) -> int:
        """R, the number of rows."""
        return len(self.position)

    @property
    def steps(self) -> int:
        """T, the steps of the longest row."""
        return self.position.shape[1]

    @property
    def total(self) -> int:
        """Steps of all rows together."""
        return int(self.lengths.sum())

    @property
    def _row_by_row(self) -> bool:
        """Whether the values are the steps of the first row, then those of the second, and so on."""
        return not (self.padded or self.backwards) and (self.steps == 1 or bool(self.position[0, 1] == 1))

    def reversed(self) -> Rows:
        """The same rows, each read from its own end."""
        last = self.lengths[:, None] - 1 - np.arange(self.steps)
        order = last.clip(0)
        return replace(
            self,
            position=np.take_along_axis(self.position, order, 1),
            target=np.take_along_axis(self.target, order, 1),
            backwards=True,
        )

    def followed_by(self, outputs: Tensor) -> Rows:
        """Rows of the outputs float[P, H] of these, as the next layer reads them forwards."""
        return replace(self, values=outputs, position=self.target)

    def words(self, begin: int, end: int) -> NDArray[Any]:
        """Bits of the steps from begin to end as integers [R, W]; 0 beyond a row's length."""
        values = self.values.numpy()
        size = values.itemsize * values.shape[1]
        words = values.view(np.int64 if size % 8 == 0 else np.int32)
        if self._row_by_row:
            return words.reshape(self.count, self.steps, -1)[:, begin:end].reshape(self.count, -1)
        found = words[self.position[:, begin:end]]
        if self.padded:
            found[np.arange(begin, end) >= self.lengths[:, None]] = 0
        return found.reshape(self.count, -1)


def padded_rows(inputs: Tensor, *, batch_first: bool) -> Rows:
    """Rows of a padded input [R, T, D], or [T, R, D] if not ``batch_first``; padding is read like other steps."""
    by_time = inputs.transpose(0, 1) if batch_first else inputs
    steps, count = by_time.shape[:2]
    target = np.arange(steps * count).reshape(steps, count).T
    if by_time.is_contiguous():
        values, position = by_time.reshape(steps * count, -1), target
    else:
        values = by_time.transpose(0, 1).contiguous().view(steps * count, -1)
        position = np.arange(steps * count).reshape(count, steps)
    return Rows(values, position, target, np.full(count, steps), padded=False)


def packed_rows(inputs: PackedSequence) -> Rows:
    """Rows of a packed input, in its order: by falling length."""
    sizes = inputs.batch_sizes.numpy()
    lengths = (sizes > np.arange(sizes[0])[:, None]).sum(1)
    step = np.minimum(np.arange(len(sizes)), lengths[:, None] - 1)
    position = (sizes.cumsum() - sizes)[step] + np.arange(sizes[0])[:, None]
    padded = bool(lengths[-1] < len(sizes))
    return Rows(inputs.data.contiguous(), position, position, lengths, padded=padded)


def row_ids(states: list[Tensor]) -> Integers | None:
    """Ids int64[R] of the initial states [L, R, H] of rows: equal where these are, bit by bit; None if all are."""
    bits = torch.cat([state.transpose(0, 1).flatten(1) for state in states], 1).contiguous().numpy()
    ids = np.unique(as_words(bits), return_inverse=True)[1].reshape(-1)
    return ids if ids.any() else None


def as_words(rows: NDArray[Any]) -> NDArray[Any]:
    """Each row of an array [R, W] as one value, which sorts as its bytes do."""
    return np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}")[:, 0]
