"""Small plug-ins for the harness's tests, loaded as a file; what they do besides is set by environment variables.

Every call of a task or method is written down in the file $XRNNBENCH_TEST_CALLS names, one word a line.
"""

import importlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from xrnnbench import Attribution, Batch, Competence, Explainer, Metric, Subject, Task, Truth, register  # noqa: F401
from xrnnbench.errors import ContractError, DataError, ParameterError


def called(what):
    if path := os.environ.get("XRNNBENCH_TEST_CALLS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{what}\n")
    time.sleep(float(os.environ.get("XRNNBENCH_TEST_SLEEP", "0")))


def asked_to(what):
    return what in os.environ.get("XRNNBENCH_TEST_BREAK", "").split(",")


class Sum(nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 3, generator=torch.Generator().manual_seed(seed)))

    def forward(self, inputs, lengths):
        inside = torch.arange(inputs.shape[1]) < lengths[:, None]
        return (inputs * inside[:, :, None]).sum(1) @ self.weight


@dataclass(frozen=True)
class SmallTask(Task):
    """Sums of features."""

    name: ClassVar[str] = "small"
    application: ClassVar[str] = "known truth"
    size: int = 8

    def subject(self, seed):
        called(f"train-{self.name}-{seed}")
        if asked_to("training"):
            raise RuntimeError("the data are\nnot there")
        if asked_to("extra") and seed == 1:
            try:
                importlib.import_module("no_such_package")
            except ImportError as error:
                raise DataError("Task 'small' needs the extra 'data': pip install 'xrnnbench[data]'.") from error
        if asked_to("parameter") and seed == 1:
            raise ParameterError("small: size=8 does not fit.")
        if asked_to("diverged"):
            raise DataError("small returns scores that are not finite.") from ContractError("not finite")
        rng = torch.Generator().manual_seed(1 if asked_to("another-data") else 0)
        inputs = torch.randn(self.size, 5, 2, generator=rng)
        lengths = torch.randint(2, 6, (self.size,), generator=rng)
        batch = Batch(inputs, lengths, torch.zeros(self.size, dtype=torch.int64))
        shift = 100 if asked_to("another-model") else 0
        score = 0.5 if asked_to("unfit") and seed == 0 else 0.9
        return Subject(
            Sum(seed + shift), batch, torch.zeros_like(inputs), label=self.name,
            competence=Competence("accuracy", score, 0.8, 0.5),
        )  # fmt: skip


@dataclass(frozen=True)
class OtherTask(SmallTask):
    """The same again."""

    name: ClassVar[str] = "other"


@dataclass(frozen=True)
class FixedTask(SmallTask):
    """A model that is given."""

    name: ClassVar[str] = "fixed"
    trainable: ClassVar[bool] = False

    def subject(self, seed):
        return super().subject(0)


@dataclass(frozen=True)
class Chance(Explainer):
    """Random numbers."""

    name: ClassVar[str] = "chance"
    group: ClassVar[str] = "control"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject, rng):
        called("explain-chance")
        return torch.randn(subject.shape, generator=rng)


@dataclass(frozen=True)
class Gradient(Explainer):
    """Gradient times input."""

    name: ClassVar[str] = "slope"
    group: ClassVar[str] = "gradient"
    complete: ClassVar[bool] = True

    def attribute(self, subject, rng):
        called("explain-slope")
        return subject.gradients(subject.batch.inputs)[1] * subject.batch.inputs


@dataclass(frozen=True)
class Attentive(Explainer):
    """Needs what the model does not have."""

    name: ClassVar[str] = "attentive"
    needs: ClassVar[frozenset] = frozenset({"attention"})

    def attribute(self, subject, rng):
        raise AssertionError


@dataclass(frozen=True)
class Broken(Explainer):
    """Breaks the contract in the way it is told."""

    name: ClassVar[str] = "broken"
    how: str = "raise"

    def attribute(self, subject, rng):
        called("explain-broken")
        if asked_to("mended"):
            return torch.zeros(subject.shape)
        if self.how == "raise":
            raise ZeroDivisionError("by\nzero")
        if self.how == "exit":
            raise SystemExit(3)
        if self.how == "shape":
            return torch.zeros(1, 2, 3)
        if self.how == "nan":
            return torch.full(subject.shape, torch.nan)
        if self.how == "type":
            return "nothing"
        with torch.no_grad():
            subject.model.weight.add_(1)
        return torch.zeros(subject.shape)


@dataclass(frozen=True)
class Heavy(Gradient):
    """Takes long, and much, to be made ready."""

    name: ClassVar[str] = "heavy"

    def prepare(self):
        called("prepare-heavy")
        if asked_to("library"):
            raise ImportError("no such library")


@dataclass(frozen=True)
class Size(Metric):
    """Mean size of the attribution; not defined for sequences of two steps."""

    name: ClassVar[str] = "size"
    family: ClassVar[str] = "faithfulness"
    scale: float = 1.0

    def score(self, evidence):
        called("score-size")
        found = self.scale * evidence.attribution.values.abs().flatten(1).mean(1).double()
        return torch.where(evidence.subject.batch.lengths == 2, torch.nan, found)


@dataclass(frozen=True)
class Falling(Metric):
    """A mean over a curve."""

    name: ClassVar[str] = "falling"
    family: ClassVar[str] = "faithfulness"
    profiled: ClassVar[int] = 3

    def score(self, evidence):
        called("score-falling")
        return self.profile(evidence).mean(1)

    def profile(self, evidence):
        if asked_to("curve"):
            return torch.zeros(len(evidence.subject), 2)
        start = evidence.attribution.values.abs().flatten(1).mean(1, keepdim=True).double()
        return start * torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)


@dataclass(frozen=True)
class Kinship(Metric):
    """Distance from the other models' attributions."""

    name: ClassVar[str] = "kinship"
    family: ClassVar[str] = "stability"
    direction: ClassVar[str] = "lower"
    needs_siblings: ClassVar[bool] = True

    def score(self, evidence):
        called("score-kinship")
        others = [other.values for other, _ in evidence.siblings.values()]
        return sum((evidence.attribution.values - other).abs().sum((1, 2)) for other in others).double()


@dataclass(frozen=True)
class Duration(Metric):
    """Seconds."""

    name: ClassVar[str] = "duration"
    family: ClassVar[str] = "cost"
    direction: ClassVar[str] = "lower"
    unit: ClassVar[str] = "s"
    deterministic: ClassVar[bool] = False

    def score(self, evidence):
        return torch.full((len(evidence.subject),), evidence.measurement.seconds, dtype=torch.float64)


@dataclass(frozen=True)
class Passes(Metric):
    """Sequences run."""

    name: ClassVar[str] = "passes"
    family: ClassVar[str] = "cost"
    direction: ClassVar[str] = "lower"

    def score(self, evidence):
        return torch.full((len(evidence.subject),), float(evidence.measurement.cost.equivalents))


@dataclass(frozen=True)
class BrokenMetric(Metric):
    """Breaks the contract in the way it is told."""

    name: ClassVar[str] = "broken-metric"
    family: ClassVar[str] = "faithfulness"
    how: str = "raise"

    def score(self, evidence):
        if asked_to("mended"):
            return torch.zeros(len(evidence.subject))
        if self.how == "raise":
            raise KeyError("no such thing")
        if self.how == "shape":
            return torch.zeros(1)
        if self.how == "in-place":
            return evidence.attribution.values.zero_().flatten(1).mean(1)
        if self.how == "infinite":
            return torch.full((len(evidence.subject),), torch.inf)
        with torch.no_grad():
            evidence.subject.model.weight.add_(1)
        return torch.zeros(len(evidence.subject))
