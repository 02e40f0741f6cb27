"""Faithfulness by single features: do attributions follow what removing each feature alone does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..plugins import register
from .base import Direction, Evidence
from .effects import singles, spoken
from .faithfulness import RemovalMetric
from .ranking import pearson, spearman
from .removing import removing_for

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Singles(RemovalMetric):
    """What the metrics of single features share.

    Args:
        features: features of a sequence, at most; of longer ones so many are drawn at random, the same for all methods.
        by: the intervention.
    """

    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0

    features: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("features")


@register
@dataclass(frozen=True)
class FaithfulnessEstimate(_Singles):
    """Pearson correlation between the attributions of single features and what removing each alone does.

    f and signs as for ``infidelity``. 0 where the attributions are constant; NaN where the effects are, and so where
    n = 1.

    Args:
        features: features of a sequence, at most; of longer ones so many are drawn at random, the same for all methods.
        by: the intervention.

    Source: Alvarez-Melis & Jaakkola 2018, §5.2 (faithfulness).
    """

    name: ClassVar[str] = "faithfulness-estimate"
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"
    source: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538, §5.2"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = singles(evidence, self.by, self.features)
        said = spoken(evidence, removing_for(evidence, self.by)).gather(1, found.feature)
        return pearson(said, found.effect, found.there)


@register
@dataclass(frozen=True)
class MonotonicityCorrelation(_Singles):
    """Spearman correlation between the size of attributions and the mean squared effect of removing each feature alone.

        Spearman over i of  |Φ_i|  and  E[(f(x) − f(x with feature i replaced))²]

    The expectation is over the draws of the intervention: with one that is a value it is the square of one effect, with
    ``marginal`` the paper's. For unsigned methods Φ stands in the place of |Φ|. 0 where the attributions are constant;
    NaN where the effects are, and so where n = 1.

    Args:
        features: features of a sequence, at most; of longer ones so many are drawn at random, the same for all methods.
        by: the intervention.

    Source: Nguyen & Martínez 2020, §3 (monotonicity).
    """

    name: ClassVar[str] = "monotonicity-correlation"
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Nguyen & Martínez 2020, arXiv:2007.07584, §3"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = singles(evidence, self.by, self.features)
        said = spoken(evidence, removing_for(evidence, self.by)).gather(1, found.feature)
        return spearman(said.abs() if evidence.attribution.signed else said, found.squared, found.there)
