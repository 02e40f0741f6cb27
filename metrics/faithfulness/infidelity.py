"""Infidelity and correlations: sums of attributions against the effects of removing random subsets of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch

from ...errors import ParameterError
from ...plugins import register
from ..base import Direction, Evidence
from ..ranking.order_statistics import apply_by_rows, pearson
from ..removal.effects import SubsetSampling, subset_effects
from .removal_metric import RemovalMetric

if TYPE_CHECKING:
    from torch import Tensor

# Effects below this, as a share of the output's size or of 1, are rounding errors: the score does not change.
_ROUNDING: Final = 1e-6


@dataclass(frozen=True)
class _SubsetMetric(RemovalMetric):
    """Base class of the metrics of random subsets.

    Args:
        masks: number of subsets for each sequence.
        levels: number of different subset sizes.
        by: spec of the intervention.
    """

    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "sign"

    masks: int = 160
    levels: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        self.positive("masks", "levels")
        if self.levels > self.masks:
            raise ParameterError(
                f"{self.name}: levels={self.levels} does not fit; it must be at most masks={self.masks}."
            )

    @property
    def sampling(self) -> SubsetSampling:
        """Sampling plan of the subsets."""
        return SubsetSampling(self.by, self.masks, self.levels)


@dataclass(frozen=True)
class _InfidelityBase(_SubsetMetric):
    """Base class of the two forms of infidelity.

    Args:
        scaled: whether the attributions are first multiplied by the nonnegative factor that fits the effects best.
    """

    scaled: bool = True

    def errors(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Mean squared error of the attribution sums, and mean squared effect, float64[B] each."""
        effects = subset_effects(evidence, self.sampling)
        error, squared_effect = apply_by_rows(self._errors, effects.attribution_sums, effects.effect).unbind(1)
        return error, squared_effect

    def _errors(self, sums: Tensor, effect: Tensor) -> Tensor:
        # divided by their largest size, so that squares of tiny and huge attributions neither vanish nor overflow
        size = sums.abs().amax(1, keepdim=True)
        sums = sums / torch.where(size > 0, size, 1.0)
        if self.scaled:
            square = sums.square().sum(1, keepdim=True)
            beta = (sums * effect).sum(1, keepdim=True) / torch.where(square > 0, square, 1.0)
            error = beta.clamp_min(0) * sums - effect
        else:
            error = sums * size - effect
        return torch.stack([error.square().mean(1), effect.square().mean(1)], 1)


@register
@dataclass(frozen=True)
class Infidelity(_InfidelityBase):
    """Mean squared error of the attribution sums of random subsets against the effects of removing the subsets.

        mean over subsets S of  (β Σ_{i ∈ S} Φ_i − Δ_S)²,   Δ_S = f(x) − f(x without S)

    f is the raw explained output, and the intervention removes the features. Attributions describe the difference to
    the reference, so their sums are comparable with effects. Both are multiplied by the sign of evidence; attributions
    of an unsigned method are read as evidence already. With ``scaled``, β = max(0, E[Δ ΣΦ]/E[(ΣΦ)²]), and 0 where all
    ΣΦ are 0, so that a method with the right proportions is not penalised for its unit. The authors' code allows a
    negative β, which gives an attribution of the opposite sign the same value as the right one.

    The value is in the squared unit of the output, so compare it within a task, or use ``explained-effect``. Larger
    subsets have larger effects, so that a constant map already explains much of them: compare with the control
    ``uniform``, or use ``sensitivity-n``. Subsets are the same for all methods and metrics, with sizes log-uniform from
    1 to n − 1. Always defined.

    Args:
        masks: number of subsets for each sequence.
        levels: number of different subset sizes.
        by: spec of the intervention.
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
class ExplainedEffect(_InfidelityBase):
    """Share of the effects of removing random subsets that the attributions explain, 1 − infidelity / E[Δ²].

    1 for attributions that predict every effect, 0 for those that predict none (β = 0). Without ``scaled`` it may be
    below 0. Larger subsets have larger effects, so that a constant map already explains much of them: compare with the
    control ``uniform``, or use ``sensitivity-n``. Subsets, signs and scaling as for ``infidelity``; this form of it is
    comparable between tasks. NaN where no removal changes the output by more than rounding errors.

    Args:
        masks: number of subsets for each sequence.
        levels: number of different subset sizes.
        by: spec of the intervention.
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
        error, squared_effect = self.errors(evidence)
        unaffected = squared_effect.sqrt() <= _ROUNDING * evidence.subject.score.double().abs().clamp_min(1)
        return (1 - error / torch.where(unaffected, 1.0, squared_effect)).masked_fill(unaffected, torch.nan)


@register
@dataclass(frozen=True)
class FaithfulnessCorrelation(_SubsetMetric):
    """Pearson correlation between the attribution sums of random subsets and the effects of removing the subsets.

        Pearson over S of  Σ_{i ∈ S} Φ_i  and  f(x) − f(x without S)

    f and signs as for ``infidelity``. The subsets and their model runs are those of ``infidelity``, with sizes
    log-uniform from 1 to n − 1, or a single ``size`` as in the paper. 0 where the sums are constant; NaN where the
    effects are constant, and therefore where n = 1.

    Args:
        masks: number of subsets for each sequence.
        levels: number of different subset sizes.
        by: spec of the intervention.
        size: number of features in every subset, at most n; 0 for several sizes, see ``levels``.

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
    def sampling(self) -> SubsetSampling:
        """See :attr:`_SubsetMetric.sampling`."""
        return SubsetSampling(self.by, self.masks, self.levels, self.size)

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        effects = subset_effects(evidence, self.sampling)
        return pearson(effects.attribution_sums, effects.effect, torch.ones_like(effects.effect, dtype=torch.bool))


@register
@dataclass(frozen=True)
class SensitivityN(_SubsetMetric):
    """Pearson correlation between attributions and effects of subsets of one size, mean over several sizes.

    Within one size the number of removed features cannot contribute to the correlation, as it does in
    ``faithfulness-correlation``. The sizes are ``levels`` numbers from 1 to n − 1, equally spaced on a logarithmic
    scale, with masks/levels subsets each. The correlation is 0 at sizes whose sums are constant. Sizes whose effects
    are constant are left out; NaN where none is left, and therefore where n = 1. f and signs as for ``infidelity``.

    Args:
        masks: number of subsets for each sequence, over all sizes.
        levels: number of sizes.
        by: spec of the intervention.

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
        effects = subset_effects(evidence, self.sampling)
        # sizes ascend within a row, so that each run of equal sizes is one level
        level = torch.zeros_like(effects.effect, dtype=torch.int16)
        torch.cumsum(effects.size.diff(dim=1) > 0, 1, dtype=torch.int16, out=level[:, 1:])
        sums = effects.attribution_sums
        values = [pearson(sums, effects.effect, level == number) for number in range(int(level.max()) + 1)]
        return torch.stack(values).nanmean(0)
