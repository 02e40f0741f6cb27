"""Decision flips: whether and when removing features changes the predicted class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..removal.curves import CurveRequest, RemovalCurve, RemovalOrder, removal_curve, unperturbed_outcome
from ..removal.removing import remover_for
from .comprehensiveness import of_classes
from .removal_metric import CurveMetric, RemovalMetric

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class DecisionFlip(RemovalMetric):
    """Whether removing the one feature that the method ranks first changes the predicted class.

    1 or 0 for each sequence; where the first place is tied, the share over random orders. Only for classification; NaN
    where the model does not predict the explained class for the complete sequence.

    Args:
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

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
    def request(self) -> CurveRequest:
        """Request for the sequence without its first feature."""
        return CurveRequest(RemovalOrder(self.by, self.breaks), "removed")

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return (self.request,)

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or of_classes(subject)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        curve = removal_curve(evidence, self.request)
        flipped = curve.mean(~curve.outcome.decides[:, 0])
        return flipped.masked_fill(~_decides_for_target(self, evidence), torch.nan)


@dataclass(frozen=True)
class _FlipMetric(CurveMetric):
    """Base class of metrics of the point on the removal curve at which the predicted class first changes."""

    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or of_classes(subject)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        curve = self.curve(evidence, "removed")
        values = curve.mean(self.reached(curve, ~curve.outcome.decides))
        return values.masked_fill(~_decides_for_target(self, evidence), torch.nan)

    def reached(self, curve: RemovalCurve, flipped: Tensor) -> Tensor:
        """Value of each row, float64[M].

        Args:
            curve: the removal curve.
            flipped: bool[M, J], whether another class is predicted at a point of the curve.
        """
        raise NotImplementedError


@register
@dataclass(frozen=True)
class FlipFraction(_FlipMetric):
    """Smallest fraction of features whose removal, in the order of the method, changes the predicted class.

    1 where the class never changes, not even without any feature. ``never-flips`` is the share of such sequences; read
    a mean together with it. The resolution is the width of the grid, n/points features. Ties: the mean over random
    orders. Only for classification; NaN where the model does not predict the explained class for the complete sequence.

    Args:
        points: number of removals on the curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Serrano & Smith 2019, §5 (smallest set that flips the decision).
    """

    name: ClassVar[str] = "flip-fraction"
    source: ClassVar[str] = "Serrano & Smith 2019, arXiv:1906.03731, §5"

    def reached(self, curve: RemovalCurve, flipped: Tensor) -> Tensor:
        """See :meth:`_FlipMetric.reached`."""
        fractions = curve.counts.double() / curve.n[:, None]
        return torch.where(flipped, fractions, 1.0).amin(1)


@register
@dataclass(frozen=True)
class NeverFlips(_FlipMetric):
    """Whether the predicted class stays the same however many features are removed.

    1 or 0 for each sequence and order. It complements ``flip-fraction``, whose grid and ties it shares. It depends more
    on the model and the intervention than on the method: a model predicts some class even without any feature. Only for
    classification; NaN where the model does not predict the explained class for the complete sequence.

    Args:
        points: number of removals on the curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: as ``flip-fraction``.
    """

    name: ClassVar[str] = "never-flips"
    needs_interaction: ClassVar[bool] = True
    source: ClassVar[str] = "Serrano & Smith 2019, arXiv:1906.03731, §5"

    def reached(self, curve: RemovalCurve, flipped: Tensor) -> Tensor:  # noqa: ARG002  # the point of the flip does not matter
        """See :meth:`_FlipMetric.reached`."""
        return (~flipped.any(1)).double()


def _decides_for_target(metric: RemovalMetric, evidence: Evidence) -> Tensor:
    """Whether the model predicts the explained class for the complete sequence, bool[B]."""
    return unperturbed_outcome(remover_for(evidence, metric.by)).decides[:, 0]
