"""Faithfulness: does the explained score depend on what the method says it depends on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ParameterError
from ...tasks.interventions.base import intervention
from ..base import Family, Metric
from ..removal.curves import Ask, Order, Side, course

if TYPE_CHECKING:
    from collections.abc import Hashable

    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.subject import Subject
    from ..base import Evidence
    from ..removal.curves import Course


@dataclass(frozen=True)
class RemovalMetric(Metric):
    """What metrics share that remove features: the intervention, which their results are relative to.

    Args:
        by: the intervention, by its spec; several parameters of its own are parted by semicolons.
    """

    family: ClassVar[Family] = "faithfulness"

    by: str = "reference"

    def __post_init__(self) -> None:
        intervention(self.by)  # a name that is not known is said at once

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or intervention(self.by).unfit(subject)

    @property
    def intervention(self) -> str:
        """See :attr:`Metric.intervention`."""
        return self.by

    def positive(self, *keys: str) -> None:
        """See that parameters are positive numbers.

        Raises:
            ParameterError: one is not.
        """
        for key in keys:
            value: Any = getattr(self, key)
            if value <= 0:
                raise ParameterError(f"{self.name}: {key}={value} does not fit; it must be positive.")


@dataclass(frozen=True)
class CurveMetric(RemovalMetric):
    """What metrics share that read a curve: its grid, and how ties are broken.

    Args:
        points: removals on a curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.
    """

    sides: ClassVar[tuple[Side, ...]] = ("removed",)

    points: int = 20
    breaks: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("points", "breaks")

    @property
    def order(self) -> Order:
        """Which orders are asked about."""
        return Order(self.by, self.breaks)

    @property
    def asks(self) -> tuple[Hashable, ...]:
        """See :attr:`Metric.asks`."""
        return tuple(self.ask(side) for side in self.sides)

    def ask(self, side: Side) -> Ask:
        """One curve."""
        return Ask(self.order, side, self.points)

    def curve(self, evidence: Evidence, side: Side) -> Course:
        """The curve of one side."""
        return course(evidence, self.ask(side))

    def profile(self, evidence: Evidence) -> Tensor:
        """See :meth:`Metric.profile`: the score along the curve."""
        found = self.curve(evidence, self.sides[0])
        return found.profile(found.outcome.score, self.profiled)

    def area(self, evidence: Evidence, side: Side) -> Tensor:
        """float64[B]: the area under the score of one side, mean over orders and draws."""
        found = self.curve(evidence, side)
        return found.mean(found.area(found.outcome.score))
