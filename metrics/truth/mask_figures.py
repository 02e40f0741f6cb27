"""AUP, AUR, information and mask entropy of the time-series literature, only for comparison with papers.

They reward saturated maps: they measure how close the values of a map are to 0 and 1 after min-max scaling. A mask that
its method drove to 0 and 1 gets large values, and the exact Shapley values of the same function small ones. The true
explanation is not the optimum of any of them. They therefore have no direction, and no board ranks by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import TieGroups, max_normalised
from .retrieval import FeatureTruthMetric

if TYPE_CHECKING:
    from torch import Tensor

# As in the authors' code and in time_interpret.
_EPSILON: Final = 1e-5


@dataclass(frozen=True)
class _MaskFigure(FeatureTruthMetric):
    """Base class of the mask figures: they read the min-max scaled map and are shown without a ranking."""

    direction: ClassVar[Direction] = "neither"
    low: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Crabbé & van der Schaar 2021 (Dynamask), arXiv:2106.05303, and their code"

    def score(self, evidence: Evidence) -> Tensor:
        """Return float64[B]; NaN where no feature is relevant."""
        relevant, valid = self.features(evidence.subject)
        values = self.figure(_min_max_scaled(self.relevance(evidence), valid), relevant, valid)
        return values.masked_fill(~relevant.any(1), torch.nan)

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:
        """Value of each sequence, float64[B]; any value where no feature is relevant.

        Args:
            mask: float64[B, N], m, from 0 to 1 / (1 + ε) over valid features; 0 on padding.
            relevant: bool[B, N].
            valid: bool[B, N].
        """
        raise NotImplementedError


@dataclass(frozen=True)
class _ThresholdArea(_MaskFigure):
    """Area under a curve against the threshold, by trapezoids between the values of the mask."""

    high: ClassVar[float] = 1.0

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:
        """See :meth:`_MaskFigure.figure`."""
        heights = self.curve(TieGroups.of(mask, relevant, valid))
        # the smallest valid value is 0, so there is no area between it and padding
        values = mask.masked_fill(~valid, -torch.inf).sort(1, descending=True).values.clamp_min(0)
        return ((values[:, :-1] - values[:, 1:]) * (heights[:, :-1] + heights[:, 1:]) / 2).sum(1)

    def curve(self, groups: TieGroups) -> Tensor:
        """Height of the curve at the mask value of each place of the ranking, float64[B, N]."""
        raise NotImplementedError


@dataclass(frozen=True)
class _BitSum(_MaskFigure):
    """Sum of a quantity in bits over the relevant features."""

    unit: ClassVar[str] = "bits"

    def figure(self, mask: Tensor, relevant: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG002  # relevant features are valid
        """See :meth:`_MaskFigure.figure`."""
        return (self.bits(mask) * relevant).sum(1)

    def bits(self, mask: Tensor) -> Tensor:
        """Bits of each feature, float64[B, N]."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class AreaUnderPrecision(_ThresholdArea):
    """Area under the precision of {m ≥ θ} against the threshold θ (AUP), only for comparison with papers.

    m is |Φ| for signed methods and Φ for others, min-max scaled over the valid features of a sequence to 0 … 1 /
    (1 + ε), ε = 10⁻⁵; constant maps become 0. By trapezoids between the values of m. NaN where no feature is relevant.

    Papers take higher for better, which is wrong: it rewards saturated maps, and the trapezoids penalise a perfect one.
    Where 5 % of the features are relevant, exact Shapley values get 1.000 and the perfect binary mask .525, because it
    has no threshold between 0 and 1. A constant map gets 0, and a random one the base rate. Use ``average-precision``
    instead.

    Papers compute one curve over all sequences; this is the value of each sequence.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask); ε as in time_interpret, ``aup``.
    """

    name: ClassVar[str] = "aup"

    def curve(self, groups: TieGroups) -> Tensor:
        """Precision."""
        return (groups.before + groups.hits) / (groups.start + groups.size)


@register
@dataclass(frozen=True)
class AreaUnderRecall(_ThresholdArea):
    """Area under the recall of {m ≥ θ} against the threshold θ (AUR), only for comparison with papers.

    m is |Φ| for signed methods and Φ for others, min-max scaled over the valid features of a sequence to 0 … 1 /
    (1 + ε), ε = 10⁻⁵; constant maps become 0. By trapezoids between the values of m. NaN where no feature is relevant.

    Papers take higher for better, which is wrong: it is close to the mean of m over the relevant features, and so it
    rewards saturated maps. A random map gets .5, and the exact Shapley values of a sum of squares .133. A constant map
    gets 0. Use ``average-precision`` instead.

    Papers compute one curve over all sequences; this is the value of each sequence.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask); ε as in time_interpret, ``aur``.
    """

    name: ClassVar[str] = "aur"

    def curve(self, groups: TieGroups) -> Tensor:
        """Recall."""
        return (groups.before + groups.hits) / groups.positives[:, None]


@register
@dataclass(frozen=True)
class Information(_BitSum):
    """Mask information over the relevant features, only for comparison with papers.

        I = Σ_{i ∈ A} |log₂(1 − m_i + ε)|   in bits, ε = 10⁻⁵

    m is |Φ| for signed methods and Φ for others, min-max scaled over the valid features of a sequence to 0 … 1 /
    (1 + ε); constant maps become 0. NaN where no feature is relevant.

    Papers take higher for better, which is wrong: it rewards saturated maps. A binary mask gets 15.6 bits for each
    relevant feature, a number that only depends on ε; exact Shapley values get .4, and random values 1.4. Features
    marked outside of A do not count.

    Papers sum over all sequences; this is the value of each sequence. Theirs is the mean times the number of sequences,
    and grows with that number and with |A|.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask), mask information; ε as in time_interpret, ``information``.
    """

    name: ClassVar[str] = "information"

    def bits(self, mask: Tensor) -> Tensor:
        """See the class."""
        return (1 - mask + _EPSILON).log2().abs()


@register
@dataclass(frozen=True)
class MaskEntropy(_BitSum):
    """Mask entropy over the relevant features, only for comparison with papers.

        S = Σ_{i ∈ A} m_i |log₂(ε + m_i)| + (1 − m_i) |log₂(ε + 1 − m_i)|   in bits, ε = 10⁻⁵

    m is |Φ| for signed methods and Φ for others, min-max scaled over the valid features of a sequence to 0 … 1 /
    (1 + ε); constant maps become 0. NaN where no feature is relevant.

    Papers take lower for better, which is wrong: it rewards saturated maps. A map that is 0 on all of A has no mask
    entropy. The entropy of the attribution is another metric, ``attribution-entropy``.

    Papers sum over all sequences; this is the value of each sequence. Theirs is the mean times the number of sequences,
    and grows with that number and with |A|.

    Args:
        reading: name of one of the task's readings of the truth; by default the main one.
        granularity: ``"truth"`` to compare at the granularity of the truth, ``"step"`` to compare steps.

    Source: Crabbé & van der Schaar 2021 (Dynamask), mask entropy; ε as in time_interpret, ``entropy``.
    """

    name: ClassVar[str] = "mask-entropy"

    def bits(self, mask: Tensor) -> Tensor:
        """See the class."""
        rest = 1 - mask
        return mask * (mask + _EPSILON).log2().abs() + rest * (rest + _EPSILON).log2().abs()


def _min_max_scaled(relevance: Tensor, valid: Tensor) -> Tensor:
    """Min-max scaled relevance, float64[B, N], from 0 to 1 / (1 + ε) over valid features; 0 if constant and on padding.

    time_interpret divides by the range + ε instead, which flattens maps of small numbers. Here ε is relative to the
    range.
    """
    values = max_normalised(torch.where(valid, relevance, 0.0))
    low = values.masked_fill(~valid, torch.inf).amin(1, keepdim=True)
    span = values.masked_fill(~valid, -torch.inf).amax(1, keepdim=True) - low
    return torch.where(valid & (span > 0), (values - low) / span / (1 + _EPSILON), 0.0)
