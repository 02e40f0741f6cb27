"""Interruption of a command by a signal: Ctrl-C, SIGTERM, and the end of its terminal, all in one way.

Each raises an :class:`Interruption` in the main thread, so that whatever is being done is ended and cleaned up. SIGTERM
and SIGHUP raise SIGINT in their turn, because the guard of plug-ins looks at that one only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from importlib.machinery import ExtensionFileLoader
from typing import TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# Windows has no SIGHUP.
_LIKE_CTRL_C: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


STOPPED: Final = "Stopped."
# The import system, and its functions in which a library in C is loaded.
_IMPORT_SYSTEM: Final = frozenset({"<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>"})
_LOADING: Final = frozenset({"create_module", "exec_module"})
# Its import ends the process by a signal of its own if an exception comes at certain moments. A run has nothing to
# clean up before it.
_FRAGILE: Final = "torch"
# Seconds after which a signal that came meanwhile is looked at again.
_MOMENT: Final = 0.02


class Interruption(KeyboardInterrupt):
    """Interruption by a signal.

    It is not :class:`KeyboardInterrupt` itself: a library in C that is interrupted while it runs a piece of Python, as
    some do when they are loaded, would have Python end by SIGINT whatever is done with the exception later.
    """


class Signals:
    """The signals that interrupt a command.

    Attributes:
        came: the first of them that came; None before.
    """

    def __init__(self) -> None:
        self.came: int | None = None

    @property
    def status(self) -> int:
        """Exit status of a command that was interrupted: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP."""
        return 128 + (self.came or signal.SIGINT)

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Context in which the signals interrupt; the handlers of before are set again at its end."""
        before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            before = self._set_handlers()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end_at_once(self, status: int) -> None:
        """From now on, have the signals end the process with this status, since its work is done."""

        def end(_: int, __: object) -> None:
            os._exit(status)

        for number in (signal.SIGINT, *_LIKE_CTRL_C):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, end)

    def _set_handlers(self) -> dict[int, Any]:
        """Set the handlers; returns those of before that can be set again."""
        # nohup has a command ignore the end of its terminal, and a shell has its background ignore Ctrl-C
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_LIKE_CTRL_C)}
        for number in _LIKE_CTRL_C:
            if number == signal.SIGTERM or before[number] is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)
        ignored = before[signal.SIGINT] is signal.SIG_IGN
        signal.signal(signal.SIGINT, self._interrupt_if_passed_on if ignored else self._interrupt)
        return {number: handler for number, handler in before.items() if handler is not None}

    def _pass_on(self, number: int, _: object) -> None:
        self.came = self.came or number
        signal.raise_signal(signal.SIGINT)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.came = self.came or number
        while frame is not None and frame.f_globals is globals():  # the signal was passed on
            frame = frame.f_back
        if _loads(frame, _FRAGILE):
            self._end_at_once()
        if _loses_exceptions(frame):
            again = threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
            return
        raise Interruption

    def _interrupt_if_passed_on(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            self._interrupt(number, frame)

    def _end_at_once(self) -> NoReturn:
        with contextlib.suppress(OSError):
            os.write(2, STOPPED.encode() + b"\n")
        os._exit(self.status)


def _loads(frame: FrameType | None, package: str) -> bool:
    """Whether a package is being imported."""
    return any(
        each.f_code.co_name == "<module>" and each.f_globals.get("__name__", "").partition(".")[0] == package
        for each in _stack(frame)
    )


def _loses_exceptions(frame: FrameType | None) -> bool:
    """Whether an exception would be lost here, or end the process.

    Lost is one in a destructor and in a callback of the import system. A library in C that is being loaded may end the
    process if an exception comes out of a piece of Python that it runs.
    """
    if frame is not None and frame.f_code.co_filename in _IMPORT_SYSTEM:
        return True
    return any(
        each.f_code.co_name == "__del__"
        or (
            each.f_code.co_name in _LOADING
            and each.f_code.co_filename in _IMPORT_SYSTEM
            and isinstance(each.f_locals.get("self"), ExtensionFileLoader)
        )
        for each in _stack(frame)
    )


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    """A frame and all that called it."""
    while frame is not None:
        yield frame
        frame = frame.f_back
