"""Plug-ins that end, block or fill their process, loaded as a file."""

import contextlib
import ctypes
import os
import sys
import time
from dataclasses import dataclass
from typing import ClassVar

import torch
from small import Sum  # the file beside it

from xrnnbench import Batch, Explainer, Metric, Subject, Task

HELD = []


def sums(subject):
    """Sum of the inputs of each step, or of each cell."""
    return subject.batch.inputs * subject.valid


@dataclass(frozen=True)
class Good(Explainer):
    """The inputs."""

    name: ClassVar[str] = "as-they-are"

    def attribute(self, subject, rng):
        return sums(subject)


@dataclass(frozen=True)
class Fair(Explainer):
    """Random numbers."""

    name: ClassVar[str] = "fair"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject, rng):
        return torch.rand(subject.shape, generator=rng)


@dataclass(frozen=True)
class Crashing(Explainer):
    """Reads where nothing is."""

    name: ClassVar[str] = "crashing"

    def attribute(self, subject, rng):
        ctypes.string_at(0)


@dataclass(frozen=True)
class Leaving(Explainer):
    """Ends the process as if all were well."""

    name: ClassVar[str] = "leaving"

    def attribute(self, subject, rng):
        os._exit(0)


@dataclass(frozen=True)
class Hanging(Explainer):
    """Never returns, and swallows what would interrupt it."""

    name: ClassVar[str] = "hanging"

    def attribute(self, subject, rng):
        while True:
            with contextlib.suppress(BaseException):
                time.sleep(0.1)


@dataclass(frozen=True)
class Filling(Explainer):
    """Takes ever more memory."""

    name: ClassVar[str] = "filling"

    def attribute(self, subject, rng):
        while True:
            HELD.append(torch.ones(1 << 23))


@dataclass(frozen=True)
class Closing(Explainer):
    """Closes the streams of its process, and all other files it can reach."""

    name: ClassVar[str] = "closing"

    def attribute(self, subject, rng):
        sys.stdout.close()
        sys.stderr.close()
        for descriptor in range(256):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        return sums(subject)


@dataclass(frozen=True)
class Size(Metric):
    """Mean size of the attribution."""

    name: ClassVar[str] = "mean-size"
    family: ClassVar[str] = "complexity"

    def score(self, evidence):
        return evidence.attribution.values.abs().flatten(1).mean(1).double()


@dataclass(frozen=True)
class Last(Size):
    """Ends the process for one method only."""

    name: ClassVar[str] = "last"

    def score(self, evidence):
        if evidence.explainer.name == "fair":
            os._exit(3)
        return super().score(evidence)


class Unsendable(Sum):
    """A model that cannot be pickled."""

    def __reduce__(self):
        raise TypeError("this model stays here")


@dataclass(frozen=True)
class Sums(Task):
    """Sums of features."""

    name: ClassVar[str] = "sums"
    application: ClassVar[str] = "known truth"
    model: ClassVar[type] = Sum

    def subject(self, seed):
        rng = torch.Generator().manual_seed(0)
        inputs, lengths = torch.randn(8, 5, 2, generator=rng), torch.randint(2, 6, (8,), generator=rng)
        batch = Batch(inputs, lengths, torch.zeros(8, dtype=torch.int64))
        return Subject(self.model(seed), batch, torch.zeros_like(inputs), label=self.name)


@dataclass(frozen=True)
class Staying(Sums):
    """The same with a model that cannot be sent."""

    name: ClassVar[str] = "staying"
    model: ClassVar[type] = Unsendable


@dataclass(frozen=True)
class Dying(Sums):
    """The process ends while the model is made."""

    name: ClassVar[str] = "dying"

    def subject(self, seed):
        os._exit(5)
