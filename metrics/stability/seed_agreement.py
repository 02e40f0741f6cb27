"""Agreement: does a method say the same with another seed of its own, or of another training of the same model?

Two questions for each: whether it puts all features in the same order (τ-b), and whether it names the same few first
(overlap). Both read the same explanations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import torch

from ...errors import ContractError, ParameterError
from ...fingerprints import seed_from
from ...plugins import register
from ..base import Direction, Evidence, Family, Metric
from ..ranking.order_statistics import kendall, overlap
from ..removal.curves import counts_of_fractions

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Attribution


@dataclass(frozen=True)
class _Agreement(Metric):
    """What the agreement metrics share: how much two attributions of the same sequences agree."""

    family: ClassVar[Family] = "stability"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Kendall 1945, doi:10.1093/biomet/33.3.239 (τ-b)"

    def agreement(self, left: Attribution, right: Attribution, valid: Tensor) -> Tensor:
        """float64[B]: of two attributions whose features bool[B, N] are valid."""
        return kendall(left.values.flatten(1), right.values.flatten(1), valid)


@dataclass(frozen=True)
class _Overlap(_Agreement):
    """What the overlaps share: how many features two attributions both have among their first."""

    low: ClassVar[float] = 0.0
    source: ClassVar[str] = "Krishna et al. 2022, arXiv:2202.01602, §3.2 (feature agreement)"

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ParameterError(f"{self.name}: share={self.share} does not fit; it must lie between 0 and 1.")

    def agreement(self, left: Attribution, right: Attribution, valid: Tensor) -> Tensor:
        """See :class:`_Agreement`."""
        count = counts_of_fractions(valid, (self.share,)).squeeze(1)
        found = overlap(_relevance(left), _relevance(right), valid, count)
        return found.masked_fill(count == valid.sum(1), torch.nan)


def _relevance(attribution: Attribution) -> Tensor:
    """float[B, N]: |Φ| of signed methods, Φ of others."""
    values = attribution.values.flatten(1)
    return values.abs() if attribution.signed else values


@dataclass(frozen=True)
class _ExplainerSeeds(_Agreement):
    """What the agreements of a method's own seeds share."""

    needs_stochastic: ClassVar[bool] = True

    seeds: int = 2

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ParameterError(f"{self.name}: seeds={self.seeds} does not fit; it must be positive.")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        valid = evidence.subject.features(evidence.attribution.granularity)
        maps = [evidence.attribution, *(_with_other_seed(evidence, number) for number in range(self.seeds))]
        return torch.stack([self.agreement(*pair, valid) for pair in combinations(maps, 2)]).nanmean(0)


def _with_other_seed(evidence: Evidence, number: int) -> Attribution:
    """What the method says with another seed; asked once for all metrics of a cell."""
    return evidence.get(("explainer seed", number), partial(_explained, number=number))


def _explained(evidence: Evidence, number: int) -> Attribution:
    return evidence.explainer.explain(evidence.subject, seed_from("explainer seed", evidence.seed, number))


@dataclass(frozen=True)
class _ModelSeeds(_Agreement):
    """What the agreements of other trainings share."""

    needs_siblings: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        ours = evidence.attribution
        valid = evidence.subject.features(ours.granularity)
        found = [torch.full((len(valid),), torch.nan, dtype=torch.float64)]
        for seed, (sibling, target) in sorted(evidence.siblings.items()):
            if sibling.values.shape != ours.values.shape:
                raise ContractError(
                    f"The attributions for model seed {seed} have shape {list(sibling.values.shape)}, and these have "
                    f"{list(ours.values.shape)}: model seeds must share their batch."
                )
            agreed = self.agreement(ours, sibling, valid)
            found.append(agreed.masked_fill(target != evidence.subject.target, torch.nan))
        return torch.stack(found).nanmean(0)


@register
@dataclass(frozen=True)
class ExplainerSeedAgreement(_ExplainerSeeds):
    """Whether a stochastic method orders the features alike, whatever its seed.

    The mean, over all pairs of seeds, of Kendall's τ-b between the attributions of a sequence over its valid features:
    1 the same order, 0 what independent orders have on average. Pairs of which one is constant have no τ and are left
    out; NaN where no pair is left, and so for sequences of one feature. Only for methods that have a seed.

    Args:
        seeds: explanations made beside the one that is judged.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "explainer-seed-agreement"


@register
@dataclass(frozen=True)
class ExplainerSeedOverlap(_ExplainerSeeds, _Overlap):
    """Whether a stochastic method names the same features first, whatever its seed.

    The mean, over all pairs of seeds, of |first k ∩ first k| / k between the attributions of a sequence over its valid
    features, k = ⌈share · n⌉, at least 1: 1 the same features, k/n what chance has in common. Ranked by |Φ| for signed
    methods and by Φ for others. Tied features that share the last places are drawn for them on each side anew, counted
    by the exact expectation: constant maps score k/n. NaN where k = n, where all agree, and so for sequences of one
    feature. Only for methods that have a seed; the explanations are those of ``explainer-seed-agreement``.

    Args:
        seeds: explanations made beside the one that is judged.
        share: of the features, how many are first.

    Source: Krishna et al. 2022, §3.2, feature agreement of two explanations.
    """

    name: ClassVar[str] = "explainer-seed-overlap"

    def __post_init__(self) -> None:
        _ExplainerSeeds.__post_init__(self)
        _Overlap.__post_init__(self)


@register
@dataclass(frozen=True)
class ModelSeedAgreement(_ModelSeeds):
    """Whether a method orders the features alike for models that differ only in the seed of their training.

    The mean over the other model seeds of Kendall's τ-b between the attributions of the same sequence over its valid
    features. Models that predict different classes are explained with different outputs in mind and are not compared;
    neither is a constant attribution. NaN where no other model is left, and so for sequences of one feature.

    Low agreement may be the models' and not the method's: read it against the other methods on the same task.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "model-seed-agreement"


@register
@dataclass(frozen=True)
class ModelSeedOverlap(_ModelSeeds, _Overlap):
    """Whether a method names the same features first for models that differ only in the seed of their training.

    The mean over the other model seeds of |first k ∩ first k| / k between the attributions of the same sequence over
    its valid features, k = ⌈share · n⌉, at least 1; ranking, ties and chance (k/n) as in ``explainer-seed-overlap``.
    Models that predict different classes are not compared. NaN where no other model is left, where k = n, and so for
    sequences of one feature.

    Low overlap may be the models' and not the method's: read it against the other methods on the same task.

    Args:
        share: of the features, how many are first.

    Source: Krishna et al. 2022, §3.2, feature agreement, here of one method on two models.
    """

    name: ClassVar[str] = "model-seed-overlap"
