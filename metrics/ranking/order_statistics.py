"""Statistics of rankings in which features may be tied, for each row of a batch, in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from scipy import stats
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

# Rows up to here are compared pair by pair: measured, 80 times as fast as scipy with 9 values, 26 with 50, 4 with 200,
# and no faster with 300.
_PAIRED: Final = 300
_PAIRS_AT_ONCE: Final = 1 << 20
# Values of rows looked at together: what is computed of them takes several times their memory.
_VALUES_AT_ONCE: Final = 1 << 16


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

    def found(self, count: Tensor) -> Tensor:
        """float64[B]: expected number of relevant features among the first ``count`` of each row, over orders of ties.

        Args:
            count: [B], each from 0 to n.
        """
        inside = (count[:, None] - self.start).clamp_min(0).minimum(self.size)
        return (inside / self.size * self.hits / self.size).sum(1)

    def rank_accuracy(self) -> Tensor:
        """float64[B]: expected share of relevant features among the first |A|, over all orders of tied features."""
        return self.found(self.positives) / self.positives

    def precision_at(self, k: int) -> Tensor:
        """float64[B]: expected share of relevant features among the first k, or among all where there are fewer."""
        count = self.n.clamp_max(k)
        return self.found(count) / count


def by_rows(score: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """What a function of some rows gives for all, called for few enough at once: what it computes of them is not kept.

    Args:
        score: of tensors [C, …] makes one [C, …].
        tensors: [B, …] each; the first, [B, N], says how many values a row has.
    """
    rows = max(1, _VALUES_AT_ONCE // max(1, tensors[0].shape[1]))
    return torch.cat([score(*part) for part in zip(*(each.split(rows) for each in tensors), strict=True)])


def pearson(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
    """float64[B]: correlation of float[B, N] over what is valid.

    0 where only left is constant; NaN where right is, and for fewer than 2 values.
    """
    return by_rows(_pearson, left, right, valid)


def _pearson(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
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
    """float64[B]: Kendall's τ-b of float[B, N] over what is valid.

    Short rows are compared pair by pair, many at once; longer ones are given to scipy one by one, in O(n log n).

    NaN where either side is constant, and so for fewer than 2 values.
    """
    found = torch.full((len(left),), torch.nan, dtype=torch.float64)
    sizes = valid.sum(1)
    short = (sizes <= _PAIRED).nonzero().squeeze(1)
    order = short[sizes[short].argsort(stable=True)]
    most = int(sizes[short].max()) if len(short) else 0
    for rows in order.split(max(1, _PAIRS_AT_ONCE // max(most, 1) ** 2)) if len(order) else ():
        width = int(sizes[rows].max())
        found[rows] = _paired(*(_packed(side[rows], valid[rows], width) for side in (left, right)))
    for row in (sizes > _PAIRED).nonzero().squeeze(1).tolist():
        found[row] = _sorted(left[row, valid[row]], right[row, valid[row]])
    # rounding takes perfect agreement to 1 + 2e-16
    return found.clamp(-1, 1)


def _packed(values: Tensor, valid: Tensor, width: int) -> Tensor:
    """float64[B, width]: what is valid in its order, then NaN, which is neither above nor below anything."""
    first = (~valid).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    return values.double().masked_fill(~valid, torch.nan).gather(1, first)


def _paired(left: Tensor, right: Tensor) -> Tensor:
    """float64[B]: τ-b from all pairs of float64[B, N]."""
    rising = left[:, :, None] < left[:, None]
    above, below = right[:, :, None] < right[:, None], right[:, :, None] > right[:, None]
    agreeing = _counted(rising & above) - _counted(rising & below)
    # torch's root may err in the last bit; numpy's does not, and so this is scipy's τ to the bit
    roots = [torch.from_numpy(np.sqrt(_counted(pairs).numpy())) for pairs in (rising, above)]
    # NaN where a side has no pair that differs
    return agreeing / roots[0] / roots[1]


def _counted(pairs: Tensor) -> Tensor:
    """float64[B]: how many of bool[B, N, N] hold; as bytes, because torch is slow at adding up bools."""
    return pairs.view(torch.uint8).flatten(1).sum(1, dtype=torch.int32).double()


def _sorted(left: Tensor, right: Tensor) -> float:
    """τ-b of two rows float[n], NaN where one is constant."""
    if not all(bool((side != side[0]).any()) for side in (left, right)):
        return float("nan")
    return float(stats.kendalltau(left.double().numpy(), right.double().numpy()).statistic)


def spearman(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
    """float64[B]: Spearman's ρ of float[B, N] over what is valid, tied values sharing the mean of their ranks.

    NaN where either side is constant, and so for fewer than 2 values.
    """
    return by_rows(_spearman, left, right, valid)


def _spearman(left: Tensor, right: Tensor, valid: Tensor) -> Tensor:
    left, right = _midranks(left, valid), _midranks(right, valid)
    constant = _centred(left, valid).abs().amax(1) == 0
    return _pearson(left, right, valid).masked_fill(constant, torch.nan)


def overlap(left: Tensor, right: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """float64[B]: what share of their k largest valid values two float[B, N] have in common.

    Tied values that share the last places are drawn for them, on each side anew; this is the exact expectation, and
    k/n where either side is constant.

    Args:
        left: one side.
        right: the other.
        valid: bool[B, N].
        count: int64[B], k, from 1 to n.
    """
    among = [_chance_among(side, valid, count) for side in (left, right)]
    return (among[0] * among[1]).sum(1) / count


def _chance_among(values: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """float64[B, N]: how likely each value is among the k largest, if ties are broken at random."""
    below, equal = _standing(values, valid)
    above = valid.sum(1, keepdim=True) - below - equal
    return torch.where(valid, ((count[:, None] - above) / equal).clamp(0, 1), 0.0)


def _midranks(values: Tensor, valid: Tensor) -> Tensor:
    below, equal = _standing(values, valid)
    return torch.where(valid, below + (equal + 1) / 2, 0.0)


def _standing(values: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """float64[B, N] each: how many valid values are below a value, and how many equal it, itself among them."""
    values = values.double().masked_fill(~valid, torch.inf)
    ordered = values.sort(1).values
    below = torch.searchsorted(ordered, values).double()
    return below, torch.searchsorted(ordered, values, right=True) - below
