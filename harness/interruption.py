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
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

# Windows has no SIGHUP.
_LIKE_CTRL_C: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # in this order, for tests


# The functions of the import system in which a library in C is loaded.
_IMPORT_SYSTEM: Final = ExtensionFileLoader.create_module.__code__.co_filename
_LOADING: Final = frozenset({"create_module", "exec_module"})
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
        if _loads_library(frame):
            again = threading.Timer(_MOMENT, os.kill, (os.getpid(), signal.SIGINT))
            again.daemon = True
            again.start()
            return
        raise Interruption

    def _interrupt_if_passed_on(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            self._interrupt(number, frame)


def _loads_library(frame: FrameType | None) -> bool:
    """Whether a library in C is being loaded, which may end the process if an exception comes out of its Python."""
    while frame is not None:
        code = frame.f_code
        loading = code.co_name in _LOADING and code.co_filename == _IMPORT_SYSTEM
        if loading and isinstance(frame.f_locals.get("self"), ExtensionFileLoader):
            return True
        frame = frame.f_back
    return False
