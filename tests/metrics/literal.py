"""The slow definitions tests compare with: loops in float64, one model call for each variant."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from xrnnbench.methods.base import Explainer
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject

LENGTHS = (6, 4, 3, 1)
KINDS = ("logits", "probabilities", "values")


@dataclass(frozen=True)
class Fixed(Explainer):
    """Says given numbers."""

    name: ClassVar[str] = "fixed"
    complete: ClassVar[bool] = True
    values: object = None
    is_signed: bool = True

    def attribute(self, subject, rng):
        return self.values

    def explain(self, subject, seed=0):
        return replace(super().explain(subject, seed), signed=self.is_signed)


def subject_of(kind, lengths=LENGTHS, features=2, seed=0, strength=3.0):
    """Return an untrained GRU in float64 with strong weights, a reference that is not 0, and a background."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = RecurrentNet(features, 5, 1 if kind == "values" else 3, cell="gru", pooling="mean").double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(strength)
    model = nn.Sequential(net) if kind == "probabilities" else net
    if kind == "probabilities":
        model.forward = lambda inputs, lengths: net(inputs, lengths).softmax(1)
    inputs = torch.randn(len(lengths), max(lengths), features, generator=generator, dtype=torch.float64)
    reference = 0.3 * torch.randn(inputs.shape, generator=generator, dtype=torch.float64)
    targets = torch.zeros(len(lengths), dtype=torch.int64)
    others = torch.randn(5, max(lengths), features, generator=generator, dtype=torch.float64)
    background = Batch(others, torch.full((5,), max(lengths)), torch.zeros(5, dtype=torch.int64))
    batch = Batch(inputs, torch.tensor(lengths), targets)
    return Subject(model, batch, reference, background=background, outputs_are=kind)


def changed(subject, row, gone, granularity, by=None):
    """Return a sequence without some features: replaced by the rows of ``by``, or the reference, or taken out."""
    length, inputs = int(subject.batch.lengths[row]), subject.batch.inputs[row].clone()
    if isinstance(by, str):
        kept = [step for step in range(length) if step not in set(gone)]
        return inputs[kept] if kept else subject.reference[row, :1]
    other = subject.reference[row] if by is None else by
    for feature in gone:
        step, cell = (feature, slice(None)) if granularity == "step" else divmod(feature, inputs.shape[1])
        inputs[step, cell] = other[step, cell]
    return inputs[:length]


def outputs(subject, sequence):
    """Return the raw outputs of one sequence, float64[K]."""
    with torch.no_grad():
        return subject.model(sequence[None], torch.tensor([len(sequence)]))[0]


def sign(subject, row):
    """Return s."""
    if subject.outputs_are != "values":
        return 1.0
    length = int(subject.batch.lengths[row])
    target = int(subject.target[row])
    below = outputs(subject, subject.batch.inputs[row, :length]) < outputs(subject, subject.reference[row, :length])
    return -1.0 if below[target] else 1.0


def evidence_of(subject, row, found):
    """Return what outputs float64[K] are on the evidence scale."""
    target = int(subject.target[row])
    if subject.outputs_are == "values":
        return float(found[target]) * sign(subject, row)
    return float((found.softmax(0) if subject.outputs_are == "logits" else found)[target])


def features_of(subject, row, granularity):
    """Return how many features a sequence has."""
    return int(subject.batch.lengths[row]) * (1 if granularity == "step" else subject.batch.inputs.shape[2])


def grid(n, points):
    """Return how many features are gone at each point of a curve."""
    return [-(-j * n // points) for j in range(points + 1)] if n > points else list(range(n + 1))


def falling(values, n):
    """Return features by falling value."""
    return sorted(range(n), key=lambda feature: -float(values[feature]))
