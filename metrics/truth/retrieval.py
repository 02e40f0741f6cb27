"""Truth: does the method find what is known to have made the output?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction, Evidence, Family, Metric
from ..ranking.order_statistics import TieGroups, pearson

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.data.batch import Granularity, Truth
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class TruthMetric(Metric):
    """What metrics against the truth share: which reading of it, and whether they can read it.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
    """

    family: ClassVar[Family] = "truth"
    needs_truth: ClassVar[bool] = True

    reading: str = ""

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        if self.reading and self.reading not in subject.batch.truths:
            return f"the truth has no reading {self.reading!r}"
        return self.unreadable(self.truth(subject))

    def unreadable(self, truth: Truth) -> str:  # noqa: ARG002  # most read every truth
        """Why this metric cannot read that truth, in a few words; empty if it can.

        What is relevant can be read from any truth. One of every step's own output (not ``retrospective``) is read as
        one of an output that all steps make; but it holds neither what a feature adds to that output, which it may do
        through other steps, nor the links of one output step.
        """
        return ""

    def truth(self, subject: Subject) -> Truth:
        """The reading."""
        truths = subject.batch.truths
        return truths[self.reading or next(iter(truths))]


@dataclass(frozen=True)
class FeatureTruthMetric(TruthMetric):
    """What metrics share that compare with the truth feature by feature: at which granularity, and which features.

    The granularity is a property of the question and not of the method, so that all methods in a column answer the
    same one. ``"truth"`` compares as the truth is given: a method that tells only steps apart says the same of all
    cells of a step, which are then tied; cells are summed to steps where the truth is given by step. ``"step"``
    compares steps for every method: a step is relevant if any of its cells is.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` or ``"step"``.
    """

    granularity: Literal["truth", "step"] = "truth"

    def compared(self, subject: Subject) -> Granularity:
        """What is compared."""
        return "step" if self.granularity == "step" or self.truth(subject).values.dim() == 2 else "cell"

    def features(self, subject: Subject) -> tuple[Tensor, Tensor]:
        """Which features are relevant and which there are, bool[B, N] each."""
        granularity, relevant = self.compared(subject), self.truth(subject).relevant
        if granularity == "step" and relevant.dim() == 3:
            relevant = relevant.any(2)
        valid = subject.features(granularity)
        return relevant.flatten(1) & valid, valid

    def said(self, evidence: Evidence, *, spread: bool = False) -> Tensor:
        """float64[B, N]: attributions of what is compared.

        Args:
            evidence: with what the method said.
            spread: where a step's value has to serve for its cells, whether they share it or each have all of it.
        """
        if self.compared(evidence.subject) == "step":
            return evidence.attribution.steps.double()
        values = evidence.attribution.values.double()
        if evidence.attribution.granularity == "cell":
            return values.flatten(1)
        cells = evidence.subject.batch.inputs.shape
        return (values[:, :, None].expand(cells) / (cells[2] if spread else 1)).flatten(1)

    def relevance(self, evidence: Evidence) -> Tensor:
        """float64[B, N]: |Φ| of signed methods, Φ of others, of what is compared."""
        values = self.said(evidence)
        return values.abs() if evidence.attribution.signed else values


@dataclass(frozen=True)
class _Retrieval(FeatureTruthMetric):
    """Finding the relevant features: from the tie groups of the ranking by relevance."""

    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0

    def score(self, evidence: Evidence) -> Tensor:
        """NaN where none or all of the valid features are relevant."""
        groups = TieGroups.of(self.relevance(evidence), *self.features(evidence.subject))
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

    This is the precision at |A| and, the same number, the recall at |A|. For each sequence over its valid features,
    ranked by |Φ| for signed methods and by Φ for unsigned ones. Tied features count by the exact expectation over all
    orders of them: a constant map gets the base rate |A|/n. NaN where no feature, or every feature, is
    relevant.

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
class PrecisionAtK(_Retrieval):
    """How many of the first k features of the ranking are relevant, as a share of k.

    For each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones. A sequence
    of fewer than k features is asked for all of them, and every ranking of it gets the base rate |A|/n. Tied features
    count by the exact expectation over all orders of them: a constant map gets the base rate. The best ranking gets
    min(1, |A|/k), which is no ideal that one number states. NaN where no feature, or every feature, is relevant.

    k = 1 asks whether the one feature ranked first is relevant (the pointing game). For k = |A|, which differs from
    sequence to sequence, see ``rank-accuracy``.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.
        k: how many features are looked at.

    Source: Manning et al. 2008, §8.4; k = 1: Zhang et al. 2018 (pointing game).
    """

    name: ClassVar[str] = "precision-at-k"
    ideal: ClassVar[float] = float("nan")
    source: ClassVar[str] = "Manning et al. 2008, §8.4; k = 1: pointing game, Zhang et al. 2018, arXiv:1608.00507"

    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ParameterError(f"{self.name}: k={self.k} does not fit; it must be positive.")

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.precision_at(self.k)


@register
@dataclass(frozen=True)
class TruthCorrelation(FeatureTruthMetric):
    """Pearson correlation of the signed attributions with the signed true contributions, for each sequence.

    Over the valid features. A method that tells only steps apart gives each cell of a step an equal share of it. A
    constant attribution correlates 0. NaN where the truth is constant, and for fewer than 2 features.

    Only where it has a meaning: the truth is a signed contribution (coefficient or Shapley) to the one output that is
    explained, not to every step's own, and the method is signed.
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
        if self.truth(subject).toward is not None and subject.batch_outputs.shape[1] != 2:
            return "the truth is about one of two classes, and the model has another number of outputs"
        return "" if explainer.signed else "the method gives no sign"

    def unreadable(self, truth: Truth) -> str:
        """See :meth:`TruthMetric.unreadable`."""
        if not truth.signed or truth.semantics not in {"coefficient", "shapley"}:
            return "the truth is no signed contribution"
        return "" if truth.retrospective else "the truth is about every step's own output, not one output"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        subject = evidence.subject
        true = self.truth(subject).turned(subject.target).double()
        if self.compared(subject) == "step" and true.dim() == 3:
            true = true.sum(2)
        return pearson(self.said(evidence, spread=True), true.flatten(1), self.features(subject)[1])
