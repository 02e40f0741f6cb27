"""Faithfulness by whole curves: how fast the score falls, or rises, along the method's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import torch

from ...plugins import register
from ..base import Direction
from ..removal.baselines import baselines
from ..removal.curves import Side
from .faithfulness_correlation import CurveMetric

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

# How many points of a curve are kept to be drawn.
POINTS_SHOWN: Final = 21


@register
@dataclass(frozen=True)
class NormalisedDeletion(CurveMetric):
    """How much faster than chance the score falls when features are removed in the method's order.

    With A(π) the area under the deletion curve of the order π (score against the fraction of features removed, by
    trapezoids, the removed ones replaced by what the intervention says):

        (A(random) − A(method)) / (A(random) − A(best))

    0 is chance, 1 the best order found, below 0 is worse than chance; a method may beat the best order found.

    * Score: the probability of the explained class for classification; s·value for regression with
      s = sign(f(x) − f(x⁰)).
    * Features: steps or cells, as the method tells them apart; all orders of one value are of the same features.
    * A(random): the mean of ``breaks`` random orders. Where the method ties features, A(method) is the mean of as many
      orders with the same random breaks: a constant map scores exactly 0.
    * A(best): the least area of the greedy order, the order of single removals, the order of integrated gradients (32
      nodes) where the model has gradients, and the random orders.
    * NaN where the best order gains less than ``threshold`` on the random ones, as a share of what a score can move:
      1 for a probability, for regression the range of the scores met. So where nothing the input says moves the score,
      and on sequences of one feature.

    Args:
        points: removals on each curve; all n where n ≤ points.
        breaks: random orders, and breaks of ties.
        by: the intervention.
        budget: model rows spent on each instance to find the best order.
        threshold: the least gain over chance that is measured against.

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
    """The area under the score as features are removed in the method's order, the most important first.

    Score against the fraction removed, from 0 to 1, by trapezoids: the probability of the explained class for
    classification (0…1), s·value in the output's unit for regression. It depends on the model as much as on the
    method; compare within a task, or read ``normalised-deletion``. Features are steps or cells, as the method tells
    them apart. Ties: the mean over random breaks. Always defined.

    Args:
        points: removals on the curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

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
    """The area under the score as features come back in the method's order, the most important first.

    From nothing but what the intervention leaves to the whole sequence; scale, grid, features and ties as for
    ``deletion-auc``. Always defined.

    Args:
        points: insertions on the curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

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
    """How far the score falls on the average of a deletion curve: the area over the perturbation curve.

        1/(L + 1) Σ_{k = 0…L}  f(x) − f(x without its first features, up to the k-th point)

    over the L removals of the curve: ``points``, or n where n is less. Scale, features and ties as for
    ``deletion-auc``. Always defined.

    Args:
        points: L; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: Samek et al. 2017, eq. 12.
    """

    name: ClassVar[str] = "aopc"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Samek et al. 2017, arXiv:1509.06321, eq. 12"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = self.curve(evidence, "removed")
        # where there are fewer features than points the last point is repeated, which counts once
        new = torch.ones_like(found.counts, dtype=torch.bool)
        new[:, 1:] = found.counts.diff(dim=1) > 0
        falls = (found.outcome.score[:, :1] - found.outcome.score) * new
        return found.mean(falls.sum(1) / new.sum(1))


@register
@dataclass(frozen=True)
class Abpc(CurveMetric):
    """How much higher the curve lies where the least important features go first: the area between the two curves.

        ∫ f(least relevant first) − f(most relevant first)  over the fraction removed

    What is left when the least relevant q are gone are the most relevant 1 − q: the first area is that of insertion,
    and so this is ``insertion-auc`` − ``deletion-auc``. Scale, features and ties as there. An order and its reverse
    have opposite values, chance is 0. From −1 to 1 for classification. Always defined.

    Args:
        points: removals on each curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.

    Source: LeRF − MoRF, Šimić et al. 2022, "Perturbation effect", arXiv:2208.13516; Samek et al. 2017, §IV.
    """

    name: ClassVar[str] = "abpc"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Šimić et al. 2022, doi:10.1145/3511808.3557418 (ABPC); Samek et al. 2017, arXiv:1509.06321"
    sides: ClassVar[tuple[Side, ...]] = ("removed", "kept")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.area(evidence, "kept") - self.area(evidence, "removed")
