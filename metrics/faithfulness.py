"""Faithfulness: does the explained score depend on what the method says it depends on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ..errors import ParameterError
from ..plugins import register
from .base import Direction, Evidence, Family, Metric, Statistic
from .curves import baselines, deletion_area, erasures, evidence_sign

if TYPE_CHECKING:
    from torch import Tensor

_ERASER = (0.01, 0.05, 0.1, 0.2, 0.5)


@register
@dataclass(frozen=True)
class NormalisedDeletion(Metric):
    """How much faster than chance the score falls when features are removed in the method's order.

    With A(π) the area under the deletion curve of the order π (score against the fraction of features removed, by
    trapezoids, the removed ones replaced by the reference):

        (A(random) − A(method)) / (A(random) − A(best))

    0 is chance, 1 the best order found, below 0 is worse than chance; a method may beat the best order found.

    * Score: the probability of the explained class for classification; s·value for regression with
      s = sign(f(x) − f(x⁰)).
    * Features: steps or cells, as the method tells them apart; all orders of one value are of the same features.
    * A(random): the mean of ``breaks`` random orders. Where the method ties features, A(method) is the mean of as many
      orders with the same random breaks: a constant map scores exactly 0.
    * A(best): the least area of the greedy order, the order of single removals, and the random orders.
    * NaN where the best order gains less than ``threshold`` on the random ones, as a share of what a score can move:
      1 for a probability, for regression the range of the scores met. So where nothing the input says moves the score,
      and on sequences of one feature.

    Args:
        points: removals on each curve; all n where n ≤ points.
        breaks: random orders, and breaks of ties.
        budget: model rows spent on each instance to find the best order.
        threshold: the least gain over chance that is measured against.

    Source: deletion of Petsiuk et al. 2018 (RISE), normalised between random and best.
    """

    name: ClassVar[str] = "normalised-deletion"
    family: ClassVar[Family] = "faithfulness"
    direction: ClassVar[Direction] = "higher"
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Petsiuk et al. 2018, arXiv:1806.07421 (deletion), between random and greedy orders"

    points: int = 20
    breaks: int = 8
    budget: int = 1200
    threshold: float = 0.01

    def __post_init__(self) -> None:
        for key in ("points", "breaks", "budget", "threshold"):
            if getattr(self, key) <= 0:
                raise ParameterError(f"{self.name}: {key}={getattr(self, key)} does not fit; it must be positive.")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        base = baselines(evidence, self.points, self.breaks, self.budget)
        scale = torch.ones_like(base.spread) if evidence.subject.classification else base.spread
        gain = base.random - base.best
        defined = gain >= (self.threshold * scale).clamp_min(torch.finfo(torch.float64).tiny)
        found = (base.random - deletion_area(evidence, self.points, self.breaks)) / gain
        return found.masked_fill(~defined, torch.nan)


@dataclass(frozen=True)
class _Erasure(Metric):
    """What the erasure metrics share: the mean over fractions of how far the score falls."""

    family: ClassVar[Family] = "faithfulness"
    source: ClassVar[str] = "DeYoung et al. 2020 (ERASER), arXiv:1911.03429, §4.2, eqs. 1 and 2, AOPC over bins"
    part: ClassVar[Literal["removed", "kept"]]

    fractions: tuple[float, ...] = _ERASER
    breaks: int = 8

    def __post_init__(self) -> None:
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise ParameterError(
                f"{self.name}: fractions={self.fractions} does not fit; each is above 0 and at most 1."
            )
        if self.breaks < 1:
            raise ParameterError(f"{self.name}: breaks={self.breaks} does not fit; it must be positive.")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        removed, kept = erasures(evidence, self.fractions, self.breaks)
        scores = removed if self.part == "removed" else kept
        return (_whole(evidence)[:, None] - scores).mean(1)


@register
@dataclass(frozen=True)
class Comprehensiveness(_Erasure):
    """How far the score falls without the features that the method ranks first.

        mean over p of  f(x) − f(x without its top k features),   k = ⌈p·n⌉, at least 1

    Removed features are replaced by the reference. f is the probability of the explained class for classification,
    s·value in the output's own unit for regression, with s = sign(f(x) − f(x⁰)). Features are steps or cells, as the
    method tells them apart. Ties: the mean over random breaks. Always defined. From −1 to 1 for classification.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: orders of an attribution with ties.

    Source: DeYoung et al. 2020 (ERASER), eq. 1, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "comprehensiveness"
    direction: ClassVar[Direction] = "higher"
    part: ClassVar[Literal["removed", "kept"]] = "removed"


@register
@dataclass(frozen=True)
class Sufficiency(_Erasure):
    """How far the score falls when only the features are kept that the method ranks first.

        mean over p of  f(x) − f(x⁰ with the top k features of x),   k = ⌈p·n⌉, at least 1

    Lower is better: features that suffice leave the score where it is. Scale, removal, ties and range as for
    ``comprehensiveness``. Always defined.

    Args:
        fractions: the p; by default those of ERASER's code.
        breaks: orders of an attribution with ties.

    Source: DeYoung et al. 2020 (ERASER), eq. 2, with the mean over fractions (AOPC).
    """

    name: ClassVar[str] = "sufficiency"
    direction: ClassVar[Direction] = "lower"
    part: ClassVar[Literal["removed", "kept"]] = "kept"


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


def _whole(evidence: Evidence) -> Tensor:
    """f(x) on the evidence scale, float64[B]; no model run: the outputs for the batch are known."""
    subject = evidence.subject
    outputs = subject.scaled(subject.batch_outputs.double(), "probability")
    return outputs.gather(1, subject.target[:, None]).squeeze(1) * evidence_sign(subject)
