"""The figures of the literature on time series: only for comparison with papers, for they reward saturated maps.

They read how near to 0 and 1 a map is after its range has been stretched to them. A mask that its method drove to 0 and
1 gets large ones, the exact Shapley values of the same function small ones, and no figure among them has the true
explanation for its best. They are therefore given without a direction: no board ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import TieGroups
from .retrieval import FeatureTruthMetric

if TYPE_CHECKING:
    from torch import Tensor

# As in the authors' code and in time_interpret.
_EPSILON: Final = 1e-5


@dataclass(frozen=True)
class _Figure(FeatureTruthMetric):
    """What the figures share: the map they read, and that they inform only."""

    direction: ClassVar[Direction] = "neither"
    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Crabbé & van der Schaar 2021 (Dynamask), arXiv:2106.05303, and their code"

    def score(self, evidence: Evidence) -> Tensor:
        """NaN where no feature is relevant."""
        relevant, valid = self.features(evidence.subject)
        found = self.figure(_stretched(self.relevance(evidence), valid), relevant, valid)
        return found.masked_fill(~relevant.any(1), torch.nan)

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:
        """float64[B]; anything where nothing is relevant.

        Args:
            mask: float64[B, N], m, from 0 to 1 / (1 + ε) over what is valid; 0 on padding.
            relevant: bool[B, N].
            valid: bool[B, N].
        """
        raise NotImplementedError


@dataclass(frozen=True)
class _Area(_Figure):
    """The area under a curve against the threshold, by trapezoids between the values of the mask."""

    high: ClassVar[float] = 1.0

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`_Figure.figure`."""
        heights = self.curve(TieGroups.of(mask, relevant, valid))
        # 0 is the least valid value, so that no area lies between it and padding
        values = mask.masked_fill(~valid, -torch.inf).sort(1, descending=True).values.clamp_min(0)
        return ((values[:, :-1] - values[:, 1:]) * (heights[:, :-1] + heights[:, 1:]) / 2).sum(1)

    def curve(self, groups: TieGroups) -> Tensor:
        """float64[B, N]: the curve's height at the value of each place of the ranking."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Bits(_Figure):
    """A sum over the relevant features."""

    unit: ClassVar[str] = "bits"

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG002  # what is relevant is valid
        """See :meth:`_Figure.figure`."""
        return (self.bits(mask) * relevant).sum(1)

    def bits(self, mask: Tensor) -> Tensor:
        """float64[B, N]: of each feature."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class AreaUnderPrecision(_Area):
    """AUP, the area under the precision of {m ≥ θ} against the threshold θ: only for comparison with papers.

    m is |Φ| for signed methods and Φ for others, its range over the valid features of a sequence stretched to 0 … 1 /
    (1 + ε), ε = 10⁻⁵; constant maps become 0. By trapezoids between the values of m. NaN where no feature is relevant.

    Papers take a higher one for better, which it is not: it rewards saturated maps, and the trapezoids punish a perfect
    one. Where 5 % of the features are relevant, exact Shapley values get 1.000 and the perfect binary mask .525, as
    there is no threshold between 0 and 1. A constant map gets 0, and a random one the base rate. Use
    ``average-precision``.

    Papers join all sequences into one curve; this is the figure of each sequence.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask); ε as in time_interpret, ``aup``.
    """

    name: ClassVar[str] = "aup"

    def curve(self, groups: TieGroups) -> Tensor:
        """Precision."""
        return (groups.before + groups.hits) / (groups.start + groups.size)


@register
@dataclass(frozen=True)
class AreaUnderRecall(_Area):
    """AUR, the area under the recall of {m ≥ θ} against the threshold θ: only for comparison with papers.

    m is |Φ| for signed methods and Φ for others, its range over the valid features of a sequence stretched to 0 … 1 /
    (1 + ε), ε = 10⁻⁵; constant maps become 0. By trapezoids between the values of m. NaN where no feature is relevant.

    Papers take a higher one for better, which it is not: it is about the mean of m over the relevant features, and so
    rewards saturated maps: a random map gets .5, exact Shapley values of a sum of squares .133. A constant map gets 0.
    Use ``average-precision``.

    Papers join all sequences into one curve; this is the figure of each sequence.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask); ε as in time_interpret, ``aur``.
    """

    name: ClassVar[str] = "aur"

    def curve(self, groups: TieGroups) -> Tensor:
        """Recall."""
        return (groups.before + groups.hits) / groups.positives[:, None]


@register
@dataclass(frozen=True)
class Information(_Bits):
    """Mask information over the relevant features: only for comparison with papers.

        I = Σ_{i ∈ A} |log₂(1 − m_i + ε)|   in bits, ε = 10⁻⁵

    m is |Φ| for signed methods and Φ for others, its range over the valid features of a sequence stretched to 0 … 1 /
    (1 + ε); constant maps become 0. NaN where no feature is relevant.

    Papers take a higher one for better, which it is not: it rewards saturated maps. 15.6 bits for each relevant feature
    of a binary mask are a choice of ε, exact Shapley values get .4, random values 1.4. It does not see what is marked
    outside A.

    Papers add up over all sequences; this is the figure of each sequence: theirs is the mean times the number of
    sequences, and grows with them and with |A|.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask), mask information; ε as in time_interpret, ``information``.
    """

    name: ClassVar[str] = "information"

    def bits(self, mask: Tensor) -> Tensor:
        """See the class."""
        return (1 - mask + _EPSILON).log2().abs()


@register
@dataclass(frozen=True)
class MaskEntropy(_Bits):
    """Mask entropy over the relevant features: only for comparison with papers.

        S = Σ_{i ∈ A} m_i |log₂(ε + m_i)| + (1 − m_i) |log₂(ε + 1 − m_i)|   in bits, ε = 10⁻⁵

    m is |Φ| for signed methods and Φ for others, its range over the valid features of a sequence stretched to 0 … 1 /
    (1 + ε); constant maps become 0. NaN where no feature is relevant.

    Papers take a lower one for better, which it is not: it rewards saturated maps. One that is 0 on all of A has
    none. It is no entropy of the attribution, which is ``attribution-entropy``.

    Papers add up over all sequences; this is the figure of each sequence: theirs is the mean times the number of
    sequences, and grows with them and with |A|.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"``: compare what the truth tells apart; ``"step"``: compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask), mask entropy; ε as in time_interpret, ``entropy``.
    """

    name: ClassVar[str] = "mask-entropy"

    def bits(self, mask: Tensor) -> Tensor:
        """See the class."""
        rest = 1 - mask
        return mask * (mask + _EPSILON).log2().abs() + rest * (rest + _EPSILON).log2().abs()


def _stretched(relevance: Tensor, valid: Tensor) -> Tensor:
    """float64[B, N]: relevance moved and scaled to 0 … 1 / (1 + ε) over what is valid; 0 where constant and on padding.

    time_interpret divides by the range + ε instead, and so flattens a map of small numbers: ε is of the range here.
    """
    values = torch.where(valid, relevance, 0.0)
    largest = values.abs().amax(1, keepdim=True)
    # so that the range of the largest values there are stays finite
    values = values / torch.where(largest > 0, largest, 1.0)
    low = values.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
    span = values.masked_fill(~valid, -torch.inf).amax(1, keepdim=True) - low
    return torch.where(valid & (span > 0), (values - low) / span / (1 + _EPSILON), 0.0)
