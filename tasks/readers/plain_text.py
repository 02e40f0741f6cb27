"""Strict decoding of text files, shared by the readers of line-based formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError
from ...outside_files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, encoding: str = "utf-8") -> str:
    r"""Read the text of a file; line endings are not converted.

    Args:
        path: path of the file.
        encoding: encoding of the file. Every byte is valid in latin-1, so for latin-1 the control characters from 0x80
            to 0x9f are refused too: they do not occur in text, but in UTF-8 that is decoded as latin-1.

    Raises:
        DataError: the file cannot be read (see :func:`xrnnbench.outside_files.read_bytes`), is empty, or has another
            encoding.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fetch the data set again.") from error
    if not content:
        raise DataError(f"{path} is empty: fetch it again.")
    try:
        text = content.decode(encoding)
        invalid = next((index for index, character in enumerate(text) if _foreign(character, encoding)), None)
    except UnicodeDecodeError as error:
        invalid, text = error.start, content[: error.start].decode(encoding)
    if invalid is not None:
        line = text.count("\n", 0, invalid) + 1
        raise damaged(path, line, f"holds a byte that is no {encoding} text")
    return text


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    r"""Read the lines of a file, split only at "\n": other line breaks may be part of a text.

    Raises:
        DataError: see :func:`read`.
    """
    parts = read(path, encoding).split("\n")
    return parts[:-1] if not parts[-1] else parts


def lines_of_any_end(path: Path) -> list[str]:
    r"""Read the lines of a UTF-8 file, split at "\n", "\r\n" and "\r"; an empty file has one empty line.

    Raises:
        DataError: the file cannot be read, or is no text in UTF-8.
    """
    try:
        text = read_bytes(path).decode()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fetch its data set again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason}): fetch it again.") from error
    found = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if "\0" in text:
        number = next(number for number, line in enumerate(found, 1) if "\0" in line)
        raise DataError(f"{path}, line {number} holds a zero byte, which is no text: fetch it again.")
    return found


def damaged(path: Path, line: int, problem: str) -> DataError:
    """Error about a malformed line, counted from 1; ``problem`` completes the sentence "line 7 …"."""
    return DataError(f"{path}, line {line} {problem}: fetch the file again, or correct the line.")


def _foreign(character: str, encoding: str) -> bool:
    """Whether a character shows that the text has another encoding."""
    return character == "\0" or (encoding == "latin-1" and "\x80" <= character <= "\x9f")
