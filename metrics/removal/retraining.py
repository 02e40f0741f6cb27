"""Retraining without the features that a method ranks first, and the performance of the retrained models.

The same share of features is removed from every training sequence and every explained one, by the method's own ranking
of each. A new model is trained on the former and evaluated on the latter. Removed features take the value of the
task's reference. Performance is a value of each sequence: 1 or 0 for a right or a wrong class; for regression
1 − (f(x) − y)² / σ², whose mean is R², where σ² is the variance of the explained output's targets in the test set.

Models that depend on the task alone (trained on complete sequences, on sequences without any feature, and on sequences
without random ones) are trained once and shared by all methods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...fingerprints import seed_from
from ...tasks.data.batch import Granularity
from ...tasks.data.masking import replaced
from ...tasks.interventions.mask_training import retraining_of
from ...tasks.subject import Subject
from .curves import Rank, counts_of_fractions
from .features import orders
from .outcomes import evidence_sign

if TYPE_CHECKING:
    from torch import nn

    from ...methods.base import Attribution, Explainer
    from ...tasks.data.batch import Batch
    from ..base import Evidence

# Values of the orders that are computed at once, eight bytes each.
_VALUES_AT_ONCE: Final = 1 << 24


@dataclass(frozen=True)
class RetrainingPlan:
    """Plan of the models to train.

    Attributes:
        fractions: shares of features to remove, ascending.
        seeds: number of models for each fraction.
        rank: ``"size"`` to rank a signed method by |Φ|, ``"evidence"`` by s·Φ.
    """

    fractions: tuple[float, ...]
    seeds: int
    rank: Rank = "size"


@dataclass(frozen=True, eq=False)
class RankedSequences:
    """Sequences with a method's ranking of their features; either the training sequences or the explained ones.

    Attributes:
        subject: the original model and the complete sequences.
        granularity: whether features are steps or cells.
        priority: float64[B, N]; the feature with the highest is removed first.
    """

    subject: Subject
    granularity: Granularity
    priority: Tensor

    @classmethod
    def random(cls, subject: Subject, granularity: Granularity) -> RankedSequences:
        """Sequences with random rankings: exactly those that a constant attribution gets when its ties are broken."""
        return cls(subject, granularity, torch.zeros(subject.features(granularity).shape, dtype=torch.float64))

    def ranks(self, number: int, seeds: int) -> Tensor:
        """Place of each feature in the ranking, int64[B, N]; ties are broken at random.

        Args:
            number: which of the random orders of ties, from 0 to seeds − 1.
            seeds: number of random orders.
        """
        valid = self.subject.features(self.granularity)
        at_once = max(1, _VALUES_AT_ONCE // (seeds * valid.shape[1]))
        return torch.cat(
            [self._ranks(valid, chunk, number, seeds) for chunk in torch.arange(len(valid)).split(at_once)]
        )

    def _ranks(self, valid: Tensor, chunk: Tensor, number: int, seeds: int) -> Tensor:
        values = self.priority[chunk].masked_fill(~valid[chunk], -torch.inf)
        ordered, order = values.sort(dim=1, descending=True, stable=True)
        # ties among features that are gone already (∞) and among padding (−∞) need no order
        if not ((ordered[:, 1:] == ordered[:, :-1]) & ordered[:, 1:].isfinite()).any():
            return order.argsort(1)
        return orders(self.priority, valid, chunk, seeds).numbered(chunk, torch.tensor([number]))[:, 0]

    def top(self, ranks: Tensor, fraction: float) -> Tensor:
        """Mask of the first k = ⌈p·n⌉ features, at least 1; bool[B, N]."""
        return ranks < counts_of_fractions(self.subject.features(self.granularity), (fraction,))

    def without(self, gone: Tensor) -> Batch:
        """Complete sequences with the features bool[B, N] replaced by the reference."""
        return replaced(self.subject.batch, gone, self.subject.reference)

    def reranked(self, evidence: Evidence, rank: Rank, model: nn.Module, gone: Tensor) -> RankedSequences:
        """Rank the remaining features anew, by explaining a retrained model on sequences without the removed ones.

        Removed features stay in front of all others, and the explained outputs stay the same.

        Args:
            evidence: the cell, whose method and explainer seed are used.
            rank: see :class:`RetrainingPlan`.
            model: the retrained model.
            gone: bool[B, N], the features removed so far.
        """
        subject = self.subject.with_model(model).replaced(self.without(gone).inputs)
        priority = ranking(subject, evidence.explainer.explain(subject, evidence.seed), rank)
        return replace(self, priority=priority.masked_fill(gone, torch.inf))


@dataclass(frozen=True, eq=False)
class ModelQuality:
    """Performance of P models, mean over their seeds.

    Attributes:
        explained: float64[P, B], on each explained sequence.
        tested: float64[P], mean over the test set.
    """

    explained: Tensor
    tested: Tensor

    @classmethod
    def mean(cls, performances: list[list[Tensor]]) -> ModelQuality:
        """Average over the seeds.

        Args:
            performances: for each seed, float64[P, B] on the explained and on the test sequences.
        """
        explained, tested = (torch.stack(parts).mean(0) for parts in zip(*performances, strict=True))
        return cls(explained, tested.mean(1))


def unfit(explainer: Explainer, subject: Subject) -> str:
    """Reason why a method cannot be evaluated by retraining, in a few words; empty if it can."""
    if not subject.classification and (subject.target != subject.target[0]).any():
        return "the explained outputs differ, and each has a scale of its own"
    example = retraining_of(subject).train.select(slice(0, 1))
    reason = explainer.applicable(_subject_of(subject, example))
    return f"of the training data, {reason}" if reason else ""


def ranking(subject: Subject, attribution: Attribution, rank: Rank) -> Tensor:
    """Priority of removal, float64[B, N], highest first: |Φ| or s·Φ of a signed method, Φ of an unsigned one."""
    values = attribution.values.flatten(1).double()
    if not attribution.signed:
        return values
    return values.abs() if rank == "size" else values * evidence_sign(subject)[:, None]


def training_subject(evidence: Evidence) -> Subject:
    """The model with its training sequences; the explained outputs are its own predictions. Shared by all methods."""
    return evidence.shared.get("training subject", lambda subject: _subject_of(subject, retraining_of(subject).train))


def test_subject(evidence: Evidence) -> Subject:
    """The model with the sequences of the test set; shared by all methods."""
    return evidence.shared.get("test subject", lambda subject: _subject_of(subject, retraining_of(subject).test))


def ranked_sequences(evidence: Evidence, rank: Rank) -> tuple[RankedSequences, RankedSequences]:
    """Training sequences and explained sequences, each with the ranking of the method."""
    training, explained = training_subject(evidence), evidence.subject
    learnt = evidence.get("training attribution", lambda of: of.explainer.explain(training, of.seed))
    shown = evidence.attribution
    return (
        RankedSequences(training, learnt.granularity, ranking(training, learnt, rank)),
        RankedSequences(explained, shown.granularity, ranking(explained, shown, rank)),
    )


def retraining_curve(evidence: Evidence, plan: RetrainingPlan, *, recursive: bool) -> Tensor:
    """Performance of models trained without a method's first features, float64[P, B], mean over seeds.

    Args:
        evidence: the cell; the curve is cached in it.
        plan: the models to train.
        recursive: whether the method explains the model of the previous fraction to choose the next features.
    """

    def make(of: Evidence) -> Tensor:
        learnt, shown = ranked_sequences(of, plan.rank)
        reranking = of if recursive else None
        curves = [_retrain(learnt, [shown], plan, number, reranking)[0] for number in range(plan.seeds)]
        return torch.stack(curves).mean(0)

    return evidence.get(("removal curve", plan, recursive), make)


def random_curve(evidence: Evidence, fractions: tuple[float, ...], seeds: int) -> ModelQuality:
    """Performance of models trained without random features, mean over seeds; shared by all methods."""
    granularity, plan = evidence.attribution.granularity, RetrainingPlan(fractions, seeds)
    learnt, tested = training_subject(evidence), test_subject(evidence)

    def make(subject: Subject) -> ModelQuality:
        first, *shown = (RankedSequences.random(of, granularity) for of in (learnt, subject, tested))
        return ModelQuality.mean([_retrain(first, shown, plan, number) for number in range(seeds)])

    return evidence.shared.get(("random curve", granularity, plan), make)


def endpoints(evidence: Evidence, seeds: int) -> ModelQuality:
    """Performance of models trained on all features and on none (P = 2), mean over seeds; shared by all methods."""
    learnt, tested = training_subject(evidence), test_subject(evidence)

    def make(subject: Subject) -> ModelQuality:
        blank = replace(learnt.batch, inputs=learnt.reference)
        models = [[fit(subject, batch, number) for batch in (learnt.batch, blank)] for number in range(seeds)]
        performances = [
            [
                torch.stack([performance(of, whole, of.batch.inputs), performance(of, none, of.reference)])
                for of in (subject, tested)
            ]
            for whole, none in models
        ]
        return ModelQuality.mean(performances)

    return evidence.shared.get(("ends of curves", seeds), make)


def fit(subject: Subject, learnt: Batch, number: int) -> nn.Module:
    """Train a model on a batch by the task's recipe; ``number`` selects the seed."""
    return retraining_of(subject).fit(learnt, seed_from("retraining", number))


def performance(subject: Subject, model: nn.Module, inputs: Tensor) -> Tensor:
    """Performance of a model on each explained sequence, float64[B]: accuracy, or the terms of R².

    Args:
        subject: the sequences and their targets.
        model: the model to evaluate.
        inputs: the inputs that the model reads instead of the sequences' own.
    """
    outputs = subject.with_model(model).replaced(inputs).batch_outputs.double()
    if subject.classification:
        return (outputs.argmax(1) == subject.batch.targets).double()
    return r_squared_terms(subject, outputs.gather(1, subject.target[:, None]).squeeze(1))


def baseline(subject: Subject) -> Tensor:
    """Performance of predicting the most frequent class, or the mean, of the training targets, float64[B]."""
    train = retraining_of(subject).train
    if not subject.classification:
        mean = train.targets[:, int(subject.target[0])].double().mean()
        return r_squared_terms(subject, mean.expand(len(subject)))
    seen = train.targets if train.targets.dim() == 1 else train.targets[train.valid]
    return (subject.batch.targets == seen.bincount().argmax()).double()


def r_squared_terms(subject: Subject, predicted: Tensor) -> Tensor:
    """Terms 1 − (f(x) − y)² / σ² of R², float64[B]; NaN where σ² is 0.

    Args:
        subject: the explained sequences; σ² is that of the test set.
        predicted: float64[B], predictions of the explained output.
    """
    column = int(subject.target[0])
    variance = retraining_of(subject).test.targets[:, column].double().var(correction=0)
    error = (predicted - subject.batch.targets[:, column].double()).square()
    return torch.where(variance > 0, 1 - error / variance, torch.nan)


def _subject_of(subject: Subject, batch: Batch) -> Subject:
    """The model of a subject with another batch; for regression the explained output is that of the subject."""
    retraining = retraining_of(subject)
    return Subject(
        model=subject.model,
        batch=batch,
        reference=retraining.reference_of(batch),
        target=None if subject.classification else subject.target[:1].expand(len(batch)).clone(),  # type: ignore[arg-type]  # None is replaced by the prediction on creation
        background=subject.background,
        outputs_are=subject.outputs_are,
        granularity=subject.granularity,
        names=subject.names,
        label=f"{subject.label} on its training data",
        retraining=retraining,
    )


def _retrain(
    learnt: RankedSequences,
    shown: list[RankedSequences],
    plan: RetrainingPlan,
    seed: int,
    reranking: Evidence | None = None,
) -> list[Tensor]:
    """Retrain the models of one seed, fraction by fraction.

    Args:
        learnt: the training sequences.
        shown: the sequences that the models are evaluated on.
        plan: the models to train.
        seed: index of the seed.
        reranking: the cell whose method ranks the features anew after each removal; None to keep the first ranking.

    Returns:
        performance float64[P, B] on each of ``shown``.
    """
    sides = [learnt, *shown]
    ranks = [side.ranks(seed, plan.seeds) for side in sides]
    performances: list[list[Tensor]] = []
    for fraction in plan.fractions:
        gone = [side.top(order, fraction) for side, order in zip(sides, ranks, strict=True)]
        model = fit(learnt.subject, learnt.without(gone[0]), seed)
        pairs = list(zip(sides, gone, strict=True))
        performances.append([performance(side.subject, model, side.without(mask).inputs) for side, mask in pairs[1:]])
        if reranking is not None and fraction < plan.fractions[-1]:
            reranked_sides = [side.reranked(reranking, plan.rank, model, mask) for side, mask in pairs]
            ranks = [side.ranks(seed, plan.seeds) for side in reranked_sides]
    return [torch.stack(parts) for parts in zip(*performances, strict=True)]
