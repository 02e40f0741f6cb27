"""Monotonicity of the score, and path length of the outputs, along a removal curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from ...plugins import register
from ..base import Direction
from ..removal.curves import RemovalOrder, Side
from .removal_metric import CurveMetric

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

# Largest rise of a score through rounding in float32, as a share of 1 for a probability or of the curve's range.
_ROUNDING: Final = 1e-6


@register
@dataclass(frozen=True)
class Monotonicity(CurveMetric):
    """Monotonicity of the score as features are added, the least important first.

    It is the share of additions after which the score is not lower. The perturbed inputs are those of the deletion
    curve, read from its end: an addition counts if the corresponding removal does not raise the score. A rise of less
    than 10⁻⁶, as a share of 1 for a probability or of the range of the curve for regression, counts as none. The form
    ``all`` gives 1 if no addition lowers the score and 0 otherwise, which is the formula of reference implementations;
    it is 0 for almost every long sequence.

    Where the contributions of a model simply add up and features are added one at a time, the value is the share of the
    features that raise the score, whatever the order. The metric therefore distinguishes methods only where features
    interact or are added in groups. Scale, features and ties as for ``deletion-auc``. Always defined.

    Args:
        points: number of additions on the curve; all n where n ≤ points.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.
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
        curve = self.curve(evidence, "removed")
        scores = curve.outcome.score
        scale = scores.new_ones(len(scores)) if evidence.subject.classification else scores.amax(1) - scores.amin(1)
        removes = curve.counts.diff(dim=1) > 0
        falls = (scores.diff(dim=1) <= _ROUNDING * scale[:, None]) | ~removes
        if self.form == "all":
            return curve.mean(falls.all(1))
        return curve.mean((falls & removes).sum(1).double() / removes.sum(1))


@dataclass(frozen=True)
class _PathLengthMetric(CurveMetric):
    """Base class of the metrics of the path length of the outputs along a removal curve."""

    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"

    rank: Literal["evidence", "size"] = "size"

    @property
    def order(self) -> RemovalOrder:
        """See :attr:`CurveMetric.order`."""
        return RemovalOrder(self.by, self.breaks, self.rank)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        curve = self.curve(evidence, self.sides[0])
        return curve.mean(curve.outcome.path_length)


@register
@dataclass(frozen=True)
class Cpd(_PathLengthMetric):
    """Path length of the outputs as the most important features are removed first (prediction difference).

        Σ_k  ‖F(x_k) − F(x_{k+1})‖₁,   x_k the sequence without its first features

    F are the probabilities of all classes, or all values for regression. Changes of opposite sign do not cancel, so
    that a method is also credited for features that lower the output: signed methods are ranked by |Φ|, as in the
    paper, others by Φ. Where the contributions of a model simply add up, the path has the same length in every order if
    features are removed one at a time. If they are removed in groups, contributions of opposite sign cancel within a
    group, and an order by size, which groups similar sizes, has a shorter path than a random one. Ties: the mean over
    random orders. Always defined.

    Args:
        points: number of removals on the curve; all n where n ≤ points, which is the paper's definition.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.
        rank: ``"size"``, or ``"evidence"`` to rank by s·Φ like the other curve metrics.

    Source: cumulative prediction difference, Jang et al. 2025 (TIMING), §4.
    """

    name: ClassVar[str] = "cpd"
    needs_interaction: ClassVar[bool] = True
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Jang et al. 2025 (TIMING), arXiv:2506.05035, cumulative prediction difference"


@register
@dataclass(frozen=True)
class Cpp(_PathLengthMetric):
    """Path length of the outputs as the least important features are removed first (prediction preservation).

    Lower is better. The features that remain are the most important ones, so the perturbed inputs are those of
    insertion. Everything else as for ``cpd``. Always defined.

    Args:
        points: number of removals on the curve; all n where n ≤ points, which is the paper's definition.
        breaks: number of random orders of an attribution with ties.
        by: spec of the intervention.
        rank: ``"size"``, or ``"evidence"`` to rank by s·Φ like the other curve metrics.

    Source: cumulative prediction preservation, Jang et al. 2025 (TIMING), §4.
    """

    name: ClassVar[str] = "cpp"
    needs_interaction: ClassVar[bool] = True
    direction: ClassVar[Direction] = "lower"
    source: ClassVar[str] = "Jang et al. 2025 (TIMING), arXiv:2506.05035, cumulative prediction preservation"
    sides: ClassVar[tuple[Side, ...]] = ("kept",)
