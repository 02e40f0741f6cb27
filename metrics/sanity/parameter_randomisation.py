"""Parameter randomisation: whether the explanation depends on the learnt parameters of the model.

A method with the same explanation for a model with random parameters explains the data, or nothing. The control
``magnitude`` is such a method, and its score is on the same board: a method that does no better has failed the check.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch

from ...errors import ParameterError
from ...plugins import register
from ...tasks.subject import Subject
from ..base import Direction, Evidence, Family, Metric
from ..ranking.order_statistics import spearman
from ..stability.neighbours import evenly_spaced
from .randomised_models import cascade

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Attribution, Explainer


@dataclass(frozen=True, eq=False)
class RandomisedModels:
    """Subjects with the same sequences, one with the trained model and others with randomised ones.

    Attributes:
        trained: the subject with the trained model.
        stages: the subject at each stage of the cascade; in the last one all parameters are random.
    """

    trained: Subject
    stages: tuple[Subject, ...]

    @classmethod
    def of(cls, subject: Subject, instances: int, seed: int) -> RandomisedModels:
        """Randomise the model for the scored sequences of a subject."""
        trained = subject.select(evenly_spaced(len(subject), instances))
        return cls(trained, cascade(trained, seed))


@dataclass(frozen=True)
class _RandomisationMetric(Metric):
    """Base class of the metrics that randomise the parameters of the model.

    Args:
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        seed: seed of the random parameters.
    """

    family: ClassVar[Family] = "sanity"

    instances: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.instances < 0:
            raise ParameterError(f"{self.name}: instances={self.instances} does not fit; it must be 0 or more.")

    def compare(self, evidence: Evidence, randomised: RandomisedModels) -> Tensor:
        """Value of the scored sequences, float64[C]."""
        raise NotImplementedError

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        return "" if any(True for _ in subject.model.parameters()) else "the model has no parameters to randomise"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        make = partial(RandomisedModels.of, instances=self.instances, seed=self.seed)
        randomised = evidence.shared.get(("randomised", self.instances, self.seed), make)
        values = torch.full((len(evidence.subject),), torch.nan, dtype=torch.float64)
        values[evenly_spaced(len(values), self.instances)] = self.compare(evidence, randomised)
        return values

    def asked(self, count: int) -> int:
        """See :meth:`Metric.asked`."""
        return len(evenly_spaced(count, self.instances))

    def explanation(self, evidence: Evidence, subject: Subject, stage: int) -> Attribution:
        """Explanation of the model at a stage, with the seed of the cell; computed once for all metrics."""
        key = ("randomised", self.instances, self.seed, stage)
        return evidence.get(key, lambda cell: cell.explainer.explain(subject, cell.seed))


@register
@dataclass(frozen=True)
class ParameterRandomisation(_RandomisationMetric):
    """Rank correlation with the explanations of models whose parameters are randomised, from the outputs down.

        mean over the stages s of  ρ(|Φ(x; f)|, |Φ(x; f_s)|)

    ρ: Spearman's, over the valid features, of |Φ| for signed methods (Φ with ``sign``) and of Φ for others. f_s: the
    model with the s first of its stages randomised: usually the output layer, attention, W_hh and then W_ih of every
    recurrent layer, the embedding. The explained output stays that of the trained model. A method whose attributions
    depend only on the parameters scores 0, and one that ignores them scores 1, such as ``magnitude`` on real-valued
    inputs.

    * Stages are in the reverse order of that in which the modules with parameters of their own finish their last calls.
      A recurrent module has two stages for each of its stacked layers, the upper ones first. New values come from each
      module's own ``reset_parameters``, or are normal with the mean and standard deviation of the values they replace.
    * One draw of random parameters, the same for all methods.
    * Compare the score with that of ``magnitude`` on the same board. Explanations of two networks may agree for other
      reasons: both networks forget, and an attribution with the input as a factor is 0 where the input is 0. On
      ``adding``, where all markers but two are 0, methods that depend on the model score nearly 1 by size.
    * Every explanation has the explainer seed of the attribution. Random attributions with the same seed are the same
      for every model and score 1, like every map that does not depend on the model.
    * Stages at which the explanation is constant are left out. NaN where none is left, where the explanation of the
      trained model is constant, which includes sequences of one feature, and where the sequence is not scored.
    * It costs stages + 1 explanations of each sequence, so only ``instances`` sequences are scored.

    Args:
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        seed: seed of the random parameters.
        sign: whether to correlate Φ instead of |Φ|.

    Source: Adebayo et al. 2018, §3, cascading randomisation.
    """

    name: ClassVar[str] = "parameter-randomisation"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292, §3 (cascading randomisation)"

    sign: bool = False

    def compare(self, evidence: Evidence, randomised: RandomisedModels) -> Tensor:
        """See the class."""
        attribution = self.explanation(evidence, randomised.trained, 0)
        valid = randomised.trained.features(attribution.granularity)
        correlations = [
            spearman(
                self._compared_values(attribution),
                self._compared_values(self.explanation(evidence, subject, stage)),
                valid,
            )
            for stage, subject in enumerate(randomised.stages, start=1)
        ]
        return torch.stack(correlations).nanmean(0)

    def _compared_values(self, attribution: Attribution) -> Tensor:
        values = attribution.values.flatten(1)
        return values.abs() if attribution.signed and not self.sign else values


@register
@dataclass(frozen=True)
class EfficientParameterRandomisation(_RandomisationMetric):
    """Relative increase of the explanation's complexity when all parameters of the model are randomised (eMPRT).

        (H(Φ(x; f′)) − H(Φ(x; f))) / H(Φ(x; f))

    H: entropy, −Σ p log p, of the histogram of the valid features' Φ, in bins of equal width between the minimum and
    the maximum of the map itself. f′: the model with every parameter randomised, as in the last stage of
    ``parameter-randomisation``; the explained output stays that of the trained model. The explanation of f′ is expected
    to be more chaotic if the method depends on the parameters; a method that ignores them scores 0.

    * Bins: ⌈√n⌉ for n valid features, unless set. Quantus uses 100, most of which are empty for a short text; its rules
      for the number of bins use the dimensions of a map in place of its size.
    * Maps of images are expected to become more complex. A recurrent network with random weights may forget, and its
      maps are then less complex than those of one that was trained to remember: on ``adding`` methods that depend on
      the parameters score below 0. ``parameter-randomisation`` tests the same without that assumption.
    * NaN where H(Φ(x; f)) = 0, that is for a constant explanation, which includes sequences of one feature; and where
      the sequence is not scored.

    Args:
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.
        seed: seed of the random parameters.
        bins: number of bins of the histograms; 0 for ⌈√n⌉.

    Source: Hedström et al. 2024, eMPRT, with the discrete entropy of its implementation in Quantus (EfficientMPRT).
    """

    name: ClassVar[str] = "emprt"
    direction: ClassVar[Direction] = "higher"
    low: ClassVar[float] = -1.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Hedström et al. 2024, arXiv:2401.06465 (eMPRT)"

    bins: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bins < 0 or self.bins == 1:
            raise ParameterError(f"{self.name}: bins={self.bins} does not fit; it must be 0, or at least 2.")

    def compare(self, evidence: Evidence, randomised: RandomisedModels) -> Tensor:
        """See the class."""
        attribution = self.explanation(evidence, randomised.trained, 0)
        randomised_attribution = self.explanation(evidence, randomised.stages[-1], len(randomised.stages))
        valid = randomised.trained.features(attribution.granularity)
        before, after = self._entropies(attribution, valid), self._entropies(randomised_attribution, valid)
        return torch.where(before > 0, (after - before) / before, torch.nan)

    def _entropies(self, attribution: Attribution, valid: Tensor) -> Tensor:
        """Entropy of the histogram of each map in nats, float64[C]."""
        rows = zip(attribution.values.flatten(1).double(), valid, strict=True)
        return torch.tensor(
            [histogram_entropy(row[mask].numpy(), self.bins) for row, mask in rows], dtype=torch.float64
        )


def histogram_entropy(values: np.ndarray, bins: int) -> float:
    """Entropy in nats of the histogram of float64[n] in bins of equal width; 0 if the values are constant.

    Args:
        values: float64[n].
        bins: number of bins; 0 for ⌈√n⌉.
    """
    low, high = values.min(), values.max()
    if low == high:
        return 0.0
    # scaled to the unit interval: the range of tiny values cannot be divided into bins, and that of huge ones overflows
    largest = np.abs(values).max()
    scaled = (values / largest - low / largest) / (high / largest - low / largest)
    counts = np.histogram(scaled, bins=bins or int(np.ceil(np.sqrt(len(values)))), range=(0.0, 1.0))[0]
    shares = counts[counts > 0] / len(values)
    return float(-(shares * np.log(shares)).sum())
