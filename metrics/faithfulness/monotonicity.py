"""Faithfulness by how the score goes along the curve, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from ...plugins import register
from ..base import Direction
from ..removal.curves import Order, Side
from .faithfulness_correlation import CurveMetric

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

# What a score may rise by through rounding in float32, as a share of 1 for a probability or of the curve's range.
_ROUNDING: Final = 1e-6


@register
@dataclass(frozen=True)
class Monotonicity(CurveMetric):
    """How steadily the score grows as features are added, the least important first.

    The share of additions after which the score is not lower. The sequences on the way are those of the deletion
    curve, read from its end: a step counts if the score does not rise with a removal. A rise of less than 10⁻⁶, of 1
    for a probability or of the range of the curve for regression, counts as none. The form ``all`` gives 1 if every
    addition keeps the score and 0 else, which is the formula of reference implementations; it is 0 for almost every
    long sequence.

    Where the contributions of a model just add up, one feature at a time, the share is that of the features that
    speak for the output, in whatever order: this metric tells methods apart only where features interact or go in
    groups. Scale, features and ties as for ``deletion-auc``. Always defined.

    Args:
        points: additions on the curve; all n where n ≤ points.
        breaks: orders of an attribution with ties.
        by: the intervention.
        form: ``"share"`` or ``"all"``.

    Source: Arya et al. 2019, §4 (monotonicity), Luss et al. 2019.
    """

    name: ClassVar[str] = "monotonicity"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    needs_interaction: ClassVar[bool] = True
    source: ClassVar[str] = "Arya et al. 2019, arXiv:1909.03012, §4; Luss et al. 2019, arXiv:1905.12698"

    form: Literal["share", "all"] = "share"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = self.curve(evidence, "removed")
        scores = found.outcome.score
        scale = scores.new_ones(len(scores)) if evidence.subject.classification else scores.amax(1) - scores.amin(1)
        removes = found.counts.diff(dim=1) > 0
        falls = (scores.diff(dim=1) <= _ROUNDING * scale[:, None]) | ~removes
        if self.form == "all":
            return found.mean(falls.all(1))
        return found.mean((falls & removes).sum(1).double() / removes.sum(1))


@dataclass(frozen=True)
class _Cumulative(CurveMetric):
    """The length of the way that the outputs go along a curve."""

    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"

    rank: Literal["evidence", "size"] = "size"

    @property
    def order(self) -> Order:
        """See :attr:`CurveMetric.order`."""
        return Order(self.by, self.breaks, self.rank)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = self.curve(evidence, self.sides[0])
        return found.mean(found.outcome.way)


@register
@dataclass(frozen=True)
class Cpd(_Cumulative):
    """The length of the way that the outputs go as features are removed, the most important first.

        Σ_k  ‖F(x_k) − F(x_{k+1})‖₁,   x_k the sequence without its first features

    F are the probabilities of all classes, or all values for regression. Changes that take each other back count
    both, so that a method is credited also for features that speak against the output: signed methods are ranked by
    |Φ|, as in the paper, others by Φ. Where the contributions of a model just add up, the way is as long in every order
    if features go one at a time; if they go in groups, contributions of opposite sign cancel within a group, and an
    order by size, which puts equal sizes together, has a shorter way than a random one. Ties: the mean over random
    breaks. Always defined.

    Args:
        points: removals on the curve; all n where n ≤ points, which is the paper's definition.
        breaks: orders of an attribution with ties.
        by: the intervention.
        rank: ``"size"``, or ``"evidence"`` to rank by s·Φ as other curves do.

    Source: cumulative prediction difference, Jang et al. 2025 (TIMING), §4.
    """

    name: ClassVar[str] = "cpd"
    needs_interaction: ClassVar[bool] = True
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Jang et al. 2025 (TIMING), arXiv:2506.05035, cumulative prediction difference"


@register
@dataclass(frozen=True)
class Cpp(_Cumulative):
    """The length of the way that the outputs go as features are removed, the least important first: lower is better.

    What is left on the way are the most important features, so the sequences are those of insertion. Everything else as
    for ``cpd``. Always defined.

    Args:
        points: removals on the curve; all n where n ≤ points, which is the paper's definition.
        breaks: orders of an attribution with ties.
        by: the intervention.
        rank: ``"size"``, or ``"evidence"`` to rank by s·Φ as other curves do.

    Source: cumulative prediction preservation, Jang et al. 2025 (TIMING), §4.
    """

    name: ClassVar[str] = "cpp"
    needs_interaction: ClassVar[bool] = True
    direction: ClassVar[Direction] = "lower"
    source: ClassVar[str] = "Jang et al. 2025 (TIMING), arXiv:2506.05035, cumulative prediction preservation"
    sides: ClassVar[tuple[Side, ...]] = ("kept",)
