"""Sanity: does the explanation depend on what the model has learnt?

A method that says the same of a model whose parameters are random explains the data, or nothing. The control
``magnitude`` does exactly that, and its score stands on the same board: a method that does no better has failed.
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
from ..stability.neighbours import judged
from .randomised_models import cascade

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Attribution, Explainer


@dataclass(frozen=True, eq=False)
class Randomised:
    """Some sequences of a subject, of its own model and of randomised ones.

    Attributes:
        plain: of the model itself.
        stages: of the model at each stage of the cascade, the last with nothing left of it.
    """

    plain: Subject
    stages: tuple[Subject, ...]

    @classmethod
    def of(cls, subject: Subject, instances: int, seed: int) -> Randomised:
        """The judged sequences of a subject."""
        plain = subject.select(judged(len(subject), instances))
        return cls(plain, cascade(plain, seed))


@dataclass(frozen=True)
class _Randomisation(Metric):
    """What the metrics that randomise the model share.

    Args:
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        seed: of the random parameters.
    """

    family: ClassVar[Family] = "sanity"

    instances: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.instances < 0:
            raise ParameterError(f"{self.name}: instances={self.instances} does not fit; it must be 0 or more.")

    def compare(self, evidence: Evidence, randomised: Randomised) -> Tensor:
        """float64[C]: the value of the judged sequences."""
        raise NotImplementedError

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        if reason := super().applicable(explainer, subject):
            return reason
        return "" if any(True for _ in subject.model.parameters()) else "the model has no parameters to randomise"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        make = partial(Randomised.of, instances=self.instances, seed=self.seed)
        randomised = evidence.shared.get(("randomised", self.instances, self.seed), make)
        found = torch.full((len(evidence.subject),), torch.nan, dtype=torch.float64)
        found[judged(len(found), self.instances)] = self.compare(evidence, randomised)
        return found

    def asked(self, count: int) -> int:
        """See :meth:`Metric.asked`."""
        return len(judged(count, self.instances))

    def said(self, evidence: Evidence, subject: Subject, stage: int) -> Attribution:
        """What the method says of one of the models, with the seed of its evidence; asked once for all metrics."""
        key = ("randomised", self.instances, self.seed, stage)
        return evidence.get(key, lambda cell: cell.explainer.explain(subject, cell.seed))


@register
@dataclass(frozen=True)
class ParameterRandomisation(_Randomisation):
    """How alike the explanation stays while the model's parameters are made random, from its outputs down.

        mean over the stages s of  ρ(|Φ(x; f)|, |Φ(x; f_s)|)

    ρ: Spearman's, over the valid features, of |Φ| for signed methods (Φ with ``sign``) and of Φ for others. f_s: the
    model with the s first of its stages randomised: usually the output layer, attention, W_hh and then W_ih of every
    recurrent layer, the embedding. The explained output stays that of the trained model. 0 is a method that takes all
    it says from the parameters, 1 one that takes nothing from them, such as ``magnitude`` on real-valued inputs.

    * The order of the stages is the reverse of the one in which the modules with parameters of their own end their
      last calls; a recurrent layer is two stages for each layer it stacks, the upper ones first. New values come from
      each module's own ``reset_parameters``, or are normal with the mean and standard deviation of what they replace.
    * One draw of random parameters, the same for all methods.
    * Read the score against ``magnitude`` on the same board. Two networks may agree for reasons of their own: both
      forget, and what has the input for a factor is 0 where the input is. On ``adding``, whose markers are 0 but for
      two, methods that follow the model score nearly 1 by size.
    * Every explanation has the seed of the evidence. Random attributions of the same seed are the same for every
      model and score 1, as every map does that does not look at the model.
    * Stages at which the explanation is constant are left out. NaN where none is left, where the explanation of the
      trained model is constant, so for sequences of one feature, and where the sequence is not asked of.
    * It costs stages + 1 explanations of each sequence, hence only ``instances`` are asked of.

    Args:
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        seed: of the random parameters.
        sign: whether to correlate Φ itself and not its size.

    Source: Adebayo et al. 2018, §3, cascading randomisation.
    """

    name: ClassVar[str] = "parameter-randomisation"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292, §3 (cascading randomisation)"

    sign: bool = False

    def compare(self, evidence: Evidence, randomised: Randomised) -> Tensor:
        """See the class."""
        plain = self.said(evidence, randomised.plain, 0)
        valid = randomised.plain.features(plain.granularity)
        found = [
            spearman(self._read(plain), self._read(self.said(evidence, subject, stage)), valid)
            for stage, subject in enumerate(randomised.stages, start=1)
        ]
        return torch.stack(found).nanmean(0)

    def _read(self, attribution: Attribution) -> Tensor:
        values = attribution.values.flatten(1)
        return values.abs() if attribution.signed and not self.sign else values


@register
@dataclass(frozen=True)
class EfficientParameterRandomisation(_Randomisation):
    """How much more complex the explanation becomes when all of the model's parameters are random (eMPRT).

        (H(Φ(x; f′)) − H(Φ(x; f))) / H(Φ(x; f))

    H: entropy, −Σ p log p, of the histogram of the valid features' Φ, in bins of equal width between the least and the
    largest of the map itself. f′: the model with every parameter randomised, as in the last stage of
    ``parameter-randomisation``; the explained output stays that of the trained model. A method that reads the
    parameters is expected to say something more chaotic of f′; one that does not read them scores 0.

    * Bins: ⌈√n⌉ for n valid features, unless set. Quantus takes 100, of which a short text leaves nearly all empty; its
      rules for their number take the dimensions of a map for its size.
    * More complex is what maps of images are expected to become. A recurrent network with random weights may forget,
      and its maps are then less complex than those of one that was trained to remember: on ``adding`` methods that
      read the parameters score below 0. ``parameter-randomisation`` asks the same without that premise.
    * NaN where H(Φ(x; f)) = 0: a constant explanation, and so a sequence of one feature; and where the sequence is not
      asked of.

    Args:
        instances: sequences judged, evenly spaced in the batch; 0 for all.
        seed: of the random parameters.
        bins: of the histograms; 0 for ⌈√n⌉.

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

    def compare(self, evidence: Evidence, randomised: Randomised) -> Tensor:
        """See the class."""
        plain = self.said(evidence, randomised.plain, 0)
        last = self.said(evidence, randomised.stages[-1], len(randomised.stages))
        valid = randomised.plain.features(plain.granularity)
        before, after = self._complexity(plain, valid), self._complexity(last, valid)
        return torch.where(before > 0, (after - before) / before, torch.nan)

    def _complexity(self, attribution: Attribution, valid: Tensor) -> Tensor:
        """float64[C]: the entropy of each map's histogram, in nats."""
        rows = zip(attribution.values.flatten(1).double(), valid, strict=True)
        return torch.tensor([entropy(row[there].numpy(), self.bins) for row, there in rows], dtype=torch.float64)


def entropy(values: np.ndarray, bins: int) -> float:
    """Entropy in nats of the histogram of float64[n] in bins of equal width, ⌈√n⌉ where bins is 0; 0 if constant."""
    low, high = values.min(), values.max()
    if low == high:
        return 0.0
    # of the unit interval: the range of tiny values cannot be cut into bins, and that of huge ones overflows
    largest = np.abs(values).max()
    scaled = (values / largest - low / largest) / (high / largest - low / largest)
    counts = np.histogram(scaled, bins=bins or int(np.ceil(np.sqrt(len(values)))), range=(0.0, 1.0))[0]
    shares = counts[counts > 0] / len(values)
    return float(-(shares * np.log(shares)).sum())
