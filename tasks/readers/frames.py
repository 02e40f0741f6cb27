"""Tables of a user's pandas DataFrame, whose cells keep their types; nothing of them is written to disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ...errors import DataError
from .tables import Floats, Table, check_names
from .written import is_text, reason, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Kind = Literal["number", "date", "category", "text"]
_FRAME = "the frame"
_NUMBERS = frozenset({"boolean", "integer", "floating", "mixed-integer-float", "decimal"})
_DATES = frozenset({"datetime", "datetime64", "date", "timedelta", "timedelta64"})


class HeldFrame(str):
    """A copy of a user's DataFrame, in the place of the path of a file.

    As a string it is ``frame-`` and the beginning of its content's fingerprint: two frames of the same content are
    equal.

    Attributes:
        table: the frame as a table.
        content: SHA-256 of names, kinds and values of the columns; neither the index nor the width of a number counts.

    Raises:
        DataError: the frame has no rows, or the names of its columns do not tell them apart.
    """

    __slots__ = ("content", "table")
    table: FrameTable
    content: str

    @classmethod
    def of(cls, frame: pd.DataFrame) -> HeldFrame:
        """Copy a frame, so that later changes to it change nothing here."""
        table = _table(frame)
        content = _fingerprint(table)
        held = cls(f"frame-{content[:12]}")
        held.table, held.content = table, content
        return held


@dataclass(frozen=True, eq=False)
class FrameTable(Table):
    """Table of a DataFrame. Rows are numbered from 0, by position.

    It means what the same table means in a file, except that values keep their types: numbers are exact, booleans are
    the numbers 0 and 1, dates are dates, a missing cell is None, NaN, NaT or NA, and a pandas categorical declares its
    categories. Texts are read as the cells of a file are.

    Attributes:
        cells: columns of any type; the index holds the positions in the frame.
        labels: index of the frame, for error messages.
        index_names: names of the levels of the index.
    """

    labels: pd.Index = field(kw_only=True, repr=False)
    index_names: tuple[str, ...] = ()
    _written: dict[str, pd.Series] = field(default_factory=dict, init=False, repr=False)

    def column(self, name: str) -> str:
        """See :meth:`Table.column`."""
        if name not in self.header and name in self.index_names:
            raise DataError(f"{self.file} has no column {name!r}: it is the index, so say frame.reset_index().")
        return super().column(name)

    def written(self, name: str) -> pd.Series:
        """See :meth:`Table.written`; numbers are written as in a file."""
        if name not in self._written:
            cells = self.cells[name]
            texts = pd.Series(_texts(cells), index=cells.index, dtype=object)
            self._written[name] = texts.str.strip()
        return self._written[name]

    def declared(self, name: str) -> tuple[str, ...]:
        """See :meth:`Table.declared`.

        Raises:
            DataError: two categories are written alike, or one is empty.
        """
        dtype = self.cells[name].dtype
        if not isinstance(dtype, pd.CategoricalDtype):
            return ()
        levels = tuple(_text(category).strip() for category in dtype.categories)
        for place, level in enumerate(levels):
            if not level or level in levels[:place]:
                raise DataError(
                    f"The column {name!r} of {self.file} has two categories {level!r}, or an empty one: rename it."
                )
        return levels

    def numbers(self, name: str, *, missing: bool = False, remedy: str = "", feature: bool = False) -> Floats:
        """See :meth:`Table.numbers`."""
        cells = self.cells[self.column(name)]
        if _kind(cells) != "number":
            found = super().numbers(name, missing=missing, remedy=remedy, feature=feature)
            # numbers among texts are exact too
            return np.array(
                [cell if isinstance(cell, float) else read for cell, read in zip(cells, found, strict=True)]
            )
        absent = cells.isna().to_numpy(dtype=bool)
        if not missing:
            self._check_present(absent, name, remedy)
        try:
            numbers = _floats(cells, absent)
        except (OverflowError, ValueError, TypeError) as error:
            raise DataError(
                f"The column {shown(name)} of {self.file} holds a number that is too large: correct it."
            ) from error
        self._check_finite(numbers, name, feature=feature)
        return np.where(absent, np.nan, numbers)

    def numeric(self, name: str) -> bool:
        """See :meth:`Table.numeric`."""
        cells = self.cells[name]
        return bool(cells.notna().any()) if _kind(cells) == "number" else super().numeric(name)

    def dates(self, name: str, pattern: str = "") -> NDArray[np.int64]:
        """See :meth:`Table.dates`; spans of time are nanoseconds since their zero."""
        cells = self.cells[self.column(name)]
        if _kind(cells) != "date":
            return super().dates(name, pattern)
        self.texts(name)  # refuses a missing time
        return _nanoseconds(self, name)

    def _place(self, row: int, name: str) -> str:
        """Row and column of a cell for error messages, with the label of the row if that is not its position."""
        position = int(self.rows[row])
        label = self.labels[position]
        shown = "" if isinstance(self.labels, pd.RangeIndex) and label == position else f" (index {label})"
        return f"{self.file}, row {position}{shown}, column {name!r}"


def _table(frame: pd.DataFrame) -> FrameTable:
    """Copy of a frame as a table, without the rows in which everything is missing."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(f"The columns of {_FRAME} have several levels: give each one name, frame.columns = [….].")
    header = tuple(_text(name).strip() for name in frame.columns)
    check_names(header, _FRAME, "rename it, frame.rename(columns=…)")
    cells = frame.copy(deep=True)
    cells.columns = pd.Index(header, dtype=object)
    cells.index = pd.RangeIndex(len(cells))
    try:
        cells = cells[~cells.isna().all(axis=1)]
    except ArithmeticError as error:  # of a signalling NaN of decimal
        raise DataError(f"{_FRAME} holds a decimal that is no number: write None in its place.") from error
    if not len(cells):
        raise DataError(f"{_FRAME} has no rows.")
    names = tuple(str(name) for name in frame.index.names if name is not None)
    return FrameTable(_FRAME, header, cells, labels=frame.index.copy(), index_names=names)


def _kind(cells: pd.Series) -> Kind:
    """What a column holds, by its type, or by its cells if they are Python objects."""
    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if isinstance(dtype, pd.PeriodDtype):
        return "date"
    inferred = pd.api.types.infer_dtype(cells, skipna=True)
    if inferred in _NUMBERS or (inferred != "complex" and pd.api.types.is_numeric_dtype(dtype)):
        return "number"
    return "date" if inferred in _DATES else "text"


def _text(cell: object) -> str:
    """A cell as a file has it; booleans are the numbers 1 and 0."""
    try:
        text = str(int(cell)) if isinstance(cell, (bool, np.bool_)) else str(cell)
    except Exception as error:  # a cell may be any object, and Python writes no number of over 4,300 digits
        raise DataError(
            f"A cell of {_FRAME} of type {type(cell).__name__} has no text: convert it, or drop it."
        ) from error
    if not is_text(text):
        raise DataError(
            f"The cell {shown(text)} of {_FRAME} holds half of a surrogate pair, which is no text: correct it."
        )
    return text


def _texts(cells: pd.Series) -> list[str]:
    """Cells of a column as a file has them; the empty text where one is missing."""
    absent = cells.isna().to_numpy(dtype=bool)
    return ["" if gone else _text(cell) for cell, gone in zip(cells, absent, strict=True)]


def _floats(cells: pd.Series, absent: NDArray[Any]) -> Floats:
    """Numbers float64[N]; 0 where one is missing."""
    numbers = np.zeros(len(cells))
    numbers[~absent] = cells[~absent].to_numpy(dtype=np.float64)
    return numbers


def _nanoseconds(table: FrameTable, name: str) -> NDArray[np.int64]:
    """Dates as nanoseconds int64[N] since 1970, in UTC; spans of time as nanoseconds. Missing ones are the least.

    Raises:
        DataError: a date is out of range, or dates and spans are of different kinds.
    """
    cells = table.cells[name]
    try:
        if isinstance(cells.dtype, pd.PeriodDtype):
            cells = cells.dt.to_timestamp()
        spans = pd.api.types.infer_dtype(cells, skipna=True) in {"timedelta", "timedelta64"}
        parsed = pd.to_timedelta(cells) if spans else pd.to_datetime(cells, utc=True)
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(
            f"The column {shown(name)} of {table.file} holds a date that cannot be read ({reason(error)}): make its "
            "dates of one kind, between 1678 and 2262."
        ) from error
    return table.ticks(parsed, name, "timedelta64[ns]" if spans else "datetime64[ns, UTC]")


def _fingerprint(table: FrameTable) -> str:
    """SHA-256 of the names, kinds and values of all columns, in their order."""
    digest = hashlib.sha256(f"{len(table)}\n".encode())
    for name in table.header:
        for part in _content(table, name):
            digest.update(f"{len(part)}\n".encode() + part)
    return digest.hexdigest()


def _content(table: FrameTable, name: str) -> Iterator[bytes]:
    """What determines a column: its name, its kind, the categories it declares, which cells are missing, its values."""
    cells = table.cells[name]
    kind = _kind(cells)
    absent = cells.isna().to_numpy(dtype=bool)
    yield from (name.encode(), kind.encode(), absent.tobytes())
    if kind == "category":
        yield from _joined(list(table.declared(name)))
        yield cells.cat.codes.to_numpy(dtype=np.int64).tobytes()
    elif kind == "date":
        yield np.where(absent, 0, _nanoseconds(table, name)).tobytes()
    elif kind == "text" or cells.dtype == object:
        yield from _joined(_texts(cells))
    elif pd.api.types.is_integer_dtype(cells.dtype):
        # two large whole numbers may be the same number in floating point
        present = cells[~absent].to_numpy()
        yield from (present.astype(np.int64).tobytes(), str(present.dtype == np.uint64).encode())
    else:
        yield _floats(cells, absent).tobytes()


def _joined(texts: list[str]) -> tuple[bytes, bytes]:
    """Lengths of texts and the texts, which together determine them."""
    written = [text.encode() for text in texts]
    return np.array([len(text) for text in written], dtype=np.int64).tobytes(), b"".join(written)
