"""Reader of parallel text: two files with a sentence on each line of one and its translation on that of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError
from ...outside_files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path


def lines(path: Path) -> list[str]:
    """Read the lines of a UTF-8 text, stripped, with single spaces between words and without empty lines at the end.

    Lines end only at a line feed. Unicode has other line breaks, which may occur within a text; splitting at these
    would pair the wrong lines.

    Raises:
        DataError: the file does not exist, is not UTF-8 or is empty, or a line before the last is empty.
    """
    stripped = [" ".join(filter(None, line.strip().split(" "))) for line in text(path).split("\n")]
    while stripped and not stripped[-1]:
        stripped.pop()
    if not stripped:
        raise DataError(f"The file {str(path)!r} is empty: give one sentence a line.")
    if "" in stripped:
        raise DataError(
            f"Line {stripped.index('') + 1} of {str(path)!r} is empty: remove it, and the same line of the other file."
        )
    return stripped


def pairs(source: Path, target: Path) -> list[tuple[str, str]]:
    """Read the pairs of a sentence and its translation.

    Raises:
        DataError: a file cannot be read (see :func:`lines`), or the files have different numbers of lines.
    """
    sources, targets = lines(source), lines(target)
    if len(sources) != len(targets):
        raise DataError(
            f"{str(source)!r} has {len(sources)} lines and {str(target)!r} has {len(targets)}: parallel text has a "
            "translation on the same line as each sentence."
        )
    return list(zip(sources, targets, strict=True))


def text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte-order mark.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or holds a zero byte; the message names the line.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The file {str(path)!r} cannot be read ({reason}): check its path.") from error
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise DataError(f"Line {line} of {str(path)!r} holds a zero byte, which is no text: remove it.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"Line {line} of {str(path)!r} is not UTF-8 (byte {data[error.start]:#04x}): convert the file first, such "
            "as by 'iconv -f latin1 -t utf-8'."
        ) from error
