"""The shared probe of metrics that train models anew: how good a model is that never saw what a method ranks first.

The same share of features is removed from every training sequence and every explained one, by the method's own ranking
of each; a fresh model learns from the former and is measured on the latter. Removed features take the value of the
task's reference. How good a model is, is said of each sequence: 1 or 0 for a right or a wrong class; for regression
1 − (f(x) − y)² / σ², whose mean is R², with σ² the variance of the explained output's targets in the test set.

What depends on the task alone (models that learn from whole sequences, from none of their features, from random ones)
is made once and shared by all methods.
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

# Values of the orders made at once, eight bytes each.
_VALUES_AT_ONCE: Final = 1 << 24


@dataclass(frozen=True)
class Removals:
    """Which models are trained.

    Attributes:
        fractions: shares of features to remove, rising.
        seeds: models of each.
        rank: whether a signed method ranks by |Φ| or by s·Φ.
    """

    fractions: tuple[float, ...]
    seeds: int
    rank: Rank = "size"


@dataclass(frozen=True, eq=False)
class Side:
    """Sequences with the order in which a method takes their features: those learnt from, or those explained.

    Attributes:
        subject: the original model and whole sequences.
        granularity: what the features are.
        priority: float64[B, N], what goes first, highest.
    """

    subject: Subject
    granularity: Granularity
    priority: Tensor

    @classmethod
    def random(cls, subject: Subject, granularity: Granularity) -> Side:
        """An order by nothing, and so at random: the very order of a method that says the same of all features."""
        return cls(subject, granularity, torch.zeros(subject.features(granularity).shape, dtype=torch.float64))

    def ranks(self, number: int, seeds: int) -> Tensor:
        """int64[B, N]: the place of each feature; ties are broken at random, otherwise for each number below seeds."""
        valid = self.subject.features(self.granularity)
        at_once = max(1, _VALUES_AT_ONCE // (seeds * valid.shape[1]))
        return torch.cat(
            [self._ranks(valid, chunk, number, seeds) for chunk in torch.arange(len(valid)).split(at_once)]
        )

    def _ranks(self, valid: Tensor, chunk: Tensor, number: int, seeds: int) -> Tensor:
        values = self.priority[chunk].masked_fill(~valid[chunk], -torch.inf)
        ordered, order = values.sort(dim=1, descending=True, stable=True)
        # what is gone (∞) and what is padding (−∞) may be tied: nobody asks for an order among them
        if not ((ordered[:, 1:] == ordered[:, :-1]) & ordered[:, 1:].isfinite()).any():
            return order.argsort(1)
        found = orders(self.priority, valid, chunk, seeds)
        first = torch.searchsorted(found.instance, chunk)
        last = torch.searchsorted(found.instance, chunk, right=True) - 1
        return found.ranks[torch.minimum(first + number, last)]

    def first(self, ranks: Tensor, fraction: float) -> Tensor:
        """bool[B, N]: the first k = ⌈p·n⌉ features, at least 1."""
        return ranks < counts_of_fractions(self.subject.features(self.granularity), (fraction,))

    def without(self, gone: Tensor) -> Batch:
        """The sequences without some features bool[B, N]."""
        return replaced(self.subject.batch, gone, self.subject.reference)

    def again(self, of: Evidence, rank: Rank, model: nn.Module, gone: Tensor) -> Side:
        """The order a method says of another model and sequences without some features, which go before all others.

        The explained outputs stay what they were.
        """
        asked = self.subject.with_model(model).replaced(self.without(gone).inputs)
        said = ranking(asked, of.explainer.explain(asked, of.seed), rank)
        return replace(self, priority=said.masked_fill(gone, torch.inf))


@dataclass(frozen=True, eq=False)
class Quality:
    """How good some models are, mean over their seeds.

    Attributes:
        explained: float64[P, B], on each explained sequence.
        tested: float64[P], on the test set as a whole.
    """

    explained: Tensor
    tested: Tensor

    @classmethod
    def mean(cls, found: list[list[Tensor]]) -> Quality:
        """Of each seed's float64[P, B] on explained and test sequences."""
        explained, tested = (torch.stack(parts).mean(0) for parts in zip(*found, strict=True))
        return cls(explained, tested.mean(1))


def unfit(explainer: Explainer, subject: Subject) -> str:
    """Why a method cannot be judged by training models on what it leaves, in a few words; empty if it can."""
    if not subject.classification and (subject.target != subject.target[0]).any():
        return "the explained outputs differ, and each has a scale of its own"
    few = retraining_of(subject).train.select(slice(0, 1))
    reason = explainer.applicable(_asked(subject, few))
    return f"of the training data, {reason}" if reason else ""


def ranking(subject: Subject, attribution: Attribution, rank: Rank) -> Tensor:
    """float64[B, N]: what a method ranks first, highest: |Φ| or s·Φ of a signed one, Φ of another."""
    values = attribution.values.flatten(1).double()
    if not attribution.signed:
        return values
    return values.abs() if rank == "size" else values * evidence_sign(subject)[:, None]


def training_subject(evidence: Evidence) -> Subject:
    """The model with the sequences it learnt from, and what it predicts for them as the explained outputs; shared."""
    return evidence.shared.get("training subject", lambda subject: _asked(subject, retraining_of(subject).train))


def test_subject(evidence: Evidence) -> Subject:
    """The model with the sequences of the test set; shared."""
    return evidence.shared.get("test subject", lambda subject: _asked(subject, retraining_of(subject).test))


def sides(evidence: Evidence, rank: Rank) -> tuple[Side, Side]:
    """The training sequences and the explained ones, each in the order the method says."""
    learnt, shown = training_subject(evidence), evidence.subject
    said = evidence.get("training attribution", lambda of: of.explainer.explain(learnt, of.seed)), evidence.attribution
    first, second = (
        Side(subject, found.granularity, ranking(subject, found, rank))
        for subject, found in zip((learnt, shown), said, strict=True)
    )
    return first, second


def removal_curve(evidence: Evidence, removals: Removals, *, recursive: bool) -> Tensor:
    """float64[P, B]: how good models are that learn without a method's first features, mean over their seeds.

    Args:
        evidence: of the method.
        removals: which models.
        recursive: whether the method is asked anew, about the model of the fraction before, which features go next.
    """

    def make(of: Evidence) -> Tensor:
        learnt, shown = sides(of, removals.rank)
        asked = of if recursive else None
        found = [_chain(learnt, [shown], removals, number, asked)[0] for number in range(removals.seeds)]
        return torch.stack(found).mean(0)

    return evidence.get(("removal curve", removals, recursive), make)


def random_curve(evidence: Evidence, fractions: tuple[float, ...], seeds: int) -> Quality:
    """How good models are that learn without random features, mean over their seeds; shared by all methods."""
    granularity, removals = evidence.attribution.granularity, Removals(fractions, seeds)
    learnt, tested = training_subject(evidence), test_subject(evidence)

    def make(subject: Subject) -> Quality:
        first, *shown = (Side.random(of, granularity) for of in (learnt, subject, tested))
        return Quality.mean([_chain(first, shown, removals, number) for number in range(seeds)])

    return evidence.shared.get(("random curve", granularity, removals), make)


def ends(evidence: Evidence, seeds: int) -> Quality:
    """How good models are that learn from all features, and from none (P = 2), mean over their seeds; shared."""
    learnt, tested = training_subject(evidence), test_subject(evidence)

    def make(subject: Subject) -> Quality:
        blank = replace(learnt.batch, inputs=learnt.reference)
        models = [[fit(subject, batch, number) for batch in (learnt.batch, blank)] for number in range(seeds)]
        found = [
            [
                torch.stack([performance(of, whole, of.batch.inputs), performance(of, none, of.reference)])
                for of in (subject, tested)
            ]
            for whole, none in models
        ]
        return Quality.mean(found)

    return evidence.shared.get(("ends of curves", seeds), make)


def fit(subject: Subject, learnt: Batch, number: int) -> nn.Module:
    """The model, of so many, that the task's recipe makes of some data."""
    return retraining_of(subject).fit(learnt, seed_from("retraining", number))


def performance(subject: Subject, model: nn.Module, inputs: Tensor) -> Tensor:
    """float64[B]: how good a model is on each explained sequence with given inputs."""
    outputs = subject.with_model(model).replaced(inputs).batch_outputs.double()
    if subject.classification:
        return (outputs.argmax(1) == subject.batch.targets).double()
    return explained_share(subject, outputs.gather(1, subject.target[:, None]).squeeze(1))


def baseline(subject: Subject) -> Tensor:
    """float64[B]: how good it is to say the most frequent class, or the mean, of the training targets."""
    train = retraining_of(subject).train
    if not subject.classification:
        mean = train.targets[:, int(subject.target[0])].double().mean()
        return explained_share(subject, mean.expand(len(subject)))
    seen = train.targets if train.targets.dim() == 1 else train.targets[train.valid]
    return (subject.batch.targets == seen.bincount().argmax()).double()


def explained_share(subject: Subject, predicted: Tensor) -> Tensor:
    """float64[B]: 1 − (f(x) − y)² / σ² of predictions float64[B] of the explained output; NaN where σ² is 0."""
    column = int(subject.target[0])
    variance = retraining_of(subject).test.targets[:, column].double().var(correction=0)
    error = (predicted - subject.batch.targets[:, column].double()).square()
    return torch.where(variance > 0, 1 - error / variance, torch.nan)


def _asked(subject: Subject, batch: Batch) -> Subject:
    """The model of a subject with other sequences; of several outputs of a regression, the one that is explained."""
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


def _chain(
    learnt: Side, shown: list[Side], removals: Removals, number: int, asked: Evidence | None = None
) -> list[Tensor]:
    """How good the models of one seed are on some sequences, of each fraction in turn: float64[P, B] of each.

    Args:
        learnt: the sequences they learn from.
        shown: those they are measured on.
        removals: which models.
        number: of the seed.
        asked: whose method is asked anew after each removal; None if the first order holds.
    """
    every = [learnt, *shown]
    ranks = [side.ranks(number, removals.seeds) for side in every]
    found: list[list[Tensor]] = []
    for fraction in removals.fractions:
        gone = [side.first(order, fraction) for side, order in zip(every, ranks, strict=True)]
        model = fit(learnt.subject, learnt.without(gone[0]), number)
        pairs = list(zip(every, gone, strict=True))
        found.append([performance(side.subject, model, side.without(mask).inputs) for side, mask in pairs[1:]])
        if asked is not None and fraction < removals.fractions[-1]:
            again = [side.again(asked, removals.rank, model, mask) for side, mask in pairs]
            ranks = [side.ranks(number, removals.seeds) for side in again]
    return [torch.stack(parts) for parts in zip(*found, strict=True)]
