"""Prefix tree: rows that share a prefix share a hidden state.

A row is one sequence to be run. Perturbed copies of a sequence begin alike, and each common beginning is run once. Rows
are sorted by the hashes of their steps, as words in a dictionary: rows with a common prefix are neighbours, and
the number of steps each row shares with the one before it determines the tree. After each step, the rows that have read
the same steps are one *node*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

Reading = Literal["last", "mean", "all"]


@dataclass(frozen=True)
class PrefixTree:
    """Prefix tree of R rows of T steps, read in one direction: M nodes, ordered by step.

    Attributes:
        counts: the number of nodes of each of the T steps.
        place: int64[R], the position of each row in sorted order.
        node: int64[T, R], the node of each step to which the row at a position belongs, counted within the step;
            arbitrary for a row that has ended.
        row: int64[M], one of the rows of each node.
        step: int64[M], the step of each node.
        parent: int64[M], the parent of each node, counted within the step before.
        content: int64[M], the hash of the step that each node reads.
    """

    counts: list[int]
    place: Tensor
    node: Tensor
    row: Tensor
    step: Tensor
    parent: Tensor
    content: Tensor

    @property
    def steps(self) -> int:
        """M, the number of nodes: of calls of the recurrent cell."""
        return len(self.row)

    def to(self, device: torch.device) -> PrefixTree:
        """The tree with its tensors on a device."""
        return PrefixTree(
            self.counts,
            *(part.to(device) for part in (self.place, self.node, self.row, self.step, self.parent, self.content)),
        )


class States:
    """Outputs of one direction for R rows; only those that will be read are kept.

    Args:
        tree: the prefix tree of the rows.
        lengths: int64[R].
        reading: which outputs are kept: ``"last"``, ``"mean"`` or ``"all"``.
        backwards: whether the direction reads from each row's end.
    """

    def __init__(self, tree: PrefixTree, lengths: Tensor, reading: Reading, *, backwards: bool) -> None:
        self.tree = tree
        self._lengths = lengths
        self._reading = reading
        self._backwards = backwards
        self._outputs: list[Tensor] = []
        self._at_end = torch.empty(0)
        self._ends = lengths.unique().tolist()

    def add(self, step: int, parent: Tensor, outputs: Tensor) -> None:
        """Add the outputs of the nodes of a step.

        Args:
            step: the step, from 0.
            parent: int64[N], the parent of each node, counted within the step before.
            outputs: float[N, H].
        """
        if self._reading == "mean" and step:
            outputs = self._outputs.pop().index_select(0, parent).add_(outputs)
        if self._reading != "last":
            self._outputs.append(outputs)
        if self._reading == "all" or step + 1 not in self._ends:
            return
        if not len(self._at_end):
            self._at_end = outputs.new_empty(len(self._lengths), outputs.shape[1])
        rows = (self._lengths == step + 1).nonzero().squeeze(1)
        self._at_end[rows] = outputs[self.tree.node[step, self.tree.place[rows]]]

    def last(self) -> Tensor:
        """Output float[R, H] after the whole sequence was read (reading ``"last"``)."""
        return self._at_end

    def mean(self) -> Tensor:
        """Mean float[R, H] of the outputs over each row's steps (reading ``"mean"``)."""
        return self._at_end / self._lengths[:, None]

    def all(self, rows: slice) -> Tensor:
        """Every output float[R', T, H] of some rows, in the order of time; meaningless beyond a row's length."""
        node = self._all_nodes[self.tree.place[rows]]
        outputs = self._all_outputs.index_select(0, node.flatten()).view(*node.shape, -1)
        return reversed_within(outputs, self._lengths[rows]) if self._backwards else outputs

    @cached_property
    def _all_outputs(self) -> Tensor:
        """Outputs float[M, H] of all nodes."""
        return torch.cat(self._outputs)

    @cached_property
    def _all_nodes(self) -> Tensor:
        """Node int64[R, T] of each row at each step, counted over all steps; rows are in sorted order."""
        counts = self.tree.node.new_tensor(self.tree.counts)
        return (self.tree.node + (counts.cumsum(0) - counts)[:, None]).clamp_(0, self.tree.steps - 1).T


def build_prefix_tree(keys: Tensor, lengths: Tensor) -> PrefixTree:
    """Prefix tree of rows, from the hashes of their steps.

    Args:
        keys: int64[R, T], the hashes of the steps of different rows, in the order in which the steps are read; 0
            beyond a row's length.
        lengths: int64[R], at most T.
    """
    order, ordered, common = _sorted_words(keys)
    steps = np.arange(keys.shape[1])[:, None]
    begins = (steps >= common) & (steps < lengths.numpy()[order])
    node = begins.cumsum(1) - 1
    step, place = begins.nonzero()
    parent = np.where(step > 0, node[step - 1, place], 0)
    arrays = (np.argsort(order), node, order[place], step, parent, ordered[place, step])
    return PrefixTree(begins.sum(1).tolist(), *map(torch.from_numpy, arrays))


def count_prefixes(keys: Tensor, lengths: Tensor) -> int:
    """Number of different prefixes of different rows: of nodes of their prefix tree; see :func:`build_prefix_tree`."""
    order, _, common = _sorted_words(keys)
    return int((lengths.numpy()[order] - common).clip(0).sum())


def _sorted_words(keys: Tensor) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Sorted rows of keys int64[R, T].

    Returns:
        the order int64[R]; the sorted rows; and int64[R], the number of first steps that each has in common with the
        one before it.
    """
    words = np.ascontiguousarray(keys.numpy())
    order = words.view(f"V{words.itemsize * words.shape[1]}")[:, 0].argsort()
    ordered = words[order]
    equal = np.concatenate([np.zeros((1, words.shape[1]), bool), ordered[1:] == ordered[:-1]])
    return order, ordered, np.where(equal.all(1), words.shape[1], equal.argmin(1))


def reversed_within(rows: Tensor, lengths: Tensor) -> Tensor:
    """Rows [N, T(, D)] with the steps of each in reverse order; padding stays at the end."""
    if bool((lengths == rows.shape[1]).all()):
        return rows.flip(1)
    step = torch.arange(rows.shape[1], device=rows.device)
    place = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return rows.gather(1, place.view(*place.shape, *[1] * (rows.dim() - 2)).expand_as(rows))
