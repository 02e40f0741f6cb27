"""Files of text, read whole and decoded strictly: what every reader of lines stands on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, encoding: str = "utf-8") -> str:
    r"""The text of a file, its ends of line as they are.

    Args:
        path: of the file.
        encoding: what it is written in. Any byte is a letter of latin-1, so only for latin-1 are the controls between
            0x80 and 0x9f refused, too: text does not hold them, and UTF-8 read as latin-1 does.

    Raises:
        DataError: there is no such file, it is empty, or it is not written in that encoding.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fetch the data set again.") from error
    if not content:
        raise DataError(f"{path} is empty: fetch it again.")
    try:
        text = content.decode(encoding)
        wrong = next((place for place, letter in enumerate(text) if _foreign(letter, encoding)), None)
    except UnicodeDecodeError as error:
        wrong, text = error.start, content[: error.start].decode(encoding)
    if wrong is not None:
        line = text.count("\n", 0, wrong) + 1
        raise damaged(path, line, f"holds a byte that is no {encoding} text")
    return text


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    r"""The lines of a file, split at "\n" and nowhere else: other breaks may stand within a text.

    Raises:
        DataError: as :func:`read`.
    """
    found = read(path, encoding).split("\n")
    return found[:-1] if not found[-1] else found


def damaged(path: Path, line: int, what: str) -> DataError:
    """The sentence about a line, counted from 1, that does not hold what it must; ``what`` goes on from "line 7"."""
    return DataError(f"{path}, line {line} {what}: fetch the file again, or mend the line.")


def _foreign(letter: str, encoding: str) -> bool:
    """Whether a letter shows that the text was written in another encoding."""
    return letter == "\0" or (encoding == "latin-1" and "\x80" <= letter <= "\x9f")
