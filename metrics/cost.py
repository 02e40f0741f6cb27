"""Cost: what explaining one sequence takes. Counts are exact and the same on every machine; times and memory inform."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ..plugins import register
from .base import Direction, Evidence, Family, Measurement, Metric

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CostMetric(Metric):
    """What cost metrics share: one figure for the batch, said of each of its sequences. Write ``total``."""

    family: ClassVar[Family] = "cost"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "nothing"
    shared_by_batch: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Tensor:
        """float64[B], all the same."""
        count = len(evidence.subject)
        total = self.total(evidence.measurement)
        value = total / count if self.shared_by_batch else total
        return torch.full((count,), value, dtype=torch.float64)

    def total(self, measurement: Measurement) -> float:
        """The figure for the whole batch."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class ForwardPasses(CostMetric):
    """Sequences run through the model for each sequence explained.

    Exact. Counted is what the method asked for, also where an identical sequence had been run before and was not run
    again: sharing speeds the harness up and must not flatter a method. Always defined.
    """

    name: ClassVar[str] = "forward-passes"
    unit: ClassVar[str] = "sequences"
    source: ClassVar[str] = "counted at the model's boundary (xrnnbench.tasks.subject.Cost)"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return measurement.cost.forward


@register
@dataclass(frozen=True)
class BackwardPasses(CostMetric):
    """Sequences a gradient was taken for, for each sequence explained. Exact. Always defined."""

    name: ClassVar[str] = "backward-passes"
    unit: ClassVar[str] = "sequences"
    source: ClassVar[str] = "counted at the model's boundary (xrnnbench.tasks.subject.Cost)"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return measurement.cost.backward


@register
@dataclass(frozen=True)
class ForwardEquivalents(CostMetric):
    """Forward passes plus twice the backward passes, for each sequence explained. Exact. Always defined.

    A backward pass multiplies with each weight matrix twice, once for the inputs and once for the weights' gradients.
    """

    name: ClassVar[str] = "forward-equivalents"
    unit: ClassVar[str] = "sequences"
    source: ClassVar[str] = "counted at the model's boundary (xrnnbench.tasks.subject.Cost)"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return measurement.cost.equivalents


@register
@dataclass(frozen=True)
class WallTime(CostMetric):
    """Seconds of wall time to explain the batch, for each of its sequences.

    One measurement on whatever machine ran it: it informs and does not gate. Always defined.
    """

    name: ClassVar[str] = "wall-time"
    unit: ClassVar[str] = "s"
    deterministic: ClassVar[bool] = False
    source: ClassVar[str] = "monotonic clock around Explainer.explain"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return measurement.seconds


@register
@dataclass(frozen=True)
class PeakMemory(CostMetric):
    """How far the memory of the process rose while the batch was explained, in MiB, for the batch as a whole.

    Memory is not divided among sequences: it does not grow with them where a method works in chunks. NaN where the
    platform cannot tell.
    """

    name: ClassVar[str] = "peak-memory"
    unit: ClassVar[str] = "MiB"
    deterministic: ClassVar[bool] = False
    shared_by_batch: ClassVar[bool] = False
    source: ClassVar[str] = "peak resident memory above its start"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return float("nan") if measurement.peak_bytes is None else measurement.peak_bytes / 2**20
