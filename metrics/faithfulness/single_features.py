"""Faithfulness by single features: do attributions follow what removing each feature alone does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import by_rows, pearson, spearman
from ..removal.effects import singles, spoken
from ..removal.removing import removing_for
from .faithfulness_correlation import RemovalMetric

if TYPE_CHECKING:
    from torch import Tensor

# So many machine epsilons, as a share of an output, are what rounding makes of no effect.
_EPSILONS: Final = 4


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
        said = spoken(evidence, removing_for(evidence, self.by))

        def correlated(said: Tensor, feature: Tensor, effect: Tensor, there: Tensor) -> Tensor:
            return pearson(said.gather(1, feature), effect, there)

        return by_rows(correlated, said, found.feature, found.effect, found.there)


@register
@dataclass(frozen=True)
class MonotonicityCorrelation(_Singles):
    """Spearman correlation between the size of attributions and the mean squared effect of removing each feature alone.

        Spearman over i of  |Φ_i|  and  E[(f(x) − f(x with feature i replaced))²]

    The expectation is over the draws of the intervention: with one that is a value it is the square of one effect, with
    ``marginal`` the paper's. Features that do nothing are tied: effects of no more than 4ε times f(x), or times the
    largest effect, are all 0, ε being the machine epsilon of the outputs (1.2 · 10⁻⁷ for float32); rounding would rank
    them, and on another processor another way. For unsigned methods Φ stands in the place of |Φ|. 0 where the
    attributions are constant; NaN where the effects are, and so where n = 1.

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
        said, whole = spoken(evidence, removing_for(evidence, self.by)), evidence.subject.score
        signed, rounding = evidence.attribution.signed, _EPSILONS * torch.finfo(whole.dtype).eps

        def correlated(said: Tensor, whole: Tensor, feature: Tensor, squared: Tensor, there: Tensor) -> Tensor:
            size = torch.maximum(whole.square(), squared.amax(1))[:, None]
            effect = squared.masked_fill(squared <= rounding**2 * size, 0.0)
            own = said.gather(1, feature)
            return spearman(own.abs() if signed else own, effect, there)

        return by_rows(correlated, said, whole.double(), found.feature, found.squared, found.there)
