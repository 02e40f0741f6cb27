"""Files of users, read up to a limit and checked, so that every fault of theirs is one sentence.

A file that somebody names may be a folder, a pipe that never ends, gigabytes long, or nested so deeply that a parser
runs out of its stack. The functions here open ordinary files only, read no more than a limit that the caller declares,
and turn whatever a parser raises into a :class:`DataError`.
"""

from __future__ import annotations

import errno
import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .errors import DataError
from .ordinary_files import open_ordinary

if TYPE_CHECKING:
    from collections.abc import Callable

    from .errors import UsageError

    # Makes the error to raise of a reason, such as "it is not UTF-8 text".
    Complaint = Callable[[str], UsageError]
    Name = str | os.PathLike[str]

_CIRCLE: Final = "its links lead in a circle"


class NoFileError(DataError):
    """There is no file of that name; a reader that can do without it catches this."""


def read_bytes(path: Name, most_bytes: int, complaint: Complaint | None = None) -> bytes:
    """Content of an ordinary file of at most so many bytes.

    Args:
        path: of the file; a link to one is followed.
        most_bytes: the limit.
        complaint: makes the error of the reason; by default a :class:`DataError` that names the file.

    Raises:
        NoFileError: there is no such file.
        DataError: it is no ordinary file, too large, or cannot be read; or what ``complaint`` returns.
    """
    complain = complaint or _complaint_about(path)
    try:
        with open_ordinary(path) as file:
            size = os.fstat(file.fileno()).st_size
            # a file of the system may say that it is empty, and one that is written to grows
            data = b"" if size > most_bytes else file.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NoFileError(f"There is no file {shown_path(path)}.") from error
    except (OSError, ValueError) as error:
        raise complain(path_problem(error)) from error
    if size > most_bytes or len(data) > most_bytes:
        raise complain(f"it is larger than {most_bytes / 1e6:,.0f} MB, the most that is read")
    return data


def read_text(path: Name, most_bytes: int, complaint: Complaint | None = None) -> str:
    """Text of a file in UTF-8; a byte order mark at its beginning is left out.

    Raises:
        NoFileError, DataError: as :func:`read_bytes`, or it is not UTF-8 text.
    """
    return text_of(read_bytes(path, most_bytes, complaint), complaint or _complaint_about(path))


def read_json(path: Name, most_bytes: int, complaint: Complaint | None = None) -> Any:  # noqa: ANN401  # any JSON
    """Value of a JSON file; see :func:`json_value`.

    Raises:
        NoFileError, DataError: as :func:`read_bytes`, or it is not JSON.
    """
    complain = complaint or _complaint_about(path)
    return json_value(read_bytes(path, most_bytes, complaint), complain)


def read_toml(path: Name, most_bytes: int, complaint: Complaint | None = None) -> dict[str, Any]:
    """Content of a TOML file.

    Raises:
        NoFileError, DataError: as :func:`read_bytes`, or it is not TOML.
    """
    complain = complaint or _complaint_about(path)
    return toml_value(read_text(path, most_bytes, complaint), complain)


def text_of(data: bytes, complain: Complaint) -> str:
    """Bytes as UTF-8 text, without a byte order mark; otherwise what ``complain`` returns is raised."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise complain("it is not UTF-8 text") from error


def json_value(data: bytes | str, complain: Complaint) -> Any:  # noqa: ANN401  # any JSON
    """Value of JSON, without what JSON does not have, or has no single meaning.

    Refused are NaN and infinity, a key twice in one object, halves of characters, numbers of more than 4,300 digits,
    and more nested brackets than the stack holds; what ``complain`` returns is raised then.
    """
    text = data if isinstance(data, str) else text_of(data, complain)
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise complain("its brackets are nested too deeply") from error
    except json.JSONDecodeError as error:
        raise complain(f"it is not JSON: {error}") from error
    except UnicodeEncodeError as error:
        raise complain("it is not JSON: a text in it has half of a character") from error
    except ValueError as error:
        raise complain(f"it is not JSON: {_without_advice(error)}") from error
    return value


def toml_value(text: str, complain: Complaint) -> dict[str, Any]:
    """Content of TOML text; what ``complain`` returns is raised if it is none, or too deeply nested."""
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise complain("its brackets or keys are nested too deeply") from error
    except ValueError as error:
        raise complain(_without_advice(error)) from error


def user_path(text: Name, complaint: Complaint | None = None) -> Path:
    """Path that a user wrote, with the home folder that ``~`` at its beginning stands for.

    Raises:
        DataError: no file can have that name, or there is no such user; or what ``complaint`` returns.
    """
    complain = complaint or _complaint_about(text)
    try:
        # a half of a character is in no name, as zero is not
        encoded = os.fsencode(text)
        path = Path(text).expanduser()
    except ValueError as error:
        raise complain(path_problem(error)) from error
    except RuntimeError as error:
        raise complain("there is no user of that name, whose home folder it would be in") from error
    if b"\0" in encoded:
        raise complain(path_problem(ValueError()))
    return path


def resolved_path(text: Name) -> Path:
    """Absolute path of what a user wrote, without links; there need be no such file.

    Raises:
        DataError: as :func:`user_path`, or its links lead in a circle.
    """
    try:
        return user_path(text).resolve()
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.errno != errno.ELOOP else _CIRCLE
        raise _complaint_about(text)(reason or _CIRCLE) from error


def is_file(path: Path) -> bool:
    """Whether there is an ordinary file of that name; no name raises an error."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def path_problem(error: OSError | ValueError) -> str:
    """Reason why a path could not be opened, from what was raised: the message of the system, or about its name."""
    if isinstance(error, OSError):
        return _CIRCLE if error.errno == errno.ELOOP else error.strerror or type(error).__name__
    return "its name holds characters that no file name has"


def shown_path(path: Name) -> str:
    r"""A path in quotes, on one line and printable whatever characters it has, and cut if it is very long.

    >>> shown_path("a\nb")
    "'a\\nb'"
    """
    text = repr(os.fspath(path))
    return text if len(text) <= 300 else f"{text[:150]} … {text[-100:]}"


def _complaint_about(path: Name) -> Complaint:
    """Function that makes a :class:`DataError` which names the file."""
    return lambda reason: DataError(f"{shown_path(path)} cannot be read: {reason}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, whose keys must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # None
        raise ValueError(f"the key {twice[:100]!r} is there twice")
    return found


def _no_constant(name: str) -> float:
    """Refuse NaN and infinity, which Python's parser takes."""
    raise ValueError(f"{name} is no number of JSON")


def _without_advice(error: ValueError) -> str:
    """Message of a parser; that about too many digits is for programmers."""
    message = str(error)
    return "a whole number has more than 4,300 digits" if "integer string conversion" in message else message
