"""Faithfulness by the top features alone: what is lost without them, and what they are enough for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ..errors import ParameterError
from ..plugins import register
from .base import Direction
from .curves import Ask, Course, Order, Side, course, whole
from .faithfulness import CurveMetric, RemovalMetric
from .removing import removing_for

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ..methods.base import Explainer
    from ..tasks.subject import Subject
    from .base import Evidence

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
        return super().applicable(explainer, subject) or _of_classes(subject)


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


@register
@dataclass(frozen=True)
class DecisionFlip(RemovalMetric):
    """Whether the model decides otherwise without the one feature that the method ranks first.

    1 or 0 for each sequence; where the first place is tied, the share of random breaks. Only for classification; NaN
    where the model does not decide for the explained class in the first place.

    Args:
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: Serrano & Smith 2019, §4.
    """

    name: ClassVar[str] = "decision-flip"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    source: ClassVar[str] = "Serrano & Smith 2019, arXiv:1906.03731, §4"

    breaks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("breaks")

    @property
    def ask(self) -> Ask:
        """The sequence without its first feature."""
        return Ask(Order(self.by, self.breaks), "removed")

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return (self.ask,)

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or _of_classes(subject)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = course(evidence, self.ask)
        flipped = found.mean(~found.outcome.decides[:, 0])
        return flipped.masked_fill(~_decided(self, evidence), torch.nan)


@dataclass(frozen=True)
class _Flip(CurveMetric):
    """Where along the curve the model first decides otherwise."""

    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or _of_classes(subject)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = self.curve(evidence, "removed")
        return found.mean(self.reached(found, ~found.outcome.decides)).masked_fill(~_decided(self, evidence), torch.nan)

    def reached(self, found: Course, flipped: Tensor) -> Tensor:
        """float64[M]: the metric of each row, of which flipped bool[M, J] says where it decides otherwise."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class FlipFraction(_Flip):
    """The smallest fraction of features whose removal makes the model decide otherwise, in the method's order.

    1 where it never does, not even without all of them; how often that is says ``never-flips``, and a mean should be
    read beside it. To the width of the grid, n/points features. Ties: the mean over random breaks. Only for
    classification; NaN where the model does not decide for the explained class in the first place.

    Args:
        points: removals on the curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: Serrano & Smith 2019, §5 (smallest set that flips the decision).
    """

    name: ClassVar[str] = "flip-fraction"
    source: ClassVar[str] = "Serrano & Smith 2019, arXiv:1906.03731, §5"

    def reached(self, found: Course, flipped: Tensor) -> Tensor:
        """See :meth:`_Flip.reached`."""
        fractions = found.counts.double() / found.n[:, None]
        return torch.where(flipped, fractions, 1.0).amin(1)


@register
@dataclass(frozen=True)
class NeverFlips(_Flip):
    """Whether the model still decides for the explained class however many features are removed.

    1 or 0 for each sequence and order; the companion of ``flip-fraction``, with its grid, ties and NaN. It says more
    of the model and the intervention than of the method: without any feature a model still decides for something.
    Only for classification; NaN where the model does not decide for the explained class in the first place.

    Args:
        points: removals on the curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: as ``flip-fraction``.
    """

    name: ClassVar[str] = "never-flips"
    needs_interaction: ClassVar[bool] = True
    source: ClassVar[str] = "Serrano & Smith 2019, arXiv:1906.03731, §5"

    def reached(self, found: Course, flipped: Tensor) -> Tensor:  # noqa: ARG002  # where does not matter
        """See :meth:`_Flip.reached`."""
        return (~flipped.any(1)).double()


def _of_classes(subject: Subject) -> str:
    return "" if subject.classification else "the outputs are no scores of classes"


def _decided(metric: RemovalMetric, evidence: Evidence) -> Tensor:
    """bool[B]: whether the model decides for the explained class of the whole sequence."""
    return whole(removing_for(evidence, metric.by)).decides[:, 0]
