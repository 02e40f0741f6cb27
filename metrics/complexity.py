"""Complexity metrics: how many features an explanation rests on.

A sparse explanation is easier to read, but not therefore right: a random map of one feature has the best values.
Never rank methods by complexity alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ..plugins import register
from .base import Direction, Evidence, Family, Metric
from .ranking.order_statistics import max_normalised

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _ComplexityMetric(Metric):
    """Base class of the complexity metrics, which read only the absolute values of the attribution."""

    family: ClassVar[Family] = "complexity"
    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"

    def score(self, evidence: Evidence) -> Tensor:
        """Return float64[B]; NaN for sequences of one feature."""
        valid = evidence.subject.features(evidence.attribution.granularity)
        sizes = max_normalised(torch.where(valid, evidence.attribution.values.double().abs().flatten(1), 0.0))
        n = valid.sum(1).double()
        return self.complexity(sizes, n).masked_fill(n < 2, torch.nan)

    def complexity(self, sizes: Tensor, n: Tensor) -> Tensor:
        """Complexity of each sequence, float64[B]; any value where n is 1.

        Args:
            sizes: float64[B, N], |Φ| divided by its largest value in the sequence; 0 on padding.
            n: float64[B], number of valid features.
        """
        raise NotImplementedError


@register
@dataclass(frozen=True)
class Gini(_ComplexityMetric):
    """Gini index of the absolute values |Φ|, which measures how unevenly they are spread over the features.

        G = 1 − 2 Σ_k  |Φ|_(k) / ‖Φ‖₁ · (n − k + ½) / n,   |Φ|_(1) ≤ … ≤ |Φ|_(n)

    for each sequence over its valid features, which are steps or cells, whichever the method attributes to. It is 0
    where all absolute values are equal, and 1 − 1/n where all but one are 0. An all-zero map is as even as any other
    constant one and scores 0. NaN for sequences of one feature, where every map would score 0.

    Higher is sparser and easier to read, not truer: a random map of one feature has the best value. Never rank by it
    alone. Maps over steps and maps over cells have different n, so their values are not comparable.

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
        # padding is 0 and sorts first, so the valid features have ranks 1 … n
        ranks = torch.arange(1, width + 1, dtype=torch.float64) - (width - n)[:, None]
        total = ordered.sum(1)
        uneven = ((2 * ranks - n[:, None] - 1) * ordered).sum(1)
        # rounding may give equal values an index slightly below 0
        return (uneven / (n * torch.where(total > 0, total, 1.0))).clamp_min(0)


@register
@dataclass(frozen=True)
class AttributionEntropy(_ComplexityMetric):
    """Shannon entropy of the shares |Φ_i| / ‖Φ‖₁, which measures over how many features the attribution is spread.

        H = −Σ_i p_i ln p_i,   p_i = |Φ_i| / ‖Φ‖₁

    for each sequence over its valid features, which are steps or cells, whichever the method attributes to. By default
    it is divided by its maximum ln n, so that sequences of different lengths are comparable; otherwise it is in nats,
    as in the paper. It is 0 where all but one value are 0, and 1 (ln n) where all absolute values are equal. An
    all-zero map singles out no feature, like any other constant map, and scores 1 (ln n). NaN for sequences of one
    feature, where every map would score 0 out of 0.

    Lower is sparser and easier to read, not truer: a random map of one feature has the best value. Never rank by it
    alone. The entropy of a mask is another metric, ``mask-entropy``.

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
