"""Parallel text: two files of which each line of the one is a translation of the same line of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def lines(path: Path) -> list[str]:
    """The lines of a text in UTF-8, without what ends them, without spaces around them, and with single ones within.

    Lines end at a line feed and nowhere else: a text may hold other characters that Unicode takes for line ends, and
    whoever split at these would pair the wrong lines.

    Raises:
        DataError: there is no such file, it is not UTF-8, it is empty, or a line is before the last that is not.
    """
    stripped = [" ".join(filter(None, line.strip().split(" "))) for line in text(path).split("\n")]
    while stripped and not stripped[-1]:
        stripped.pop()
    if not stripped:
        raise DataError(f"The file {str(path)!r} is empty: give one sentence a line.")
    if "" in stripped:
        raise DataError(
            f"Line {stripped.index('') + 1} of {str(path)!r} is empty: take it out, and its partner with it."
        )
    return stripped


def pairs(source: Path, target: Path) -> list[tuple[str, str]]:
    """Each line of the source with its translation.

    Raises:
        DataError: a file cannot be read (see :func:`lines`), or they have different numbers of lines.
    """
    left, right = lines(source), lines(target)
    if len(left) != len(right):
        raise DataError(
            f"{str(source)!r} has {len(left)} lines and {str(target)!r} has {len(right)}: parallel text has a "
            "translation on the same line as each sentence."
        )
    return list(zip(left, right, strict=True))


def text(path: Path) -> str:
    """A file in UTF-8, with or without a byte-order mark.

    Raises:
        DataError: there is no such file, or it is not UTF-8; the sentence says in which line.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"The file {str(path)!r} cannot be read ({reason}): check its path.") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"Line {line} of {str(path)!r} is not UTF-8 (byte {raw[error.start]:#04x}): convert the file first, such "
            "as by 'iconv -f latin1 -t utf-8'."
        ) from error
