"""Agreement between explanations with different explainer seeds, or of models with different training seeds.

Each is measured as the rank correlation of all features (τ-b) and as the overlap of the top features. Both use the same
explanations.
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
class _AgreementMetric(Metric):
    """Base class of the agreement metrics: rank correlation of two attributions of the same sequences."""

    family: ClassVar[Family] = "stability"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Kendall 1945, doi:10.1093/biomet/33.3.239 (τ-b)"

    def agreement(self, left: Attribution, right: Attribution, valid: Tensor) -> Tensor:
        """Agreement of two attributions over the valid features bool[B, N], float64[B]."""
        return kendall(left.values.flatten(1), right.values.flatten(1), valid)


@dataclass(frozen=True)
class _OverlapMetric(_AgreementMetric):
    """Base class of the overlap metrics: the share of their top features that two attributions have in common."""

    low: ClassVar[float] = 0.0
    source: ClassVar[str] = "Krishna et al. 2022, arXiv:2202.01602, §3.2 (feature agreement)"

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ParameterError(f"{self.name}: share={self.share} does not fit; it must lie between 0 and 1.")

    def agreement(self, left: Attribution, right: Attribution, valid: Tensor) -> Tensor:
        """See :class:`_AgreementMetric`."""
        count = counts_of_fractions(valid, (self.share,)).squeeze(1)
        shared = overlap(_relevance(left), _relevance(right), valid, count)
        return shared.masked_fill(count == valid.sum(1), torch.nan)


def _relevance(attribution: Attribution) -> Tensor:
    """Relevance |Φ| of signed methods, Φ of others; float[B, N]."""
    values = attribution.values.flatten(1)
    return values.abs() if attribution.signed else values


@dataclass(frozen=True)
class _ExplainerSeedMetric(_AgreementMetric):
    """Base class of the metrics that compare explainer seeds of one method."""

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
    """Attribution with another explainer seed; computed once for all metrics of a cell."""
    return evidence.get(("explainer seed", number), partial(_explain, number=number))


def _explain(evidence: Evidence, number: int) -> Attribution:
    return evidence.explainer.explain(evidence.subject, seed_from("explainer seed", evidence.seed, number))


@dataclass(frozen=True)
class _ModelSeedMetric(_AgreementMetric):
    """Base class of the metrics that compare models with different training seeds."""

    needs_siblings: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        attribution = evidence.attribution
        valid = evidence.subject.features(attribution.granularity)
        agreements = [torch.full((len(valid),), torch.nan, dtype=torch.float64)]
        for seed, (sibling, target) in sorted(evidence.siblings.items()):
            if sibling.values.shape != attribution.values.shape:
                raise ContractError(
                    f"The attributions for model seed {seed} have shape {list(sibling.values.shape)}, and these have "
                    f"{list(attribution.values.shape)}: model seeds must share their batch."
                )
            agreed = self.agreement(attribution, sibling, valid)
            agreements.append(agreed.masked_fill(target != evidence.subject.target, torch.nan))
        return torch.stack(agreements).nanmean(0)


@register
@dataclass(frozen=True)
class ExplainerSeedAgreement(_ExplainerSeedMetric):
    """Rank correlation of the attributions of a stochastic method with different explainer seeds.

    The mean, over all pairs of seeds, of Kendall's τ-b between the attributions of a sequence over its valid features:
    1 for the same order, 0 on average for independent orders. Pairs in which one attribution is constant have no τ and
    are left out; NaN where no pair is left, which includes sequences of one feature. Only for methods that use a seed.

    Args:
        seeds: number of further explanations, each with another explainer seed.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "explainer-seed-agreement"


@register
@dataclass(frozen=True)
class ExplainerSeedOverlap(_ExplainerSeedMetric, _OverlapMetric):
    """Overlap of the top features of a stochastic method with different explainer seeds.

    The mean, over all pairs of seeds, of |first k ∩ first k| / k between the attributions of a sequence over its valid
    features, k = ⌈share · n⌉, at least 1. It is 1 for the same features, and k/n by chance. Features are ranked by |Φ|
    for signed methods and by Φ for others. Features tied for the last of the k places count by the exact expectation
    over independent random draws on each side: constant maps score k/n. NaN where k = n, because then all attributions
    agree; this includes sequences of one feature. Only for methods that use a seed; the explanations are those of
    ``explainer-seed-agreement``.

    Args:
        seeds: number of further explanations, each with another explainer seed.
        share: share of the features that counts as top features.

    Source: Krishna et al. 2022, §3.2, feature agreement of two explanations.
    """

    name: ClassVar[str] = "explainer-seed-overlap"

    def __post_init__(self) -> None:
        _ExplainerSeedMetric.__post_init__(self)
        _OverlapMetric.__post_init__(self)


@register
@dataclass(frozen=True)
class ModelSeedAgreement(_ModelSeedMetric):
    """Rank correlation of the attributions of models that differ only in their training seed.

    The mean over the other model seeds of Kendall's τ-b between the attributions of the same sequence over its valid
    features. Models that predict different classes are explained for different outputs and are not compared; neither
    are constant attributions. NaN where no other model is left, which includes sequences of one feature.

    Low agreement may be due to the models and not to the method. Compare it with other methods on the same task.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "model-seed-agreement"


@register
@dataclass(frozen=True)
class ModelSeedOverlap(_ModelSeedMetric, _OverlapMetric):
    """Overlap of the top features of models that differ only in their training seed.

    The mean over the other model seeds of |first k ∩ first k| / k between the attributions of the same sequence over
    its valid features, k = ⌈share · n⌉, at least 1; ranking, ties and chance (k/n) as in ``explainer-seed-overlap``.
    Models that predict different classes are not compared. NaN where no other model is left and where k = n, which
    includes sequences of one feature.

    Low overlap may be due to the models and not to the method. Compare it with other methods on the same task.

    Args:
        share: share of the features that counts as top features.

    Source: Krishna et al. 2022, §3.2, feature agreement, here of one method on two models.
    """

    name: ClassVar[str] = "model-seed-overlap"
