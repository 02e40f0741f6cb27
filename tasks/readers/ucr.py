"""Reader of the UCR and UEA time series archives: ``.ts`` files with a header, ``.txt`` and ``.tsv`` without one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .plain_text import lines_of_any_end
from .written import LARGEST, is_number, shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


SUFFIXES: Final = (".ts", ".tsv", ".txt")
_FLAGS: Final = frozenset({"timestamps", "missing", "univariate", "equallength"})
_COUNTS: Final = frozenset({"serieslength", "dimensions", "dimension"})
_COMMENTS: Final = ("#", "%")
# Two commas with nothing between are an empty field, not one separator: values would move one step ahead.
_SEPARATOR: Final = re.compile(r"\s*,\s*|\s+")
# Whole numbers beyond it are rounded, so that two classes would become one.
_EXACT: Final = 1 << 53


@dataclass(frozen=True)
class Table:
    """Time series with their classes.

    Attributes:
        series: float32[T, D] each, with its own length T; NaN where a value is missing.
        labels: class of each series, as in the file.
        classes: the classes that a ``.ts`` file declares, in its order; for other files the classes that occur, numbers
            in ascending order before other names.
    """

    series: tuple[NDArray[np.float32], ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read the series of a ``.ts``, ``.tsv`` or ``.txt`` file; the ending decides the format.

    In a ``.ts`` file the dimensions of a series are separated by ``:``, its values by ``,``; the class comes last, and
    ``?`` (or NaN) is a missing value. The series are checked against the header (number of dimensions, equal lengths,
    no missing values, classes). In a ``.txt`` or ``.tsv`` file each line is a class followed by the values, separated
    by white space or commas. NaN at the end of a line pads a shorter series and is removed; elsewhere it is a missing
    value.

    Raises:
        DataError: the file is missing, has another ending, or breaks its format; the message names the line. Series
            with time stamps and targets that are not classes are refused.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path} does not end in {', '.join(SUFFIXES)}: only such files of the archive can be read.")
    file = _File(path, lines_of_any_end(path))
    return _with_header(file) if path.suffix == ".ts" else _without_header(file)


@dataclass(frozen=True)
class _File:
    """Lines of a file, with its path for error messages."""

    path: Path
    lines: list[str]

    def numbered(self) -> Iterator[tuple[int, str]]:
        """Stripped lines with their numbers from 1; blank lines and comments are skipped."""
        for number, line in enumerate(self.lines, 1):
            if (text := line.strip()) and not text.startswith(_COMMENTS):
                yield number, text

    def error(self, number: int, problem: str) -> DataError:
        """Error about a line, with the problem as a clause."""
        return DataError(f"{self.path}, line {number}: {problem}.")

    def values(self, number: int, words: list[str]) -> NDArray[np.float32]:
        """Parse numbers to float32[T]; ``?`` becomes NaN."""
        texts = ["nan" if (text := word.strip()) == "?" else text for word in words]
        try:
            values = _parsed(texts)
        except ValueError:
            invalid = next((text for text in texts if not is_number(text)), "")
            problem = f"{shown(invalid)} is no number" if invalid else "a field is empty, where '?' is a missing value"
            raise self.error(number, problem) from None
        if np.isinf(values).any():
            raise self.error(number, "a value is infinite")
        if (np.abs(values) > LARGEST).any():
            raise self.error(number, f"a value is too large: numbers go up to {LARGEST:.1e}")
        return values.astype(np.float32)


@dataclass
class _Header:
    """Declarations above ``@data``; a flag or count that the file does not declare is absent."""

    flags: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def _with_header(file: _File) -> Table:
    """Read a ``.ts`` file."""
    rows = file.numbered()
    header = _header(file, rows)
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for number, text in rows:
        *dimensions, label = text.split(":")
        if not dimensions:
            raise file.error(number, "there is no ':' before the class")
        if label.strip() not in header.classes:
            raise file.error(number, f"the class {shown(label.strip())} is none of {_listed(header.classes)}")
        series.append(_stacked(file, number, dimensions))
        labels.append(label.strip())
        _check_header(file, number, header, series)
    if not series:
        raise DataError(f"{file.path} has no series below @data: fetch it again.")
    return Table(tuple(series), tuple(labels), header.classes)


def _header(file: _File, rows: Iterator[tuple[int, str]]) -> _Header:
    """Read the header, up to ``@data``."""
    header = _Header()
    for number, text in rows:
        tag, *words = text.split()
        name = tag.removeprefix("@").lower()
        if not tag.startswith("@"):
            raise file.error(number, "every line before '@data' must begin with '@'")
        if name == "data":
            if not header.classes:
                raise file.error(number, "no classes were declared: '@classLabel true' and their names are missing")
            return header
        _read_header_line(file, number, header, name, words)
    raise DataError(f"{file.path} has no line '@data': it is truncated, or not a .ts file.")


def _read_header_line(file: _File, number: int, header: _Header, name: str, words: list[str]) -> None:
    """Read one line of the header; tags without meaning for the format, such as ``@problemName``, are skipped."""
    if name in _FLAGS:
        header.flags[name] = _flag(file, number, words)
        if name == "timestamps" and header.flags[name]:
            raise file.error(number, "series with time stamps are not read")
    elif name in _COUNTS:
        count = whole(words[0]) if len(words) == 1 else None
        if count is None:
            raise file.error(number, f"@{name} must be followed by a number")
        header.counts[name.removesuffix("s") if name == "dimensions" else name] = count
    elif name == "classlabel":
        if not _flag(file, number, words[:1]):
            raise file.error(number, "series without classes are not read")
        header.classes = tuple(words[1:])
    elif name == "targetlabel" and _flag(file, number, words[:1]):
        raise file.error(number, "targets that are not classes are not read")


def _flag(file: _File, number: int, words: list[str]) -> bool:
    """Parse a boolean of the header."""
    if len(words) != 1 or words[0].lower() not in {"true", "false"}:
        raise file.error(number, f"'true' or 'false' is expected, not {shown(' '.join(words))}")
    return words[0].lower() == "true"


def _stacked(file: _File, number: int, dimensions: list[str]) -> NDArray[np.float32]:
    """Series float32[T, D] from the text of each dimension."""
    columns = [file.values(number, text.split(",")) for text in dimensions]
    if len({len(column) for column in columns}) > 1:
        raise file.error(number, f"its dimensions have {_listed(len(column) for column in columns)} values, not one")
    return np.stack(columns, axis=1)


def _check_header(file: _File, number: int, header: _Header, series: list[NDArray[np.float32]]) -> None:
    """Check the last series against the header and, without declarations there, against the first series."""
    steps, width = series[-1].shape
    expected = 1 if header.flags.get("univariate") else header.counts.get("dimension", series[0].shape[1])
    if width != expected:
        raise file.error(number, f"it has {width} dimensions where {expected} are expected")
    equal = header.flags.get("equallength", False)
    length = header.counts.get("serieslength", len(series[0])) if equal else steps
    if steps != length:
        raise file.error(number, f"it has {steps} values where {length} are expected")
    if header.flags.get("missing") is False and np.isnan(series[-1]).any():
        raise file.error(number, "a value is missing where the header says that none is")


def _without_header(file: _File) -> Table:
    """Read a ``.txt`` or ``.tsv`` file."""
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for number, text in file.numbered():
        label, *words = _SEPARATOR.split(text)
        if label.lower() in {"", "?", "nan"}:
            raise file.error(number, "there is no class before the values")
        values = file.values(number, words) if words else np.empty(0, dtype=np.float32)
        present = np.flatnonzero(~np.isnan(values))
        if len(present) == 0:
            raise file.error(number, "there is no value after the class")
        series.append(values[: present[-1] + 1, None])
        labels.append(_normalised(label))
    if not series:
        raise DataError(f"{file.path} has no series: fetch it again.")
    return Table(tuple(series), tuple(labels), tuple(sorted(set(labels), key=_sort_key)))


def _parsed(texts: list[str]) -> NDArray[np.float64]:
    """Numbers float64[N] of texts; a ValueError if one is none."""
    written = ",".join(texts)
    if "_" in written or not written.isascii():  # Python reads underscores and other digits, see written.py
        raise ValueError("a text is no number")
    return np.array(texts, dtype=np.float64)


def _normalised(label: str) -> str:
    """Class name as in ``.ts`` files: ``1`` where a text file has ``1.0000000e+00``."""
    if not is_number(label):
        return label
    value = float(label)
    return str(int(value)) if value.is_integer() and abs(value) < _EXACT else label


def _sort_key(label: str) -> tuple[bool, float, str]:
    """Sort key of a class name: numbers by value, then all other names."""
    number = float(label) if is_number(label) else np.nan
    return (True, 0.0, label) if np.isnan(number) else (False, number, label)


def _listed(items: Iterable[object]) -> str:
    """Items as a comma-separated list, and only the first of many."""
    texts = [str(item)[:40] for item in items]
    return ", ".join(texts[:10]) + (", …" if len(texts) > 10 else "")
