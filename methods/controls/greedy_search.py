"""The best order found: which removal of features lowers the score fastest, by greedy search under a budget.

The best of n! orders is out of reach. A greedy one, which asks again before each block of removals, comes close to it
for models whose features interact little, and no method is told of it. What it costs is bounded: at most ``budget``
model rows for each instance, however many features there are:

* n ≤ budget: R = budget // n rounds (at least one, at most one for each block of the curve) try the removal of every
  remaining feature alone; the blocks between two rounds follow the last one. Rounds are dense at the start, where
  curves are steep: the r-th stands before block max(r, ⌊points·(r/R)²⌋).
* n > budget: one round tries groups of ⌈n/budget⌉ neighbouring features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...tasks.engine.variants import Masked, Variants
from ...tasks.subject import Subject

if TYPE_CHECKING:
    from ...tasks.data.batch import Granularity

_VALUES_AT_ONCE: Final = 1 << 24


def ranks(
    subject: Subject, granularity: Granularity, chunk: Tensor, counts: Tensor, budget: int
) -> tuple[Tensor, Tensor]:
    """Two candidates for the order whose deletion curve has the least area, features being replaced by the reference.

    Args:
        subject: what is asked.
        granularity: what a feature is.
        chunk: int64[C], the instances.
        counts: int64[B, points + 1], the grid of the curve.
        budget: model rows for each instance.

    Returns:
        ranks int64[C, N] of the greedy order, and of the order by the effect of each removal alone.
    """
    shape = subject.batch.inputs.shape[1:2] if granularity == "step" else subject.batch.inputs.shape[1:]
    falls = subject.score < subject.reference_score
    sign = torch.where(falls & (not subject.classification), -1.0, 1.0).double()
    search = Search(
        subject,
        subject.features(granularity)[chunk],
        chunk,
        sign,
        budget,
        lambda keep, instance: Masked(keep.view(-1, *shape), instance),
    )
    return search.ranks_of(counts[chunk])


@dataclass
class Search:
    """The search for the best order: what is removed, and the score after each further removal as last asked.

    Attributes:
        subject: what is asked.
        valid: bool[C, N], the features of the instances.
        instance: int64[C], the instances.
        sign: float64[B], by which a value is evidence.
        budget: model rows for each instance.
        lacking: the variants of instances int64[V] that keep the features bool[V, N] only.
    """

    subject: Subject
    valid: Tensor
    instance: Tensor
    sign: Tensor
    budget: int
    lacking: Callable[[Tensor, Tensor], Variants]
    ranks: Tensor = field(init=False)
    after: Tensor = field(init=False)
    removed: Tensor = field(init=False)
    unit: Tensor = field(init=False)

    def __post_init__(self) -> None:
        n = self.valid.sum(1, keepdim=True)
        self.removed = torch.zeros_like(self.valid)
        self.unit = (self.valid.cumsum(1) - 1).clamp_min(0) // -(-n // self.budget)
        self.after = torch.full(self.valid.shape, torch.inf, dtype=torch.float64)
        self.ranks = torch.full(self.valid.shape, self.valid.shape[1] - 1)

    def ranks_of(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """The greedy order along a grid int64[C, points + 1] and that of single removals, as ranks int64[C, N]."""
        due = _rounds(self.valid.sum(1), counts.shape[1] - 1, self.budget)
        alone = torch.empty(0)
        for block in range(counts.shape[1] - 1):
            self.ask(due[:, block])
            if block == 0:
                alone = self.after.argsort(dim=1, stable=True)
            self.remove(counts[:, block], counts[:, block + 1])
        places = torch.arange(alone.shape[1]).expand_as(alone)
        return self.ranks, torch.empty_like(alone).scatter_(1, alone, places)

    def ask(self, due: Tensor) -> None:
        """Score the removal of each remaining unit of the instances that are due, bool[C]."""
        open_ = self.valid & ~self.removed & due[:, None]
        if not open_.any():
            return
        table = torch.full(self.valid.shape, torch.inf, dtype=torch.float64)
        there = torch.zeros_like(self.valid)
        rows, columns = open_.nonzero(as_tuple=True)
        there[rows, self.unit[rows, columns]] = True
        for pairs in there.nonzero().split(max(1, _VALUES_AT_ONCE // self.valid.shape[1])):
            row, unit = pairs.T
            keep = ~self.removed[row] & (self.unit[row] != unit[:, None])
            table[row, unit] = self._evidence(keep, self.instance[row])
        self.after = torch.where(open_, table.gather(1, self.unit), self.after)

    def remove(self, start: Tensor, stop: Tensor) -> None:
        """Remove the next features, as many as there are between two points of the grid, int64[C] each."""
        order = self.after.masked_fill(self.removed, torch.inf).argsort(dim=1, stable=True)
        place = torch.arange(order.shape[1]).expand_as(order)
        taken = place < (stop - start)[:, None]
        row = torch.arange(len(order))[:, None].expand_as(order)[taken]
        self.ranks[row, order[taken]] = (place + start[:, None])[taken]
        self.removed[row, order[taken]] = True

    def _evidence(self, keep: Tensor, instance: Tensor) -> Tensor:
        """float64[V]: anything that grows with the score; for logits their margin, which does not saturate."""
        outputs = self.subject.outputs(self.lacking(keep, instance)).double()
        target = self.subject.target[instance, None]
        chosen = outputs.gather(1, target).squeeze(1)
        if self.subject.outputs_are == "logits" and outputs.shape[1] > 1:
            return chosen - outputs.scatter(1, target, -torch.inf).logsumexp(1)
        return chosen * self.sign[instance]


def _rounds(n: Tensor, points: int, budget: int) -> Tensor:
    """bool[C, points]: before which blocks each instance's removals are tried again."""
    rounds = (budget // n).clamp(1, points)
    due = torch.zeros(len(n), points, dtype=torch.bool)
    for row, count in enumerate(rounds.tolist()):
        for turn in range(count):
            due[row, max(turn, points * turn * turn // (count * count))] = True
    return due
