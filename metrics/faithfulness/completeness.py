"""Completeness: whether the attributions sum to the difference of the scores of sequence and reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction, Evidence, Family, Metric, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class CompletenessGap(Metric):
    """Relative error of the sum of the attributions against the score difference that they claim to decompose.

        |Σ Φ − (f(x) − f(x⁰))| / max(|f(x) − f(x⁰)|, ε)

    f is the raw explained output (logit or value), x⁰ the reference, Σ over the valid features. 0 for an exact
    decomposition. Only for methods that claim completeness. Gaps are heavy-tailed, so a board shows their median or
    95th percentile instead of their mean. Always defined.

    Args:
        epsilon: smallest score difference to divide by, in the output's unit; smaller ones are rounding errors.
        shown: statistic of the gaps of all sequences that a board shows: ``"median"``, ``"p95"`` or ``"mean"``.

    Source: completeness axiom, Sundararajan et al. 2017, §3; summation to delta, Shrikumar et al. 2017, eq. 1.
    """

    name: ClassVar[str] = "completeness-gap"
    family: ClassVar[Family] = "faithfulness"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"
    needs_complete: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365, §3 (completeness)"

    epsilon: float = 1e-3
    shown: Statistic = "median"

    def __post_init__(self) -> None:
        if self.epsilon <= 0:
            raise ParameterError(f"{self.name}: epsilon={self.epsilon} does not fit; it must be positive.")

    @property
    def statistic(self) -> Statistic:
        """See :attr:`Metric.statistic`."""
        return self.shown

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        subject = evidence.subject
        score_difference = subject.score.double() - subject.reference_score.double()
        attribution_sum = evidence.attribution.values.double().flatten(1).sum(1)
        return (attribution_sum - score_difference).abs() / score_difference.abs().clamp_min(self.epsilon)
