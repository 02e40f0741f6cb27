"""ROAR: performance of models that are retrained without the features that a method ranks first."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ...errors import ParameterError
from ...plugins import register
from ...tasks.data.masking import replaced
from ..base import Direction, Evidence, Family, Metric
from ..removal.retraining import (
    RankedSequences,
    RetrainingPlan,
    baseline,
    endpoints,
    fit,
    performance,
    random_curve,
    ranked_sequences,
    retraining_curve,
    unfit,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class _RetrainingMetric(Metric):
    """Base class of the metrics that retrain models without some features."""

    family: ClassVar[Family] = "faithfulness"
    needs_retraining: ClassVar[bool] = True

    fractions: tuple[float, ...] = (0.2, 0.5, 0.8)
    seeds: int = 2
    rank: Literal["evidence", "size"] = "size"

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in itertools.pairwise((0.0, *self.fractions)))
        if not self.fractions or not rising or self.fractions[-1] > 1:
            raise ParameterError(
                f"{self.name}: fractions={self.fractions} does not fit; they must ascend, above 0 and at most 1."
            )
        if self.seeds < 1:
            raise ParameterError(f"{self.name}: seeds={self.seeds} does not fit; it must be positive.")

    def applicable(self, explainer: Explainer, subject: Subject) -> str:
        """See :meth:`Metric.applicable`."""
        return super().applicable(explainer, subject) or unfit(explainer, subject)

    @property
    def intervention(self) -> str:
        """See :attr:`Metric.intervention`."""
        return "reference"

    @property
    def plan(self) -> RetrainingPlan:
        """Plan of the models to train."""
        return RetrainingPlan(self.fractions, self.seeds, self.rank)


@dataclass(frozen=True)
class _PerformanceDrop(_RetrainingMetric):
    """Base class of ROAR and its recursive form."""

    direction: ClassVar[Direction] = "higher"
    recursive: ClassVar[bool] = False

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        without = retraining_curve(evidence, self.plan, recursive=self.recursive)
        return (endpoints(evidence, self.seeds).explained[0] - without).mean(0)


@register
@dataclass(frozen=True)
class Roar(_PerformanceDrop):
    """Drop in performance of models that are trained and evaluated without the features that the method ranks first.

        mean over p of  q(nothing removed) − q(top k features removed everywhere),   k = ⌈p·n⌉, at least 1

    The method explains the model's own prediction for every training sequence, as it does for the explained ones. The
    features that it ranks first are replaced by the task's reference, and the task's recipe trains a new model on the
    result. q is the performance of that model on an explained sequence without its own first features: 1 if the class
    is right and 0 if not; for regression 1 − (f(x) − y)² / σ², where σ² is the variance of the explained output's
    targets in the test set. q is the mean over ``seeds`` models, also where nothing is removed, so that both terms
    differ only in the removal.

    * Features are steps or cells, whichever the method attributes to. Signed methods rank by |Φ|. If only the features
      that raise an output were removed, those left would lower it; a new model would learn the reverse relation, and
      the true contributions would score below chance (``tests/metrics/test_roar.py``). ``rank=evidence`` ranks by s·Φ
      nevertheless, with s = sign(f(x) − f(x⁰)) for regression and 1 for classes. Ties are broken at random, anew for
      each seed.
    * A retrained model can use redundant features: a method that removes one of two copies of a cause scores like one
      that removes nothing (``recursive-roar`` explains the retrained model again). It may also learn from the pattern
      of missing features (``roar-leak``). Report both together with this metric.
    * From −1 to 1 for classification. NaN only for regression where σ² is 0.
    * Cost: fractions × seeds trainings and one explanation of the training data for each method; seeds trainings (and
      as many without any feature) once for all methods.

    Args:
        fractions: the p, ascending.
        seeds: number of models trained for each p.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.

    Source: Hooker et al. 2019 (ROAR), §3, as a drop in performance.
    """

    name: ClassVar[str] = "roar"
    source: ClassVar[str] = "Hooker et al. 2019, arXiv:1806.10758, §3"


@register
@dataclass(frozen=True)
class RecursiveRoar(_PerformanceDrop):
    """Recursive ROAR: at each fraction the method explains the retrained model to choose the next features.

        mean over p of  q(nothing removed) − q(top k features removed everywhere),   k = ⌈p·n⌉, at least 1

    Like ``roar``, but after each fraction the method explains the model that was trained without the features removed
    so far, on sequences without them. The features that it then ranks first are removed next, in addition to those
    removed already. A redundant copy of a cause is thus removed once the model uses it. The explained outputs stay
    those of the original model, and each seed has its own chain of models. q, removal, ranking and range as for
    ``roar``. NaN only for regression whose test targets do not vary.

    Cost: fractions × seeds trainings, and 1 + (fractions − 1) × seeds explanations of the training data and of the
    explained sequences, for each method; the trainings shared by all methods are those of ``roar``.

    Args:
        fractions: the p, ascending.
        seeds: number of chains of models.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.

    Source: Madsen et al. 2022 (Recursive ROAR), §4.
    """

    name: ClassVar[str] = "recursive-roar"
    recursive: ClassVar[bool] = True
    source: ClassVar[str] = "Madsen et al. 2022, arXiv:2110.08412, §4"


@register
@dataclass(frozen=True)
class Racu(_RetrainingMetric):
    """Relative area between the performance curves of random removal and of the method (RACU).

        Σ_i ½(x_{i+1} − x_i)(Δp_i + Δp_{i+1})  /  Σ_i ½(x_{i+1} − x_i)(Δb_i + Δb_{i+1})

    x_0 = 0 and x_I = 1, with the fractions between them. p_i is the performance of models without the method's first
    features, b_i that of models without random ones, and b_I that of models without any feature. Δp_i = b_i − p_i is
    the advantage of the method over random removal, and Δb_i = b_i − b_I the largest possible one. Δp is 0 at both
    ends. The value is positive if the method removes the features that a model needs sooner than chance does, 0 for
    chance, and negative if later. A constant map scores exactly 0, because its ties are broken by the same orders as
    those of the random removal.

    * The numerator is computed for each sequence, with the performance q of ``roar``. The denominator is the mean over
      the test set, one number for all sequences, because it may be 0 for a single sequence.
    * NaN for all sequences where the denominator is below ``threshold``: models without any feature perform as well as
      models without random ones.
    * Cost: as for ``recursive-roar`` or ``roar``, whose models it shares where fractions and seeds agree;
      (fractions + 2) × seeds trainings once for all methods of a granularity.

    Args:
        fractions: the x between 0 and 1, ascending.
        seeds: number of models trained for each x.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.
        recursive: whether the method explains the retrained model after each removal, as in ``recursive-roar`` and in
            the paper.
        threshold: smallest denominator for which the metric is defined.

    Source: Madsen et al. 2022, §4.1, eq. 1, with Recursive ROAR.
    """

    name: ClassVar[str] = "racu"
    direction: ClassVar[Direction] = "higher"
    source: ClassVar[str] = "Madsen et al. 2022, arXiv:2110.08412, §4.1 (RACU)"

    recursive: bool = True
    threshold: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fractions[-1] >= 1 or self.threshold <= 0:
            raise ParameterError(
                f"{self.name}: fractions={self.fractions}, threshold={self.threshold} does not fit; the fractions are "
                "below 1, and the threshold is positive."
            )

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        random = random_curve(evidence, self.fractions, self.seeds)
        complete, none = endpoints(evidence, self.seeds).tested
        method = retraining_curve(evidence, self.plan, recursive=self.recursive)
        gain = self._area(torch.cat([complete[None], random.tested, none[None]])[:, None] - none)
        advantage = torch.nn.functional.pad(random.explained - method, (0, 0, 1, 1))
        return torch.where(gain >= self.threshold, self._area(advantage) / gain, torch.nan)

    def _area(self, heights: Tensor) -> Tensor:
        """Area under heights float64[P + 2, M] over the fraction of features removed, float64[M], by trapezoids."""
        fractions = torch.tensor([0.0, *self.fractions, 1.0], dtype=torch.float64)
        return ((heights[1:] + heights[:-1]) / 2 * fractions.diff()[:, None]).sum(0)


@register
@dataclass(frozen=True)
class RoarLeak(_RetrainingMetric):
    """Class information that leaks through the mask of removed features, which ROAR mistakes for remaining evidence.

        mean over p of  q(model of the mask alone) − q(most frequent class),   mask: the top k = ⌈p·n⌉ features

    The task's recipe trains a new model on the masks of the training sequences, without any of their content, and the
    model is evaluated on the masks of the explained sequences. In real-valued inputs every kept cell is 1 and every
    removed one 0. In token inputs every kept token becomes the most frequent token other than the reference's, and
    every removed one the reference's. q as for ``roar``; for regression the mean of the training targets takes the
    place of the most frequent class. At 0 the masks hold no information. Above 0, ROAR's models may learn the class
    from the positions of missing features, and ROAR then underrates the method or rewards it for leaking.

    Every mask reveals the length of its sequence, so compare a method's leak with that of ``random``. A model that
    overfits uninformative masks may score below 0. From −1 to 1 for classification. NaN only for regression whose test
    targets do not vary.

    Cost: fractions × seeds trainings and, shared with ``roar``, one explanation of the training data for each method.

    Args:
        fractions: the p, ascending.
        seeds: number of models trained for each p.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.

    Source: class leakage through the mask, Rong et al. 2022 (ROAD), §4.
    """

    name: ClassVar[str] = "roar-leak"
    family: ClassVar[Family] = "sanity"
    direction: ClassVar[Direction] = "lower"
    ideal: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "magnitude"
    source: ClassVar[str] = "Rong et al. 2022, arXiv:2202.00449, §4 (class information leakage)"

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        subject = evidence.subject
        pair = ranked_sequences(evidence, self.rank)
        performances = [
            self._mask_performance(pair, fraction, number)
            for fraction in self.fractions
            for number in range(self.seeds)
        ]
        return torch.stack(performances).mean(0) - baseline(subject)

    def _mask_performance(self, pair: tuple[RankedSequences, RankedSequences], fraction: float, number: int) -> Tensor:
        """Performance of a model that is trained on the masks of one fraction, float64[B]."""
        kept = _kept_value(pair[0].subject)
        learnt, shown = (_masks(side, fraction, (number, self.seeds), kept) for side in pair)
        return performance(pair[1].subject, fit(pair[1].subject, learnt, number), shown.inputs)


def _masks(side: RankedSequences, fraction: float, seed: tuple[int, int], kept: int) -> Batch:
    """Batch in which the inputs of each sequence are replaced by its mask."""
    batch, reference = side.subject.batch, side.subject.reference
    removed = reference if batch.tokens else torch.zeros_like(reference)
    marked = replace(batch, inputs=torch.full_like(batch.inputs, kept))
    return replaced(marked, side.top(side.ranks(*seed), fraction), removed)


def _kept_value(subject: Subject) -> int:
    """Input value of a kept feature: 1 for numbers, the most frequent token other than the reference's for tokens."""
    if not subject.batch.tokens:
        return 1
    counts = subject.batch.inputs[subject.batch.valid].bincount()
    counts[subject.reference[subject.reference < len(counts)]] = -1
    return int(counts.argmax())
