"""Relevance mass accuracy: the share of the positive attribution on the truly relevant features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import max_normalised
from .retrieval import FeatureTruthMetric

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class MassAccuracy(FeatureTruthMetric):
    """Share of the positive attribution that lies on the relevant features (relevance mass accuracy).

        Σ_{i ∈ A} Φ_i⁺ / Σ_i Φ_i⁺,   Φ⁺ = max(Φ, 0)

    for each sequence over its valid features, where A are the features whose truth is not 0. Negative values of signed
    methods are left out, as in the paper, whose maps are summed over channels and clipped at 0; cells that are compared
    as steps are likewise summed first. A constant positive map gets the base rate |A|/n. 0 where no value is positive,
    also for an all-zero map, because such a map marks no feature. 1 where every feature is relevant and any value is
    positive. NaN where A is empty.

    It reads sizes: a map with all its mass on a single relevant feature scores 1, however many others are relevant.
    Read it together with ``rank-accuracy``.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: relevance mass accuracy, Arras et al. 2022 (CLEVR-XAI), with positive relevance.
    """

    name: ClassVar[str] = "mass-accuracy"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Arras et al. 2022, arXiv:2003.07258, relevance mass accuracy"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        relevant, valid = self.features(evidence.subject)
        mass = max_normalised(self.attributions(evidence).clamp_min(0) * valid)
        total = mass.sum(1)
        accuracy = (mass * relevant).sum(1) / torch.where(total > 0, total, 1.0)
        return accuracy.masked_fill(~relevant.any(1), torch.nan)
