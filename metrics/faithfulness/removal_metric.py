"""Base classes of the faithfulness metrics that remove features.

Faithfulness is the property that the explained score depends on the features that the attribution ranks first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ParameterError
from ...tasks.interventions.base import intervention, intervention_of
from ..base import Family, Metric
from ..removal.curves import CurveRequest, RemovalOrder, Side, removal_curve

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject
    from ..base import Evidence
    from ..removal.curves import RemovalCurve


@dataclass(frozen=True)
class RemovalMetric(Metric):
    """Base class of metrics that remove features by an intervention, which their results are relative to.

    Args:
        by: spec of the intervention; parameters of its own are separated by semicolons.
    """

    family: ClassVar[Family] = "faithfulness"
    uses: ClassVar[Mapping[str, str]] = MappingProxyType({"by": "intervention"})

    by: str = "reference"

    def __post_init__(self) -> None:
        intervention_of(self)  # raises at once where the name is unknown

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or intervention(self.by).unfit(subject)

    @property
    def intervention(self) -> str:
        """See :attr:`Metric.intervention`."""
        return str(self.shown_value("by"))

    def positive(self, *keys: str) -> None:
        """Check that parameters are positive numbers.

        Raises:
            ParameterError: one of them is not.
        """
        for key in keys:
            value: Any = getattr(self, key)
            if value <= 0:
                raise ParameterError(f"{self.name}: {key}={value} does not fit; it must be positive.")


@dataclass(frozen=True)
class CurveMetric(RemovalMetric):
    """Base class of metrics that read a removal curve.

    Args:
        points: number of removals on a curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.
    """

    sides: ClassVar[tuple[Side, ...]] = ("removed",)

    points: int = 20
    breaks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("points", "breaks")

    @property
    def order(self) -> RemovalOrder:
        """Order of removal."""
        return RemovalOrder(self.by, self.breaks)

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return tuple(self.request(side) for side in self.sides)

    def request(self, side: Side) -> CurveRequest:
        """Request for the curve of one side."""
        return CurveRequest(self.order, side, self.points)

    def curve(self, evidence: Evidence, side: Side) -> RemovalCurve:
        """Curve of one side: features removed, or only they kept."""
        return removal_curve(evidence, self.request(side))

    def profile(self, evidence: Evidence) -> Tensor:
        """Score along the curve; see :meth:`Metric.profile`."""
        curve = self.curve(evidence, self.sides[0])
        return curve.profile(curve.outcome.score, self.profiled)

    def area(self, evidence: Evidence, side: Side) -> Tensor:
        """Area under the curve of one side, float64[B]; mean over orders and draws."""
        curve = self.curve(evidence, side)
        return curve.mean(curve.area(curve.outcome.score))
