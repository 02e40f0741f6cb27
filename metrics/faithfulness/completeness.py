"""Completeness: do the attributions add up to what they claim to explain?"""

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
    """How far the attributions are from adding up to what they claim to explain.

        |Σ Φ − (f(x) − f(x⁰))| / max(|f(x) − f(x⁰)|, ε)

    f is the raw explained output (logit or value), x⁰ the reference, Σ over the valid features. 0 for an exact
    decomposition. Only for methods that claim completeness. Gaps are heavy-tailed, and a board shows their median or
    95 % point rather than their mean. Always defined.

    Args:
        epsilon: the least difference that a gap is relative to, in the output's unit; smaller ones are rounding.
        shown: what the board shows of the gaps of all sequences: ``"median"``, ``"p95"`` or ``"mean"``.

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
        delta = subject.score.double() - subject.reference_score.double()
        total = evidence.attribution.values.double().flatten(1).sum(1)
        return (total - delta).abs() / delta.abs().clamp_min(self.epsilon)
