"""Faithfulness by random subsets: do sums of attributions follow what removing their features does?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import by_rows, pearson
from ..removal.effects import Draw, subsets
from .faithfulness_correlation import RemovalMetric

if TYPE_CHECKING:
    from torch import Tensor

# Effects below this, as a share of the output's size or of 1, are rounding: nothing moves the score.
_ROUNDING: Final = 1e-6


@dataclass(frozen=True)
class _Subsets(RemovalMetric):
    """What the metrics of random subsets share.

    Args:
        masks: subsets for each sequence.
        levels: how many sizes there are among them.
        by: the intervention.
    """

    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"

    masks: int = 160
    levels: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("masks", "levels")
        if self.levels > self.masks:
            raise ParameterError(
                f"{self.name}: levels={self.levels} does not fit; there are masks={self.masks} to be of those sizes."
            )

    @property
    def draw(self) -> Draw:
        """The subsets."""
        return Draw(self.by, self.masks, self.levels)


@dataclass(frozen=True)
class _Squared(_Subsets):
    """What the two forms of infidelity share.

    Args:
        scaled: whether the attributions are first multiplied by the positive number that fits best.
    """

    scaled: bool = True

    def errors(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """float64[B] each: the mean squared error of the sums, and the mean squared effect."""
        found = subsets(evidence, self.draw)
        error, effect = by_rows(self._errors, found.said, found.effect).unbind(1)
        return error, effect

    def _errors(self, said: Tensor, effect: Tensor) -> Tensor:
        # over their largest size, so that squares of tiny and huge attributions are numbers too
        size = said.abs().amax(1, keepdim=True)
        said = said / torch.where(size > 0, size, 1.0)
        if self.scaled:
            square = said.square().sum(1, keepdim=True)
            beta = (said * effect).sum(1, keepdim=True) / torch.where(square > 0, square, 1.0)
            error = beta.clamp_min(0) * said - effect
        else:
            error = said * size - effect
        return torch.stack([error.square().mean(1), effect.square().mean(1)], 1)


@register
@dataclass(frozen=True)
class Infidelity(_Squared):
    """How far the attributions of random subsets are from what removing the subset does, squared.

        mean over subsets S of  (β Σ_{i ∈ S} Φ_i − Δ_S)²,   Δ_S = f(x) − f(x without S)

    f is the raw explained output; what is removed is replaced as the intervention says, so that attributions, which
    are of the whole difference to the reference, are compared by sums. Both sides are multiplied by the sign of
    evidence, which an unsigned method's attributions are read as. With ``scaled``, β = max(0, E[Δ ΣΦ]/E[(ΣΦ)²]), and 0
    where ΣΦ is 0 throughout: a method that finds the proportions is not blamed for the unit. The authors' code lets β
    be negative, and so gives an attribution of the opposite sign the same value as the right one. In the squared unit
    of the output: compare within a task, or read ``explained-effect``. Larger subsets do more, so that a constant map
    already accounts for much: read it beside the control ``uniform``, or ``sensitivity-n``. Subsets are the same for
    all methods and metrics, their sizes log-uniform from 1 to n − 1. Always defined.

    Args:
        masks: subsets for each sequence.
        levels: how many sizes there are among them.
        by: the intervention.
        scaled: whether β is fitted; else it is 1.

    Source: Yeh et al. 2019, eq. 1, with binary masks (their §3, "difference to baseline") and optimal scaling.
    """

    name: ClassVar[str] = "infidelity"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392, eq. 1"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        return self.errors(evidence)[0]


@register
@dataclass(frozen=True)
class ExplainedEffect(_Squared):
    """The share of what removing random subsets does that the attributions account for: 1 − infidelity / E[Δ²].

    1 for attributions that tell every effect, 0 for those that tell nothing (β = 0); without ``scaled`` it may fall
    below 0. Larger subsets do more, so that a constant map already accounts for much: read it beside the control
    ``uniform``, or ``sensitivity-n``. Subsets, signs and scaling as for ``infidelity``, of which this is the form that
    can be compared between tasks. NaN where nothing that is removed moves the output by more than rounding.

    Args:
        masks: subsets for each sequence.
        levels: how many sizes there are among them.
        by: the intervention.
        scaled: whether β is fitted; else it is 1.

    Source: Yeh et al. 2019, eq. 1, relative to the squared effect.
    """

    name: ClassVar[str] = "explained-effect"
    direction: ClassVar[Direction] = "higher"
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392, eq. 1, relative to the squared effect"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        error, effect = self.errors(evidence)
        still = effect.sqrt() <= _ROUNDING * evidence.subject.score.double().abs().clamp_min(1)
        return (1 - error / torch.where(still, 1.0, effect)).masked_fill(still, torch.nan)


@register
@dataclass(frozen=True)
class FaithfulnessCorrelation(_Subsets):
    """Pearson correlation between the attributions of random subsets and what removing the subset does.

        Pearson over S of  Σ_{i ∈ S} Φ_i  and  f(x) − f(x without S)

    f and signs as for ``infidelity``, with whose subsets it shares the model runs; their sizes are log-uniform from 1
    to n − 1, or one ``size`` as in the paper. 0 where the sums are constant; NaN where the effects are, and so where
    n = 1.

    Args:
        masks: subsets for each sequence.
        levels: how many sizes there are among them.
        by: the intervention.
        size: of all subsets, at most n; 0 for sizes by levels.

    Source: Bhatt et al. 2020, eq. 1 (faithfulness).
    """

    name: ClassVar[str] = "faithfulness-correlation"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Bhatt et al. 2020, arXiv:2005.00631, eq. 1"

    size: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 0:
            raise ParameterError(f"{self.name}: size={self.size} does not fit; it must be 0 or more.")

    @property
    def draw(self) -> Draw:
        """See :attr:`_Subsets.draw`."""
        return Draw(self.by, self.masks, self.levels, self.size)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = subsets(evidence, self.draw)
        return pearson(found.said, found.effect, torch.ones_like(found.effect, dtype=torch.bool))


@register
@dataclass(frozen=True)
class SensitivityN(_Subsets):
    """Pearson correlation between attributions and effects of subsets of one size, mean over several sizes.

    Within a size, so that "more features removed, more effect" counts for nothing, which it does in
    ``faithfulness-correlation``. The sizes are ``levels`` numbers from 1 to n − 1, equally spaced on a logarithmic
    scale, with masks/levels subsets each. 0 at sizes whose sums are constant; sizes whose effects are constant are
    left out; NaN where none is left, and so where n = 1. f and signs as for ``infidelity``.

    Args:
        masks: subsets for each sequence, over all sizes.
        levels: how many sizes.
        by: the intervention.

    Source: Ancona et al. 2018, §3.1 (sensitivity-n).
    """

    name: ClassVar[str] = "sensitivity-n"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Ancona et al. 2018, arXiv:1711.06104, §3.1"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        found = subsets(evidence, self.draw)
        # the levels of a sequence are the runs of equal size in its ascending row
        level = torch.zeros_like(found.effect, dtype=torch.int16)
        torch.cumsum(found.size.diff(dim=1) > 0, 1, dtype=torch.int16, out=level[:, 1:])
        said = found.said
        values = [pearson(said, found.effect, level == each) for each in range(int(level.max()) + 1)]
        return torch.stack(values).nanmean(0)
