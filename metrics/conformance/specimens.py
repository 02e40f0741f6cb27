"""Specimens: small subjects whose every contribution is known, and stand-in methods that say what they are told to.

The conformance kit and the tests judge metrics on them. Their models are recurrent networks set so that the state
adds up its inputs: h_t = tanh(h_{t−1} + ι x_t w), with ι so small that tanh is the identity to six digits. The score is
Σ_t x_t · w, the contribution of each cell x_{td} w_d, and the order of contributions is the best order of removal.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import torch

from ...methods.base import Explainer
from ...tasks.data.batch import Batch, Truth
from ...tasks.models.networks import RecurrentNet
from ...tasks.models.retraining import Retraining
from ...tasks.subject import Cost, Subject
from ..base import Evidence, Measurement, Probes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from ...methods.base import Attribution
    from ...tasks.models.training import Change

SpecimenName = Literal["regression", "classification", "tokens", "alignment"]

_SMALL: Final = 1e-3
LENGTHS: Final = (9, 7, 7, 5, 4, 2, 1)
_WEIGHTS: Final = (1.5, -1.0, 0.0)
_OF_TOKENS: Final = ("tokens", "alignment")
# Sequences that a specimen's model is learnt from, and as many it is measured on; how little its fit is regularised.
_LEARNT, _RIDGE = 60, 1e-3


def specimen(
    name: SpecimenName = "regression", lengths: tuple[int, ...] = LENGTHS, *, padding: int = 0, noise: float = 0.0
) -> Subject:
    """A subject with known contributions.

    Args:
        name: ``"regression"`` of float[B, T, 3], one value; ``"classification"`` of the same, two classes;
            ``"tokens"``: two classes, some of whose tokens say nothing; ``"alignment"``: the same, with links to one
            output step for a truth, which are not contributions.
        lengths: of the sequences; the sequences themselves are always the same for each place and length.
        padding: steps of padding added to the longest.
        noise: size of random numbers written on the padding; for tokens, whether any are.
    """
    rng = torch.Generator().manual_seed(0)
    steps = max(lengths) + padding
    size = torch.tensor(lengths)
    valid = torch.arange(steps) < size[:, None]
    values = torch.zeros(len(lengths), steps, 3)
    garbage = torch.Generator().manual_seed(1)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randn(length, 3, generator=rng)
    values += torch.where(valid[:, :, None], 0.0, noise * torch.randn(values.shape, generator=garbage))
    tokens = name in _OF_TOKENS
    # a token is a number from 1 to 8 with an embedding of its own; every second one is silent
    inputs = (values[:, :, 0] * 4).long() % 8 + 1 if tokens else values
    if tokens and not noise:
        inputs = inputs * valid
    found = _subject(name, inputs, size)
    if name == "alignment":
        return _with_links(found)
    learnt = _retraining(name)
    return replace(_with_truth(found), retraining=learnt, background=replace(learnt.train, truths={}))


def _subject(name: SpecimenName, inputs: Tensor, lengths: Tensor) -> Subject:
    """The adder and some sequences, for which its outputs are right."""
    count = len(lengths)
    none = torch.zeros(count, 1) if name == "regression" else torch.zeros(count, dtype=torch.int64)
    found = Subject(
        _adder(name),
        Batch(inputs, lengths, none),
        reference=torch.zeros_like(inputs),
        outputs_are="values" if name == "regression" else "logits",
        label=f"the {name} specimen",
    )
    right = found.batch_outputs if name == "regression" else found.batch_outputs.argmax(1)
    return replace(found, batch=replace(found.batch, targets=right))


def _adder(name: SpecimenName) -> RecurrentNet:
    """The network that adds up its inputs; of two classes each gets half of the sum, with opposite signs."""
    outputs = 1 if name == "regression" else 2
    with torch.random.fork_rng(devices=[]):
        net = RecurrentNet(3, 1, outputs, cell="rnn", vocabulary_size=9 if name in _OF_TOKENS else 0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        weight_ih, weight_hh = net.recurrent.all_weights[0][:2]
        weight_ih.copy_(_SMALL * torch.tensor([_WEIGHTS]))
        weight_hh.fill_(1.0)
        net.head.weight.copy_(torch.tensor([[1.0], [-1.0]])[:outputs] / _SMALL / outputs)
        if net.embedding is not None:
            rng = torch.Generator().manual_seed(2)
            net.embedding.weight[1::2] = torch.randn(4, 3, generator=rng)
    return net.eval()


def _with_truth(subject: Subject) -> Subject:
    """The same subject with the contributions to the output that is explained."""
    net = cast("RecurrentNet", subject.model)
    inputs = subject.batch.inputs
    embedded = inputs if net.embedding is None else net.embedding.weight.detach()[inputs]
    share = net.head.weight.detach()[subject.target, 0] * _SMALL
    parts = embedded * torch.tensor(_WEIGHTS) * subject.batch.valid[:, :, None] * share[:, None, None]
    values = parts.sum(2) if subject.batch.tokens else parts
    truth = Truth(values, "coefficient", "the explained output", signed=True)
    return replace(subject, batch=replace(subject.batch, truths={"contribution": truth}))


@functools.cache
def _retraining(name: SpecimenName) -> Retraining:
    """How an adder is learnt: from other sequences, of which the truth is known too, in closed form."""
    train, test = (_balanced(_with_truth(_subject(name, *_drawn(name, seed))).batch) for seed in (3, 4))
    return _Solved(train, test, lambda batch: torch.zeros_like(batch.inputs), lambda: _adder(name))


def _balanced(batch: Batch) -> Batch:
    """The first sequences, of two classes the first of each, so that knowing nothing is right half of the time."""
    if batch.targets.is_floating_point():
        return batch.select(slice(0, _LEARNT))
    return batch.select(torch.cat([(batch.targets == own).nonzero()[: _LEARNT // 2, 0] for own in (0, 1)]))


def _drawn(name: SpecimenName, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and lengths of random sequences, several times as many as are needed."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, max(LENGTHS) + 1, (4 * _LEARNT,), generator=rng)
    valid = torch.arange(max(LENGTHS)) < lengths[:, None]
    if name in _OF_TOKENS:
        return torch.randint(1, 9, valid.shape, generator=rng) * valid, lengths
    return torch.randn(*valid.shape, 3, generator=rng) * valid[:, :, None], lengths


class _Solved(Retraining):
    """The adder whose weights solve the least squares of its targets (±1 for two classes) in its summed inputs.

    A fit has one solution, whatever the seed. Training on is solving anew, with sequences changed as often as there are
    epochs.
    """

    def fit(self, batch: Batch, seed: int) -> nn.Module:  # noqa: ARG002  # as above
        net = cast("RecurrentNet", self.network())
        embedded = batch.inputs if net.embedding is None else net.embedding.weight.detach()[batch.inputs]
        sums = torch.where(batch.valid[:, :, None], embedded, 0.0).sum(1).double()
        right = batch.targets[:, 0] if batch.targets.is_floating_point() else 1.0 - 2.0 * batch.targets
        design = torch.cat([sums, torch.ones(len(sums), 1, dtype=torch.float64)], 1)
        # a little of the ridge keeps the solution unique where nothing is left of the inputs
        normal = design.T @ design + _RIDGE * torch.eye(design.shape[1], dtype=torch.float64)
        *weights, bias = torch.linalg.solve(normal, design.T @ right.double()).tolist()
        with torch.no_grad():
            net.recurrent.all_weights[0][0].copy_(_SMALL * torch.tensor([weights]))
            net.head.bias.copy_(bias * net.head.weight[:, 0] * _SMALL)
        return net

    def tune(self, model: nn.Module, make_batch: Change, seed: int, epochs: int) -> nn.Module:  # noqa: ARG002  # as above
        rng = torch.Generator().manual_seed(seed)
        changed = [make_batch(self.train, rng) for _ in range(epochs)]
        inputs, lengths, targets = (
            torch.cat([getattr(batch, part) for batch in changed]) for part in ("inputs", "lengths", "targets")
        )
        return self.fit(Batch(inputs, lengths, targets), seed)


def _with_links(subject: Subject) -> Subject:
    """The same subject, whose tokens are linked with the output surely, possibly, or, every second one, not at all."""
    tokens = subject.batch.inputs
    values = torch.where(tokens % 4 == 1, 1.0, torch.where(tokens % 4 == 3, 0.5, 0.0)) * subject.batch.valid
    truth = Truth(values, "alignment", "the one output step")
    return replace(subject, batch=replace(subject.batch, truths={"links": truth}))


Says = Literal["truth", "opposite", "inverse", "random", "constant", "sparse", "restless", "follows"]


@dataclass(frozen=True)
class StandIn(Explainer):
    """A method that says what it is told to.

    Args:
        says: what to say. ``"truth"``: the contributions; ``"opposite"``: their negative; ``"inverse"``: positive
            numbers, larger where theirs are smaller; ``"random"``: normal numbers from the seed; ``"constant"``: 1;
            ``"sparse"``: of the contributions, the largest of each sequence alone, as 1;
            ``"restless"``: normal numbers that change with the seed and with anything in the input;
            ``"follows"``: gradient × input of the model it is asked about, which the other ones never look at.
        scale: every value times this.
    """

    name: ClassVar[str] = "stand-in"
    group: ClassVar[str] = "control"
    complete: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True

    says: Says = "random"
    scale: float = 1.0

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        return self.scale * self._said(subject, rng)

    def _said(self, subject: Subject, rng: torch.Generator) -> Tensor:
        match self.says:
            case "constant":
                return torch.ones(subject.shape)
            case "follows":
                view = subject.continuous()
                return subject.reduced(view.gradients(view.batch.inputs)[1] * view.batch.inputs)
            case "random" | "restless":
                moved = self.says == "restless" and not subject.batch.tokens
                shift = int(subject.batch.inputs.double().sum().abs() * 1e6) if moved else 0
                return torch.randn(subject.shape, generator=rng.manual_seed(rng.initial_seed() + shift))
        parts = cast("Truth", subject.batch.truth).values
        match self.says:
            case "inverse":
                # the sizes, turned round: what contributes nothing is ranked first by size
                return 1 / (1 + parts.abs())
            case "sparse":
                largest = parts.abs().flatten(1).argmax(1, keepdim=True)
                return torch.zeros_like(parts.flatten(1)).scatter_(1, largest, 1.0).view(parts.shape)
            case _:
                return -parts if self.says == "opposite" else parts


def evidence(
    subject: Subject,
    explainer: Explainer,
    *,
    seed: int = 0,
    shared: Probes | None = None,
    measurement: Measurement | None = None,
    siblings: Mapping[int, tuple[Attribution, Tensor]] | None = None,
) -> Evidence:
    """What a metric is given about a method on a subject; what is not said stands for nothing measured."""
    return Evidence(
        subject=subject,
        attribution=explainer.explain(subject, seed),
        explainer=explainer,
        seed=seed,
        measurement=measurement or Measurement(Cost(), 0.0, 0),
        shared=shared or Probes(subject),
        siblings=siblings or {},
    )
