"""Common beginnings: which rows are one after each step, and what was read of them.

Rows are put in the order of their prints, as words in a dictionary: those with a common beginning are neighbours, and
how many steps each shares with the one before it says everything. After each step, rows that have read the same are
one *node*.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Reading = Literal["last", "mean", "all"]


@dataclass(frozen=True)
class Plan:
    """Which of R rows are one after each of T steps, for one direction: M nodes, those of a step behind each other.

    Attributes:
        counts: T numbers of nodes.
        place: int64[R], where each row stands in the order of prints.
        node: int64[T, R], which node of the step the row at a place is part of, counted within the step; of a row that
            has ended, any.
        row: int64[M], a row of each node.
        step: int64[M], the step of each node.
        parent: int64[M], the node of the step before that each comes from, counted within that step.
        content: int64[M], the print of what each node reads.
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
        """M: how many cell steps are run."""
        return len(self.row)

    def to(self, device: torch.device) -> Plan:
        """The same on a device."""
        return Plan(
            self.counts,
            *(part.to(device) for part in (self.place, self.node, self.row, self.step, self.parent, self.content)),
        )


class States:
    """The outputs of one direction for R rows, kept as far as they are read.

    Args:
        plan: which node is whose.
        lengths: int64[R].
        reading: what is kept.
        backwards: whether the direction reads from each row's end.
    """

    def __init__(self, plan: Plan, lengths: Tensor, reading: Reading, *, backwards: bool) -> None:
        self.plan = plan
        self._lengths = lengths
        self._reading = reading
        self._backwards = backwards
        self._outputs: list[Tensor] = []
        self._found = torch.empty(0)
        self._ends = lengths.unique().tolist()

    def add(self, step: int, parent: Tensor, outputs: Tensor) -> None:
        """Take the outputs float[N, H] of the nodes of a step, and the node before that each comes from."""
        if self._reading == "mean" and step:
            outputs = self._outputs.pop().index_select(0, parent).add_(outputs)
        if self._reading != "last":
            self._outputs.append(outputs)
        if self._reading == "all" or step + 1 not in self._ends:
            return
        if not len(self._found):
            self._found = outputs.new_empty(len(self._lengths), outputs.shape[1])
        rows = (self._lengths == step + 1).nonzero().squeeze(1)
        self._found[rows] = outputs[self.plan.node[step, self.plan.place[rows]]]

    def last(self) -> Tensor:
        """float[R, H]: the output after the whole sequence was read (reading ``"last"``)."""
        return self._found

    def mean(self) -> Tensor:
        """float[R, H]: the mean of the outputs over each row's steps (reading ``"mean"``)."""
        return self._found / self._lengths[:, None]

    def all(self, rows: slice) -> Tensor:
        """float[R', T, H]: every output of some rows, in the order of time; beyond a row's length they mean nothing."""
        node = self._all_nodes[self.plan.place[rows]]
        found = self._all_outputs.index_select(0, node.flatten()).view(*node.shape, -1)
        return reversed_within(found, self._lengths[rows]) if self._backwards else found

    @cached_property
    def _all_outputs(self) -> Tensor:
        """float[M, H]."""
        return torch.cat(self._outputs)

    @cached_property
    def _all_nodes(self) -> Tensor:
        """int64[R, T], counted through all steps."""
        counts = self.plan.node.new_tensor(self.plan.counts)
        return (self.plan.node + (counts.cumsum(0) - counts)[:, None]).clamp_(0, self.plan.steps - 1).T


def plan_of(keys: Tensor, lengths: Tensor) -> Plan:
    """What rows have in common from their beginning on.

    Args:
        keys: int64[R, T], the prints of the steps of different rows in the order in which they are read; 0 beyond a
            row's length.
        lengths: int64[R], at most T.
    """
    words = np.ascontiguousarray(keys.numpy())
    order = words.view(f"V{words.itemsize * words.shape[1]}")[:, 0].argsort()
    ordered = words[order]
    equal = np.concatenate([np.zeros((1, words.shape[1]), bool), ordered[1:] == ordered[:-1]])
    common = np.where(equal.all(1), words.shape[1], equal.argmin(1))
    steps = np.arange(words.shape[1])[:, None]
    begins = (steps >= common) & (steps < lengths.numpy()[order])
    node = begins.cumsum(1) - 1
    step, place = begins.nonzero()
    parent = np.where(step > 0, node[step - 1, place], 0)
    found = (np.argsort(order), node, order[place], step, parent, ordered[place, step])
    return Plan(begins.sum(1).tolist(), *map(torch.from_numpy, found))


def reversed_within(rows: Tensor, lengths: Tensor) -> Tensor:
    """[N, T(, D)] with each row's steps in reverse, its padding staying behind."""
    if bool((lengths == rows.shape[1]).all()):
        return rows.flip(1)
    step = torch.arange(rows.shape[1], device=rows.device)
    place = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return rows.gather(1, place.view(*place.shape, *[1] * (rows.dim() - 2)).expand_as(rows))
