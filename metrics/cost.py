"""Cost metrics: model passes, wall time and memory needed to explain one sequence.

Counts of passes are exact and the same on every machine. Times and memory depend on the machine and inform only.
"""

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
    """Base class of the cost metrics: one value for the batch, reported for each of its sequences.

    Derived classes implement ``total``. It is divided by the number of sequences where ``shared_by_batch`` is true.
    """

    family: ClassVar[Family] = "cost"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    reads: ClassVar[Literal["order", "magnitude", "sign", "nothing"]] = "nothing"
    shared_by_batch: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Tensor:
        """Return float64[B], the same value for every sequence."""
        count = len(evidence.subject)
        total = self.total(evidence.measurement)
        value = total / count if self.shared_by_batch else total
        return torch.full((count,), value, dtype=torch.float64)

    def total(self, measurement: Measurement) -> float:
        """Return the value for the whole batch."""
        raise NotImplementedError


@register
@dataclass(frozen=True)
class ForwardPasses(CostMetric):
    """Number of sequences run through the model for each sequence explained.

    Exact. The count is of the passes that the method requests, including those for which the output of an identical
    sequence was reused: reuse speeds up the harness and must not flatter a method. Always defined.
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
    """Number of sequences whose gradient was computed for each sequence explained. Exact. Always defined."""

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

    A backward pass multiplies with each weight matrix twice: once for the gradients of the inputs, and once for those
    of the weights.
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
    """Wall time in seconds of explaining the batch, divided by its number of sequences.

    A single measurement on the machine of the run. It informs, and the gate does not compare it. Always defined.
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
    """Peak memory of the process while the batch is explained, in MiB above its start, for the batch as a whole.

    Memory is not divided by the number of sequences, because it does not grow with them where a method works in
    chunks. NaN where the platform does not report it.
    """

    name: ClassVar[str] = "peak-memory"
    unit: ClassVar[str] = "MiB"
    deterministic: ClassVar[bool] = False
    shared_by_batch: ClassVar[bool] = False
    source: ClassVar[str] = "peak resident memory above its start"

    def total(self, measurement: Measurement) -> float:
        """See the class."""
        return float("nan") if measurement.peak_bytes is None else measurement.peak_bytes / 2**20
