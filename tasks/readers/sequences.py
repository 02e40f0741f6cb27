"""Sequences out of a table: which column is what, and how rows become sequences with their targets."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, ParameterError
from .tables import Table, content, parse_table

Floats = NDArray[np.float64]
Missing = Literal["refuse", "mask"]
_WRITTEN = {
    ("separator", "\t"): "tab", ("separator", " "): "space", ("separator", "comma"): ",", ("decimal", ","): "comma",
}  # fmt: skip
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class Sequences:
    """What was read, in the order of the file.

    Attributes:
        table: where it was read.
        values: the sequences float64[T, D], NaN where a value is missing; empty if they are texts.
        words: the sequences of words; empty if they are numbers.
        features: names of the D features.
        rows: int64[B], the first row of each sequence in the table, from 0.
        truths: for each sequence float64[T] or float64[T, D]; empty if no truth was asked for.
    """

    table: Table
    values: list[Floats]
    words: list[list[str]]
    features: tuple[str, ...]
    rows: NDArray[np.int64]
    truths: list[Floats]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class TableFile:
    """A file of separated values.

    Attributes:
        path: of the file.
        separator: between cells; ``tab``, ``comma``, ``semicolon`` and ``space`` may be written out.
        encoding: of the text.
        decimal: how fractions are set off; ``comma`` may be written out.
        time_format: how dates are written, as for ``strptime``; empty for ISO 8601 or numbers.
        content: sha256 of the file's bytes, by which results are found again wherever the file lies.
        place: where the file is on this machine; ``path`` becomes relative to the working folder, since specs are
            published.
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
        place = Path(self.path).expanduser().resolve()
        found = {
            "content": hashlib.sha256(content(self.path)).hexdigest(),
            "place": str(place),
            "path": _relative(place),
        }
        # signs that a spec has other uses for are written out
        found |= {
            name: _WRITTEN.get((name, getattr(self, name)), getattr(self, name)) for name in ("separator", "decimal")
        }
        for name, value in found.items():
            object.__setattr__(self, name, value)

    @property
    def file(self) -> str:
        """The file's name, without the folders it lies in."""
        return Path(self.path).name

    def table(self) -> Table:
        """The file as it was when this was made.

        Raises:
            DataError: it has changed since, or cannot be read as a table.
        """
        data = content(self.place)
        if hashlib.sha256(data).hexdigest() != self.content:
            raise DataError(f"The file {self.path!r} has changed since the task was made: make the task again.")
        return _parsed(data, self.file, self.separator, self.encoding, self.decimal)


@dataclass(frozen=True)
class ColumnMap(TableFile):
    """Which columns of a file hold what.

    There are three layouts. *Long*, if ``time`` is given: a row for each step, those of one ``id`` are a sequence.
    *Text*, if ``text`` is given: a row for each sequence. *Wide* otherwise: a row for each sequence, a column for each
    step; cells missing at the end of a row make it shorter.

    Attributes:
        predict: the column of the classes, or those of the values; in the long layout one for all rows of a sequence.
        id: the column that tells the sequences of the long layout apart; elsewhere only left out of the features.
        time: the column by which the steps of the long layout are ordered.
        features: columns of the features (long) or steps (wide), or patterns with * and ?; if none, all that are
            nothing else.
        text: the column of the texts, which are cut into words and signs.
        truth: columns of the truth: one or one for each feature (long), one for each step (wide), or one whose cells
            hold a number for each word (text).
        split: the column that says ``train`` or ``test``.
        missing: ``refuse`` them, or ``mask``: the last value again, and another feature that says whether it was
            measured.
    """

    predict: tuple[str, ...] = ()
    id: str = ""
    time: str = ""
    features: tuple[str, ...] = ()
    text: str = ""
    truth: tuple[str, ...] = ()
    split: str = ""
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.predict:
            raise ParameterError("A task on a CSV file needs the column to be predicted: write predict=….")
        if self.text and (self.time or self.features):
            raise ParameterError(
                "A file has either a column of texts or features: leave out text, or time and features."
            )
        if self.time and not self.id:
            raise ParameterError(
                "Rows that are steps need a column that tells whose they are: write id=…; one long series is forecast "
                "(csv-forecast:path=…,time=…,forecast=…)."
            )

    def sequences(self) -> Sequences:
        """Read the file.

        Raises:
            DataError: something in it does not fit; the sentence says where, and what to do.
        """
        table = self.table()
        for name in (*self.predict, *filter(None, (self.id, self.time, self.text, self.split))):
            table.column(name)
        if self.text:
            return _texts(table, self)
        return _long(table, self) if self.time else _wide(table, self)

    def features_of(self, table: Table) -> tuple[str, ...]:
        """The columns that are features."""
        taken = {*self.predict, *table.columns(self.truth), self.id, self.time, self.text, self.split}
        for name in self.features:
            if name in taken:
                raise DataError(f"The column {name!r} of {table.file} is something else: leave it out of the features.")
        found = tuple(name for name in table.columns(self.features or ("*",)) if name not in taken)
        if not found:
            raise DataError(f"{table.file} has no column left to be read as a feature: name some by features=….")
        return found

    def constant(self, found: Sequences, name: str) -> NDArray[np.object_]:
        """The text of a column for each sequence, object[B].

        Raises:
            DataError: a cell is empty, or two rows of a sequence differ.
        """
        texts = found.table.texts(name)
        if self.time:
            ids = found.table.texts(self.id)
            first = dict(zip(ids[found.rows], found.rows.tolist(), strict=True))
            for row, (own, text) in enumerate(zip(ids, texts, strict=True)):
                if text != texts[first[own]]:
                    before = found.table.rows[first[own]]
                    raise found.table.refuse(
                        row,
                        name,
                        f"holds {text!r}, and row {before} of the same sequence {own!r} {texts[first[own]]!r}: a "
                        "sequence has one.",
                    )
        chosen: NDArray[np.object_] = texts[found.rows]
        return chosen


def _long(table: Table, columns: ColumnMap) -> Sequences:
    names = columns.features_of(table)
    values = np.stack([table.numbers(name, missing=columns.missing == "mask") for name in names], axis=1)
    ids, times = table.texts(columns.id), table.times(columns.time, columns.time_format)
    _, first, own = np.unique(ids.astype(str), return_index=True, return_inverse=True)
    order = np.lexsort((times, first[own]))
    double = np.flatnonzero((np.diff(first[own][order]) == 0) & (np.diff(times[order]) == 0))
    if len(double):
        row, other = sorted(order[double[0] : double[0] + 2].tolist())
        raise table.refuse(
            other,
            columns.time,
            f"is the time of row {table.rows[row]} too, in the same sequence {ids[row]!r}: drop one.",
        )
    steps = np.split(order, np.flatnonzero(np.diff(first[own][order])) + 1)
    truth = _truth(table, columns, (1, len(names)), "one, or one for each feature")
    if truth is not None and truth.shape[1] == 1:
        truth = truth[:, 0]
    return Sequences(
        table=table,
        values=[values[rows] for rows in steps],
        words=[],
        features=names,
        rows=np.sort(first),
        truths=[] if truth is None else [truth[rows] for rows in steps],
    )


def _wide(table: Table, columns: ColumnMap) -> Sequences:
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
    )


def _texts(table: Table, columns: ColumnMap) -> Sequences:
    words = [_WORD.findall(text.lower()) for text in table.texts(columns.text)]
    return Sequences(table, [], words, (), np.arange(len(table)), _word_truths(table, columns, words))


def _word_truths(table: Table, columns: ColumnMap, words: list[list[str]]) -> list[Floats]:
    if not columns.truth:
        return []
    (name,) = table.columns(columns.truth)[:1]
    found = []
    for row, text in enumerate(table.texts(name)):
        try:
            numbers = np.array([float(part) for part in text.split()])
        except ValueError:
            raise table.refuse(
                row, name, f"holds {text!r}: write a number for each word, with blanks between."
            ) from None
        if len(numbers) != len(words[row]):
            raise table.refuse(
                row, name, f"holds {len(numbers)} numbers for {len(words[row])} words and signs: write one for each."
            )
        found.append(numbers)
    return found


def _truth(table: Table, columns: ColumnMap, counts: tuple[int, ...], wanted: str) -> Floats | None:
    """float64[N, 1 or D]: the columns of the truth, missing ones 0."""
    if not columns.truth:
        return None
    names = table.columns(columns.truth)
    if len(names) not in counts:
        raise DataError(f"{table.file} gives {len(names)} columns of the truth; there is {wanted}.")
    return np.nan_to_num(np.stack([table.numbers(name, missing=True) for name in names], axis=1))


@functools.lru_cache(maxsize=1)
def _parsed(data: bytes, file: str, separator: str, encoding: str, decimal: str) -> Table:
    """A task looks into its file more than once."""
    return parse_table(data, file, separator, encoding, decimal)


def _relative(place: Path) -> str:
    """From the working folder; the name alone where no way leads from there (another drive)."""
    try:
        return Path(os.path.relpath(place)).as_posix()
    except ValueError:
        return place.name
