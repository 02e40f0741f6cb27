"""Subjects whose models are far from linear, and methods that keep account of what they are asked."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from xrnnbench.methods.base import Explainer
from xrnnbench.metrics.conformance.specimens import specimen
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Subject


@dataclass(frozen=True)
class Product(Explainer):
    """Gradient times input, and who asked how often."""

    name: ClassVar[str] = "product"
    calls: ClassVar[list] = []

    def attribute(self, subject, rng):
        self.calls.append(len(subject))
        view = subject.continuous()
        values = view.gradients(view.batch.inputs)[1] * (view.batch.inputs - view.reference)
        return values if subject.granularity == "cell" else values.sum(2)


@dataclass(frozen=True)
class Jittered(Product):
    """The same with noise from its seed."""

    name: ClassVar[str] = "jittered"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject, rng):
        values = super().attribute(subject, rng)
        return values + torch.randn(values.shape, generator=rng)


def wild(name, **settings):
    """Return a specimen's batch with an untrained network of strong weights in float32.

    Args:
        name: of the specimen.
        settings: of the specimen, such as padding and noise.
    """
    subject = specimen(name, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        words = 9 if name == "tokens" else 0
        net = RecurrentNet(3, 6, 1 if name == "regression" else 2, cell="gru", vocabulary_size=words)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(3)
    return Subject(net, subject.batch, subject.reference, outputs_are=subject.outputs_are)
