"""Text cells of CSV files: strict decoding, and rows that all have as many cells as the first."""

from __future__ import annotations

import contextlib
import csv
import io
from typing import TYPE_CHECKING

import pandas as pd

from ...errors import DataError
from .written import reason

if TYPE_CHECKING:
    from collections.abc import Iterator


def cells_of(text: str, file: str, separator: str) -> pd.DataFrame:
    """Text cells of a table, str[N, C], its first row among them; the index counts the rows from 1.

    Args:
        text: content of the file, not empty.
        file: its name in error messages.
        separator: separator of cells, one character.

    Raises:
        DataError: the first row is blank, a row has more or fewer cells than it, or a quote is in the wrong place.
    """
    shape = _checked_rows(text, file, separator)
    cells = _parsed(text, file, separator)
    if cells.shape != shape:
        raise DataError(f"{file} cannot be read as a table: a quote is not closed, or is in the wrong place.")
    cells.index += 1
    return cells


def decoded(data: bytes, file: str, encoding: str) -> str:
    """Decode the bytes of a file strictly; a byte-order mark of UTF-8 is removed."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding.lower().replace("-", "") in {"utf8", "utf8sig"}:
        raise DataError(f"{file} is UTF-16: say encoding=utf-16.")
    try:
        return data.decode("utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        row = data[:start].count(b"\n") + 1
        byte = f", byte {data[start]:#04x}" if start < len(data) else ""
        raise DataError(
            f"{file} is not {encoding} (row {row}{byte}): say how it is encoded, such as encoding=latin-1."
        ) from error
    except (LookupError, ValueError) as error:  # a ValueError for a name with a zero byte
        raise DataError(f"There is no encoding {encoding!r}: write one such as utf-8 or latin-1.") from error


def _parsed(text: str, file: str, separator: str) -> pd.DataFrame:
    """Text cells of a table, the header among them."""
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            index_col=False,
        )
    except ValueError as error:  # pandas' ParserError, and texts that UTF-8 cannot write
        raise DataError(f"{file} cannot be read as a table ({reason(error)}): correct it.") from error


def _checked_rows(text: str, file: str, separator: str) -> tuple[int, int]:
    """Numbers of rows and columns; rows with more or fewer cells than the first are refused, as pandas would fill them.

    Raises:
        DataError: such a row, a first row that is blank, or a quote in the wrong place.
    """
    expected, row = 0, 0
    try:
        with _cells_of_any_length(text):
            rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
            for row, cells in enumerate(rows, 1):
                if row == 1 and not cells:
                    raise DataError(f"{file}, row 1, is blank, and must name the columns: remove the blank line.")
                expected = expected or len(cells)
                if cells and len(cells) != expected:
                    raise DataError(_uneven(file, row, len(cells), expected))
    except csv.Error as error:
        raise DataError(
            f"{file}, row {row + 1}, cannot be read ({error}): a quote is not closed, or is in the wrong place."
        ) from error
    return row, expected


def _uneven(file: str, row: int, cells: int, expected: int) -> str:
    """Message about a row with more or fewer cells than the header."""
    hint = "complete or drop it" if cells < expected else "put quotes around a cell that holds the separator"
    return f"{file}, row {row}, has {cells} cell{'' if cells == 1 else 's'}, and the header {expected}: {hint}."


@contextlib.contextmanager
def _cells_of_any_length(text: str) -> Iterator[None]:
    """Let the reader of CSV accept cells as long as the text: its limit, 131,072 characters, is short for documents."""
    limit = csv.field_size_limit(max(len(text), 1))
    try:
        yield
    finally:
        csv.field_size_limit(limit)
