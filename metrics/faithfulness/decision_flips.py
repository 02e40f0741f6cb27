"""Faithfulness by decisions: when does the model decide otherwise?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..removal.curves import Ask, Course, Order, course, whole
from ..removal.removing import removing_for
from .comprehensiveness import of_classes
from .faithfulness_correlation import CurveMetric, RemovalMetric

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject


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
        return super().applicable(explainer, subject) or of_classes(subject)

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
        return super().applicable(explainer, subject) or of_classes(subject)

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


def _decided(metric: RemovalMetric, evidence: Evidence) -> Tensor:
    """bool[B]: whether the model decides for the explained class of the whole sequence."""
    return whole(removing_for(evidence, metric.by)).decides[:, 0]
