"""Peak memory of a piece of work: how far the resident memory of this process rises while it runs.

Resident memory counts what torch, NumPy and Python hold together. Before the work starts, free memory is handed back to
the system, so that the rise does not hide in what earlier work left behind; what the allocator keeps all the same makes
the figure a lower bound. Linux keeps the exact peak and lets a process reset it. Elsewhere psutil reads the resident
memory every few milliseconds. Where neither works the peak is None, never 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROCESS = Path("/proc/self")
_INTERVAL = 0.005


@dataclass
class PeakMemory:
    """Result of :func:`peak_memory`, filled when the work is done.

    Attributes:
        peak_bytes: rise of the resident memory above its start, in bytes; None where it cannot be measured.
    """

    peak_bytes: int | None = None


@contextmanager
def peak_memory() -> Iterator[PeakMemory]:
    """Measure the peak memory of what happens inside; uses do not nest, the inner resets the peak of the outer.

    >>> with peak_memory() as memory:
    ...     work = bytes(1000)
    >>> memory.peak_bytes is None or memory.peak_bytes >= 0
    True
    """
    memory = PeakMemory()
    _release_free_memory()
    sampler = None if _reset_kernel_peak() else _Sampler()
    start = resident_memory()
    try:
        yield memory
    finally:
        peak = _kernel_peak() if sampler is None else sampler.stop()
        if peak is not None and start is not None:
            memory.peak_bytes = max(peak - start, 0)


def resident_memory() -> int | None:
    """Resident memory of this process in bytes; None where the system does not tell."""
    try:
        return int(psutil.Process().memory_info().rss) or None
    except (psutil.Error, OSError, NotImplementedError):
        return None


def _kernel_peak() -> int | None:
    """Peak of the resident memory in bytes since the last reset, as the kernel of Linux keeps it (``VmHWM``)."""
    try:
        lines = (_PROCESS / "status").read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _reset_kernel_peak() -> bool:
    """Reset the kernel's peak to the present; whether that worked."""
    try:
        (_PROCESS / "clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return _kernel_peak() is not None


def _release_free_memory() -> None:
    """Hand memory that the C library keeps for later back to the system; glibc only."""
    with contextlib.suppress(OSError, TypeError):  # no C library to be found
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)


class _Sampler:
    """A thread that reads the resident memory every few milliseconds until it is stopped."""

    def __init__(self) -> None:
        self._peak: int | None = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int | None:
        """End the thread and return the highest value it read, in bytes."""
        self._done.set()
        self._thread.join()
        self._read()
        return self._peak

    def _watch(self) -> None:
        self._read()
        while not self._done.wait(_INTERVAL):
            self._read()

    def _read(self) -> None:
        memory = resident_memory()
        if memory is not None:
            self._peak = max(self._peak or 0, memory)
