"""Plug-ins that misbehave, loaded as a file: what ``xrnnbench check`` says of each is in test_check.py."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from xrnnbench import Explainer, Intervention, Metric, Task


@dataclass(frozen=True)
class Good(Explainer):
    """The inputs' first column.

    Cost: none.
    Fails where: asked.
    """

    name: ClassVar[str] = "good"

    def attribute(self, subject, rng):
        return subject.continuous().batch.inputs[..., 0].clone()


@dataclass(frozen=True)
class Raises(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "raises"
    complete: ClassVar[bool] = True

    def attribute(self, subject, rng):
        raise RuntimeError("no\nluck")


@dataclass(frozen=True)
class Exits(Raises):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "exits"

    def attribute(self, subject, rng):
        raise SystemExit(0)


@dataclass(frozen=True)
class NoTokens(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "no-tokens"

    def attribute(self, subject, rng):
        return subject.batch.inputs.mean(-1)


@dataclass(frozen=True)
class Flat(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "flat"

    def attribute(self, subject, rng):
        return torch.zeros(len(subject))


@dataclass(frozen=True)
class Infinite(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "infinite"

    def attribute(self, subject, rng):
        return torch.full(subject.shape, torch.inf)


@dataclass(frozen=True)
class Claims(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "claims"
    complete: ClassVar[bool] = True


@dataclass(frozen=True)
class Nowhere(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "nowhere"

    def applicable(self, subject):
        return "it is for no one"


@dataclass(frozen=True)
class Undecided(Good):
    __doc__ = Good.__doc__
    name: ClassVar[str] = "undecided"

    def applicable(self, subject):
        return self.reasons[subject.label]


@dataclass(frozen=True)
class MetricBase(Metric):
    """Mean of the attribution."""

    family: ClassVar[str] = "complexity"
    direction: ClassVar[str] = "neither"
    reads: ClassVar[str] = "magnitude"
    source: ClassVar[str] = "nowhere"

    def score(self, evidence):
        return evidence.attribution.values.double().flatten(1).mean(1)

    def applicable(self, explainer, subject):
        return "" if "regression" in subject.label else "only regressions"


@dataclass(frozen=True)
class RaisingMetric(MetricBase):
    __doc__ = MetricBase.__doc__
    name: ClassVar[str] = "raising"

    def score(self, evidence):
        return {}["score"]


@dataclass(frozen=True)
class UndefinedMetric(MetricBase):
    __doc__ = MetricBase.__doc__
    name: ClassVar[str] = "undefined"

    def score(self, evidence):
        return super().score(evidence) * torch.nan


@dataclass(frozen=True)
class InPlaceMetric(MetricBase):
    __doc__ = MetricBase.__doc__
    name: ClassVar[str] = "in-place"

    def score(self, evidence):
        return evidence.attribution.values.abs_().double().flatten(1).mean(1)


@dataclass(frozen=True)
class RefusingMetric(MetricBase):
    """Refuses everything, and so what is not finite."""

    name: ClassVar[str] = "refusing"
    low: ClassVar[float] = 5.0
    high: ClassVar[float] = 6.0

    def score(self, evidence):
        return torch.zeros(len(evidence.subject)).double()


@dataclass(frozen=True)
class RaisingIntervention(Intervention):
    """Raises."""

    name: ClassVar[str] = "raising"
    source: ClassVar[str] = "nowhere"

    def views(self, subject):
        return tuple(len(subject))


@dataclass(frozen=True)
class NoViews(RaisingIntervention):
    """Gives no views."""

    name: ClassVar[str] = "no-views"

    def views(self, subject):
        return ()


@dataclass(frozen=True)
class RaisingTask(Task):
    """A task without data."""

    name: ClassVar[str] = "raising"
    application: ClassVar[str] = "known truth"
    source: ClassVar[str] = "here"
    licence: ClassVar[str] = "none"
    citation: ClassVar[str] = "none"

    def subject(self, seed):
        return [][seed]


@dataclass(frozen=True)
class NoSubject(RaisingTask):
    """A task that gives a number."""

    name: ClassVar[str] = "no-subject"

    def subject(self, seed):
        return seed
