"""Files of the UCR and UEA archives of time series: ``.ts`` with a header, ``.txt`` and ``.tsv`` without one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


SUFFIXES: Final = (".ts", ".tsv", ".txt")
_FLAGS: Final = frozenset({"timestamps", "missing", "univariate", "equallength"})
_COUNTS: Final = frozenset({"serieslength", "dimensions", "dimension"})
_COMMENTS: Final = ("#", "%")


@dataclass(frozen=True)
class Table:
    """Time series with their classes.

    Attributes:
        series: float32[T, D] each, of its own length T; NaN where a value is missing.
        labels: the class of each, as the file writes it.
        classes: the classes that a ``.ts`` file declares, in its order; else those that occur, numbers in ascending
            order before other words.
    """

    series: tuple[NDArray[np.float32], ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]


def read_table(path: Path) -> Table:
    """The series of a file, by its ending ``.ts``, ``.tsv`` or ``.txt``.

    In a ``.ts`` file the dimensions of a series are parted by ``:``, its values by ``,``; the class comes last, ``?``
    (or NaN) is a missing value. What the header promises (one dimension, equal lengths, nothing missing, the classes)
    is held to. In a ``.txt`` or ``.tsv`` file a line is a class and then the values, parted by white space or commas;
    NaN at the end of a line fills up a shorter series and is taken off, elsewhere it is a missing value.

    Raises:
        DataError: the file is missing, has another ending, or breaks its format; the sentence names the line. Series
            with time stamps or targets that are no classes are refused.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path} is none of {', '.join(SUFFIXES)}: those are the files of the archive that are read.")
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): fetch its data set again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason}): fetch it again.") from error
    file = _File(path, lines)
    return _with_header(file) if path.suffix == ".ts" else _without_header(file)


@dataclass(frozen=True)
class _File:
    path: Path
    lines: list[str]

    def numbered(self) -> Iterator[tuple[int, str]]:
        """The lines that say something, stripped, with their numbers from 1."""
        for number, line in enumerate(self.lines, 1):
            if (text := line.strip()) and not text.startswith(_COMMENTS):
                yield number, text

    def error(self, number: int, what: str) -> DataError:
        return DataError(f"{self.path}, line {number}: {what}.")

    def values(self, number: int, words: list[str]) -> NDArray[np.float32]:
        """float32[T]; ``?`` is NaN."""
        try:
            found = np.array(["nan" if word.strip() == "?" else word for word in words], dtype=np.float64)
        except ValueError:
            wrong = next(word for word in words if not _is_number(word))
            raise self.error(number, f"{wrong.strip()!r} is no number") from None
        if np.isinf(found).any():
            raise self.error(number, "a value is infinite")
        return found.astype(np.float32)


@dataclass
class _Header:
    """What stands above ``@data``; None where nothing was said."""

    flags: dict[str, bool] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()


def _with_header(file: _File) -> Table:
    rows = file.numbered()
    header = _header(file, rows)
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for number, text in rows:
        *dimensions, label = text.split(":")
        if not dimensions:
            raise file.error(number, "there is no ':' before the class")
        if label.strip() not in header.classes:
            raise file.error(number, f"the class {label.strip()!r} is none of {', '.join(header.classes)}")
        series.append(_stacked(file, number, dimensions))
        labels.append(label.strip())
        _hold_to(file, number, header, series)
    if not series:
        raise DataError(f"{file.path} has no series below @data: fetch it again.")
    return Table(tuple(series), tuple(labels), header.classes)


def _header(file: _File, rows: Iterator[tuple[int, str]]) -> _Header:
    """Read up to ``@data``."""
    header = _Header()
    for number, text in rows:
        tag, *words = text.split()
        name = tag.removeprefix("@").lower()
        if not tag.startswith("@"):
            raise file.error(number, "a header line begins with '@', and '@data' has not come yet")
        if name == "data":
            if not header.classes:
                raise file.error(number, "no classes were declared: '@classLabel true' and their names are missing")
            return header
        _take(file, number, header, name, words)
    raise DataError(f"{file.path} has no line '@data': it is cut short, or no .ts file.")


def _take(file: _File, number: int, header: _Header, name: str, words: list[str]) -> None:
    """One line of the header; tags that say nothing about the format, such as ``@problemName``, are passed over."""
    if name in _FLAGS:
        header.flags[name] = _truth(file, number, words)
        if name == "timestamps" and header.flags[name]:
            raise file.error(number, "series with time stamps are not read")
    elif name in _COUNTS:
        if len(words) != 1 or not words[0].isdigit():
            raise file.error(number, f"@{name} is followed by a number")
        header.counts[name.removesuffix("s") if name == "dimensions" else name] = int(words[0])
    elif name == "classlabel":
        if not _truth(file, number, words[:1]):
            raise file.error(number, "series without classes are not read")
        header.classes = tuple(words[1:])
    elif name == "targetlabel" and _truth(file, number, words[:1]):
        raise file.error(number, "targets that are no classes are not read")


def _truth(file: _File, number: int, words: list[str]) -> bool:
    if len(words) != 1 or words[0].lower() not in {"true", "false"}:
        raise file.error(number, f"'true' or 'false' is expected, not {' '.join(words)!r}")
    return words[0].lower() == "true"


def _stacked(file: _File, number: int, dimensions: list[str]) -> NDArray[np.float32]:
    """float32[T, D] of the dimensions' texts."""
    columns = [file.values(number, text.split(",")) for text in dimensions]
    if len({len(column) for column in columns}) > 1:
        raise file.error(number, f"its dimensions have {_listed(len(column) for column in columns)} values, not one")
    return np.stack(columns, axis=1)


def _hold_to(file: _File, number: int, header: _Header, series: list[NDArray[np.float32]]) -> None:
    """Whether the newest series is what the header promises, and has as many dimensions as those before it."""
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
    series: list[NDArray[np.float32]] = []
    labels: list[str] = []
    for number, text in file.numbered():
        label, *words = text.replace(",", " ").split()
        values = file.values(number, words) if words else np.empty(0, dtype=np.float32)
        known = np.flatnonzero(~np.isnan(values))
        if len(known) == 0:
            raise file.error(number, "there is no value after the class")
        series.append(values[: known[-1] + 1, None])
        labels.append(_plain(label))
    if not series:
        raise DataError(f"{file.path} has no series: fetch it again.")
    return Table(tuple(series), tuple(labels), tuple(sorted(set(labels), key=_in_order)))


def _plain(label: str) -> str:
    """A class number as ``.ts`` files write it: ``1`` where a text file has ``1.0000000e+00``."""
    return str(int(float(label))) if _is_number(label) and float(label).is_integer() else label


def _in_order(label: str) -> tuple[bool, float, str]:
    return (False, float(label), "") if _is_number(label) else (True, 0.0, label)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word.strip() == "?"
    return True


def _listed(counts: Iterator[int]) -> str:
    return ", ".join(map(str, counts))
