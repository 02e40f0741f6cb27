"""Mass: how much of what a method hands out goes to the features that are known to have made the output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from .retrieval import FeatureTruthMetric

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class MassAccuracy(FeatureTruthMetric):
    """The share of the positive relevance that lies on the relevant features.

        Σ_{i ∈ A} Φ_i⁺ / Σ_i Φ_i⁺,   Φ⁺ = max(Φ, 0)

    for each sequence over its valid features; A is where the truth is not 0. What a signed method says against the
    output is left out, as in the paper, whose maps are summed over channels and cut at 0; cells that are compared as
    steps are likewise summed first. A constant positive map gets the base rate |A|/n. 0 where nothing is positive:
    such a map, an all-zero one too, points nowhere. 1 where every feature is relevant and any is positive. NaN where A
    is empty.

    It reads sizes: a map that puts everything on one relevant feature scores 1, whatever else is relevant. Read it
    beside ``rank-accuracy``.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

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
        mass = self.said(evidence).clamp_min(0) * valid
        largest = mass.amax(1, keepdim=True)
        # so that sums of the largest values there are stay finite
        mass = mass / torch.where(largest > 0, largest, 1.0)
        total = mass.sum(1)
        found = (mass * relevant).sum(1) / torch.where(total > 0, total, 1.0)
        return found.masked_fill(~relevant.any(1), torch.nan)
