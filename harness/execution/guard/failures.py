"""Failures of plug-ins as they are stored, made of any exception whatever it does when it is looked at.

An exception of a plug-in is foreign code: its ``__str__`` may raise, exit or return a number, its message may be 50 MB
long or hold what no terminal and no file can take, its causes may form a circle. Here its text is cut before anything
else is done with it, and every character that cannot be printed is written as its escape.
"""

from __future__ import annotations

import sys
import traceback
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from .... import errors
from ....error_lines import one_line, printable
from ...results.cells import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

# Characters of a text that are looked at: more than a sentence takes.
_LONGEST_LOOK: Final = 10_000
_LONGEST_KIND: Final = 100
# A traceback keeps its first and its last characters, frames and exceptions.
_LONGEST_PART: Final = 10_000
_MOST_FRAMES: Final = 50
_MOST_EXCEPTIONS: Final = 10
_MOST_NOTES: Final = 5
_LONGEST_LINE: Final = 2_000
_KEPT: Final = "_xrnnbench_failure"
_BEGIN: Final = "Traceback (most recent call last):\n"
_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_GROUPED: Final = "\nThe exception above is one of those of the following group:\n\n"


class PluginFailure(Exception):  # noqa: N818  # not an error of its own: it carries that of a plug-in
    """Error of a plug-in that was caught: the exception itself is gone, its failure record is here.

    Attributes:
        failure: the failure record.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Failure record of any exception.

    Returns:
        the name of its class (at most 100 characters), its message as one line of at most 500 characters, and its
        traceback of at most 20,000 characters or so. All are printable: other characters are written as escapes.
    """
    if isinstance(error, PluginFailure):
        return error.failure
    if is_own(error) and isinstance(kept := vars(error).get(_KEPT), Failure):
        return kept
    return Failure(kind=_kind(error), sentence=one_line(_message(error)) or "no message", traceback=_trace(error))


def keep_failure(error: BaseException, failure: Failure) -> None:
    """Keep the failure record of an error of xrnnbench in it, so that its causes are not looked at again."""
    vars(error)[_KEPT] = failure


def stored_text(text: object, origin: str) -> str:
    """A text that a plug-in gives to be stored: printable, and cut after 10,000 characters.

    Args:
        text: what was given.
        origin: what gave it, at the beginning of a sentence, for the error message.

    Raises:
        ContractError: it is no text.
    """
    if not isinstance(text, str):
        raise errors.ContractError(f"{origin} gave a {_kind_of(type(text))}, not a text.")
    plain = _plain(text)
    return printable(f"{plain[:_LONGEST_LOOK]} …" if len(plain) > _LONGEST_LOOK else plain)


def is_own(error: BaseException) -> bool:
    """Whether an exception is exactly an error of :mod:`xrnnbench.errors` with a plain text, so that it is safe."""
    cls = type(error)
    return getattr(errors, cls.__name__, None) is cls and all(type(part) is str for part in error.args)


def _plain(text: str) -> str:
    """A text without what a class derived from ``str`` may do."""
    return str.__str__(text)


def _kind(error: BaseException) -> str:
    """Name of the class of an exception."""
    return _kind_of(type(error))


def _kind_of(cls: type) -> str:
    """Name that a class was given, whatever its metaclass says."""
    return printable(str(type.__dict__["__name__"].__get__(cls))[:_LONGEST_KIND])


def _message(error: BaseException) -> str:
    """Message of an exception; if it cannot be had, a sentence about this."""
    try:
        return _plain(str(error))
    except BaseException as broken:  # noqa: BLE001  # whatever a foreign __str__ raises
        _reraise_own(broken)
        return f"its message cannot be shown, for its __str__ raises {_kind(broken)}"


def _reraise_own(error: BaseException) -> None:
    """Raise an error again that was raised by xrnnbench from outside, because the time is over."""
    if is_own(error) and isinstance(error, errors.TimeLimitError | errors.MemoryLimitError):
        raise error


def _trace(error: BaseException) -> str:
    """Traceback of an exception and of its causes: the first and the last part of it if it is long."""
    parts = list(reversed(list(islice(_exceptions(error), _MOST_EXCEPTIONS))))
    text = "".join(f"{_frames(each.__traceback__)}{_last_line(each)}{link}" for each, link in parts)
    if len(text) > 2 * _LONGEST_PART:
        text = f"{text[:_LONGEST_PART]}\n […]\n{text[-_LONGEST_PART:]}"
    return printable(text)


def _exceptions(error: BaseException) -> Iterator[tuple[BaseException, str]]:
    """An exception, then its causes and the first members of groups, each once, with the line that follows each."""
    seen: set[int] = set()
    waiting: list[tuple[BaseException, str]] = [(error, "")]
    while waiting:
        each, link = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each, link
        if each.__cause__ is not None:
            waiting.append((each.__cause__, _CAUSE))
        elif each.__context__ is not None and not each.__suppress_context__:
            waiting.append((each.__context__, _CONTEXT))
        if isinstance(each, BaseExceptionGroup):
            waiting += [(member, _GROUPED) for member in BaseExceptionGroup.exceptions.__get__(each)[:3]]


def _frames(trace: TracebackType | None) -> str:
    """Lines of a traceback: its first and its last frames if it is long."""
    if trace is None:
        return ""
    first = list(islice(_places(trace), _MOST_FRAMES))
    count = sum(1 for _ in _places(trace))
    last = list(islice(_places(trace), max(count - _MOST_FRAMES, len(first)), None))
    between = count - len(first) - len(last)
    left_out = [f"  [{between} frames are left out]\n"] if between else []
    return _BEGIN + "".join(chain(_lines(first), left_out, _lines(last)))


def _places(trace: TracebackType) -> Iterator[tuple[FrameType, int]]:
    """Frames of a traceback with their lines, that of the exception last."""
    each: TracebackType | None = trace
    while each is not None:
        yield each.tb_frame, each.tb_lineno
        each = each.tb_next


def _lines(places: list[tuple[FrameType, int]]) -> list[str]:
    """Lines of some frames, each with its line of code."""
    try:
        lines = traceback.StackSummary.extract(iter(places)).format()
    except Exception:  # noqa: BLE001  # the line of code comes from the loader of a foreign module
        lines = [
            f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}\n' for frame, line in places
        ]
    return [line[:_LONGEST_LINE] for line in lines]


def _last_line(error: BaseException) -> str:
    """The line of a traceback that names the exception, with its message and its notes."""
    module = type.__dict__["__module__"].__get__(type(error))
    name = _kind(error) if module in {"builtins", "__main__"} else f"{str(module)[:_LONGEST_KIND]}.{_kind(error)}"
    message = _message(error)[:_LONGEST_LOOK]
    return "\n".join([f"{name}: {message}" if message else name, *_notes(error)]) + "\n"


def _notes(error: BaseException) -> list[str]:
    """Notes that were added to an exception, as far as they are texts."""
    notes: Any = vars(error).get("__notes__") if type(vars(error)) is dict else None
    return [note[:_LONGEST_LINE] for note in notes[:_MOST_NOTES] if type(note) is str] if type(notes) is list else []


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that there is no memory left: of Python and NumPy, or of torch on CPU or GPU."""
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError)):
        return True
    return type(error) is RuntimeError and "can't allocate memory" in _message(error)[:_LONGEST_LOOK]
