"""Sequences from a CSV file: roles of the columns, and conversion of rows to sequences with targets."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...bounded_files import user_path
from ...errors import DataError, ParameterError
from .frames import HeldFrame
from .tables import Floats, Table, content, parse_table
from .written import finite, shown

# Name of the feature that time_gap adds.
SINCE: Final = "time since the last step"
# Nanoseconds, in which dates are read, in an hour.
_HOUR: Final = 3.6e12
Missing = Literal["refuse", "mask"]
_WRITTEN = {
    ("separator", "\t"): "tab", ("separator", " "): "space", ("separator", "comma"): ",", ("decimal", ","): "comma",
}  # fmt: skip
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of a file, in its order.

    Attributes:
        table: the table they come from.
        values: sequences float64[T, D], NaN where a value is missing; empty if the sequences are texts. A categorical
            column holds the index of the level.
        words: sequences of words; empty if the sequences are numbers.
        features: names of the D features: columns, then perhaps :data:`SINCE`.
        rows: int64[B], index of the first row of each sequence in the table, from 0.
        truths: truth of each sequence, float64[T] or float64[T, D]; empty if no column holds the truth.
        ids: what the column ``id`` holds for each sequence; empty without such a column.
        levels: levels of the categorical features, by name.
        declared: categorical features whose levels are declared, whether they occur or not.
    """

    table: Table
    values: list[Floats]
    words: list[list[str]]
    features: tuple[str, ...]
    rows: NDArray[np.int64]
    truths: list[Floats]
    ids: tuple[str, ...] = ()
    levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    declared: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class TableFile:
    """CSV file with its format, or a frame in its place.

    Attributes:
        path: path of the file, made relative to the working folder, because specs are published; or a
            :class:`HeldFrame`.
        separator: separator of cells; ``tab``, ``comma``, ``semicolon`` and ``space`` may be written as words.
        encoding: text encoding.
        decimal: decimal separator; ``comma`` may be written as a word.
        time_format: format of dates, as for ``strptime``; empty for ISO 8601 or numbers.
        content: SHA-256 of the file's bytes, or of the frame's content; stored results are found by it, wherever the
            file is.
        place: absolute path of the file on this machine; empty for a frame.
    """

    path: str = ""
    separator: str = ","
    encoding: str = "utf-8"
    decimal: str = "."
    time_format: str = ""
    content: str = field(default="", init=False, repr=False)
    place: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.path:
            raise ParameterError("A task on a CSV file needs its path: write path=….")
        values = self._frame_values(self.path) if isinstance(self.path, HeldFrame) else self._file_values()
        # characters with a meaning in specs are replaced by words
        values |= {
            name: _WRITTEN.get((name, getattr(self, name)), getattr(self, name)) for name in ("separator", "decimal")
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def _file_values(self) -> dict[str, str]:
        """Derived values of a file; its path is made relative."""
        digest = hashlib.sha256(content(self.path)).hexdigest()
        place = user_path(self.path).resolve()
        return {
            "content": digest,
            "place": str(place),
            "path": _relative(place),
        }

    def _frame_values(self, frame: HeldFrame) -> dict[str, str]:
        """Derived values of a frame, which has no separator and no encoding."""
        for name, default in (("separator", ","), ("encoding", "utf-8")):
            if getattr(self, name) != default:
                raise ParameterError(f"{name}=… says how a file is written, and a frame is given: leave it out.")
        return {"content": frame.content}

    @property
    def file(self) -> str:
        """Name of the file without its folders; ``the frame`` if it is a frame."""
        return self.path.table.file if isinstance(self.path, HeldFrame) else Path(self.path).name

    def table(self) -> Table:
        """Read the file as a table; its content must be unchanged since this object was made.

        Raises:
            DataError: the file has changed, or cannot be read as a table.
        """
        if isinstance(self.path, HeldFrame):
            table = self.path.table
            return replace(table, decimal=",") if self.decimal == "comma" else table
        data = content(self.place)
        if hashlib.sha256(data).hexdigest() != self.content:
            raise DataError(f"The file {self.path!r} has changed since the task was made: make the task again.")
        return _parsed(data, self.file, self.separator, self.encoding, self.decimal)


@dataclass(frozen=True)
class ColumnMap(TableFile):
    """CSV file with the roles of its columns.

    There are three layouts. *Long*, if ``time`` is given: a row for each step; the rows with the same ``id`` are a
    sequence. *Text*, if ``text`` is given: a row for each sequence. *Wide* otherwise: a row for each sequence, a column
    for each step; missing cells at the end of a row make the sequence shorter.

    Attributes:
        predict: column of the classes, or columns of the values; in the long layout constant within a sequence.
        id: column that identifies the sequences of the long layout; in other layouts only excluded from the features.
        time: column that orders the steps of the long layout.
        features: columns of the features (long) or steps (wide), or patterns with * and ?; if empty, all columns
            without another role.
        text: column of the texts, which are split into words and punctuation marks.
        truth: columns of the truth: one, or one for each feature (long); one for each step (wide); or one whose cells
            hold a number for each word (text).
        split: column with the values ``train`` and ``test``.
        missing: ``refuse`` missing values, or ``mask``: carry the last value forward and add a feature that tells
            whether the value was measured.
        categories: columns of the long layout that are read as one feature for each level, ``ward=icu``, which is 1
            where the column has this level, else 0; or patterns with * and ?. A pandas categorical is read so by
            itself. A missing cell, and a level that no training sequence has, make all of them 0.
        time_gap: whether the time since the last step is one more feature of the long layout, 0 at the first step: in
            the unit of the column ``time``, or in hours if it holds dates.
    """

    predict: tuple[str, ...] = ()
    id: str = ""
    time: str = ""
    features: tuple[str, ...] = ()
    text: str = ""
    truth: tuple[str, ...] = ()
    split: str = ""
    missing: Missing = "refuse"
    categories: tuple[str, ...] = ()
    time_gap: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, says in (("categories", "categories=…"), ("time_gap", "time_gap=true")):
            if getattr(self, name) and not self.time:
                raise ParameterError(f"{says} needs rows that are steps: say time=…, the column that orders them.")
        if not self.predict:
            raise ParameterError("A task on a CSV file needs the column to be predicted: write predict=….")
        if self.text and (self.time or self.features):
            raise ParameterError(
                "A file has either a column of texts or features: leave out text, or time and features."
            )
        if self.time and not self.id:
            raise ParameterError(
                "Rows that are steps need a column that identifies their sequence: write id=…; a single long series "
                "can be forecast (csv-forecast:path=…,time=…,forecast=…)."
            )

    def sequences(self) -> Sequences:
        """Read the sequences of the file.

        Raises:
            DataError: the file does not fit the parameters; the message names the place and the way out.
        """
        table = self.table()
        for name in (*self.predict, *filter(None, (self.id, self.time, self.text, self.split))):
            table.column(name)
        if self.text:
            return _texts(table, self)
        return _long(table, self) if self.time else _wide(table, self)

    def features_of(self, table: Table) -> tuple[str, ...]:
        """Names of the feature columns.

        Raises:
            DataError: a column is missing or has another role, or no column is left.
        """
        reserved = {*self.predict, *table.columns(self.truth), self.id, self.time, self.text, self.split}
        for use, names in (("the features", self.features), ("categories", self.categories)):
            for name in filter(reserved.__contains__, names):
                raise DataError(f"The column {name!r} of {table.file} has another role: leave it out of {use}.")
        features = [name for name in table.columns(self.features or ("*",)) if name not in reserved]
        taken = {*features, *reserved}
        features += [name for name in table.columns(self.categories) if name not in taken]
        if not features:
            raise DataError(f"{table.file} has no column left to be read as a feature: name some by features=….")
        return tuple(features)

    def categorical_of(self, table: Table, features: tuple[str, ...]) -> tuple[str, ...]:
        """Those of the features that are categories, by ``categories`` or by the type of their column."""
        named = table.columns(self.categories)
        return tuple(name for name in features if name in named or table.declared(name))

    def constant(self, sequences: Sequences, name: str) -> NDArray[np.object_]:
        """Text of a column for each sequence, object[B].

        Raises:
            DataError: a cell is empty, or the column differs within a sequence.
        """
        texts = sequences.table.texts(name)
        if self.time:
            ids = sequences.table.texts(self.id)
            first = dict(zip(ids[sequences.rows], sequences.rows.tolist(), strict=True))
            for row, (id_, text) in enumerate(zip(ids, texts, strict=True)):
                if text != texts[first[id_]]:
                    first_row = sequences.table.rows[first[id_]]
                    raise sequences.table.refuse(
                        row,
                        name,
                        f"holds {shown(text)}, but row {first_row} of the same sequence {shown(id_)} holds "
                        f"{shown(str(texts[first[id_]]))}: give each sequence one value.",
                    )
        values: NDArray[np.object_] = texts[sequences.rows]
        return values


def _long(table: Table, columns: ColumnMap) -> Sequences:
    """Read the long layout: a row for each step."""
    names = columns.features_of(table)
    categorical = {name: table.categories(name) for name in columns.categorical_of(table, names)}
    values = np.stack(
        [
            categorical[name][1]
            if name in categorical
            else table.numbers(name, missing=columns.missing == "mask", feature=True)
            for name in names
        ],
        axis=1,
    )
    ids, times = table.texts(columns.id), table.times(columns.time, columns.time_format)
    # not numpy's fixed-width texts, of which each takes as much memory as the longest
    group, _ = pd.factorize(ids)
    first = np.unique(group, return_index=True)[1]
    order = np.lexsort((times, first[group]))
    repeats = np.flatnonzero((np.diff(first[group][order]) == 0) & (np.diff(times[order]) == 0))
    if len(repeats):
        row, other = sorted(order[repeats[0] : repeats[0] + 2].tolist())
        raise table.refuse(
            other,
            columns.time,
            f"is the time of row {table.rows[row]} too, in the same sequence {shown(ids[row])}: drop one.",
        )
    steps = np.split(order, np.flatnonzero(np.diff(first[group][order])) + 1)
    more = bool(categorical) or columns.time_gap
    counts, expected = ((1,), "one for all features") if more else ((1, len(names)), "one, or one for each feature")
    truth = _truth(table, columns, counts, expected)
    if truth is not None and truth.shape[1] == 1:
        truth = truth[:, 0]
    gaps = [np.diff(times[rows], prepend=times[rows[:1]]) / _unit(times) for rows in steps]
    return Sequences(
        table=table,
        values=[
            np.column_stack([values[rows], gap]) if columns.time_gap else values[rows]
            for rows, gap in zip(steps, gaps, strict=True)
        ],
        words=[],
        features=(*names, SINCE) if columns.time_gap else names,
        rows=np.sort(first),
        truths=[] if truth is None else [truth[rows] for rows in steps],
        ids=tuple(map(str, ids[np.sort(first)])),
        levels={name: levels for name, (levels, _) in categorical.items()},
        declared=frozenset(name for name in categorical if table.declared(name)),
    )


def _unit(times: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Length of the unit in which times are told apart: an hour of dates, 1 of numbers."""
    return _HOUR if np.issubdtype(times.dtype, np.integer) else 1.0


def _wide(table: Table, columns: ColumnMap) -> Sequences:
    """Read the wide layout: a row for each sequence, a column for each step."""
    if columns.id and len(set(table.texts(columns.id))) < len(table):
        raise DataError(
            f"{table.file} has several rows of one {columns.id!r}: say time=…, the column that orders the steps."
        )
    names = columns.features_of(table)
    values = np.stack([table.numbers(name, missing=True) for name in names], axis=1)
    measured = ~np.isnan(values)
    lengths = np.where(measured.any(1), values.shape[1] - measured[:, ::-1].argmax(1), 0)
    truth = _truth(table, columns, (len(names),), "one for each step")
    for row, length in enumerate(lengths.tolist()):
        inner = np.flatnonzero(~measured[row, :length])
        if length == 0:
            raise table.refuse(row, names[0], "is missing, as is all of its row: drop the row.")
        if len(inner) and columns.missing == "refuse":
            raise table.refuse(
                row, names[inner[0]], "is missing within the sequence: fill it, or say what that means (missing=mask)."
            )
    cut = list(enumerate(lengths.tolist()))
    return Sequences(
        table=table,
        values=[values[row, :length, None] for row, length in cut],
        words=[],
        features=("value",),
        rows=np.arange(len(table)),
        truths=[] if truth is None else [truth[row, :length] for row, length in cut],
        ids=_ids(table, columns),
    )


def _texts(table: Table, columns: ColumnMap) -> Sequences:
    """Read the text layout: a row for each text."""
    words = [_WORD.findall(text.lower()) for text in table.texts(columns.text)]
    ids = _ids(table, columns)
    if len(set(ids)) < len(ids):
        raise DataError(f"{table.file} has several texts of one {columns.id!r}: give each its own, or leave id out.")
    return Sequences(table, [], words, (), np.arange(len(table)), _word_truths(table, columns, words), ids)


def _ids(table: Table, columns: ColumnMap) -> tuple[str, ...]:
    """What identifies each row, if it is a sequence; empty without a column that does."""
    return tuple(map(str, table.texts(columns.id))) if columns.id else ()


def _word_truths(table: Table, columns: ColumnMap, words: list[list[str]]) -> list[Floats]:
    """Truth of each text, float64[T]: one number for each word."""
    if not columns.truth:
        return []
    (name,) = table.columns(columns.truth)[:1]
    truths = []
    for row, text in enumerate(table.texts(name)):
        try:
            numbers = np.array([finite(part) for part in text.split()])
        except ValueError:
            raise table.refuse(
                row, name, f"holds {shown(text)}: write a number for each word, with blanks between."
            ) from None
        if len(numbers) != len(words[row]):
            raise table.refuse(
                row, name, f"holds {len(numbers)} numbers for {len(words[row])} words and signs: write one for each."
            )
        truths.append(numbers)
    return truths


def _truth(table: Table, columns: ColumnMap, counts: tuple[int, ...], expected: str) -> Floats | None:
    """Truth columns as float64[N, 1 or D], with 0 for missing values; None without truth columns."""
    if not columns.truth:
        return None
    names = table.columns(columns.truth)
    if len(names) not in counts:
        raise DataError(f"The number of truth columns of {table.file} is {len(names)}; expected {expected}.")
    return np.nan_to_num(np.stack([table.numbers(name, missing=True) for name in names], axis=1))


@functools.lru_cache(maxsize=1)
def _parsed(data: bytes, file: str, separator: str, encoding: str, decimal: str) -> Table:
    """Parse a table; the last one is cached, because a task reads its file more than once."""
    return parse_table(data, file, separator, encoding, decimal)


def _relative(place: Path) -> str:
    """Path relative to the working folder; the name alone if there is no relative path, as on another drive."""
    try:
        return Path(os.path.relpath(place)).as_posix()
    except ValueError:
        return place.name
