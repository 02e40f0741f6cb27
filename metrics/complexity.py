"""Complexity: on how few features does an explanation rest?

A short explanation is easier to read, and that is all: a random map of one feature has the best figures there are.
Complexity is never ranked alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ..plugins import register
from .base import Direction, Evidence, Family, Metric

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Complexity(Metric):
    """What the complexity metrics share: they read the sizes of the attribution and nothing else."""

    family: ClassVar[Family] = "complexity"
    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"

    def score(self, evidence: Evidence) -> Tensor:
        """NaN for sequences of one feature."""
        valid = evidence.subject.features(evidence.attribution.granularity)
        sizes = torch.where(valid, evidence.attribution.values.double().abs().flatten(1), 0.0)
        largest = sizes.amax(1, keepdim=True)
        # so that sums of the largest values there are stay finite
        sizes = sizes / torch.where(largest > 0, largest, 1.0)
        n = valid.sum(1).double()
        return self.complexity(sizes, n).masked_fill(n < 2, torch.nan)

    def complexity(self, sizes: Tensor, n: Tensor) -> Tensor:
        """float64[B]; anything where n is 1.

        Args:
            sizes: float64[B, N], |Φ| over its largest value; 0 on padding.
            n: float64[B], how many features there are.
        """
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Gini(_Complexity):
    """Gini index of the sizes |Φ|: how unevenly the attribution is spread over the features.

        G = 1 − 2 Σ_k  |Φ|_(k) / ‖Φ‖₁ · (n − k + ½) / n,   |Φ|_(1) ≤ … ≤ |Φ|_(n)

    for each sequence over its valid features: steps or cells, as the method tells them apart. 0 where all sizes are
    equal, 1 − 1/n where all but one are 0. An all-zero map is as even as any other constant one: 0. NaN for sequences
    of one feature, where every map has 0.

    Higher is sparser and easier to read, not truer: a random map of one feature has the best value. Never rank by it
    alone. Maps by steps and by cells have different n, and their values do not compare.

    Source: Hurley & Rickard 2009; for attributions: Chalasani et al. 2020.
    """

    name: ClassVar[str] = "gini"
    direction: ClassVar[Direction] = "higher"
    high: ClassVar[float] = 1.0
    source: ClassVar[str] = "Hurley & Rickard 2009, arXiv:0811.4706; Chalasani et al. 2020, arXiv:1810.06583"

    def complexity(self, sizes: Tensor, n: Tensor) -> Tensor:
        """See the class."""
        ordered = sizes.sort(1).values
        width = sizes.shape[1]
        # padding holds zeros and comes first; what is valid has ranks 1 … n
        ranks = torch.arange(1, width + 1, dtype=torch.float64) - (width - n)[:, None]
        total = ordered.sum(1)
        uneven = ((2 * ranks - n[:, None] - 1) * ordered).sum(1)
        # rounding takes equal sizes below 0
        return (uneven / (n * torch.where(total > 0, total, 1.0))).clamp_min(0)


@register
@dataclass(frozen=True)
class AttributionEntropy(_Complexity):
    """Entropy of the shares |Φ_i| / ‖Φ‖₁: over how many features the attribution is spread.

        H = −Σ_i p_i ln p_i,   p_i = |Φ_i| / ‖Φ‖₁

    for each sequence over its valid features: steps or cells, as the method tells them apart; as a share of the largest
    there is, ln n, so that sequences of different lengths compare, or in nats as in the paper. 0 where all but one are
    0, 1 (ln n) where all sizes are equal. An all-zero map singles out nothing, as any other constant one: 1 (ln n). NaN
    for sequences of one feature, where every map has 0 of 0.

    Lower is shorter and easier to read, not truer: a random map of one feature has the best value. Never rank by it
    alone. It is no mask entropy, which is ``mask-entropy``.

    Args:
        normalised: divide by ln n.

    Source: complexity, Bhatt et al. 2020.
    """

    name: ClassVar[str] = "attribution-entropy"
    direction: ClassVar[Direction] = "lower"
    source: ClassVar[str] = "Bhatt et al. 2020, arXiv:2005.00631, complexity"

    normalised: bool = True

    def complexity(self, sizes: Tensor, n: Tensor) -> Tensor:
        """See the class."""
        total = sizes.sum(1, keepdim=True)
        entropy: Tensor = torch.special.entr(sizes / torch.where(total > 0, total, 1.0)).sum(1)
        entropy = torch.where(total.squeeze(1) > 0, entropy, n.log())
        return entropy / n.log() if self.normalised else entropy
