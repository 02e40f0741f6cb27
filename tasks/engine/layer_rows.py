"""Rows that a recurrent layer reads, in one form for padded and packed inputs.

Either all rows have one length, and their steps are slices of a tensor; or a packed input has rows of several lengths,
and each step has a place in its flat tensor. Outputs are in torch's own order: those of all first steps, then those of
all second ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch.nn.utils.rnn import PackedSequence

Integers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Rows:
    """R rows of at most T steps, in the order in which one direction of a layer reads them.

    Attributes:
        values: the steps of all rows: [T, R, D], a view of any order in memory; of rows of several lengths [P, D].
        lengths: int64[R], by falling length, from 1 to T.
        begins: int64[T], the place of each step of the first row among the values, if rows have several lengths; the
            steps of the other rows follow. None for rows of one length.
        backwards: whether each row is read from its own end.
    """

    values: Tensor
    lengths: Integers
    begins: Integers | None = None
    backwards: bool = False

    @property
    def count(self) -> int:
        """R, the number of rows."""
        return len(self.lengths)

    @property
    def steps(self) -> int:
        """T, the steps of the longest row."""
        return int(self.lengths[0])

    @property
    def total(self) -> int:
        """P, the steps of all rows together."""
        return int(self.lengths.sum())

    @property
    def sizes(self) -> Integers:
        """int64[T], the number of rows that have each step."""
        return np.asarray((self.lengths > np.arange(self.steps)[:, None]).sum(1), np.int64)

    def ended(self, begin: int, end: int) -> Integers:
        """Rows int64[E] whose last step is one from begin to end."""
        if self.begins is None and end < self.steps:
            return np.empty(0, np.int64)
        return ((self.lengths > begin) & (self.lengths <= end)).nonzero()[0]

    def reversed(self) -> Rows:
        """The same rows, each read from its own end."""
        return replace(self, backwards=True)

    def followed_by(self, outputs: Tensor) -> Rows:
        """Rows of the outputs float[P, H] of these, as the next level reads them forwards."""
        values = outputs if self.begins is not None else outputs.view(self.steps, self.count, -1)
        return replace(self, values=values)

    def take(self, row: Integers, begin: int, end: int, sizes: Integers) -> Tensor:
        """Steps of some rows in the order of torch: float[end − begin, N, D], or float[M, D] of several lengths.

        Args:
            row: int64[N], the rows, by falling length.
            begin: the first step.
            end: the step after the last one.
            sizes: int64[end − begin], the number of these rows that have each step.
        """
        if self.begins is None:
            part, chosen = self._slice(begin, end), torch.from_numpy(row)
            # along the first axis in memory, which is faster
            by_row = part.stride(1) > part.stride(0)
            part = (
                part.transpose(0, 1).index_select(0, chosen).transpose(0, 1) if by_row else part.index_select(1, chosen)
            )
            return part.flip(0) if self.backwards else part
        place = self._place(self.begins, row, begin, end).T
        if sizes[-1] == sizes[0]:
            chosen = torch.from_numpy(place.reshape(-1))
            return self.values.index_select(0, chosen).view(*place.shape, -1)
        return self.values.index_select(0, torch.from_numpy(place[np.arange(len(row)) < sizes[:, None]]))

    def put(self, outputs: Tensor, found: Tensor, node: Integers, begin: int, sizes: Integers) -> None:
        """Put the outputs of nodes where those of the rows belong.

        Args:
            outputs: float[P, H] of all rows; filled.
            found: float[M, H] of the nodes, those of the first step first.
            node: int64[R], the node of each row.
            begin: the first step of the nodes.
            sizes: int64[C], the number of nodes that have each of their C steps.
        """
        end = begin + len(sizes)
        if self.begins is None:
            part = found.view(len(sizes), int(sizes[0]), -1)
            target = outputs.unflatten(0, (self.steps, self.count))
            if self.backwards:
                part, target = part.flip(0), target[self.steps - end : self.steps - begin]
            else:
                target = target[begin:end]
            if target.is_contiguous():
                torch.index_select(part, 1, torch.from_numpy(node), out=target)
            else:
                target.copy_(part.index_select(1, torch.from_numpy(node)))
            return
        own = np.arange(begin, end)[:, None] < self.lengths
        index = ((sizes.cumsum() - sizes)[:, None] + node)[own]
        place = self._place(self.begins, np.arange(self.count), begin, end).T[own]
        outputs.index_copy_(0, torch.from_numpy(place), found.index_select(0, torch.from_numpy(index)))

    def words(self, begin: int, end: int) -> NDArray[Any]:
        """Bits of the steps from begin to end as integers [R, W]; 0 beyond a row's length."""
        if self.begins is None:
            by_row = self._slice(begin, end).transpose(0, 1)
            return _bits((by_row.flip(1) if self.backwards else by_row).numpy()).reshape(self.count, -1)
        found = _bits(self.values.numpy())[self._place(self.begins, np.arange(self.count), begin, end)]
        found[np.arange(begin, end) >= self.lengths[:, None]] = 0
        return found.reshape(self.count, -1)

    def _place(self, begins: Integers, row: Integers, begin: int, end: int) -> Integers:
        """Place int64[N, end − begin] of steps of some rows among the values; beyond a row's length one of its own."""
        last = self.lengths[row, None] - 1
        step = np.arange(begin, end)
        step = (last - step).clip(0) if self.backwards else np.minimum(step, last)
        return begins[step] + row[:, None]

    def _slice(self, begin: int, end: int) -> Tensor:
        """Steps float[end − begin, R, D] of rows of one length, in the order of time."""
        return self.values[self.steps - end : self.steps - begin] if self.backwards else self.values[begin:end]


def padded_rows(inputs: Tensor, *, batch_first: bool) -> Rows:
    """Rows of a padded input [R, T, D], or [T, R, D] if not ``batch_first``; padding is read like other steps."""
    inputs = inputs.detach()
    by_time = inputs.transpose(0, 1) if batch_first else inputs
    return Rows(by_time, np.full(by_time.shape[1], len(by_time)))


def packed_rows(inputs: PackedSequence) -> Rows:
    """Rows of a packed input, in its order: by falling length."""
    sizes = inputs.batch_sizes.numpy()
    ending = sizes - np.append(sizes[1:], 0)
    lengths = np.arange(len(sizes), 0, -1).repeat(ending[::-1])
    values = inputs.data.detach().contiguous()
    if lengths[-1] == lengths[0]:
        return Rows(values.view(len(sizes), int(sizes[0]), -1), lengths)
    return Rows(values, lengths, sizes.cumsum() - sizes)


def row_ids(states: list[Tensor]) -> Integers | None:
    """Ids int64[R] of the initial states [L, R, H] of rows: equal where these are, bit by bit; None if all are."""
    bits = torch.cat([state.transpose(0, 1).flatten(1) for state in states], 1).numpy()
    ids = np.unique(as_words(bits), return_inverse=True)[1].reshape(-1)
    return ids if ids.any() else None


def as_words(rows: NDArray[Any]) -> NDArray[Any]:
    """Each row of an array [R, W] as one value, which sorts as its bytes do."""
    return np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}")[:, 0]


def _bits(steps: NDArray[Any]) -> NDArray[Any]:
    """Bits of steps […, D] as integers […, W]: 64-bit ones where a step divides into them."""
    if steps.strides[-1] != steps.itemsize:
        steps = np.ascontiguousarray(steps)
    return steps.view(np.int64 if steps.itemsize * steps.shape[-1] % 8 == 0 else np.int32)
