"""Specimens: small subjects with known contributions, and stand-in methods that return prescribed attributions.

The conformance kit and the tests score metrics on them. Their models are recurrent networks whose hidden state sums
the inputs: h_t = tanh(h_{t−1} + ι x_t w), with ι so small that tanh is the identity to six digits. The score is
Σ_t x_t · w, the contribution of each cell is x_{td} w_d, and the order of contributions is the best order of removal.
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
# Number of training sequences and of test sequences of a specimen, and the ridge penalty of its fit.
_TRAINING_SEQUENCES, _RIDGE = 60, 1e-3


def specimen(
    name: SpecimenName = "regression", lengths: tuple[int, ...] = LENGTHS, *, padding: int = 0, noise: float = 0.0
) -> Subject:
    """Subject with known contributions.

    Args:
        name: ``"regression"``: inputs float[B, T, 3], one output value; ``"classification"``: the same inputs, two
            classes; ``"tokens"``: token inputs, two classes, where some tokens contribute nothing; ``"alignment"``: the
            same, whose truth are links to one output step instead of contributions.
        lengths: of the sequences. A sequence depends only on its position and on the lengths up to it.
        padding: number of padding steps added to the longest sequence.
        noise: standard deviation of the random numbers written on padding; for tokens, 0 to write none.
    """
    rng = torch.Generator().manual_seed(0)
    steps = max(lengths) + padding
    size = torch.tensor(lengths)
    valid = torch.arange(steps) < size[:, None]
    values = torch.zeros(len(lengths), steps, 3)
    noise_rng = torch.Generator().manual_seed(1)
    for row, length in enumerate(lengths):
        values[row, :length] = torch.randn(length, 3, generator=rng)
    values += torch.where(valid[:, :, None], 0.0, noise * torch.randn(values.shape, generator=noise_rng))
    tokens = name in _OF_TOKENS
    # tokens are numbers from 1 to 8; every second one has an embedding of 0 and contributes nothing
    inputs = (values[:, :, 0] * 4).long() % 8 + 1 if tokens else values
    if tokens and not noise:
        inputs = inputs * valid
    subject = _adder_subject(name, inputs, size)
    if name == "alignment":
        return _with_links(subject)
    retraining = _retraining(name)
    return replace(_with_truth(subject), retraining=retraining, background=replace(retraining.train, truths={}))


def _adder_subject(name: SpecimenName, inputs: Tensor, lengths: Tensor) -> Subject:
    """The adder with some sequences, whose targets are its own outputs."""
    count = len(lengths)
    placeholder = torch.zeros(count, 1) if name == "regression" else torch.zeros(count, dtype=torch.int64)
    subject = Subject(
        _adder(name),
        Batch(inputs, lengths, placeholder),
        reference=torch.zeros_like(inputs),
        outputs_are="values" if name == "regression" else "logits",
        label=f"the {name} specimen",
    )
    targets = subject.batch_outputs if name == "regression" else subject.batch_outputs.argmax(1)
    return replace(subject, batch=replace(subject.batch, targets=targets))


def _adder(name: SpecimenName) -> RecurrentNet:
    """Network that sums its inputs; with two classes each gets half of the sum, with opposite signs."""
    outputs = 1 if name == "regression" else 2
    with torch.random.fork_rng(devices=[]):
        net = RecurrentNet(3, 1, outputs, cell="rnn", vocabulary_size=9 if name in _OF_TOKENS else 0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        weight_ih, weight_hh = cast("nn.RNN", net.recurrent).all_weights[0][:2]
        weight_ih.copy_(_SMALL * torch.tensor([_WEIGHTS]))
        weight_hh.fill_(1.0)
        net.head.weight.copy_(torch.tensor([[1.0], [-1.0]])[:outputs] / _SMALL / outputs)
        if net.embedding is not None:
            rng = torch.Generator().manual_seed(2)
            net.embedding.weight[1::2] = torch.randn(4, 3, generator=rng)
    return net.eval()


def _with_truth(subject: Subject) -> Subject:
    """The same subject with the contributions to the explained output as its truth."""
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
    """Retraining of an adder in closed form, on other sequences with known truth."""
    train, test = (_balanced(_with_truth(_adder_subject(name, *_drawn(name, seed))).batch) for seed in (3, 4))
    return _LeastSquares(train, test, lambda batch: torch.zeros_like(batch.inputs), lambda: _adder(name))


def _balanced(batch: Batch) -> Batch:
    """The first sequences, equally many of each class, so that a constant prediction is right half of the time."""
    if batch.targets.is_floating_point():
        return batch.select(slice(0, _TRAINING_SEQUENCES))
    return batch.select(torch.cat([(batch.targets == own).nonzero()[: _TRAINING_SEQUENCES // 2, 0] for own in (0, 1)]))


def _drawn(name: SpecimenName, seed: int) -> tuple[Tensor, Tensor]:
    """Inputs and lengths of random sequences, four times as many as are needed."""
    rng = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, max(LENGTHS) + 1, (4 * _TRAINING_SEQUENCES,), generator=rng)
    valid = torch.arange(max(LENGTHS)) < lengths[:, None]
    if name in _OF_TOKENS:
        return torch.randint(1, 9, valid.shape, generator=rng) * valid, lengths
    return torch.randn(*valid.shape, 3, generator=rng) * valid[:, :, None], lengths


class _LeastSquares(Retraining):
    """Retraining of an adder by least squares of the targets (±1 for two classes) on its summed inputs.

    A fit has one solution, whatever the seed. Fine-tuning solves again, with as many changed copies of each sequence as
    there are epochs.
    """

    def fit(self, batch: Batch, seed: int) -> nn.Module:  # noqa: ARG002  # as above
        net = cast("RecurrentNet", self.network())
        embedded = batch.inputs if net.embedding is None else net.embedding.weight.detach()[batch.inputs]
        sums = torch.where(batch.valid[:, :, None], embedded, 0.0).sum(1).double()
        right = batch.targets[:, 0] if batch.targets.is_floating_point() else 1.0 - 2.0 * batch.targets
        design = torch.cat([sums, torch.ones(len(sums), 1, dtype=torch.float64)], 1)
        # the ridge penalty keeps the solution unique where all inputs are removed
        normal = design.T @ design + _RIDGE * torch.eye(design.shape[1], dtype=torch.float64)
        *weights, bias = torch.linalg.solve(normal, design.T @ right.double()).tolist()
        with torch.no_grad():
            cast("nn.RNN", net.recurrent).all_weights[0][0].copy_(_SMALL * torch.tensor([weights]))
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
    """The same subject with a truth of sure and possible links; every second token has none."""
    tokens = subject.batch.inputs
    values = torch.where(tokens % 4 == 1, 1.0, torch.where(tokens % 4 == 3, 0.5, 0.0)) * subject.batch.valid
    truth = Truth(values, "alignment", "the one output step")
    return replace(subject, batch=replace(subject.batch, truths={"links": truth}))


Says = Literal["truth", "opposite", "inverse", "random", "constant", "sparse", "restless", "follows"]


@dataclass(frozen=True)
class StandIn(Explainer):
    """Method with prescribed attributions.

    Args:
        says: the attribution. ``"truth"``: the contributions; ``"opposite"``: their negative; ``"inverse"``: positive
            numbers, larger where the contributions of the cell and of its step are smaller in size; ``"random"``:
            normal numbers from the seed; ``"constant"``: 1; ``"sparse"``: 1 for the contribution of largest size in
            each sequence, 0 for the others; ``"restless"``: normal numbers that change with the seed and with every
            change of the input; ``"follows"``: gradient × input of the model, the only attribution that depends on it.
        scale: factor of every value.
    """

    name: ClassVar[str] = "stand-in"
    group: ClassVar[str] = "control"
    complete: ClassVar[bool] = True
    stochastic: ClassVar[bool] = True

    says: Says = "random"
    scale: float = 1.0

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        return self.scale * self._values(subject, rng)

    def _values(self, subject: Subject, rng: torch.Generator) -> Tensor:
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
                # reversed order of sizes: features without a contribution are ranked first by size
                inverse = 1 / (1 + parts.abs())
                # metrics that read steps see the sums of their cells, which are to be inverse as well
                return inverse if parts.dim() == 2 else inverse / (1 + parts.sum(2, keepdim=True).abs())
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
    """Evidence of a method on a subject, with a cost of 0 and no siblings by default."""
    return Evidence(
        subject=subject,
        attribution=explainer.explain(subject, seed),
        explainer=explainer,
        seed=seed,
        measurement=measurement or Measurement(Cost(), 0.0, 0),
        shared=shared or Probes(subject),
        siblings=siblings or {},
    )
