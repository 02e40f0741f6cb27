"""Plug-ins that change what others are given, loaded as a file: what happens to each is in test_model_state.py."""

import time
import types
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn.utils import prune

from xrnnbench import Batch, Explainer, Metric, Subject, Task, Truth
from xrnnbench.metrics.faithfulness.comprehensiveness import Comprehensiveness
from xrnnbench.tasks.models.retraining import Retraining


def squashed(scores):
    """What the model does to its scores; a function of this file, which only the outputs show."""
    return torch.tanh(scores)


class Helper(nn.Module):
    pass


class Net(nn.Module):
    """A recurrent network that keeps what a user's network may keep, and writes some of it in each call."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = nn.GRU(2, 4, batch_first=True)
        self.head = nn.Linear(4, 2)
        self.register_buffer("scale", torch.ones(2))
        self.settings = {"temperature": 1.0}
        self.seen = 0
        self.last = None

    def forward(self, inputs, lengths):
        states, _ = self.rnn(inputs)
        last = states[torch.arange(len(inputs)), lengths - 1]
        self.seen, self.last = len(inputs), last.detach()
        return squashed(self.head(last) * self.scale / self.settings["temperature"])


def batch_of(rng, count):
    lengths = torch.randint(2, 6, (count,), generator=rng)
    inputs = torch.randn(count, 5, 2, generator=rng) * (torch.arange(5) < lengths[:, None])[:, :, None]
    truth = Truth((inputs.abs().sum(2) > 1).float(), "planted", "the class")
    return Batch(inputs, lengths, (inputs.sum((1, 2)) > 0).long(), {"planted": truth})


@dataclass(frozen=True)
class Nets(Task):
    """A network of random weights, with data that all share."""

    name: ClassVar[str] = "nets"
    application: ClassVar[str] = "known truth"

    def subject(self, seed):
        rng = torch.Generator().manual_seed(0)
        batch, background, train, test = (batch_of(rng, count) for count in (6, 5, 12, 8))
        retraining = Retraining(train, test, lambda batch: torch.zeros_like(batch.inputs), lambda: Net(0))
        reference = torch.zeros_like(batch.inputs)
        return Subject(Net(seed), batch, reference, background=background, retraining=retraining, label=self.name)


KEPT = []


@dataclass(frozen=True)
class SameNet(Nets):
    """One module for all seeds, with other weights for each."""

    name: ClassVar[str] = "same-net"

    def subject(self, seed):
        made = super().subject(seed)
        if not KEPT:
            KEPT.append(made.model)
        KEPT[0].load_state_dict(made.model.state_dict())
        made.model = KEPT[0]
        return made


def net(subject):
    """The user's own module, also where it is adapted."""
    return next(module for module in subject.model.modules() if isinstance(module, Net))


def patch_forward(subject):
    old = net(subject).forward
    net(subject).forward = lambda *inputs: old(*inputs) * 0


def forget_bias(subject):
    del net(subject).head.bias
    net(subject).head.bias = None


def change_class(subject):
    net(subject).head.__class__ = type("Other", (nn.Linear,), {})


def replace_module_function(name, to):
    globals()[name] = to


def squash_torch(subject):
    torch.tanh = torch.sigmoid


def add_attribute(subject):
    net(subject).helper = Helper()


MODEL = {
    "weights": lambda subject: net(subject).head.weight.data.add_(1),
    "buffer": lambda subject: net(subject).scale.mul_(2),
    "prune": lambda subject: prune.l1_unstructured(net(subject).head, "weight", amount=0.9),
    "forward": patch_forward,
    "bound": lambda subject: setattr(net(subject), "forward", types.MethodType(Net.forward, net(subject))),
    "class of forward": lambda subject: setattr(Net, "forward", lambda self, inputs, lengths: self.head(inputs[:, 0])),
    "no bias": forget_bias,
    "layer": lambda subject: setattr(net(subject), "head", nn.Linear(4, 2)),
    "class": change_class,
    "attribute": lambda subject: net(subject).settings.update(temperature=2.0),
    "number": lambda subject: setattr(net(subject), "threshold", 3),
    "other model": lambda subject: setattr(subject, "model", Net(7)),
}
DATA = {
    "inputs": lambda subject: subject.batch.inputs.zero_(),
    "mask": lambda subject: subject.batch.valid.zero_(),
    "valid": lambda subject: subject.valid.zero_(),
    "truth": lambda subject: subject.batch.truth.values.fill_(1),
    "truths": lambda subject: subject.batch.truths.clear(),
    "reference": lambda subject: subject.reference.add_(1),
    "target": lambda subject: subject.target.copy_(1 - subject.target),
    "outputs": lambda subject: subject.batch_outputs.zero_(),
    "reference outputs": lambda subject: subject.reference_outputs.zero_(),
    "other target": lambda subject: setattr(subject, "target", 1 - subject.target),
    "background": lambda subject: subject.background.inputs.zero_(),
    "training data": lambda subject: subject.retraining.train.targets.zero_(),
    "test data": lambda subject: subject.retraining.test.inputs.zero_(),
}
CODE = {
    "torch": squash_torch,
    "subject": lambda subject: setattr(Subject, "outputs", lambda self, variants: torch.zeros(len(variants), 2)),
    "metric": lambda subject: setattr(Comprehensiveness, "score", lambda self, of: torch.zeros(len(of.subject))),
    "clock": lambda subject: setattr(time, "perf_counter", lambda: 0.0),
}


@dataclass(frozen=True)
class Meddler(Explainer):
    """The inputs, after changing something.

    Cost: none.
    Fails where: asked.
    """

    name: ClassVar[str] = "meddler"
    what: str = ""
    when: str = "explaining"

    def applicable(self, subject):
        if self.when == "asked":
            self.meddle(subject)
        return ""

    def attribute(self, subject, rng):
        if self.when == "explaining":
            self.meddle(subject)
        return torch.rand(subject.shape, generator=rng)

    def meddle(self, subject):
        if self.what == "function":
            replace_module_function("squashed", lambda scores: scores * 0)
        elif self.what:
            (MODEL | DATA | CODE)[self.what](subject)


def shrink(evidence):
    values = evidence.attribution.values
    values.abs_()
    values /= values.flatten(1).sum(1).reshape(-1, 1, 1)


EVIDENCE = {
    "attribution": shrink,
    "siblings": lambda evidence: [each.values.zero_() for each, _ in evidence.siblings.values()],
    "no siblings": lambda evidence: evidence.siblings.clear(),
    "seed": lambda evidence: setattr(evidence, "seed", 7),
    "cost": lambda evidence: setattr(evidence.measurement.cost, "forward", 0),
    "shared result": lambda evidence: [value.zero_() for _, value in evidence.cache.items() if torch.is_tensor(value)],
    "no shared results": lambda evidence: evidence.cache._values.clear(),
    "method": lambda evidence: vars(evidence.explainer).update(what="weights"),
}


@dataclass(frozen=True)
class MeddlingMetric(Metric):
    """Ones, after changing something.

    Source: mine.
    """

    name: ClassVar[str] = "a-meddler"
    family: ClassVar[str] = "complexity"
    direction: ClassVar[str] = "higher"
    source: ClassVar[str] = "mine"
    needs_siblings: ClassVar[bool] = True
    what: str = ""

    def score(self, evidence):
        if self.what in EVIDENCE:
            EVIDENCE[self.what](evidence)
        elif self.what == "function":
            replace_module_function("squashed", lambda scores: scores * 0)
        elif self.what:
            (MODEL | DATA | CODE)[self.what](evidence.subject)
        return torch.ones(len(evidence.subject))


@dataclass(frozen=True)
class Shared(Metric):
    """The sum of a tensor that is computed once, and read again by whoever comes later.

    Source: mine.
    """

    name: ClassVar[str] = "a-first"
    family: ClassVar[str] = "complexity"
    direction: ClassVar[str] = "higher"
    source: ClassVar[str] = "mine"

    def score(self, evidence):
        total = evidence.get("total", lambda cell: cell.attribution.values.flatten(1).abs().sum(1).clone())
        return total.clone()


@dataclass(frozen=True)
class SharedAgain(Shared):
    __doc__ = Shared.__doc__

    name: ClassVar[str] = "b-second"
