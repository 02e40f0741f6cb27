"""Tables: files of separated values, read as text first, so that whatever is wrong can be said with its place.

Rows are counted as a spreadsheet counts them: the header is row 1.
"""

from __future__ import annotations

import csv
import dataclasses
import fnmatch
import io
import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from ...errors import DataError
from ...plugins import nearest

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

# How a missing value is written, beside nothing at all.
MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "None"})
_SEPARATORS: Final = {";": "separator=;", "\t": "separator=tab", "|": "separator=|", ",": "separator=,"}
_NAMED: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclass(frozen=True, eq=False)
class Table:
    """The cells of a file, as text.

    Attributes:
        file: what to call it in a message.
        header: the names of the columns.
        cells: a column of text for each name; its index is the number of the row in the file.
        decimal: how the fraction of a number is set off: "." or ",".
        remedy: what to do about missing values, for the message.
    """

    file: str
    header: tuple[str, ...]
    cells: pd.DataFrame = field(repr=False)
    decimal: str = "."
    remedy: str = "fill them, or say what missing values mean (missing=mask)"

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def rows(self) -> NDArray[np.int64]:
        """int64[N]: the number of each row in the file."""
        found: NDArray[np.int64] = self.cells.index.to_numpy(dtype=np.int64)
        return found

    def expect(self, header: Sequence[str]) -> Table:
        """The table itself, if it has just these columns in this order.

        Raises:
            DataError: it has others.
        """
        if self.header != tuple(header):
            pairs = itertools.zip_longest(header, self.header)
            place, (wanted, found) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            raise DataError(
                f"{self.file} is not the published file: column {place} is {found!r} instead of {wanted!r}; fetch it "
                "again."
            )
        return dataclasses.replace(self, remedy="fetch the file again")

    def where(self, chosen: NDArray[np.bool_]) -> Table:
        """The table with some of its rows, which keep their numbers."""
        return dataclasses.replace(self, cells=self.cells[chosen])

    def distinct(self) -> Table:
        """The table without rows that say word for word what an earlier one says."""
        return self.where(~self.cells.duplicated().to_numpy(dtype=bool))

    def column(self, name: str) -> str:
        """The name itself, if there is such a column.

        Raises:
            DataError: there is none; the nearest names are offered.
        """
        if name in self.header:
            return name
        close = nearest(name, self.header)
        shown = ", ".join(map(repr, self.header[:12])) + (", …" if len(self.header) > 12 else "")
        raise DataError(f"{self.file} has no column {name!r}{close or ':'} {'It' if close else 'it'} has {shown}.")

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns of some names; one that no column bears is a pattern in which * and ? stand for anything.

        Raises:
            DataError: a name or a pattern fits no column, or a column is named twice.
        """
        found: list[str] = []
        for name in names:
            fitting = [name] if name in self.header else [one for one in self.header if fnmatch.fnmatchcase(one, name)]
            found += fitting or [self.column(name)]
        for name in found:
            if found.count(name) > 1:
                raise DataError(f"The column {name!r} of {self.file} is asked for twice: name it once.")
        return tuple(found)

    def texts(self, name: str) -> NDArray[np.object_]:
        """The cells of a column, without blanks around them.

        Raises:
            DataError: there is no such column, or a cell of it is empty.
        """
        found: NDArray[np.object_] = self.cells[self.column(name)].str.strip().to_numpy(dtype=object)
        empty = np.flatnonzero(found == "")
        if len(empty):
            raise DataError(f"{self._place(empty[0], name)} is empty: fill it, or drop the row.")
        return found

    def numbers(self, name: str, *, missing: bool = False, remedy: str = "") -> NDArray[np.float64]:
        """float64[N]: the numbers of a column, NaN where one is missing.

        Args:
            name: of the column.
            missing: whether any may be.
            remedy: what else to do about missing values than :attr:`remedy` says.

        Raises:
            DataError: there is no such column, or a cell of it is missing, no number, or not finite.
        """
        texts = self.cells[self.column(name)].str.strip()
        absent = texts.isin(MISSING).to_numpy(dtype=bool)
        if absent.any() and not missing:
            raise DataError(
                f"{self._place(np.flatnonzero(absent)[0], name)} is missing, as are {absent.sum()} of the column's "
                f"{len(self)}: {remedy or self.remedy}."
            )
        if self.decimal != ".":
            # a point would be a sign of thousands here, and no number is guessed
            texts = texts.mask(texts.str.contains(".", regex=False), "?").str.replace(self.decimal, ".", regex=False)
        found = pd.to_numeric(texts.mask(absent, "0"), errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.flatnonzero(~np.isfinite(found))
        if len(wrong):
            raise DataError(self._no_number(int(wrong[0]), name))
        return np.where(absent, np.nan, found)

    def numeric(self, name: str) -> bool:
        """Whether a column holds numbers, and not only missing values."""
        texts = self.cells[self.column(name)].str.strip()
        present = texts[~texts.isin(MISSING)].str.replace(self.decimal, ".", regex=False)
        return len(present) > 0 and not pd.to_numeric(present, errors="coerce").isna().any()

    def times(self, name: str, pattern: str = "") -> NDArray[np.int64] | NDArray[np.float64]:
        """When each row was: numbers float64[N] as they are, dates as nanoseconds int64[N].

        Args:
            name: of the column.
            pattern: how dates are written, as for ``strptime``; if empty, as ISO 8601 has it (``2024-12-31 23:00``).

        Raises:
            DataError: there is no such column, or a cell of it is missing, neither number nor date.
        """
        if not pattern and self.numeric(name):
            return self.numbers(name)
        return self.dates(name, pattern)

    def dates(self, name: str, pattern: str = "") -> NDArray[np.int64]:
        """int64[N]: nanoseconds since 1970; see :meth:`times`."""
        texts = pd.Series(self.texts(name), dtype=object)
        found = pd.to_datetime(texts, format=pattern or "ISO8601", errors="coerce", utc=True)
        wrong = np.flatnonzero(found.isna())
        if len(wrong):
            way = (
                f"it is not of the form {pattern!r}"
                if pattern
                else "write dates as 2024-12-31 23:00, or say how they are written (time_format=%d.%m.%Y)"
            )
            raise self.refuse(int(wrong[0]), name, f"holds {texts[wrong[0]]!r}, which is no time: {way}.")
        times: NDArray[np.int64] = found.astype("datetime64[ns, UTC]").astype("int64").to_numpy()
        return times

    def refuse(self, row: int, name: str, what: str) -> DataError:
        """The sentence for a cell, row counted from 0, that something is wrong with."""
        return DataError(f"{self._place(row, name)} {what}")

    def _place(self, row: int, name: str) -> str:
        return f"{self.file}, row {self.rows[row]}, column {name!r}"

    def _no_number(self, row: int, name: str) -> str:
        text = str(self.cells[name].iloc[row]).strip()
        way = "mend it, or leave the column out"
        if self.decimal == "." and re.fullmatch(r"[+-]?\d*,\d+", text):
            way = "say decimal=comma if that is a fraction"
        elif re.fullmatch(r"[+-]?inf(inity)?", text, re.IGNORECASE):
            way = "only finite numbers can be learnt from"
        return f"{self._place(row, name)} holds {text!r}, which is no number: {way}."


def read_table(
    path: str | os.PathLike[str], separator: str = ",", encoding: str = "utf-8", decimal: str = "."
) -> Table:
    """Read a file of separated values whose first row names the columns.

    Args:
        path: of the file.
        separator: between cells; ``tab``, ``comma``, ``semicolon`` and ``space`` may be written out.
        encoding: of the text; a byte-order mark is no part of it.
        decimal: how the fraction of a number is set off; ``comma`` may be written out.

    Raises:
        DataError: there is no such file, it is not text of that encoding, it has no rows, names two columns alike, or
            has a row of more or fewer cells than its header.
    """
    return parse_table(content(path), Path(path).name, separator, encoding, decimal)


def content(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it cannot be read; if there is none, files of a similar name are offered.
    """
    file = Path(path).expanduser()
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        beside = [one.name for one in file.parent.iterdir()] if file.parent.is_dir() else []
        raise DataError(f"There is no file {str(path)!r}{nearest(file.name, beside) or '.'}") from error
    except OSError as error:
        raise DataError(f"The file {str(path)!r} cannot be read ({error.strerror}).") from error


def parse_table(data: bytes, file: str, separator: str = ",", encoding: str = "utf-8", decimal: str = ".") -> Table:
    """What :func:`read_table` makes of the bytes of a file."""
    decimal = _NAMED.get(decimal, decimal)
    separator = _NAMED.get(separator, separator)
    if len(separator) != 1 or decimal not in {".", ","} or separator == decimal:
        raise DataError(
            f"separator={separator!r} and decimal={decimal!r} do not fit: two different signs, the second '.' or ','."
        )
    text = _decoded(data, file, encoding)
    if not text.strip():
        raise DataError(f"{file} is empty: its first row names the columns.")
    _check_rows(text, file, separator)
    cells = pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=None,
        dtype=str,
        keep_default_na=False,
        skip_blank_lines=False,
        index_col=False,
    )
    cells.index += 1
    return _headed(cells, file, separator, decimal)


def _check_rows(text: str, file: str, separator: str) -> None:
    """Every row must have as many cells as the first: pandas would fill short ones, and not say so."""
    expected, row = 0, 0
    try:
        for row, found in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1):
            expected = expected or len(found)
            if found and len(found) != expected:
                way = (
                    "complete or drop it"
                    if len(found) < expected
                    else "put quotes around a cell that holds the separator"
                )
                raise DataError(
                    f"{file}, row {row}, has {len(found)} cell{'' if len(found) == 1 else 's'}, and the header "
                    f"{expected}: {way}."
                )
    except csv.Error as error:
        raise DataError(
            f"{file}, row {row + 1}, cannot be read ({error}): a quote is not closed, or stands astray."
        ) from error


def _headed(cells: pd.DataFrame, file: str, separator: str, decimal: str) -> Table:
    """The first row becomes the header; every other must have as many cells."""
    header = tuple(str(name).strip() for name in cells.iloc[0])
    for place, name in enumerate(header):
        if not name:
            raise DataError(f"{file} has no name for column {place + 1}: name it in the first row.")
        if name in header[:place]:
            raise DataError(f"{file} names two columns {name!r}: give each its own name.")
    other = next((sign for sign in _SEPARATORS if len(header) == 1 and sign in header[0]), None)
    if other is not None and other != separator:
        raise DataError(f"The header of {file} is one cell, {header[0]!r}: say {_SEPARATORS[other]}.")
    body = cells.iloc[1:]
    body = body[~body.eq("").all(axis=1)]  # blank lines
    body.columns = pd.Index(header)
    if not len(body):
        raise DataError(f"{file} has a header and no rows below it.")
    return Table(file, header, body, decimal)


def _decoded(data: bytes, file: str, encoding: str) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and encoding.lower().replace("-", "") in {"utf8", "utf8sig"}:
        raise DataError(f"{file} is UTF-16: say encoding=utf-16.")
    try:
        return data.decode("utf-8-sig" if encoding.lower() in {"utf-8", "utf8"} else encoding)
    except LookupError as error:
        raise DataError(f"There is no encoding {encoding!r}: write one such as utf-8 or latin-1.") from error
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        row = data[:start].count(b"\n") + 1
        raise DataError(
            f"{file} is not {encoding} (row {row}, byte {data[start]:#04x}): say how it is encoded, such as "
            "encoding=latin-1."
        ) from error
