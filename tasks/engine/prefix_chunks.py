"""Common beginnings of the rows that a layer reads, and the calls of torch's kernel in which each is run once.

Rows are sorted by the bits of their steps, as words in a dictionary, so rows with a common beginning are neighbours.
torch's kernels of recurrent layers read many steps in one call, much faster than step by step, but return the state
after the last step only. So the steps are cut into chunks: in each chunk, the rows that have read the same steps up to
its end are one *node*, which is run once, from the state of its parent in the chunk before. A row that parts from
others within a chunk is run from the beginning of the chunk; how long chunks are is a compromise between these steps
and the cost of a call. The comparison is of bits, so nothing is approximated.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .layer_rows import Integers, Rows, as_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# Share of the steps after which it is asked whether the rows still have anything in common.
_PROBED: Final = 8
# Numbers of nodes and of steps are rounded for kernels that are compiled for each: within 1/16, and within 1/2.
_SIZES_PER_OCTAVE: Final = 16
_LENGTHS: Final = sorted({1, 2, 3} | {count << power for count in (2, 3) for power in range(1, 16)})


@dataclass(frozen=True)
class Beginnings:
    """Common beginnings of R rows.

    Attributes:
        order: int64[R], the rows in sorted order.
        common: int64[R], the number of first steps that each sorted row has in common with the one before it.
        lengths: int64[R], of the sorted rows.
    """

    order: Integers
    common: Integers
    lengths: Integers


@dataclass(frozen=True)
class Chunk:
    """Steps ``begin`` to ``end`` of R rows, run by N nodes.

    Attributes:
        begin, end: the steps.
        row: int64[N], one row of each node, by falling length.
        parent: int64[N], the node of the chunk before from which each goes on.
        node: int64[R], the node of each row; arbitrary for a row that has ended before.
        sizes: int64[end − begin], the number of nodes that read each step.
    """

    begin: int
    end: int
    row: Integers
    parent: Integers
    node: Integers
    sizes: Integers

    @property
    def steps(self) -> int:
        """Steps that the nodes read together."""
        return int(self.sizes.sum())


def find_beginnings(rows: Rows, starts: Integers | None, most: float) -> Beginnings | None:
    """Common beginnings of rows; None as soon as more than a share ``most`` of the steps must be run anyway.

    Args:
        rows: the rows.
        starts: int64[R], ids of their initial states; None if these are equal.
        most: a share of the steps.
    """
    probed = -(-rows.steps // _PROBED)
    for end in (1, probed):
        different = len(np.unique(as_words(rows.words(0, end))))
        if different * (rows.steps - end + 1) > most * rows.count * rows.steps:
            return None
    words = rows.words(0, rows.steps)
    order = as_words(words).argsort(kind="stable")
    if starts is not None:
        order = order[starts[order].argsort(kind="stable")]
    lengths = rows.lengths[order]
    common = _common(words, order, rows.steps)
    np.minimum(common[1:], np.minimum(lengths[1:], lengths[:-1]), out=common[1:])
    if starts is not None:
        common[1:][np.diff(starts[order]) != 0] = 0
    return Beginnings(order, common, lengths)


def _common(words: NDArray[Any], order: Integers, steps: int) -> Integers:
    """Number of first steps int64[R] that each sorted row has in common with the one before it; 0 of the first.

    Only neighbours that have not parted yet are compared further.
    """
    common = np.full(len(order), steps)
    common[0] = 0
    width, waiting = words.shape[1] // steps, np.arange(1, len(order))
    block = -(-steps // _PROBED)
    for begin in range(0, steps, block):
        part = slice(begin * width, (begin + block) * width)
        different = words[order[waiting], part] != words[order[waiting - 1], part]
        first = different.argmax(1)
        parted = different[np.arange(len(waiting)), first]
        common[waiting[parted]] = begin + first[parted] // width
        waiting = waiting[~parted]
        if not len(waiting):
            break
    return common


def chunk_bounds(beginnings: Beginnings, steps: int, call: float, *, rounded: bool) -> list[int]:
    """Steps int64[C + 1] at which chunks begin, and the last one ends.

    A chunk goes on until the steps that are run more than once in it cost as much as a call. Where rows part at an even
    rate, this is the best length.

    Args:
        beginnings: of the rows.
        steps: T.
        call: the cost of a call, in steps of a row.
        rounded: whether lengths of chunks are rounded.
    """
    parted = np.bincount(beginnings.common, minlength=steps + 1).cumsum().tolist()
    bounds = [0]
    while bounds[-1] < steps:
        begin = bounds[-1]
        end, again = begin + 1, 0
        while end < steps:
            again += (parted[end] - parted[end - 1]) * (end - begin)
            if again > call:
                break
            end += 1
        if rounded and end < steps:
            end = begin + max(length for length in _LENGTHS if length <= end - begin)
        bounds.append(end)
    return bounds


def run_steps(beginnings: Beginnings, bounds: list[int]) -> int:
    """Number of steps that are run with these bounds of chunks; of rows of several lengths about so many."""
    steps = bounds[-1]
    parted = np.bincount(beginnings.common, minlength=steps + 1).cumsum()
    nodes = sum(int(parted[end - 1]) * (end - begin) for begin, end in pairwise(bounds))
    return nodes - int((steps - beginnings.lengths).sum())


def chunks(beginnings: Beginnings, bounds: list[int], *, rounded: bool) -> Iterator[Chunk]:
    """Chunks of rows, in order.

    Args:
        beginnings: of the rows.
        bounds: see :func:`chunk_bounds`.
        rounded: whether numbers of nodes are rounded up, by nodes that are run for nothing.
    """
    place = beginnings.order.argsort()
    before = np.zeros(len(place), np.int64)
    for begin, end in pairwise(bounds):
        within = beginnings.lengths.clip(max=end)
        leads = beginnings.common < within
        leads[1:] |= within[1:] != within[:-1]
        leads &= within > begin
        node = (leads.cumsum() - 1).clip(0)
        first = leads.nonzero()[0]
        falling = (-within[first]).argsort(kind="stable")
        node, first = falling.argsort()[node], first[falling]
        if rounded:
            first = np.concatenate([first, first[-1:].repeat(_rounded(len(first)) - len(first))])
        sizes = (within[first] > np.arange(begin, end)[:, None]).sum(1)
        yield Chunk(begin, end, beginnings.order[first], before[first], node[place], sizes)
        before = node


def whole_rows(rows: Rows) -> Beginnings:
    """Beginnings of rows of which nothing is shared."""
    return Beginnings(np.arange(rows.count), np.zeros(rows.count, np.int64), rows.lengths)


def _rounded(count: int) -> int:
    """A count, rounded up to one of sixteen for each power of two."""
    unit = max(1, (1 << (count - 1).bit_length()) // (2 * _SIZES_PER_OCTAVE))
    return -(-count // unit) * unit
