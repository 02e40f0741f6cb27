"""Greedy search for the order of feature removal that lowers the score fastest, under a budget of model rows.

The best of n! orders cannot be computed. A greedy order, which scores the remaining features again before blocks of
removals, comes close to it for models whose features interact little. It does not depend on any method. It costs at
most ``budget`` model rows for each instance, however many features there are:

* n ≤ budget: R = budget // n rounds (at least one, at most one for each block of the curve) score the removal of every
  remaining feature alone; the blocks between two rounds follow the last round. Rounds are dense at the start, where
  curves are steep: round r is before block max(r, ⌊points·(r/R)²⌋).
* n > budget: one round scores the removal of groups of ⌈n/budget⌉ neighbouring features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...tasks.data.masking import feature_shape
from ...tasks.engine.variants import Masked, Variants
from ...tasks.subject import Subject

if TYPE_CHECKING:
    from ...tasks.data.batch import Granularity

_VALUES_AT_ONCE: Final = 1 << 24


def removal_ranks(
    subject: Subject, granularity: Granularity, chunk: Tensor, counts: Tensor, budget: int
) -> tuple[Tensor, Tensor]:
    """Two candidates for the order whose deletion curve has the least area.

    A removed feature is replaced by the reference.

    Args:
        subject: model and batch.
        granularity: whether a feature is a step or a cell.
        chunk: int64[C], instances of the batch to search.
        counts: int64[B, points + 1], number of removed features at each point of the curve.
        budget: model rows for each instance.

    Returns:
        ranks int64[C, N] of the greedy order, and of the order by the effect of each removal alone. Rank 0 is removed
        first.
    """
    shape = feature_shape(subject.batch, granularity)
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
    """Greedy search of C instances at once; the state is the removed features and the last score of each removal.

    Attributes:
        subject: model and batch.
        valid: bool[C, N], features of the instances; False on padding.
        instance: int64[C], instances of the batch.
        sign: float64[B], by which a value is multiplied to be evidence for the explained output: −1 for a regression
            whose score is below that of the reference, else 1.
        budget: model rows for each instance.
        variants: makes variants from the features that are kept, bool[V, N], and the instances int64[V].
        ranks: int64[C, N], place of each feature in the order of removal.
        score_without: float64[C, N], score without the features removed then and this one, as last computed.
        removed: bool[C, N], features removed so far.
        unit: int64[C, N], group of neighbouring features that is scored together with each feature.
    """

    subject: Subject
    valid: Tensor
    instance: Tensor
    sign: Tensor
    budget: int
    variants: Callable[[Tensor, Tensor], Variants]
    ranks: Tensor = field(init=False)
    score_without: Tensor = field(init=False)
    removed: Tensor = field(init=False)
    unit: Tensor = field(init=False)

    def __post_init__(self) -> None:
        n = self.valid.sum(1, keepdim=True)
        self.removed = torch.zeros_like(self.valid)
        self.unit = (self.valid.cumsum(1) - 1).clamp_min(0) // -(-n // self.budget)
        self.score_without = torch.full(self.valid.shape, torch.inf, dtype=torch.float64)
        self.ranks = torch.full(self.valid.shape, self.valid.shape[1] - 1)

    def ranks_of(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Ranks of the greedy order and of the order by single removals, int64[C, N] each.

        Args:
            counts: int64[C, points + 1], number of removed features at each point of the curve.
        """
        due = _rounds(self.valid.sum(1), counts.shape[1] - 1, self.budget)
        alone = torch.empty(0)
        for block in range(counts.shape[1] - 1):
            self.score_removals(due[:, block])
            if block == 0:
                alone = self.score_without.argsort(dim=1, stable=True)
            self.remove(counts[:, block], counts[:, block + 1])
        places = torch.arange(alone.shape[1]).expand_as(alone)
        return self.ranks, torch.empty_like(alone).scatter_(1, alone, places)

    def score_removals(self, due: Tensor) -> None:
        """Score the removal of each remaining unit of the instances that are due, bool[C]."""
        remaining = self.valid & ~self.removed & due[:, None]
        if not remaining.any():
            return
        scores = torch.full(self.valid.shape, torch.inf, dtype=torch.float64)
        units = torch.zeros_like(self.valid)
        rows, columns = remaining.nonzero(as_tuple=True)
        units[rows, self.unit[rows, columns]] = True
        for pairs in units.nonzero().split(max(1, _VALUES_AT_ONCE // self.valid.shape[1])):
            row, unit = pairs.T
            keep = ~self.removed[row] & (self.unit[row] != unit[:, None])
            scores[row, unit] = self._evidence(keep, self.instance[row])
        self.score_without = torch.where(remaining, scores.gather(1, self.unit), self.score_without)

    def remove(self, start: Tensor, stop: Tensor) -> None:
        """Remove the features of one block of the curve.

        Args:
            start: int64[C], number of removed features before the block.
            stop: int64[C], number of removed features after it.
        """
        order = self.score_without.masked_fill(self.removed, torch.inf).argsort(dim=1, stable=True)
        place = torch.arange(order.shape[1]).expand_as(order)
        taken = place < (stop - start)[:, None]
        row = torch.arange(len(order))[:, None].expand_as(order)[taken]
        self.ranks[row, order[taken]] = (place + start[:, None])[taken]
        self.removed[row, order[taken]] = True

    def _evidence(self, keep: Tensor, instance: Tensor) -> Tensor:
        """Evidence for the explained output, float64[V]: the signed value, or for logits the margin of the target.

        The order of removals needs only a quantity that grows with the score, and a margin does not saturate.
        """
        outputs = self.subject.outputs(self.variants(keep, instance)).double()
        logits = self.subject.gives_logits
        outputs = self.subject.logits(outputs) if logits else outputs
        target = self.subject.target[instance, None]
        chosen = outputs.gather(1, target).squeeze(1)
        if logits and outputs.shape[1] > 1:
            return chosen - outputs.scatter(1, target, -torch.inf).logsumexp(1)
        return chosen * self.sign[instance]


def _rounds(n: Tensor, points: int, budget: int) -> Tensor:
    """Whether a round of scoring precedes each block of the curve, bool[C, points].

    Args:
        n: int64[C], number of features of each instance.
        points: number of blocks.
        budget: model rows for each instance.
    """
    rounds = (budget // n).clamp(1, points)
    due = torch.zeros(len(n), points, dtype=torch.bool)
    for row, count in enumerate(rounds.tolist()):
        for turn in range(count):
            due[row, max(turn, points * turn * turn // (count * count))] = True
    return due
