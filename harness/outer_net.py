"""The outer net of the command line: however a command ends, it ends in a sentence and an exit status.

What the project's own errors say is shown as it is. Anything else is an error that nobody foresaw: what it is, in one
sentence, and a file with its traceback. Nothing here needs a library, so that a broken installation is a sentence too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import tempfile
import traceback
from typing import TYPE_CHECKING, Final, cast

from ..bounded_files import shown_path
from ..error_lines import error_line, one_line, printable
from ..errors import UsageError, XrnnbenchError
from ..visible_text import visible
from .interruption import STOPPED, Signals

if TYPE_CHECKING:
    from collections.abc import Callable

FAILED: Final = 2
# What a shell says of a command that was ended because nobody reads its output any more.
_UNREAD: Final = 141
OPTION: Final = "--traceback"
# Libraries that write to the standard output stream.
_WRITERS: Final = frozenset({"click", "rich", "typer"})
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_NO_PERMISSION: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SENTENCES: Final[dict[type[BaseException], str]] = {
    MemoryError: "there is not enough memory ({}): close other programs, or compute less at the same time with --jobs",
    RecursionError: "something is nested too deeply, or refers to itself ({}); look at the files that were named",
    ImportError: "the installation is not complete ({}): install xrnnbench again",
    BaseExceptionGroup: "several errors came that nobody foresaw, the first of them {}",
}
_LONGEST_SENTENCE: Final = 3_000
_MANY_FRAMES: Final = 200
_LONGEST_TRACEBACK: Final = 200_000


class _UnreadError(Exception):
    """Nobody reads the output any more."""


class Passing(BaseException):
    """Carrier of an error through a library that would treat it in a way of its own.

    Attributes:
        error: the error.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def end_in_a_sentence(command: Callable[[], None], *, last: bool = False) -> None:
    """Call a command and end the process: this never returns.

    Args:
        command: returns, or raises; :class:`SystemExit` gives its exit status, and any other exception is explained on
            the standard error stream.
        last: whether nothing but the end of the process follows.

    Raises:
        SystemExit: always; its status is 2 after an error, 128 and the number of the signal after an interruption, 141
            if nobody reads the output.
    """
    signals = Signals()
    try:
        with signals.heeded():
            wanted = _take_option()
            status = _status(command, signals, traceback_wanted=wanted)
    except KeyboardInterrupt:
        # while the sentence was being written
        status = signals.status
    if last:
        signals.end_at_once(status)
    raise SystemExit(status)


def _status(command: Callable[[], None], signals: Signals, *, traceback_wanted: bool) -> int:
    """Exit status of a command, after its sentence."""
    try:
        _take_any_character()
        status = _returned(command)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001  # the outer net
        error = error.error if isinstance(error, Passing) else error
        error = _output_problem(error)
        with contextlib.suppress(OSError, ValueError):
            return _explained(error, signals, traceback_wanted=traceback_wanted)
        return FAILED
    return status


def _output_problem(error: BaseException) -> BaseException:
    """An error; another one that says more if it is about the output, which goes nowhere from now on."""
    if not isinstance(error, OSError) or error.filename is not None or not _ends_in_output(error):
        return error
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return _UnreadError()
    problem = UsageError(f"The output cannot be written ({error.strerror}): send it to another place.")
    problem.__cause__ = error
    return problem


def _ends_in_output(error: OSError) -> bool:
    """Whether an error comes from writing to the standard output stream: by this module, or a library for terminals."""
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return last.f_globals.get("__name__", "").partition(".")[0] in _WRITERS or last.f_globals is globals()


def _returned(command: Callable[[], None]) -> int:
    """Exit status of a command that ends as it should."""
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILED if end.code else 0
    return 0


def _explained(error: BaseException, signals: Signals, *, traceback_wanted: bool) -> int:
    """Explain an error on the standard error stream; returns the exit status."""
    if signals.came is not None or isinstance(error, KeyboardInterrupt):
        _say(str(error) if type(error) is KeyboardInterrupt and error.args else STOPPED)
        return signals.status
    if isinstance(error, _UnreadError):
        return _UNREAD
    if traceback_wanted:
        _say(traceback_of(error))
    if isinstance(error, XrnnbenchError):
        _say(f"xrnnbench: {_shortened(visible(str(error)))}")
        return FAILED
    _say(f"xrnnbench: {sentence_of(error)}{_place_of_traceback(error, shown=traceback_wanted)}.")
    return FAILED


def _shortened(sentence: str) -> str:
    """A sentence on one line, without the middle of it if it is very long."""
    line = " ".join(sentence.splitlines())
    return (
        line
        if len(line) <= _LONGEST_SENTENCE
        else f"{line[: _LONGEST_SENTENCE // 2]} … {line[-_LONGEST_SENTENCE // 2 :]}"
    )


def _place_of_traceback(error: BaseException, *, shown: bool) -> str:
    """End of a sentence that says where the traceback of an error is."""
    if shown:
        return ""
    if _of_system(error):
        # nobody who mends the program can do anything about it
        return "" if getattr(error, "filename", None) else f"; {OPTION} shows where it happened"
    return kept_traceback(error)


def _of_system(error: BaseException) -> bool:
    """Whether it is an error of the operating system: of a file, a folder, or a stream."""
    return isinstance(error, OSError) and error.errno is not None


def sentence_of(error: BaseException) -> str:
    """Description of an error, as one line without a full stop.

    Args:
        error: an exception that nobody foresaw.
    """
    if _of_system(error):
        return _sentence_of_system(cast("OSError", error))
    if isinstance(error, SystemExit):
        return f"code that the command called ended the program with status {one_line(repr(error.code))}"
    name = _named(error)
    return next(
        (text.replace("{}", name) for kind, text in _SENTENCES.items() if isinstance(error, kind)),
        f"an error came that nobody foresaw ({name})",
    )


def kept_traceback(error: BaseException) -> str:
    """End of a sentence that says where the traceback of an error has been written."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="xrnnbench-", suffix=".txt")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_report(error))
    except OSError as problem:
        return f"; its traceback cannot be kept ({problem.strerror}): {OPTION} shows it"
    return f"; the traceback is in {name}, for whoever mends it"


def traceback_of(error: BaseException) -> str:
    """Traceback of any exception, printable, and cut if it is very long."""
    try:
        told = traceback.TracebackException.from_exception(error, limit=-_MANY_FRAMES, compact=True)
        text = "".join(told.format()).rstrip()
    except BaseException as broken:  # noqa: BLE001  # a foreign exception may do anything when it is looked at
        return f"The traceback cannot be shown ({type(broken).__name__})."
    if len(text) > _LONGEST_TRACEBACK:
        text = f"{text[: _LONGEST_TRACEBACK // 2]}\n […]\n{text[-_LONGEST_TRACEBACK // 2 :]}"
    return printable(text)


def _report(error: BaseException) -> str:
    """Content of the file with a traceback."""
    words = printable(" ".join(map(repr, sys.argv)))
    return f"{words}\nPython {sys.version}\n{platform.platform()}\n\n{traceback_of(error)}\n"


def _sentence_of_system(error: OSError) -> str:
    """Sentence about an error of the operating system."""
    named = next((name for name in (error.filename2, error.filename) if isinstance(name, str | bytes)), None)
    what = (
        f"{shown_path(os.fsdecode(named))} cannot be read or written"
        if named
        else "something that was to be read or written was not"
    )
    reason = one_line(str(error.strerror or type(error).__name__))
    if error.errno in _NO_ROOM:
        return f"{what} ({reason}): make room, or choose another folder"
    if error.errno in _NO_PERMISSION:
        return f"{what} ({reason}): choose a folder that you may read and write"
    if error.errno == errno.ENOENT:
        return f"{what} ({reason}): it was moved or deleted meanwhile, or a folder was"
    return f"{what} ({reason})"


def _named(error: BaseException) -> str:
    """Kind and message of an error, of the first one in a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error_line(error)


def _take_option() -> bool:
    """Take the option for tracebacks out of the command line, wherever it stands; returns whether it was there."""
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    if OPTION not in words[:end]:
        return False
    sys.argv[1:] = [word for word in words[:end] if word != OPTION] + words[end:]
    return True


def _take_any_character() -> None:
    """Have the standard streams write escapes for characters that they do not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") == "strict":
            reconfigure(errors="backslashreplace")


def _say(text: str) -> None:
    """Write lines to the standard error stream."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # the command line's own output
