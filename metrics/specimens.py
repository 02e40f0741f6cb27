"""Specimens: small subjects whose every contribution is known, and stand-in methods that say what they are told to.

The conformance kit and the tests judge metrics on them. Their models are recurrent networks set so that the state
adds up its inputs: h_t = tanh(h_{t−1} + ι x_t w), with ι so small that tanh is the identity to six digits. The score is
Σ_t x_t · w, the contribution of each cell x_{td} w_d, and the order of contributions is the best order of removal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import torch

from ..methods.base import Explainer
from ..tasks.data import Batch, Truth
from ..tasks.models.networks import RecurrentNet
from ..tasks.subject import Cost, Subject
from .base import Evidence, Measurement, Probes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from ..methods.base import Attribution

SpecimenName = Literal["regression", "classification", "tokens"]

_SMALL: Final = 1e-3
_LENGTHS: Final = (9, 7, 7, 5, 4, 2, 1)
_WEIGHTS: Final = (1.5, -1.0, 0.0)


def specimen(
    name: SpecimenName = "regression", lengths: tuple[int, ...] = _LENGTHS, *, padding: int = 0, noise: float = 0.0
) -> Subject:
    """A subject with known contributions.

    Args:
        name: ``"regression"`` of float[B, T, 3], one value; ``"classification"`` of the same, two classes;
            ``"tokens"``: two classes, some of whose tokens say nothing.
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
    tokens = name == "tokens"
    # a token is a number from 1 to 8 with an embedding of its own; every second one is silent
    inputs = (values[:, :, 0] * 4).long() % 8 + 1 if tokens else values
    if tokens and not noise:
        inputs = inputs * valid
    targets = torch.zeros(len(lengths), 1) if name == "regression" else torch.zeros(len(lengths), dtype=torch.int64)
    found = Subject(
        _adder(name),
        Batch(inputs, size, targets),
        reference=torch.zeros_like(inputs),
        outputs_are="values" if name == "regression" else "logits",
        label=f"the {name} specimen",
    )
    return _with_truth(found)


def _adder(name: SpecimenName) -> RecurrentNet:
    """The network that adds up its inputs; of two classes each gets half of the sum, with opposite signs."""
    outputs = 1 if name == "regression" else 2
    with torch.random.fork_rng(devices=[]):
        net = RecurrentNet(3, 1, outputs, cell="rnn", vocabulary_size=9 if name == "tokens" else 0)
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


Says = Literal["truth", "opposite", "inverse", "random", "constant", "restless"]


@dataclass(frozen=True)
class StandIn(Explainer):
    """A method that says what it is told to.

    Args:
        says: what to say. ``"truth"``: the contributions; ``"opposite"``: their negative; ``"inverse"``: positive
            numbers, larger where theirs are smaller; ``"random"``: normal numbers from the seed; ``"constant"``: 1;
            ``"restless"``: normal numbers that change with the seed and with anything in the input.
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
        if self.says == "constant":
            return torch.full(subject.shape, self.scale)
        if self.says == "random":
            return self.scale * torch.randn(subject.shape, generator=rng)
        parts = cast("Truth", subject.batch.truth).values
        if self.says == "inverse":
            # the sizes, turned round: what contributes nothing is ranked first by size
            return self.scale / (1 + parts.abs())
        if self.says == "restless":
            shift = int(subject.batch.inputs.double().sum().abs() * 1e6) if not subject.batch.tokens else 0
            rng.manual_seed(rng.initial_seed() + shift)
            return self.scale * torch.randn(subject.shape, generator=rng)
        return self.scale * (-parts if self.says == "opposite" else parts)


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
