"""Truth: does the method find what is known to have made the output?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ..plugins import register
from .base import Direction, Evidence, Family, Metric
from .ranking import TieGroups, pearson

if TYPE_CHECKING:
    from torch import Tensor

    from ..methods.base import Attribution, Explainer
    from ..tasks.data import Granularity, Truth
    from ..tasks.subject import Subject


@dataclass(frozen=True)
class TruthMetric(Metric):
    """What metrics against the truth share: which reading of it, compared at which granularity, on which features.

    The granularity is a property of the question and not of the method, so that all methods in a column answer the
    same one. ``"truth"`` compares as the truth is given: a method that tells only steps apart says the same of all
    cells of a step, which are then tied; cells are summed to steps where the truth is given by step. ``"step"``
    compares steps for every method: a step is relevant if any of its cells is.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` or ``"step"``.
    """

    family: ClassVar[Family] = "truth"
    needs_truth: ClassVar[bool] = True

    reading: str = ""
    granularity: Literal["truth", "step"] = "truth"

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if (reason := super().applicable(explainer, subject)) or not self.reading:
            return reason
        return "" if self.reading in subject.batch.truths else f"the truth has no reading {self.reading!r}"

    def truth(self, subject: Subject) -> Truth:
        """The reading."""
        truths = subject.batch.truths
        return truths[self.reading or next(iter(truths))]

    def compared(self, truth: Truth) -> Granularity:
        """What is compared."""
        return "step" if self.granularity == "step" or truth.values.dim() == 2 else "cell"


@dataclass(frozen=True)
class _Retrieval(TruthMetric):
    """Finding the relevant features: from the tie groups of the ranking by relevance."""

    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0

    def score(self, evidence: Evidence) -> Tensor:
        """NaN where none or all of the valid features are relevant."""
        truth = self.truth(evidence.subject)
        granularity = self.compared(truth)
        valid = evidence.subject.features(granularity)
        relevant = truth.relevant
        if granularity == "step" and relevant.dim() == 3:
            relevant = relevant.any(2)
        values = _at(evidence.attribution, granularity, evidence.subject, spread=False)
        relevance = values.abs() if evidence.attribution.signed else values
        groups = TieGroups.of(relevance, relevant.flatten(1) & valid, valid)
        undefined = (groups.positives == 0) | (groups.positives == groups.n)
        return self.retrieved(groups).masked_fill(undefined, torch.nan)

    def retrieved(self, groups: TieGroups) -> Tensor:
        """The metric, float64[B], of rankings with ties; anything where it is not defined."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class AveragePrecision(_Retrieval):
    """How high the relevant features are ranked: the mean, over the relevant features, of the precision at their rank.

        AP = 1/|A| Σ_{i ∈ A} |A ∩ {ranks 1 … rank(i)}| / rank(i)

    for each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones; A is
    where the truth is not 0. Tied features count by the exact expectation over all orders of them, so that a
    constant map scores what random ranking is expected to: about |A|/n. No interpolation and no trapezoids, which
    give .525 to an all-zero map where 5 % are relevant. NaN where A is empty or everything. Read it beside the base
    rate |A|/n.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Manning et al. 2008, §8.4; ties: McSherry & Najork 2008, eq. 8.
    """

    name: ClassVar[str] = "average-precision"
    source: ClassVar[str] = "Manning et al. 2008, §8.4; expectation over ties: McSherry & Najork, ECIR 2008"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.average_precision()


@register
@dataclass(frozen=True)
class Auroc(_Retrieval):
    """The chance that a relevant feature is ranked above an irrelevant one, ties counting one half.

    For each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones; computed
    exactly from midranks (Mann–Whitney U). .5 is chance and what a constant map gets. NaN where no feature, or every
    feature, is relevant.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Hanley & McNeil 1982.
    """

    name: ClassVar[str] = "auroc"
    source: ClassVar[str] = "Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.auroc()


@register
@dataclass(frozen=True)
class RankAccuracy(_Retrieval):
    """How many of the first |A| features of the ranking are relevant, as a share of |A|.

    For each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones. Tied
    features count by the exact expectation over all orders of them: a constant map gets the base rate |A|/n. NaN where
    no feature, or every feature, is relevant.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: relevance rank accuracy, Arras et al. 2022 (CLEVR-XAI), eq. 2.
    """

    name: ClassVar[str] = "rank-accuracy"
    source: ClassVar[str] = "Arras et al. 2022, arXiv:2003.07258, relevance rank accuracy"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.rank_accuracy()


@register
@dataclass(frozen=True)
class TruthCorrelation(TruthMetric):
    """Pearson correlation of the signed attributions with the signed true contributions, for each sequence.

    Over the valid features. A method that tells only steps apart gives each cell of a step an equal share of it. A
    constant attribution correlates 0. NaN where the truth is constant, and for fewer than 2 features.

    Only where it has a meaning: the truth is a signed contribution (coefficient or Shapley) and the method is signed.
    The explained class is the model's prediction, which may not be the class that the truth speaks for: of two
    classes, what speaks for one speaks against the other, and the truth is turned accordingly (``Truth.turned``).

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare sums over steps.

    Source: Pearson's r with known attributions, as in Arras et al. 2019 (adding task), §4.1.
    """

    name: ClassVar[str] = "truth-correlation"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"
    source: ClassVar[str] = "Arras et al. 2019, doi:10.1007/978-3-030-28954-6_11"

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        truth = self.truth(subject)
        if not truth.signed or truth.semantics not in {"coefficient", "shapley"}:
            return "the truth is no signed contribution"
        return "" if explainer.signed else "the method gives no sign"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        truth = self.truth(evidence.subject)
        granularity = self.compared(truth)
        true = truth.turned(evidence.subject.target).double()
        if granularity == "step" and true.dim() == 3:
            true = true.sum(2)
        values = _at(evidence.attribution, granularity, evidence.subject, spread=True)
        return pearson(values, true.flatten(1), evidence.subject.features(granularity))


def _at(attribution: Attribution, granularity: Granularity, subject: Subject, *, spread: bool) -> Tensor:
    """float64[B, N]: attributions of steps or cells, whichever is compared.

    Args:
        attribution: what the method said.
        granularity: what is compared.
        subject: whose batch it is.
        spread: where a step's value has to serve for its cells, whether they share it or each have all of it.
    """
    if granularity == "step":
        return attribution.steps.double()
    values = attribution.values.double()
    if attribution.granularity == "cell":
        return values.flatten(1)
    cells = subject.batch.inputs.shape
    return (values[:, :, None].expand(cells) / (cells[2] if spread else 1)).flatten(1)
