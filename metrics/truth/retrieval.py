"""Agreement of an attribution with the known true attribution, as retrieval and as correlation."""

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
    """Base class of the metrics that compare an attribution with the known truth.

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
        """Reason why this metric cannot use a truth, in a few words; empty if it can.

        The relevant features can be read from any truth. A truth about every step's own output (not ``retrospective``)
        is read as one about an output that all steps contribute to. But it holds neither the contribution of a feature
        to that output, which may also act through other steps, nor the links of one output step.
        """
        return ""

    def truth(self, subject: Subject) -> Truth:
        """The selected reading of the truth."""
        truths = subject.batch.truths
        return truths[self.reading or next(iter(truths))]


@dataclass(frozen=True)
class FeatureTruthMetric(TruthMetric):
    """Base class of the metrics that compare an attribution with the truth feature by feature.

    The granularity is a parameter of the metric and does not depend on the method, so that all methods are compared on
    the same features. ``"truth"`` compares at the granularity of the truth. Where the truth is by cell, an attribution
    by step gives all cells of a step the same value, so that they are tied; where the truth is by step, the cells of an
    attribution are summed to steps. ``"step"`` compares steps for every method: a step is relevant if any of its cells
    is.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` or ``"step"``.
    """

    granularity: Literal["truth", "step"] = "truth"

    def compared_granularity(self, subject: Subject) -> Granularity:
        """Granularity at which attribution and truth are compared."""
        return "step" if self.granularity == "step" or self.truth(subject).values.dim() == 2 else "cell"

    def features(self, subject: Subject) -> tuple[Tensor, Tensor]:
        """Relevant features and valid features, bool[B, N] each."""
        granularity, relevant = self.compared_granularity(subject), self.truth(subject).relevant
        if granularity == "step" and relevant.dim() == 3:
            relevant = relevant.any(2)
        valid = subject.features(granularity)
        return relevant.flatten(1) & valid, valid

    def attributions(self, evidence: Evidence, *, spread: bool = False) -> Tensor:
        """Attributions at the granularity of the comparison, float64[B, N].

        Args:
            evidence: the cell.
            spread: where the value of a step is used for its cells: True to divide it among them, False to give each
                of them the full value.
        """
        if self.compared_granularity(evidence.subject) == "step":
            return evidence.attribution.steps.double()
        values = evidence.attribution.values.double()
        if evidence.attribution.granularity == "cell":
            return values.flatten(1)
        cells = evidence.subject.batch.inputs.shape
        return (values[:, :, None].expand(cells) / (cells[2] if spread else 1)).flatten(1)

    def relevance(self, evidence: Evidence) -> Tensor:
        """Relevance |Φ| of signed methods, Φ of others, at the granularity of the comparison; float64[B, N]."""
        values = self.attributions(evidence)
        return values.abs() if evidence.attribution.signed else values


@dataclass(frozen=True)
class _RetrievalMetric(FeatureTruthMetric):
    """Base class of the metrics of how well a ranking by relevance retrieves the relevant features."""

    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0

    def score(self, evidence: Evidence) -> Tensor:
        """Return float64[B]; NaN where none or all of the valid features are relevant."""
        groups = TieGroups.of(self.relevance(evidence), *self.features(evidence.subject))
        undefined = (groups.positives == 0) | (groups.positives == groups.n)
        return self.retrieved(groups).masked_fill(undefined, torch.nan)

    def retrieved(self, groups: TieGroups) -> Tensor:
        """Value of rankings with ties, float64[B]; any value where it is not defined."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class AveragePrecision(_RetrievalMetric):
    """Average precision (AP) of the relevant features, the mean over them of the precision at their rank.

        AP = 1/|A| Σ_{i ∈ A} |A ∩ {ranks 1 … rank(i)}| / rank(i)

    for each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones. A are the
    features whose truth is not 0. Tied features count by the exact expectation over all orders of them, so that a
    constant map scores the expected value of a random ranking, about |A|/n. There is no interpolation and no
    trapezoidal rule, which give .525 to an all-zero map where 5 % of the features are relevant. NaN where A holds no
    feature or all of them. Compare it with the base rate |A|/n.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Manning et al. 2008, §8.4; ties: McSherry & Najork 2008, eq. 8.
    """

    name: ClassVar[str] = "average-precision"
    source: ClassVar[str] = "Manning et al. 2008, §8.4; expectation over ties: McSherry & Najork, ECIR 2008"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.average_precision()


@register
@dataclass(frozen=True)
class Auroc(_RetrievalMetric):
    """Area under the ROC curve, the probability that a relevant feature is ranked above an irrelevant one.

    For each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones. Ties count
    one half; the value is computed exactly from midranks (Mann–Whitney U). A constant map scores .5, which is chance.
    NaN where no feature, or every feature, is relevant.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Hanley & McNeil 1982.
    """

    name: ClassVar[str] = "auroc"
    source: ClassVar[str] = "Hanley & McNeil 1982, doi:10.1148/radiology.143.1.7063747"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.auroc()


@register
@dataclass(frozen=True)
class RankAccuracy(_RetrievalMetric):
    """Share of relevant features among the first |A| of the ranking, where |A| is the number of relevant features.

    This is the precision at |A| and, the same number, the recall at |A|. For each sequence over its valid features,
    ranked by |Φ| for signed methods and by Φ for unsigned ones. Tied features count by the exact expectation over all
    orders of them: a constant map gets the base rate |A|/n. NaN where no feature, or every feature, is relevant.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: relevance rank accuracy, Arras et al. 2022 (CLEVR-XAI), eq. 2.
    """

    name: ClassVar[str] = "rank-accuracy"
    source: ClassVar[str] = "Arras et al. 2022, arXiv:2003.07258, relevance rank accuracy"

    def retrieved(self, groups: TieGroups) -> Tensor:
        """See the class."""
        return groups.rank_accuracy()


@register
@dataclass(frozen=True)
class PrecisionAtK(_RetrievalMetric):
    """Precision at k, the share of relevant features among the first k of the ranking.

    For each sequence over its valid features, ranked by |Φ| for signed methods and by Φ for unsigned ones. A sequence
    of fewer than k features is scored over all of them, so that every ranking of it gets the base rate |A|/n. Tied
    features count by the exact expectation over all orders of them: a constant map gets the base rate. The best ranking
    gets min(1, |A|/k), which differs between sequences, so no ideal value is stated. NaN where no feature, or every
    feature, is relevant.

    With k = 1 it is the pointing game: whether the feature ranked first is relevant. For k = |A|, which differs between
    sequences, see ``rank-accuracy``.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.
        k: number of features at the top of the ranking.

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
    """Pearson correlation of the signed attributions with the signed true contributions of a sequence.

    The correlation is over the valid features. An attribution by step is divided equally among the cells of each step.
    A constant attribution scores 0. NaN where the truth is constant, and for fewer than 2 features.

    Applicable only if the truth is a signed contribution (coefficient or Shapley) to the one output that is explained,
    not to every step's own, and the method is signed. The explained class is the model's prediction, which may not be
    the class that the truth refers to. With two classes a contribution to one is the negative contribution to the
    other, and the sign of the truth is changed accordingly (``Truth.turned``).

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare sums over steps.

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
        if self.compared_granularity(subject) == "step" and true.dim() == 3:
            true = true.sum(2)
        return pearson(self.attributions(evidence, spread=True), true.flatten(1), self.features(subject)[1])
