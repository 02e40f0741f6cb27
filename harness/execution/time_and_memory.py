"""Wall time and memory of a piece of work.

Memory is the resident memory of the whole process, at its peak above its start: what torch, NumPy and Python take are
all in it. Before the start, freed memory is handed back to the system, so that the peak does not hide in what earlier
work left behind; what an allocator keeps all the same makes the figure a lower bound. The kernel of Linux keeps the
exact peak and lets a process reset it; where that is not possible, the resident memory is read every few milliseconds,
and where that is not possible either, the figure is 0.
"""

from __future__ import annotations

import ctypes
import gc
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS = Path("/proc/self")
_INTERVAL = 0.005


@dataclass
class Effort:
    """What a piece of work took; filled when the work is done."""

    seconds: float = 0.0
    peak_bytes: int = 0


@contextmanager
def measured() -> Iterator[Effort]:
    """Measure what happens inside; the result is there afterwards.

    >>> with measured() as effort:
    ...     work = bytes(1000)
    >>> effort.seconds > 0
    True
    """
    effort = Effort()
    # the young generations only: a full collection walks all of torch, a tenth of a second for every cell
    gc.collect(1)
    _hand_back()
    sampler = None if _reset_peak() else _Sampler()
    before = resident("VmRSS")
    start = time.perf_counter()
    try:
        yield effort
    finally:
        effort.seconds = time.perf_counter() - start
        peak = resident("VmHWM") if sampler is None else sampler.stop()
        effort.peak_bytes = max(peak - before, 0)


def resident(figure: str) -> int:
    """Resident memory in bytes, ``"VmRSS"`` now or ``"VmHWM"`` at its peak; 0 where the system does not say."""
    try:
        lines = (_PROCESS / "status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(f"{figure}:")), 0)


def _reset_peak() -> bool:
    try:
        (_PROCESS / "clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True


def _hand_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if _PROCESS.is_dir() else None
    if trim is not None:
        trim(0)


class _Sampler:
    """Reads the resident memory until it is stopped."""

    def __init__(self) -> None:
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            self._peak = max(self._peak, resident("VmRSS"))
            if self._done.wait(_INTERVAL):
                return

    def stop(self) -> int:
        self._done.set()
        self._thread.join()
        return max(self._peak, resident("VmRSS"))


@dataclass
class Stopwatch:
    """Wall time by phase: one running total for each, the rest being what no phase claimed."""

    phases: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "explaining": 0.0, "scoring": 0.0})
    _start: float = field(default_factory=time.perf_counter)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] += time.perf_counter() - start

    @property
    def times(self) -> dict[str, float]:
        """Seconds of each phase, the rest, and the total."""
        total = time.perf_counter() - self._start
        return {**self.phases, "rest": total - sum(self.phases.values()), "total": total}
