"""Correlations between attributions and the effects of removing single features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import apply_by_rows, pearson, spearman
from ..removal.effects import evidence_values, single_effects
from ..removal.removing import remover_for
from .removal_metric import RemovalMetric

if TYPE_CHECKING:
    from torch import Tensor

# An effect of 0 may be rounded to this many machine epsilons, as a share of the output.
_EPSILONS: Final = 4


@dataclass(frozen=True)
class _SingleFeatureMetric(RemovalMetric):
    """Base class of the metrics of single features.

    Args:
        features: maximum number of features of a sequence; from longer ones so many are drawn at random, the same for
            all methods.
        by: spec of the intervention.
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
class FaithfulnessEstimate(_SingleFeatureMetric):
    """Pearson correlation between the attributions of single features and the effects of removing each alone.

    f and signs as for ``infidelity``. 0 where the attributions are constant; NaN where the effects are constant, and
    therefore where n = 1.

    Args:
        features: maximum number of features of a sequence; from longer ones so many are drawn at random, the same for
            all methods.
        by: spec of the intervention.

    Source: Alvarez-Melis & Jaakkola 2018, §5.2 (faithfulness).
    """

    name: ClassVar[str] = "faithfulness-estimate"
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"
    source: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.07538, §5.2"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        effects = single_effects(evidence, self.by, self.features)
        values = evidence_values(evidence, remover_for(evidence, self.by))

        def correlated(values: Tensor, feature: Tensor, effect: Tensor, valid: Tensor) -> Tensor:
            return pearson(values.gather(1, feature), effect, valid)

        return apply_by_rows(correlated, values, effects.feature, effects.effect, effects.valid)


@register
@dataclass(frozen=True)
class MonotonicityCorrelation(_SingleFeatureMetric):
    """Spearman correlation between the size of attributions and the mean squared effects of removing single features.

        Spearman over i of  |Φ_i|  and  E[(f(x) − f(x with feature i replaced))²]

    The expectation is over the draws of the intervention. For an intervention with a fixed value it is the square of
    one effect; with ``marginal`` it is that of the paper. Features without an effect are tied: effects of at most 4ε
    times f(x), or times the largest effect, count as 0, where ε is the machine epsilon of the outputs (1.2 · 10⁻⁷ for
    float32). Otherwise rounding errors would rank them, differently on each processor. Unsigned methods are compared by
    Φ instead of |Φ|. 0 where the attributions are constant; NaN where the effects are constant, and therefore where
    n = 1.

    Args:
        features: maximum number of features of a sequence; from longer ones so many are drawn at random, the same for
            all methods.
        by: spec of the intervention.

    Source: Nguyen & Martínez 2020, §3 (monotonicity).
    """

    name: ClassVar[str] = "monotonicity-correlation"
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Nguyen & Martínez 2020, arXiv:2007.07584, §3"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        effects = single_effects(evidence, self.by, self.features)
        values, output = evidence_values(evidence, remover_for(evidence, self.by)), evidence.subject.score
        signed, rounding = evidence.attribution.signed, _EPSILONS * torch.finfo(output.dtype).eps

        def correlated(values: Tensor, output: Tensor, feature: Tensor, squared: Tensor, valid: Tensor) -> Tensor:
            size = torch.maximum(output.square(), squared.amax(1))[:, None]
            effect = squared.masked_fill(squared <= rounding**2 * size, 0.0)
            chosen = values.gather(1, feature)
            return spearman(chosen.abs() if signed else chosen, effect, valid)

        return apply_by_rows(correlated, values, output.double(), effects.feature, effects.squared, effects.valid)
