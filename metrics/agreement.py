"""Agreement: does a method say the same with another seed of its own, or of another training of the same model?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

import torch

from ..errors import ContractError, ParameterError
from ..fingerprints import seed_from
from ..plugins import register
from .base import Direction, Evidence, Family, Metric
from .ranking import kendall

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class _Agreement(Metric):
    """What the agreement metrics share."""

    family: ClassVar[Family] = "stability"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 1.0
    source: ClassVar[str] = "Kendall 1945, doi:10.1093/biomet/33.3.239 (τ-b)"


@register
@dataclass(frozen=True)
class ExplainerSeedAgreement(_Agreement):
    """Whether a stochastic method orders the features alike, whatever its seed.

    The mean, over all pairs of seeds, of Kendall's τ-b between the attributions of a sequence over its valid features:
    1 the same order, 0 what independent orders have on average. Pairs of which one is constant have no τ and are left
    out; NaN where no pair is left, and so for sequences of one feature. Only for methods that have a seed.

    Args:
        seeds: explanations made beside the one that is judged.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "explainer-seed-agreement"
    needs_stochastic: ClassVar[bool] = True

    seeds: int = 2

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ParameterError(f"{self.name}: seeds={self.seeds} does not fit; it must be positive.")

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        others = [seed_from("explainer seed", evidence.seed, number) for number in range(self.seeds)]
        maps = [evidence.attribution, *(evidence.explainer.explain(evidence.subject, seed) for seed in others)]
        valid = evidence.subject.features(evidence.attribution.granularity)
        flat = [found.values.flatten(1) for found in maps]
        return torch.stack([kendall(*pair, valid) for pair in combinations(flat, 2)]).nanmean(0)


@register
@dataclass(frozen=True)
class ModelSeedAgreement(_Agreement):
    """Whether a method orders the features alike for models that differ only in the seed of their training.

    The mean over the other model seeds of Kendall's τ-b between the attributions of the same sequence over its valid
    features. Models that predict different classes are explained with different outputs in mind and are not compared;
    neither is a constant attribution. NaN where no other model is left, and so for sequences of one feature.

    Low agreement may be the models' and not the method's: read it against the other methods on the same task.

    Source: Kendall 1945 (τ-b).
    """

    name: ClassVar[str] = "model-seed-agreement"
    needs_siblings: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        ours = evidence.attribution.values
        valid = evidence.subject.features(evidence.attribution.granularity)
        found = [torch.full((len(ours),), torch.nan, dtype=torch.float64)]
        for seed, (sibling, target) in sorted(evidence.siblings.items()):
            if sibling.values.shape != ours.shape:
                raise ContractError(
                    f"The attributions for model seed {seed} have shape {list(sibling.values.shape)}, and these have "
                    f"{list(ours.shape)}: model seeds must share their batch."
                )
            taus = kendall(ours.flatten(1), sibling.values.flatten(1), valid)
            found.append(taus.masked_fill(target != evidence.subject.target, torch.nan))
        return torch.stack(found).nanmean(0)
