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

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from ..tasks.data import Granularity
from ..tasks.subject import Subject
from ..tasks.variants import Masked

_VALUES_AT_ONCE: Final = 1 << 24


def ranks(
    subject: Subject, granularity: Granularity, chunk: Tensor, counts: Tensor, budget: int
) -> tuple[Tensor, Tensor]:
    """Two candidates for the order whose deletion curve has the least area.

    Args:
        subject: what is asked.
        granularity: what a feature is.
        chunk: int64[C], the instances.
        counts: int64[B, points + 1], the grid of the curve.
        budget: model rows for each instance.

    Returns:
        ranks int64[C, N] of the greedy order, and of the order by the effect of each removal alone.
    """
    search = _Search(subject, granularity, chunk, subject.features(granularity)[chunk], budget)
    counts = counts[chunk]
    due = _rounds(search.valid.sum(1), counts.shape[1] - 1, budget)
    alone = torch.empty(0)
    for block in range(counts.shape[1] - 1):
        search.ask(due[:, block])
        if block == 0:
            alone = search.after.argsort(dim=1, stable=True)
        search.remove(counts[:, block], counts[:, block + 1])
    places = torch.arange(alone.shape[1]).expand_as(alone)
    return search.ranks, torch.empty_like(alone).scatter_(1, alone, places)


@dataclass
class _Search:
    """The state of the search: what is removed, and the score after each further removal as last asked."""

    subject: Subject
    granularity: Granularity
    instance: Tensor
    valid: Tensor
    budget: int
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
        shape = self.subject.batch.inputs.shape[1:]
        keep = keep.view(-1, *(shape[:1] if self.granularity == "step" else shape))
        outputs = self.subject.outputs(Masked(keep, instance)).double()
        target = self.subject.target[instance, None]
        chosen = outputs.gather(1, target).squeeze(1)
        if self.subject.outputs_are == "logits" and outputs.shape[1] > 1:
            return chosen - outputs.scatter(1, target, -torch.inf).logsumexp(1)
        if self.subject.classification:
            return chosen
        falls = self.subject.score < self.subject.reference_score
        return torch.where(falls[instance], -chosen, chosen)


def _rounds(n: Tensor, points: int, budget: int) -> Tensor:
    """bool[C, points]: before which blocks each instance's removals are tried again."""
    rounds = (budget // n).clamp(1, points)
    due = torch.zeros(len(n), points, dtype=torch.bool)
    for row, count in enumerate(rounds.tolist()):
        for turn in range(count):
            due[row, max(turn, points * turn * turn // (count * count))] = True
    return due
