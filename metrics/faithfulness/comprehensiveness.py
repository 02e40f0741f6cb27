"""Faithfulness by the top features alone: what is lost without them, and what they are enough for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction
from ..removal.curves import Ask, Order, Side, course, whole
from ..removal.removing import removing_for
from .faithfulness_correlation import RemovalMetric

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject
    from ..base import Evidence

_ERASER: Final = (0.01, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True)
class ErasureMetric(RemovalMetric):
    """What the erasure metrics share: the top k = ⌈p·n⌉ features, at least 1, for each fraction p.

    Args:
        fractions: the p.
        breaks: orders of an attribution with ties.
        by: the intervention.
    """

    side: ClassVar[Side] = "removed"

    fractions: tuple[float, ...] = _ERASER
    breaks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ParameterError(
                f"{self.name}: fractions={self.fractions} does not fit; each is above 0 and at most 1."
            )
        self.positive("breaks")

    @property
    def ask(self) -> Ask:
        """The variants."""
        return Ask(Order(self.by, self.breaks), self.side, fractions=self.fractions)

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return (self.ask,)

    def fall(self, evidence: Evidence, of: Literal["score", "log_probability", "log_odds"] = "score") -> Tensor:
        """float64[B]: how far something falls, mean over the fractions."""
        found = course(evidence, self.ask)
        before: Tensor = getattr(whole(removing_for(evidence, self.by)), of).squeeze(1)
        return before - found.mean(getattr(found.outcome, of)).mean(1)


@register
@dataclass(frozen=True)
class Comprehensiveness(ErasureMetric):
    """How far the score falls without the features that the method ranks first.

        mean over p of  f(x) − f(x without its top k features),   k = ⌈p·n⌉, at least 1

    f is the probability of the explained class for classification, s·value in the output's own unit for regression,
    with s = sign(f(x) − f(x⁰)). Features are steps or cells, as the method tells them apart. Ties: the mean over
    random breaks. Always defined. From −1 to 1 for classification.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: DeYoung et al. 2020 (ERASER), eq. 1, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "comprehensiveness"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv:1911.03429, §4.2, eq. 1, AOPC over bins"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.fall(evidence)


@register
@dataclass(frozen=True)
class Sufficiency(ErasureMetric):
    """How far the score falls when only the features are kept that the method ranks first.

        mean over p of  f(x) − f(x⁰ with the top k features of x),   k = ⌈p·n⌉, at least 1

    Lower is better: features that suffice leave the score where it is. Scale, removal, ties and range as for
    ``comprehensiveness``. Always defined.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: DeYoung et al. 2020 (ERASER), eq. 2, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "sufficiency"
    direction: ClassVar[Direction] = "lower"
    side: ClassVar[Side] = "kept"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv:1911.03429, §4.2, eq. 2, AOPC over bins"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.fall(evidence)


@dataclass(frozen=True)
class _LogScore(ErasureMetric):
    """Erasure on a logarithmic scale, on which a probability near 1 still falls."""

    direction: ClassVar[Direction] = "lower"

    fractions: tuple[float, ...] = (0.2,)

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or of_classes(subject)


@register
@dataclass(frozen=True)
class LogOdds(_LogScore):
    """How the log-odds of the explained class change without the features that the method ranks first.

        mean over p of  logit p(x without its top k features) − logit p(x),   logit p = ln p/(1 − p)

    Lower is better. Computed from logits, as the score of the class less the log-sum-exp of the others: never from a
    rounded probability. A model that hands out probabilities has lost those below 10⁻³⁸, which count as that. Only for
    classification. Features and ties as for ``comprehensiveness``. Always defined. Works named "log-odds" often report
    the change of ln p: that is ``log-probability``.

    Args:
        fractions: the p.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: Shrikumar et al. 2017, §4.1.
    """

    name: ClassVar[str] = "log-odds"
    source: ClassVar[str] = "Shrikumar et al. 2017, arXiv:1704.02685, §4.1"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return -self.fall(evidence, "log_odds")


@register
@dataclass(frozen=True)
class LogProbability(_LogScore):
    """How the logarithm of the explained class's probability changes without the features that the method ranks first.

        mean over p of  ln p(x without its top k features) − ln p(x)

    Lower is better. Computed by log_softmax from logits; everything else as for ``log-odds``. Only for classification.
    Always defined.

    Args:
        fractions: the p.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: Chen & Ji 2020, "log-odds" (LOO), §4.2.
    """

    name: ClassVar[str] = "log-probability"
    source: ClassVar[str] = "Chen & Ji 2020, arXiv:2010.00667, §4.2 (there called log-odds)"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return -self.fall(evidence, "log_probability")


def of_classes(subject: Subject) -> str:
    """Why a metric of decisions and odds does not apply, in a few words; empty if the outputs are scores of classes."""
    return "" if subject.classification else "the outputs are no scores of classes"
