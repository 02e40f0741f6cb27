"""Deletion and insertion: areas under and between the removal curves of the method's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import torch

from ...plugins import register
from ..base import Direction
from ..removal.baselines import baselines
from ..removal.curves import Side
from .removal_metric import CurveMetric

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

# Number of points of a curve that are stored for plotting.
POINTS_SHOWN: Final = 21


@register
@dataclass(frozen=True)
class NormalisedDeletion(CurveMetric):
    """Deletion area of the method's order, normalised between random orders and the best order found.

    With A(π) the area under the deletion curve of the order π (score against the fraction of features removed, by
    trapezoids; the intervention removes the features):

        (A(random) − A(method)) / (A(random) − A(best))

    0 is chance, 1 is the best order found, and below 0 is worse than chance. A method may exceed 1.

    * Score: the probability of the explained class for classification; s·value for regression with
      s = sign(f(x) − f(x⁰)).
    * Features: steps or cells, whichever the method attributes to; all orders in one value are of the same features.
    * A(random): the mean over ``breaks`` random orders. Where the method ties features, A(method) is the mean over as
      many orders, whose ties are broken by the same random orders: a constant map scores exactly 0.
    * A(best): the smallest area of the greedy order, the order of single removals, the order of integrated gradients
      (32 nodes) where the model has gradients, and the random orders.
    * NaN where the gain of the best order over the random ones is below ``threshold``, as a share of the range of the
      score: 1 for a probability, the range of all scores on the curves for regression. This is the case where no input
      feature changes the score, and for sequences of one feature.

    Args:
        points: number of removals on each curve; all n where n ≤ points.
        breaks: number of random orders, and of random orders of an attribution with ties.
        by: spec of the intervention.
        budget: number of model rows spent on each instance to find the best order.
        threshold: smallest gain of the best order over chance for which the metric is defined.

    Source: deletion of Petsiuk et al. 2018 (RISE), normalised between random and best.
    """

    name: ClassVar[str] = "normalised-deletion"
    version: ClassVar[int] = 2  # integrated gradients became one of the candidates for the best order
    direction: ClassVar[Direction] = "higher"
    ideal: ClassVar[float] = 1.0
    profiled: ClassVar[int] = POINTS_SHOWN
    source: ClassVar[str] = "Petsiuk et al. 2018, arXiv:1806.07421 (deletion), between random and best orders found"

    budget: int = 1200
    threshold: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("budget", "threshold")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        base = baselines(evidence, self.points, self.breaks, self.budget, self.by)
        scale = torch.ones_like(base.spread) if evidence.subject.classification else base.spread
        gain = base.random - base.best
        defined = gain >= (self.threshold * scale).clamp_min(torch.finfo(torch.float64).tiny)
        return ((base.random - self.area(evidence, "removed")) / gain).masked_fill(~defined, torch.nan)


@register
@dataclass(frozen=True)
class DeletionAuc(CurveMetric):
    """Area under the deletion curve, on which features are removed in the method's order, the most important first.

    Score against the fraction removed, from 0 to 1, by trapezoids: the probability of the explained class for
    classification (0…1), s·value in the output's unit for regression. It depends on the model as much as on the
    method: compare within a task, or use ``normalised-deletion``. Features are steps or cells, whichever the
    method attributes to. Ties: the mean over random orders. Always defined.

    Args:
        points: number of removals on the curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Petsiuk et al. 2018 (RISE), §4.1, deletion.
    """

    name: ClassVar[str] = "deletion-auc"
    direction: ClassVar[Direction] = "lower"
    profiled: ClassVar[int] = POINTS_SHOWN
    source: ClassVar[str] = "Petsiuk et al. 2018, arXiv:1806.07421, §4.1"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.area(evidence, "removed")


@register
@dataclass(frozen=True)
class InsertionAuc(CurveMetric):
    """Area under the insertion curve, on which features are inserted in the method's order, the most important first.

    The curve starts with all features removed by the intervention and ends with the complete sequence. Scale, grid,
    features and ties as for ``deletion-auc``. Always defined.

    Args:
        points: number of insertions on the curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Petsiuk et al. 2018 (RISE), §4.1, insertion.
    """

    name: ClassVar[str] = "insertion-auc"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Petsiuk et al. 2018, arXiv:1806.07421, §4.1"
    sides: ClassVar[tuple[Side, ...]] = ("kept",)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.area(evidence, "kept")


@register
@dataclass(frozen=True)
class Aopc(CurveMetric):
    """Area over the perturbation curve (AOPC): the mean drop of the score over the points of the deletion curve.

        1/(L + 1) Σ_{k = 0…L}  f(x) − f(x without its first features, up to the k-th point)

    over the L removals of the curve, where L is ``points``, or n if that is smaller. Scale, features and ties as for
    ``deletion-auc``. Always defined.

    Args:
        points: L; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: Samek et al. 2017, eq. 12.
    """

    name: ClassVar[str] = "aopc"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Samek et al. 2017, arXiv:1509.06321, eq. 12"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        curve = self.curve(evidence, "removed")
        # with fewer features than points the last point is repeated, but counts once
        new = torch.ones_like(curve.counts, dtype=torch.bool)
        new[:, 1:] = curve.counts.diff(dim=1) > 0
        falls = (curve.outcome.score[:, :1] - curve.outcome.score) * new
        return curve.mean(falls.sum(1) / new.sum(1))


@register
@dataclass(frozen=True)
class Abpc(CurveMetric):
    """Area between the removal curves with the least and with the most important features removed first.

        ∫ f(least relevant first) − f(most relevant first)  over the fraction removed

    Removing the share q of least relevant features leaves the most relevant 1 − q, so the first area is that of
    insertion, and the metric equals ``insertion-auc`` − ``deletion-auc``. Scale, features and ties as there. An order
    and its reverse have opposite values; chance is 0. From −1 to 1 for classification. Always defined.

    Args:
        points: number of removals on each curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.

    Source: LeRF − MoRF, Šimić et al. 2022, "Perturbation effect", arXiv:2208.13516; Samek et al. 2017, §IV.
    """

    name: ClassVar[str] = "abpc"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Šimić et al. 2022, doi:10.1145/3511808.3557418 (ABPC); Samek et al. 2017, arXiv:1509.06321"
    sides: ClassVar[tuple[Side, ...]] = ("removed", "kept")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.area(evidence, "kept") - self.area(evidence, "removed")
