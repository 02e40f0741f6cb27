"""Threads that code leaves running behind its back: they are waited for, and then told to stop.

A thread of a method that is still at work when the method has returned may change the model under the next method. What
counts is a thread of :mod:`threading` that was started inside and has a function of neither Python, xrnnbench nor an
installed package on its stack. So the idle workers of a thread pool of Python, and the threads of libraries (the
monitor of tqdm, pools of joblib, pinning of torch's loaders), are no strays. Threads that libraries start outside of
Python, as OpenMP does, are not seen at all.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from ...error_places import is_library

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType

# Seconds that strays get to end by themselves, and then again to stop.
GRACE: Final = 0.25


def running_threads() -> frozenset[threading.Thread]:
    """Threads that are running now."""
    return frozenset(threading.enumerate())


def stop_strays(before: frozenset[threading.Thread]) -> tuple[str, ...]:
    """Wait for the stray threads that were started since, and tell those to stop that do not end.

    Args:
        before: the threads that were running before.

    Returns:
        the names of the threads that had to be stopped.
    """
    if threading.active_count() <= 1 or not (strays := list(_strays(before))):
        return ()
    _join(strays)
    remaining = [thread for thread in strays if thread.is_alive()]
    for thread in remaining:
        _stop(thread)
    _join(remaining)
    return tuple(thread.name for thread in remaining)


def left_running(doer: str, names: tuple[str, ...]) -> str:
    """Sentence about the threads that a plug-in left running.

    Args:
        doer: the plug-in, such as ``method 'mine'``.
        names: names of the threads.
    """
    return f"{doer} left a thread running ({names[0]}); it was told to stop: wait for its end with join()."


def _strays(before: frozenset[threading.Thread]) -> Iterator[threading.Thread]:
    """Threads that were started since and run code of a user."""
    started = [thread for thread in threading.enumerate() if thread not in before]
    frames = sys._current_frames() if started else {}  # noqa: SLF001  # the one way to the stacks of threads
    for thread in started:
        if thread is not threading.current_thread() and _is_stray(thread, frames.get(thread.ident or 0)):
            yield thread


def _is_stray(thread: threading.Thread, frame: FrameType | None) -> bool:
    """Whether a thread runs, or is about to run, a function of a user."""
    # a timer sleeps in Python's own code until it calls its function
    files = {_file_of(getattr(thread, name, None)) for name in ("_target", "function")} - {""}
    while frame is not None:
        files.add(frame.f_code.co_filename)
        frame = frame.f_back
    return not all(map(is_library, files))


def _file_of(function: Any) -> str:  # noqa: ANN401  # whatever was given as a target
    """File of a function; empty if it is none of Python."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    return str(getattr(code, "co_filename", ""))


def _join(threads: Iterable[threading.Thread]) -> None:
    """Wait for threads, for the grace in all."""
    end = time.monotonic() + GRACE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def _stop(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, which ends it before its next line of Python."""
    if isinstance(thread, threading.Timer):
        thread.cancel()
        return
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
