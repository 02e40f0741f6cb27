"""Remove and retrain: does a model that never saw what a method ranks first do worse?"""

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
    Removals,
    Side,
    baseline,
    ends,
    fit,
    performance,
    random_curve,
    removal_curve,
    sides,
    unfit,
)

if TYPE_CHECKING:
    from torch import Tensor

    from ...methods.base import Explainer
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class _Retrained(Metric):
    """What the metrics share that train models without some features: which shares, and how many models of each."""

    family: ClassVar[Family] = "faithfulness"
    needs_retraining: ClassVar[bool] = True

    fractions: tuple[float, ...] = (0.2, 0.5, 0.8)
    seeds: int = 2
    rank: Literal["evidence", "size"] = "size"

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in itertools.pairwise((0.0, *self.fractions)))
        if not self.fractions or not rising or self.fractions[-1] > 1:
            raise ParameterError(
                f"{self.name}: fractions={self.fractions} does not fit; they rise, above 0 and at most 1."
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
    def removals(self) -> Removals:
        """Which models are trained."""
        return Removals(self.fractions, self.seeds, self.rank)


@dataclass(frozen=True)
class _Drop(_Retrained):
    """What ROAR and its recursive form share."""

    direction: ClassVar[Direction] = "higher"
    recursive: ClassVar[bool] = False

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        without = removal_curve(evidence, self.removals, recursive=self.recursive)
        return (ends(evidence, self.seeds).explained[0] - without).mean(0)


@register
@dataclass(frozen=True)
class Roar(_Drop):
    """How much worse a model does that learns, and is measured, without what the method ranks first (ROAR).

        mean over p of  q(nothing removed) − q(top k features removed everywhere),   k = ⌈p·n⌉, at least 1

    The method explains every training sequence, as it does the explained ones: the model's own prediction for it. From
    each the features it ranks first are removed, by putting the task's reference in their place, and the task's recipe
    trains a fresh model on what is left. q says how good that model is on an explained sequence that lacks its own
    first features: 1 if the class is right and 0 if not; for regression 1 − (f(x) − y)² / σ², with σ² the variance of
    the explained output's targets in the test set. q is the mean over ``seeds`` models, also where nothing is removed,
    so that only what is removed differs.

    * Features are steps or cells, as the method tells them apart. Signed methods rank by |Φ|: what is left without all
      that spoke for an output speaks against it, a new model reads it the other way round, and the true contributions
      then score below chance (``tests/metrics/test_roar.py``). ``rank=evidence`` ranks by s·Φ all the same,
      s = sign(f(x) − f(x⁰)) for regression and 1 for classes. Ties are broken at random, anew for each seed.
    * A model that learns from what is left finds what stands in for what is gone: a method that removes one of two
      copies of a cause scores as one that removes nothing (``recursive-roar`` asks again). And it may learn from the
      shape of what is missing (``roar-leak``). Read both beside it.
    * From −1 to 1 for classification. NaN only for regression where σ² is 0.
    * Cost: fractions × seeds trainings and one explanation of the training data for each method; seeds trainings (and
      as many without any feature) once for all methods.

    Args:
        fractions: the p, rising.
        seeds: models trained for each p.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.

    Source: Hooker et al. 2019 (ROAR), §3, as a drop in performance.
    """

    name: ClassVar[str] = "roar"
    source: ClassVar[str] = "Hooker et al. 2019, arXiv:1806.10758, §3"


@register
@dataclass(frozen=True)
class RecursiveRoar(_Drop):
    """ROAR that asks the method again, about the model retrained at the fraction before, what to remove next.

        mean over p of  q(nothing removed) − q(top k features removed everywhere),   k = ⌈p·n⌉, at least 1

    As ``roar``, but after each fraction the method explains the model that was trained without the features gone so
    far, on sequences without them; what it ranks first goes next, beside what is already gone. A copy of a cause is
    thus found when the model turns to it. The explained outputs stay those of the original model; each seed has its own
    chain of models. q, removal, ranking and range as for ``roar``. NaN only for regression whose test targets do not
    vary.

    Cost: fractions × seeds trainings, and 1 + (fractions − 1) × seeds explanations of the training data and of the
    explained sequences, for each method; what it shares with all methods is that of ``roar``.

    Args:
        fractions: the p, rising.
        seeds: chains of models.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.

    Source: Madsen et al. 2022 (Recursive ROAR), §4.
    """

    name: ClassVar[str] = "recursive-roar"
    recursive: ClassVar[bool] = True
    source: ClassVar[str] = "Madsen et al. 2022, arXiv:2110.08412, §4"


@register
@dataclass(frozen=True)
class Racu(_Retrained):
    """The area between the curves of random removal and of the method, as a share of the most there is (RACU).

        Σ_i ½(x_{i+1} − x_i)(Δp_i + Δp_{i+1})  /  Σ_i ½(x_{i+1} − x_i)(Δb_i + Δb_{i+1})

    x_0 = 0 and x_I = 1 with the fractions between them; Δp_i = b_i − p_i is how much worse models do that lack the
    method's first features than models that lack random ones, and Δb_i = b_i − b_I how much better these do than models
    that lack all of them. Δp is 0 at both ends. Positive: the method finds what a model needs sooner than chance does;
    0 is chance, below it worse. A constant map scores exactly 0, because its ties are broken by the very orders of the
    random removal.

    * The numerator is that of each sequence, with q of ``roar`` for performance; the denominator is the mean over the
      test set, one number for all: a sequence alone may well have none.
    * NaN where the denominator is below ``threshold``, for all sequences: models without any feature do as well as
      models that lack random ones.
    * Cost: as for ``recursive-roar`` or ``roar``, whose models it shares where fractions and seeds agree;
      (fractions + 2) × seeds trainings once for all methods of a granularity.

    Args:
        fractions: the x between 0 and 1, rising.
        seeds: models trained for each x.
        rank: ``"size"``, or ``"evidence"`` for signed methods to rank by s·Φ.
        recursive: whether the method is asked anew after each removal, as in ``recursive-roar`` and in the paper.
        threshold: the least denominator.

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
        drawn = random_curve(evidence, self.fractions, self.seeds)
        whole, none = ends(evidence, self.seeds).tested
        method = removal_curve(evidence, self.removals, recursive=self.recursive)
        gain = self._area(torch.cat([whole[None], drawn.tested, none[None]])[:, None] - none)
        won = torch.nn.functional.pad(drawn.explained - method, (0, 0, 1, 1))
        return torch.where(gain >= self.threshold, self._area(won) / gain, torch.nan)

    def _area(self, heights: Tensor) -> Tensor:
        """float64[M]: the area under heights float64[P + 2, M] over the fraction of features removed, by trapezoids."""
        places = torch.tensor([0.0, *self.fractions, 1.0], dtype=torch.float64)
        return ((heights[1:] + heights[:-1]) / 2 * places.diff()[:, None]).sum(0)


@register
@dataclass(frozen=True)
class RoarLeak(_Retrained):
    """How well a class is known from nothing but which features a method removes: what ROAR mistakes for evidence left.

        mean over p of  q(model of the mask alone) − q(most frequent class),   mask: the top k = ⌈p·n⌉ features

    A fresh model is trained by the task's recipe on the masks of the training sequences, without any of their content,
    and measured on those of the explained ones. In numbers, 1 stands in every cell that is kept and 0 in every one
    removed; in tokens, the most frequent token other than the reference's for what is kept and the reference's for what
    is removed. q as for ``roar``; for regression the mean of the training targets takes the place of the most frequent
    class. 0: the masks say nothing. Above 0, ROAR's models may learn the class from where features are missing, and
    ROAR then underrates the method, or rates it for leaking.

    The length of a sequence shows in every mask: read a method's leak against that of ``random``. A model that
    overfits meaningless masks may fall below 0. From −1 to 1 for classification. NaN only for regression whose test
    targets do not vary.

    Cost: fractions × seeds trainings and, shared with ``roar``, one explanation of the training data for each method.

    Args:
        fractions: the p, rising.
        seeds: models trained for each p.
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
        pair = sides(evidence, self.rank)
        found = [self._known(pair, fraction, number) for fraction in self.fractions for number in range(self.seeds)]
        return torch.stack(found).mean(0) - baseline(subject)

    def _known(self, pair: tuple[Side, Side], fraction: float, number: int) -> Tensor:
        """float64[B]: how good a model of the masks of one fraction is."""
        kept = _marker(pair[0].subject)
        learnt, shown = (_marks(side, fraction, (number, self.seeds), kept) for side in pair)
        return performance(pair[1].subject, fit(pair[1].subject, learnt, number), shown.inputs)


def _marks(side: Side, fraction: float, seed: tuple[int, int], kept: int) -> Batch:
    """Sequences of which only the mask is left."""
    batch, reference = side.subject.batch, side.subject.reference
    blank = reference if batch.tokens else torch.zeros_like(reference)
    whole = replace(batch, inputs=torch.full_like(batch.inputs, kept))
    return replaced(whole, side.first(side.ranks(*seed), fraction), blank)


def _marker(subject: Subject) -> int:
    """What stands for a kept feature: 1 for numbers, the most frequent token but the reference's for tokens."""
    if not subject.batch.tokens:
        return 1
    counts = subject.batch.inputs[subject.batch.valid].bincount()
    counts[subject.reference[subject.reference < len(counts)]] = -1
    return int(counts.argmax())
