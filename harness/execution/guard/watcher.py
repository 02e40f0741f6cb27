"""Watcher of running calls: a thread that sees when a call takes too long or too much memory, and interrupts it.

A call in the main thread is interrupted by a signal, which also ends a sleep or a wait for a file; its handler raises
the error. A call in another thread, and every call on Windows, gets the error at its next line of Python. Neither can
interrupt a call into C that does not return: only a process of its own can, which is ended from outside.

The watcher does not interrupt code of xrnnbench that restores a model or a setting when a context ends. It tries again
a moment later.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ....error_places import package_folders
from ....memory import resident_memory

if TYPE_CHECKING:
    from types import FrameType

    from ....errors import CellError
    from .limits import Limits

SIGNAL: Final = getattr(signal, "SIGALRM", None)
_INTERVAL: Final = 0.05
# Seconds after which a call that went on all the same is interrupted again.
_AGAIN: Final = 1.0
# Seconds without a call after which the thread ends.
_IDLE: Final = 2.0
# A call that took less than this share of the memory limit is not the one at fault.
_LEAST_SHARE: Final = 0.05
_CONTEXT_CODES: Final = frozenset(
    getattr(contextlib._GeneratorContextManager, name).__code__  # noqa: SLF001  # it has no public name
    for name in ("__enter__", "__exit__")
)


class WatchedCall:
    """One call under limits, in the thread that makes this.

    Attributes:
        error: the error that the call is interrupted with; None as long as it keeps its limits.
    """

    def __init__(self, limits: Limits) -> None:
        self.error: CellError | None = None
        self.ended = False
        self._sent = False
        self._limits = limits
        self._thread = threading.get_ident()
        self._main = threading.current_thread() is threading.main_thread()
        self._start = time.monotonic()
        self._next = 0.0
        self._first_memory = (resident_memory() or 0) if limits.memory_bytes is not None else 0

    def check(self) -> None:
        """Interrupt the call if it is over a limit, and again if it goes on."""
        now = time.monotonic()
        self.error = self.error or self._excess(now)
        if self.error is not None and now >= self._next and not self.ended:
            self._next = now + _AGAIN
            self._interrupt()

    def finish(self) -> None:
        """End the call: it is not interrupted any more. If it took too long, its error is set.

        Raises:
            CellError: an interruption that was on its way to this thread has arrived; another call of this method
                finds none.
        """
        self.ended = True
        seconds = self._limits.seconds
        if self.error is None and seconds is not None and time.monotonic() - self._start > seconds:
            self.error = self._limits.time_error()
        _WATCHER.remove(self)
        if self._sent:
            # It arrives at a jump. To have Python forget it (by sending NULL) would leave a flag set that slows down
            # every jump of all threads, and on Python 3.11 a traced one, as by coverage or a debugger, never ends.
            for _ in range(10):
                pass

    def handle(self, frame: FrameType | None) -> bool:
        """Raise the error in the handler of the signal, unless what runs must not be interrupted.

        Returns:
            whether the call keeps its limits, so that the signal came from elsewhere.
        """
        if self.error is None or self.ended:
            return True
        if must_not_be_interrupted(frame):
            self._next = time.monotonic()
            return False
        raise self.error

    def _excess(self, now: float) -> CellError | None:
        """The error of the call if it is over a limit."""
        limits = self._limits
        if limits.seconds is not None and now - self._start > limits.seconds:
            return limits.time_error()
        if limits.memory_bytes is None or (held := resident_memory() or 0) <= limits.memory_bytes:
            return None
        # what earlier calls left behind is not the fault of this one
        taken = held - self._first_memory
        return limits.memory_error(held) if taken > _LEAST_SHARE * limits.memory_bytes else None

    def _interrupt(self) -> None:
        """Raise the error in the thread of the call."""
        if self._main and SIGNAL is not None and getattr(signal.getsignal(SIGNAL), "of_xrnnbench", False):
            signal.pthread_kill(self._thread, SIGNAL)
            return
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001  # the one way to the stack of another thread
        if must_not_be_interrupted(frame):
            self._next = 0.0
            return
        self._sent = True
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(type(self.error)))


class _Watcher:
    """The calls that are watched, and the thread that watches them, which ends when there are none for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[WatchedCall] = []
        self._thread: threading.Thread | None = None

    def add(self, call: WatchedCall) -> None:
        """Watch a call."""
        with self._lock:
            self._calls.append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="xrnnbench watcher", daemon=True)
                self._thread.start()

    def remove(self, call: WatchedCall) -> None:
        """Watch a call no more."""
        with self._lock:
            self._calls = [each for each in self._calls if each is not call]

    def _watch(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(_INTERVAL)
            with self._lock:
                # in the lock, so that no call is interrupted once it is removed
                for call in self._calls:
                    call.check()
                if self._calls:
                    last = time.monotonic()
                elif time.monotonic() - last > _IDLE:
                    self._thread = None
                    return


_WATCHER = _Watcher()


def watch(call: WatchedCall) -> None:
    """Watch a call from now on, until it is finished."""
    _WATCHER.add(call)


def _after_fork() -> None:
    """Begin anew in a forked process, in which the thread does not run."""
    global _WATCHER  # noqa: PLW0603  # the one watcher of a process
    _WATCHER = _Watcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def must_not_be_interrupted(frame: FrameType | None) -> bool:
    """Whether a frame belongs to the begin or the end of a context of xrnnbench, or to a function marked so."""
    while frame is not None:
        if frame.f_code in _INTERRUPTIBLE:
            return False
        if frame.f_code in _UNINTERRUPTIBLE or (frame.f_code in _CONTEXT_CODES and _is_own(frame)):
            return True
        frame = frame.f_back
    return False


_UNINTERRUPTIBLE: set[Any] = set()
_INTERRUPTIBLE: set[Any] = set()


def uninterruptible(function: Any) -> Any:  # noqa: ANN401  # it is returned as it is
    """Mark a function: it is not interrupted, and neither is what it calls."""
    _UNINTERRUPTIBLE.add(function.__code__)
    return function


def interruptible(function: Any) -> Any:  # noqa: ANN401  # it is returned as it is
    """Mark a function: it may be interrupted, also if an uninterruptible one calls it."""
    _INTERRUPTIBLE.add(function.__code__)
    return function


def _is_own(frame: FrameType) -> bool:
    """Whether the context that begins or ends in a frame is one of xrnnbench."""
    generator = getattr(frame.f_locals.get("self"), "gen", None)
    file = Path(getattr(getattr(generator, "gi_code", None), "co_filename", ""))
    return any(file.is_relative_to(folder) for folder in package_folders())
