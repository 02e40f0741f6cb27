"""Call of a plug-in: whatever the plug-in does, its own cell fails with the reason, and the others are as they were.

:class:`PluginCall` is a context around every call of code that is not the run's own: making a model, explaining a cell,
scoring a cell by one metric, asking whether a plug-in is applicable. It

- makes a failure of every exception, also of those that are not derived from ``Exception``. Only the user's own Ctrl-C
  ends the run: it is told from a ``KeyboardInterrupt`` that the plug-in raised by the signal that came.
- keeps the limits of time and memory; see :mod:`.watcher`.
- restores what the plug-in changed in this process, and makes a failure of the change; see :mod:`.process_state`.
- stops threads that the plug-in left running; see :mod:`xrnnbench.tasks.engine.stray_threads`.

What a process cannot keep for itself: it ends with a segmentation fault and with ``os._exit``, it cannot interrupt a
call into C that does not return, it cannot open again the files of others that a plug-in closed, and it cannot take
back memory that a plug-in holds. A signal SIGINT that the plug-in itself sends ends the run like that of the user.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from ....errors import CellError, ContractError, MemoryLimitError, XrnnbenchError
from ....tasks.engine.stray_threads import left_running, running_threads, stop_strays
from .failures import PluginFailure, failure_of, is_own, keep_failure, out_of_memory
from .limits import UNLIMITED
from .process_state import ProcessState
from .standard_streams import StandardStreams
from .watcher import SIGNAL, WatchedCall, interruptible, uninterruptible, watch

if TYPE_CHECKING:
    from types import FrameType, TracebackType
    from typing import Self

    from .limits import Limits


_TIMERS: Final = tuple(
    getattr(signal, name) for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF") if hasattr(signal, name)
)


class PluginCall:
    """Context around one call of a plug-in.

    >>> with PluginCall("Method 'mine'"):
    ...     result = 1 + 1

    Args:
        who: the plug-in at the beginning of a sentence, such as ``Method 'mine'``.
        limits: limits of the call.

    Raises:
        CellError: an error of xrnnbench, as the plug-in raised it; or the plug-in is over a limit, or changed the
            process. Other errors of xrnnbench also leave as they are.
        PluginFailure: the plug-in raised anything else, with its failure record.
        KeyboardInterrupt: the user pressed Ctrl-C.
    """

    def __init__(self, who: str, limits: Limits = UNLIMITED) -> None:
        self._who = who
        self._limits = limits

    @uninterruptible
    def __enter__(self) -> Self:
        """Begin to watch."""
        self._call = WatchedCall(self._limits)
        self._signals = _Signals(self._call)
        self._streams = StandardStreams()
        self._state = ProcessState.now()
        self._threads = running_threads()
        watch(self._call)
        return self

    @uninterruptible
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End watching, restore the process, and raise what is the matter with the call."""
        found = None if error is None else _looked_at(error)
        try:
            self._call.finish()
        except CellError:
            self._call.finish()
        changes = self._restore()
        # errors are not chained: whoever looks at the chain would run code of the plug-in again
        if self._signals.interrupted:
            raise KeyboardInterrupt from None
        if self._call.error is not None:
            raise self._call.error from None
        if found is not None and found is not error:
            raise found from None
        if error is None and changes:
            raise ContractError(changes[0])

    def _restore(self) -> list[str]:
        """Restore the process; returns a sentence for each change."""
        strays = stop_strays(self._threads)
        did = self._streams.restore()
        changed = self._state.restore()
        alarmed = self._signals.restore()
        sentences = [left_running(self._who, strays)] if strays else []
        sentences += [f"{self._who} {_sentence_of_stream(each)}" for each in did]
        changed += ["an interval timer"] if alarmed else []
        sentences += [
            f"{self._who} changed {each} and did not change it back; it has been restored." for each in changed
        ]
        return sentences


def _sentence_of_stream(did: str) -> str:
    """End of a sentence about what a plug-in did to a stream."""
    if "descriptors" in did:
        return f"{did}; other files of this process may be closed, and cannot be opened again: start the run again."
    return f"{did}; it has been restored."


@interruptible
def _looked_at(error: BaseException) -> XrnnbenchError | PluginFailure:
    """The failure that an exception is; looking at it runs code of the plug-in, which may take too long."""
    try:
        failure = failure_of(error)
        if is_own(error) and isinstance(error, XrnnbenchError):
            keep_failure(error, failure)
            return error
        if out_of_memory(error):
            return MemoryLimitError(f"It ran out of memory ({failure.sentence}); give it less to do, or more memory.")
        return PluginFailure(failure)
    except CellError as interrupted:
        return interrupted


class _Signals:
    """Handlers of SIGINT and of the watcher's signal during a call; those of before are set again by :meth:`restore`.

    Only in the main thread are there signals.

    Attributes:
        interrupted: whether the user pressed Ctrl-C.
    """

    def __init__(self, call: WatchedCall) -> None:
        self.interrupted = False
        self._call = call
        self._alarmed = False
        self._before: dict[int, Any] = {}
        self._armed = _armed_timers()
        if threading.current_thread() is not threading.main_thread():
            return
        # a handler that was not set by Python could not be set again, and one that ignores the signal is to stay
        if callable(handler := signal.getsignal(signal.SIGINT)):
            self._interrupt = handler
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
        if SIGNAL is not None and signal.getsignal(SIGNAL) is not None:
            self._before[SIGNAL] = signal.signal(SIGNAL, _AlarmHandler(self._on_alarm))

    def restore(self) -> bool:
        """Set the handlers of before again; returns whether a timer of the plug-in has rung, or is armed."""
        forgotten = _armed_timers() - self._armed
        for timer in forgotten:
            signal.setitimer(timer, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._alarmed and self._armed:
            # it may be the timer of whoever called the run
            if SIGNAL is not None and callable(self._before.get(SIGNAL)):
                signal.raise_signal(SIGNAL)
            return bool(forgotten)
        return self._alarmed or bool(forgotten)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Do what is done otherwise, and note that it was the user's Ctrl-C if that ends the run."""
        try:
            self._interrupt(number, frame)
        except BaseException:
            self.interrupted = True
            raise

    def _on_alarm(self, _: int, frame: FrameType | None) -> None:
        """Interrupt the call if it is over a limit; a timer that rings although it is not is one of the plug-in."""
        self._alarmed |= self._call.handle(frame)


def _armed_timers() -> frozenset[Any]:
    """The interval timers that are armed."""
    return frozenset(timer for timer in _TIMERS if signal.getitimer(timer)[0] > 0)


class _AlarmHandler:
    """Handler of the watcher's signal, which the watcher knows by its attribute."""

    of_xrnnbench: Final = True

    def __init__(self, handle: Any) -> None:  # noqa: ANN401  # as the signal module types it
        self._handle = handle

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """See :func:`signal.signal`."""
        self._handle(number, frame)
