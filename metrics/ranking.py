"""Statistics of rankings in which features may be tied, for each row of a batch, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor


@dataclass(frozen=True, eq=False)
class TieGroups:
    """Rankings of features, of which some are relevant, as groups of tied features.

    Each field but the last two has one entry for each place of the ranking, highest first, and says something about
    the group of tied features that holds the place. Padding comes last, in a group without a relevant feature.

    Attributes:
        start: float64[B, N], how many features are ranked above the group.
        size: float64[B, N], how many features it holds.
        hits: float64[B, N], how many of them are relevant.
        before: float64[B, N], how many relevant features are ranked above it.
        positives: float64[B], how many features are relevant, and
        n: float64[B], how many there are.
    """

    start: Tensor
    size: Tensor
    hits: Tensor
    before: Tensor
    positives: Tensor
    n: Tensor

    @classmethod
    def of(cls, relevance: Tensor, relevant: Tensor, valid: Tensor) -> TieGroups:
        """Rank features float[B, N] by falling relevance, where relevant and valid are bool[B, N]."""
        values, order = relevance.double().masked_fill(~valid, -torch.inf).sort(1, descending=True)
        hit = (relevant & valid).double().gather(1, order)
        new = torch.ones_like(values, dtype=torch.bool)
        new[:, 1:] = values[:, 1:] != values[:, :-1]
        group = new.cumsum(1) - 1
        places = torch.arange(values.shape[1], dtype=torch.float64).expand_as(values)
        sizes = torch.zeros_like(values).scatter_add_(1, group, torch.ones_like(values))
        hits = torch.zeros_like(values).scatter_add_(1, group, hit)
        return cls(
            start=torch.where(new, places, 0.0).cummax(1).values,
            size=sizes.gather(1, group),
            hits=hits.gather(1, group),
            before=(hits.cumsum(1) - hits).gather(1, group),
            positives=hit.sum(1),
            n=valid.sum(1).double(),
        )

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.start.shape[1], dtype=torch.float64)

    def average_precision(self) -> Tensor:
        """float64[B]: expected average precision over all orders of tied features.

        The i-th place of a group of t features, p of them relevant, holds a relevant one with probability p/t, and
        then (i − 1)(p − 1)/(t − 1) of the group's others above it are expected to be relevant.
        """
        above = self._places - self.start
        found = self.before + 1 + above * (self.hits - 1) / (self.size - 1).clamp_min(1)
        return (self.hits / self.size * found / (self._places + 1)).sum(1) / self.positives

    def auroc(self) -> Tensor:
        """float64[B]: Mann–Whitney U of the relevant features over its maximum, by midranks."""
        midranks = self.n[:, None] - self.start - (self.size - 1) / 2
        total = (midranks * self.hits / self.size).sum(1)
        p = self.positives
        return (total - p * (p + 1) / 2) / (p * (self.n - p))

    def rank_accuracy(self) -> Tensor:
        """float64[B]: expected share of relevant features among the first |A|, over all orders of tied features."""
        inside = (self.positives[:, None] - self.start).clamp_min(0).minimum(self.size)
        return (inside / self.size * self.hits / self.size).sum(1) / self.positives


def pearson(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
    """float64[B]: correlation of float[B, N] over what is valid.

    0 where only left is constant; NaN where right is, and for fewer than 2 values.
    """
    left, right = _centred(left.double(), valid), _centred(right.double(), valid)
    norms = left.norm(dim=1) * right.norm(dim=1)
    found = (left * right).sum(1) / torch.where(norms > 0, norms, 1.0)
    return found.clamp(-1, 1).masked_fill(right.abs().amax(1) == 0, torch.nan)


def _centred(values: Tensor, valid: Tensor) -> Tensor:
    """Values over their largest size, less their mean; exactly 0 where they are constant, and on padding."""
    values = torch.where(valid, values, 0.0)
    largest = values.abs().amax(1, keepdim=True)
    # so that neither squares of large values overflow nor squares of small ones vanish
    values = values / torch.where(largest > 0, largest, 1.0)
    first = values[:, :1]
    constant = ((values == first) | ~valid).all(1, keepdim=True)
    centred = values - values.sum(1, keepdim=True) / valid.sum(1, keepdim=True)
    return torch.where(valid & ~constant, centred, 0.0)


def kendall(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
    """float64[B]: Kendall's τ-b of float[B, N] over what is valid, in O(n log n) for each row.

    NaN where either side is constant, and so for fewer than 2 values.
    """
    found = torch.full((len(left),), torch.nan, dtype=torch.float64)
    for row in range(len(left)):
        pair = left[row, valid[row]], right[row, valid[row]]
        if all(bool((side != side[0]).any()) for side in pair):
            tau = stats.kendalltau(*(side.double().numpy() for side in pair)).statistic
            # rounding takes perfect agreement to 1 + 2e-16
            found[row] = min(max(float(tau), -1.0), 1.0)
    return found
