"""CSV tables, read as text first, so that error messages can name the row and the column.

Rows are numbered as in a spreadsheet: the header is row 1.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...bounded_files import user_path
from ...errors import DataError, ParameterError
from ...outside_files import read_bytes
from ...plugins import nearest
from .csv_text import cells_of, decoded
from .written import LARGEST, is_number, reason, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

Floats = NDArray[np.float64]
# Spellings of a missing value, including the empty cell.
MISSING: Final = frozenset({"", "NA", "N/A", "NaN", "nan", "null", "None"})
_SEPARATORS: Final = {";": "separator=;", "\t": "separator=tab", "|": "separator=|", ",": "separator=,"}
# A separator of one byte; pandas reads others more slowly, and in another way.
_SEPARATES: Final = re.compile(r"""[\t !#-/:-@\[-`{-~]""")
# Years of the dates that are whole in nanoseconds of 64 bits.
_FIRST_YEAR, _LAST_YEAR = 1678, 2262
_NAMED: Final = {"tab": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclass(frozen=True, eq=False)
class Table:
    """Table of text cells with named columns.

    Attributes:
        file: name of the file in error messages.
        header: names of the columns.
        cells: text cells; the index holds the row numbers in the file.
        decimal: decimal separator, "." or ",".
        remedy: advice about missing values, for error messages.
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
        """Row numbers in the file, int64[N]."""
        numbers: NDArray[np.int64] = self.cells.index.to_numpy(dtype=np.int64)
        return numbers

    def expect(self, header: Sequence[str]) -> Table:
        """Return the table if it has exactly these columns in this order.

        Its missing values then lead to the advice to fetch the file again.

        Raises:
            DataError: the table has other columns.
        """
        if self.header != tuple(header):
            pairs = itertools.zip_longest(header, self.header)
            differing = ((index, pair) for index, pair in enumerate(pairs, 1) if pair[0] != pair[1])
            position, (expected, actual) = next(differing)
            raise DataError(
                f"{self.file} is not the published file: column {position} is {actual!r:.60} instead of {expected!r}; "
                "fetch it again."
            )
        return dataclasses.replace(self, remedy="fetch the file again")

    def where(self, mask: NDArray[np.bool_]) -> Table:
        """Table of the rows that a mask bool[N] selects; they keep their row numbers."""
        return dataclasses.replace(self, cells=self.cells[mask])

    def distinct(self) -> Table:
        """Table without the rows that are identical to an earlier row."""
        return self.where(~self.cells.duplicated().to_numpy(dtype=bool))

    def column(self, name: str) -> str:
        """Return the name if the table has a column of this name.

        Raises:
            DataError: the table has no such column; the message offers the nearest names.
        """
        if name in self.header:
            return name
        close = nearest(name, self.header)
        listed = ", ".join(map(shown, self.header[:12])) + (", …" if len(self.header) > 12 else "")
        raise DataError(f"{self.file} has no column {name!r}{close or ':'} {'It' if close else 'it'} has {listed}.")

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Columns that match names or patterns; a name that is no column is a pattern with the wildcards * and ?.

        Raises:
            DataError: a name or pattern matches no column, or a column is matched twice.
        """
        matches: list[str] = []
        for name in names:
            by_pattern = [column for column in self.header if fnmatch.fnmatchcase(column, name)]
            matches += [name] if name in self.header else by_pattern or [self.column(name)]
        for name, count in Counter(matches).items():
            if count > 1:
                raise DataError(f"The column {name!r} of {self.file} is selected twice: name it once.")
        return tuple(matches)

    def written(self, name: str) -> pd.Series:
        """Stripped texts of an existing column, str[N]; the empty text where a cell is empty."""
        return self.cells[name].str.strip()

    def declared(self, name: str) -> tuple[str, ...]:  # noqa: ARG002  # for tables whose columns have types
        """Categories that the type of a column declares, in their order; empty for a column of text or numbers."""
        return ()

    def texts(self, name: str) -> NDArray[np.object_]:
        """Stripped cells of a column, object[N].

        Raises:
            DataError: the column does not exist, or has an empty cell.
        """
        texts: NDArray[np.object_] = self.written(self.column(name)).to_numpy(dtype=object)
        empty = np.flatnonzero(texts == "")
        if len(empty):
            raise DataError(f"{self._place(empty[0], name)} is empty: fill it, or drop the row.")
        return texts

    def categories(self, name: str) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """Levels of a categorical column, and the index of each row's level, float64[N]; NaN where it is missing.

        The levels are those that the type of the column declares, or else the texts that occur, in alphabetical order
        (numbers in ascending order).

        Raises:
            DataError: the column does not exist.
        """
        texts = self.written(self.column(name))
        declared = self.declared(name)
        absent = texts.isin({""} if declared else MISSING)
        levels = declared or tuple(sorted(set(texts[~absent]), key=by_value))
        index_of = {level: float(index) for index, level in enumerate(levels)}
        codes = np.array([index_of.get(text, np.nan) for text in texts])
        return levels, codes

    def numbers(self, name: str, *, missing: bool = False, remedy: str = "", feature: bool = False) -> Floats:
        """Numbers of a column, float64[N]; NaN where one is missing.

        Args:
            name: name of the column.
            missing: whether missing values are allowed.
            remedy: advice about missing values in place of :attr:`remedy`.
            feature: whether the column may be read as categories instead, which the message about a text then offers.

        Raises:
            DataError: the column does not exist, or has a cell that is missing, not a number, or not finite.
        """
        texts = self.written(self.column(name))
        absent = texts.isin(MISSING).to_numpy(dtype=bool)
        if not missing:
            self._check_present(absent, name, remedy)
        if self.decimal != ".":
            # a point would be a thousands separator here; such numbers are refused, not guessed
            texts = texts.mask(texts.str.contains(".", regex=False), "?").str.replace(self.decimal, ".", regex=False)
        numbers = pd.to_numeric(texts.mask(absent, "0"), errors="coerce").to_numpy(dtype=np.float64)
        self._check_finite(numbers, name, feature=feature)
        return np.where(absent, np.nan, numbers)

    def numeric(self, name: str) -> bool:
        """Whether all values of a column are numbers, and at least one is not missing."""
        texts = self.written(self.column(name))
        present = texts[~texts.isin(MISSING)].str.replace(self.decimal, ".", regex=False)
        return len(present) > 0 and not pd.to_numeric(present, errors="coerce").isna().any()

    def times(self, name: str, pattern: str = "") -> NDArray[np.int64] | NDArray[np.float64]:
        """Times of the rows: numbers as float64[N], dates as nanoseconds int64[N] since 1970.

        Args:
            name: name of the column.
            pattern: format of dates, as for ``strptime``; if empty, ISO 8601 (``2024-12-31 23:00``).

        Raises:
            DataError: the column does not exist, or has a cell that is missing or neither number nor date.
        """
        if not pattern and self.numeric(name):
            return self.numbers(name)
        return self.dates(name, pattern)

    def dates(self, name: str, pattern: str = "") -> NDArray[np.int64]:
        """Dates of the rows as nanoseconds int64[N] since 1970; see :meth:`times`."""
        texts = pd.Series(self.texts(name), dtype=object)
        parsed = _parsed_dates(texts, pattern)
        invalid = np.flatnonzero(parsed.isna())
        if len(invalid):
            hint = (
                f"it is not of the form {pattern!r}"
                if pattern
                else "write dates as 2024-12-31 23:00, or say how they are written (time_format=%d.%m.%Y)"
            )
            raise self.refuse(int(invalid[0]), name, f"holds {shown(texts[invalid[0]])}, which is no time: {hint}.")
        return self.ticks(parsed, name, "datetime64[ns, UTC]")

    def ticks(self, parsed: pd.Series, name: str, unit: str) -> NDArray[np.int64]:
        """Dates or spans of a column as nanoseconds int64[N].

        Raises:
            DataError: a date is out of the range of nanoseconds, or the first and the last are too far apart.
        """
        try:
            times: NDArray[np.int64] = parsed.astype(unit).astype("int64").to_numpy()
        except ValueError:  # pandas' OutOfBoundsDatetime
            outside = [
                row for row, time in enumerate(parsed) if not _FIRST_YEAR <= getattr(time, "year", 0) < _LAST_YEAR
            ]
            raise self.refuse(
                (outside or [0])[0],
                name,
                f"is out of range: dates go from {_FIRST_YEAR} to {_LAST_YEAR}.",
            ) from None
        present = times[times != np.iinfo(np.int64).min]  # which a missing one is
        if len(present) and int(present.max()) - int(present.min()) > np.iinfo(np.int64).max:
            raise self.refuse(
                int(times.argmax()), name, "is over 292 years after the first: give fewer years at a time."
            )
        return times

    def refuse(self, row: int, name: str, problem: str) -> DataError:
        """Error about a cell; ``row`` counts from 0, and ``problem`` completes the sentence."""
        return DataError(f"{self._place(row, name)} {problem}")

    def _check_present(self, absent: NDArray[np.bool_], name: str, remedy: str) -> None:
        """Refuse a column with missing cells, bool[N]."""
        if absent.any():
            raise DataError(
                f"{self._place(np.flatnonzero(absent)[0], name)} is missing ({absent.sum()} of {len(self)} cells of "
                f"the column): {remedy or self.remedy}."
            )

    def _check_finite(self, numbers: Floats, name: str, *, feature: bool) -> None:
        """Refuse a column whose numbers float64[N] are not all finite."""
        # what float32 cannot hold would become infinite later, without a notice
        invalid = np.flatnonzero(~(np.abs(np.where(np.isnan(numbers), np.inf, numbers)) <= LARGEST))
        if len(invalid):
            raise DataError(self._no_number(int(invalid[0]), name, feature=feature))

    def _place(self, row: int, name: str) -> str:
        """File, row and column of a cell, for error messages."""
        return f"{self.file}, row {self.rows[row]}, column {shown(name)}"

    def _no_number(self, row: int, name: str, *, feature: bool) -> str:
        """Error message for a cell that is not a finite number."""
        text = str(self.written(name).iloc[row])
        hint = "correct it, or leave the column out"
        if is_number(text.replace(self.decimal, ".")) and re.search("[0-9]", text):
            return f"{self._place(row, name)} holds {shown(text)}, which is too large: numbers go up to {LARGEST:.1e}."
        if self.decimal == "." and re.fullmatch(r"[+-]?\d*,\d+", text):
            hint = "say decimal=comma if that is a fraction"
        elif re.fullmatch(r"[+-]?inf(inity)?", text, re.IGNORECASE):
            hint = "only finite numbers can be learnt from"
        elif feature and re.search(r"[^\W\d_]", text):
            hint = f"say categories={name} if the column holds categories, or leave the column out"
        return f"{self._place(row, name)} holds {shown(text)}, which is no number: {hint}."


def read_table(
    path: str | os.PathLike[str], separator: str = ",", encoding: str = "utf-8", decimal: str = "."
) -> Table:
    """Read a CSV file whose first row names the columns.

    Args:
        path: path of the file.
        separator: separator of cells; ``tab``, ``comma``, ``semicolon`` and ``space`` may be written as words.
        encoding: text encoding; a byte-order mark is removed.
        decimal: decimal separator; ``comma`` may be written as a word.

    Raises:
        DataError: the file does not exist, has another encoding, has no rows, has two columns of the same name, or has
            a row with more or fewer cells than its header.
    """
    return parse_table(content(path), Path(path).name, separator, encoding, decimal)


def content(path: str | os.PathLike[str]) -> bytes:
    """Read the bytes of a file.

    Raises:
        DataError: the file cannot be read; if it does not exist, the message offers files with similar names.
    """
    file = user_path(path)
    try:
        return read_bytes(file)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}{nearest(file.name, _neighbours(file)) or '.'}") from error
    except OSError as error:
        raise DataError(f"The file {str(path)!r} cannot be read ({error.strerror}).") from error


def _neighbours(file: Path) -> list[str]:
    """Names of the files beside a file; none where the folder cannot be read."""
    try:
        return [entry.name for entry in file.parent.iterdir()]
    except OSError:
        return []


def parse_table(data: bytes, file: str, separator: str = ",", encoding: str = "utf-8", decimal: str = ".") -> Table:
    """Parse the bytes of a CSV file; arguments and errors are those of :func:`read_table`.

    Args:
        data: the bytes.
        file: name of the file in error messages.
        separator: see :func:`read_table`.
        encoding: see :func:`read_table`.
        decimal: see :func:`read_table`.
    """
    decimal = _NAMED.get(decimal, decimal)
    separator = _NAMED.get(separator, separator)
    if not _SEPARATES.fullmatch(separator) or decimal not in {".", ","} or separator == decimal:
        raise DataError(
            f"separator={separator!r} and decimal={decimal!r} do not fit: use two different characters, the second '.' "
            "or ',', the first no letter, digit or quote."
        )
    text = decoded(data, file, encoding)
    if not text.strip():
        raise DataError(f"{file} is empty: its first row must name the columns.")
    if "\0" in text:
        raise DataError(
            f"{file} holds a zero byte, which is no text in {encoding}: correct it, or say encoding=utf-16."
        )
    return _headed(cells_of(text, file, separator), file, separator, decimal)


def _parsed_dates(texts: pd.Series, pattern: str) -> pd.Series:
    """Dates of texts object[N], in UTC; NaT where a text is none.

    Raises:
        ParameterError: the pattern is no format of dates.
    """
    try:
        return pd.to_datetime(texts, format=pattern or "ISO8601", errors="coerce", utc=True)
    except (ValueError, re.error) as error:
        raise ParameterError(
            f"time_format={shown(pattern)} is no format of dates ({reason(error)}): write it as for "
            "strptime, such as %d.%m.%Y."
        ) from error


def by_value(name: str) -> tuple[float, str, str]:
    """Sort key of a class or category: numbers by value (equal ones as texts), then all other names."""
    try:
        number = float(name)
    except ValueError:
        number = np.nan
    return (np.inf, name, name) if np.isnan(number) else (number, "", name)


def _headed(cells: pd.DataFrame, file: str, separator: str, decimal: str) -> Table:
    """Table whose header is the first row; blank rows are dropped."""
    header = tuple(str(name).strip() for name in cells.iloc[0])
    check_names(header, file, "name it in the first row")
    other = next((sign for sign in _SEPARATORS if len(header) == 1 and sign in header[0]), None)
    if other is not None and other != separator:
        raise DataError(f"The header of {file} is one cell, {shown(header[0])}: say {_SEPARATORS[other]}.")
    body = cells.iloc[1:]
    body = body[~body.eq("").all(axis=1)]  # blank lines
    body.columns = pd.Index(header)
    if not len(body):
        raise DataError(f"{file} has a header and no rows below it.")
    return Table(file, header, body, decimal)


def check_names(header: tuple[str, ...], file: str, remedy: str) -> None:
    """Refuse names of columns that are empty, with a remedy, or not all different."""
    seen = set[str]()
    for index, name in enumerate(header):
        if not name:
            raise DataError(f"{file} has no name for column {index + 1}: {remedy}.")
        if name in seen:
            raise DataError(f"{file} names two columns {shown(name)}: give each its own name.")
        seen.add(name)
