"""Wall time and peak memory of a piece of work, and the wall time of a run by phase."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ....memory import peak_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Effort:
    """Wall time and peak memory of a piece of work; set when the work is done.

    Attributes:
        seconds: wall time.
        peak_bytes: see :class:`xrnnbench.memory.PeakMemory`.
    """

    seconds: float = 0.0
    peak_bytes: int | None = None


@contextmanager
def measured() -> Iterator[Effort]:
    """Measure the time and memory of the work inside; the result is set afterwards.

    >>> with measured() as effort:
    ...     work = bytes(1000)
    >>> effort.seconds > 0
    True
    """
    effort = Effort()
    # the young generations only: a full collection walks all of torch, a tenth of a second for every cell
    gc.collect(1)
    with peak_memory() as memory:
        start = time.perf_counter()
        try:
            yield effort
        finally:
            effort.seconds = time.perf_counter() - start
    effort.peak_bytes = memory.peak_bytes


@dataclass
class Stopwatch:
    """Stopwatch of a run: the total wall time of each phase, and the rest, which belongs to no phase.

    With several workers, the time of a phase is the sum of the times that they were busy with it, and the rest is what
    is missing to the wall time of all workers.
    """

    workers: int = 1

    phases: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "explaining": 0.0, "scoring": 0.0})
    _start: float = field(default_factory=time.perf_counter)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, phase: str, seconds: float) -> None:
        """Add time that was spent elsewhere to a phase."""
        self.phases[phase] += seconds

    @property
    def times(self) -> dict[str, float]:
        """Seconds of each phase, the rest, and the total."""
        total = time.perf_counter() - self._start
        return {**self.phases, "rest": max(0.0, total * self.workers - sum(self.phases.values())), "total": total}
