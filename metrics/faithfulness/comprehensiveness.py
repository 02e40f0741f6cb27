"""Comprehensiveness and sufficiency: the score without the top features, and with the top features alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction
from ..removal.curves import CurveRequest, RemovalOrder, Side, removal_curve, unperturbed_outcome
from ..removal.removing import remover_for
from .removal_metric import RemovalMetric

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject
    from ..base import Evidence

_ERASER_FRACTIONS: Final = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class ErasureMetric(RemovalMetric):
    """Base class of the erasure metrics, which remove or keep the top features.

    For each fraction p these are the first k = ⌈p·n⌉ features, at least 1.

    Args:
        fractions: the fractions p.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.
    """

    side: ClassVar[Side] = "removed"

    fractions: tuple[float, ...] = _ERASER_FRACTIONS
    breaks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ParameterError(
                f"{self.name}: fractions={self.fractions} does not fit; each is above 0 and at most 1."
            )
        self.positive("breaks")

    @property
    def request(self) -> CurveRequest:
        """Request for the variants without, or with only, the top features."""
        return CurveRequest(RemovalOrder(self.by, self.breaks), self.side, fractions=self.fractions)

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return (self.request,)

    def drop(self, evidence: Evidence, of: Literal["score", "log_probability", "log_odds"] = "score") -> Tensor:
        """Drop of the score, or of another output, through the removal, float64[B]; mean over the fractions."""
        curve = removal_curve(evidence, self.request)
        unperturbed: Tensor = getattr(unperturbed_outcome(remover_for(evidence, self.by)), of).squeeze(1)
        return unperturbed - curve.mean(getattr(curve.outcome, of)).mean(1)


@register
@dataclass(frozen=True)
class Comprehensiveness(ErasureMetric):
    """Drop of the score when the features that the method ranks first are removed.

        mean over p of  f(x) − f(x without its top k features),   k = ⌈p·n⌉, at least 1

    f is the probability of the explained class for classification, and s·value in the output's own unit for
    regression, with s = sign(f(x) − f(x⁰)). Features are steps or cells, whichever the method attributes to. Ties: the
    mean over random orders. Always defined. From −1 to 1 for classification.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: DeYoung et al. 2020 (ERASER), eq. 1, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "comprehensiveness"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv:1911.03429, §4.2, eq. 1, AOPC over bins"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.drop(evidence)


@register
@dataclass(frozen=True)
class Sufficiency(ErasureMetric):
    """Drop of the score when only the features that the method ranks first are kept.

        mean over p of  f(x) − f(x⁰ with the top k features of x),   k = ⌈p·n⌉, at least 1

    Lower is better: features that suffice leave the score unchanged. Scale, removal, ties and range as for
    ``comprehensiveness``. Always defined.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: DeYoung et al. 2020 (ERASER), eq. 2, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "sufficiency"
    direction: ClassVar[Direction] = "lower"
    side: ClassVar[Side] = "kept"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv:1911.03429, §4.2, eq. 2, AOPC over bins"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.drop(evidence)


@dataclass(frozen=True)
class _LogErasureMetric(ErasureMetric):
    """Base class of erasure metrics on a logarithmic scale, on which even a probability near 1 changes visibly."""

    direction: ClassVar[Direction] = "lower"

    fractions: tuple[float, ...] = (0.2,)

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or of_classes(subject)


@register
@dataclass(frozen=True)
class LogOdds(_LogErasureMetric):
    """Change of the log-odds of the explained class when the features that the method ranks first are removed.

        mean over p of  logit p(x without its top k features) − logit p(x),   logit p = ln p/(1 − p)

    Lower is better. Computed from logits, as the score of the class minus the log-sum-exp of the others, and never from
    a rounded probability. A model that returns probabilities cannot represent those below 10⁻³⁸, which count as 10⁻³⁸.
    Only for classification. Features and ties as for ``comprehensiveness``. Always defined. Papers that report
    "log-odds" often mean the change of ln p, which is ``log-probability``.

    Args:
        fractions: the fractions p.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Shrikumar et al. 2017, §4.1.
    """

    name: ClassVar[str] = "log-odds"
    source: ClassVar[str] = "Shrikumar et al. 2017, arXiv:1704.02685, §4.1"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return -self.drop(evidence, "log_odds")


@register
@dataclass(frozen=True)
class LogProbability(_LogErasureMetric):
    """Change of the log-probability of the explained class when the features that the method ranks first are removed.

        mean over p of  ln p(x without its top k features) − ln p(x)

    Lower is better. Computed by log_softmax from logits; everything else as for ``log-odds``. Only for classification.
    Always defined.

    Args:
        fractions: the fractions p.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Chen & Ji 2020, "log-odds" (LOO), §4.2.
    """

    name: ClassVar[str] = "log-probability"
    source: ClassVar[str] = "Chen & Ji 2020, arXiv:2010.00667, §4.2 (there called log-odds)"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return -self.drop(evidence, "log_probability")


def of_classes(subject: Subject) -> str:
    """Reason why a metric that needs classes does not apply, in a few words; empty if the outputs are class scores."""
    return "" if subject.classification else "the outputs are no scores of classes"
