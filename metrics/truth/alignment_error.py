"""Alignment error: agreement of the explanation of an output step with the source steps that it is aligned to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import TieGroups
from .retrieval import TruthMetric

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Truth


@register
@dataclass(frozen=True)
class AlignmentErrorRate(TruthMetric):
    """Alignment error rate (AER) of the links that an attribution proposes, against human alignments.

        AER = 1 − (|L ∩ S| + |L ∩ P|) / (|L| + |S|)

    for each sequence, whose explained output is one output step. S are the source steps with a sure link to it, P those
    with a sure or possible link, and L the first max(1, |S|) source steps of the ranking by |Φ| for signed methods and
    by Φ for unsigned ones; cells are summed to steps. The length of L is fixed, so that the metric evaluates the order
    and needs no threshold. Ties between steps count by the exact expectation over all orders of them.

    0 is best, and every order with S in front has it. Where no link is sure, one step is proposed, and a possible link
    is no error. NaN where no source step is linked at all. The paper sums numerator and denominator over a corpus
    before it divides; this is the rate of each output step, and a board shows their mean.

    Only for truths that are alignments (``Truth.semantics``): 1 for a sure link and .5 for a possible one, of a single
    output step and not of every step's own output.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.

    Source: alignment error rate, Och & Ney 2003.
    """

    name: ClassVar[str] = "alignment-error-rate"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Och & Ney 2003, doi:10.1162/089120103321337421"

    def unreadable(self, truth: Truth) -> str:
        """See :meth:`TruthMetric.unreadable`."""
        if truth.semantics != "alignment":
            return "the truth is no alignment"
        if truth.values.dim() != 2:
            return "the truth links cells, not steps"
        return "" if truth.retrospective else "the truth is about every step's own output, not one output"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        truth, valid = self.truth(evidence.subject), evidence.subject.features("step")
        values = evidence.attribution.steps.double()
        relevance = values.abs() if evidence.attribution.signed else values
        sure, linked = truth.values == 1, truth.relevant
        proposed = sure.sum(1).clamp_min(1)
        right = sum(TieGroups.of(relevance, links, valid).expected_hits(proposed) for links in (sure, linked))
        return (1 - right / (proposed + sure.sum(1))).masked_fill(~linked.any(1), torch.nan)
