"""Reader of the PhysioNet / Computing in Cardiology Challenge 2012: the first 48 hours of intensive care stays."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .plain_text import lines_of_any_end
from .written import finite, shown, whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


HOURS: Final = 48
DESCRIPTORS: Final = ("Age", "Gender", "Height", "ICUType", "Weight")
PARAMETERS: Final = (
    *("Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS"),
    *("Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na", "NIDiasABP", "NIMAP"),
    *("NISysABP", "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp", "TroponinI"),
    *("TroponinT", "Urine", "WBC", "Weight"),
)
_HEADER: Final = "Time,Parameter,Value"
_TIME: Final = re.compile(r"([0-9]{2}):([0-5][0-9])")
_MISSING: Final = -1.0
_IDENTIFIER, _DEATH = "RecordID", "In-hospital_death"


@dataclass(frozen=True)
class Stay:
    """Record of one patient.

    Attributes:
        identifier: RecordID.
        descriptors: values known on admission, by name in DESCRIPTORS; unknown ones are left out.
        measurements: (minutes since admission, name in PARAMETERS, value), in the order of the file; may be empty.
    """

    identifier: int
    descriptors: Mapping[str, float]
    measurements: tuple[tuple[int, str, float], ...]


def read_stay(path: Path) -> Stay:
    """Read a patient's file ``132539.txt`` with lines ``Time,Parameter,Value``, the time ``HH:MM`` up to ``48:00``.

    A value of −1 is missing and is left out. The descriptors come first, at 00:00, each once. The weight is measured
    again later, so its value on admission also counts as a measurement. Lines without a parameter are skipped.

    Raises:
        DataError: the file is missing or damaged; the message names the line.
    """
    identifier: int | None = None
    descriptors: dict[str, float] = {}
    measurements: list[tuple[int, str, float]] = []
    seen = set[str]()
    for number, minute, name, value in _entries(path):
        if minute == 0 and name in {_IDENTIFIER, *DESCRIPTORS} and name not in seen:
            seen.add(name)
            if name == _IDENTIFIER:
                identifier = _identifier(path, number, value)
            elif value != _MISSING:
                descriptors[name] = value
            if name != "Weight":
                continue
        if name not in PARAMETERS:
            raise DataError(
                f"{path}, line {number}: {shown(name)} is not a parameter of the challenge that may occur here."
            )
        if value != _MISSING:
            measurements.append((minute, name, value))
    if identifier is None:
        raise DataError(f"{path} has no {_IDENTIFIER}: fetch its data set again.")
    return Stay(identifier, descriptors, tuple(measurements))


def _entries(path: Path) -> Iterator[tuple[int, int, str, float]]:
    """Line number, minute, parameter and value of every line below the header."""
    header, *lines = lines_of_any_end(path)
    if header.strip() != _HEADER:
        raise DataError(f"{path}, line 1: {_HEADER!r} is expected, not {header.strip()[:40]!r}.")
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        parts = line.strip().split(",")
        time = _TIME.fullmatch(parts[0])
        if len(parts) != 3 or time is None:
            raise DataError(f"{path}, line {number}: {line.strip()[:40]!r} is not of the form HH:MM,Parameter,Value.")
        minute = 60 * int(time[1]) + int(time[2])
        if minute > 60 * HOURS:
            raise DataError(f"{path}, line {number}: {parts[0]} is later than {HOURS}:00.")
        if parts[1]:
            yield number, minute, parts[1], _number(path, number, parts[2])


def _number(path: Path, number: int, text: str) -> float:
    """Parse a finite number; the path and the line number are used in the error message."""
    try:
        return finite(text.strip())
    except ValueError as error:
        raise DataError(f"{path}, line {number}: {shown(text)} {error}.") from None


def _identifier(path: Path, number: int, value: float) -> int:
    """RecordID from its number; the path and the line number are used in the error message."""
    if value != int(value):
        raise DataError(f"{path}, line {number}: {value} is no {_IDENTIFIER}, which is a whole number.")
    return int(value)


def read_deaths(path: Path) -> dict[int, bool]:
    """In-hospital deaths from a file ``Outcomes-a.txt``: whether each patient died, by RecordID.

    Raises:
        DataError: the file is missing or damaged, or lists a patient twice; the message names the line.
    """
    rows = _csv_rows(path)
    _, header = next(rows)
    if _IDENTIFIER not in header or _DEATH not in header:
        raise DataError(f"{path}, line 1: the columns {_IDENTIFIER!r} and {_DEATH!r} are expected.")
    places = header.index(_IDENTIFIER), header.index(_DEATH)
    deaths: dict[int, bool] = {}
    for number, row in rows:
        patient = whole(row[places[0]]) if len(row) == len(header) else None
        if patient is None or row[places[1]] not in {"0", "1"}:
            raise DataError(f"{path}, line {number}: {','.join(row)[:60]!r} is no outcome.")
        if patient in deaths:
            raise DataError(f"{path}, line {number}: patient {patient} is listed twice.")
        deaths[patient] = row[places[1]] == "1"
    if not deaths:
        raise DataError(f"{path} holds no outcomes: fetch its data set again.")
    return deaths


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row of a CSV file that is not blank; the first is that of line 1."""
    rows = csv.reader(lines_of_any_end(path))
    try:
        for row in rows:
            if row or rows.line_num == 1:
                yield rows.line_num, row
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: it is no row of comma-separated values ({error}).") from error


@dataclass(frozen=True)
class Grid:
    """Hourly time series of a stay; the columns are PARAMETERS.

    Attributes:
        values: float64[48, P], the mean of the measurements in the hour, else the value of the last hour with one; NaN
            before the first measurement.
        measured: bool[48, P], whether there was a measurement in the hour.
        hours_since: float64[48, P], hours since the last hour with a measurement: 0 in such an hour; before the first
            measurement, hours since admission, including the current one.
    """

    values: NDArray[np.float64]
    measured: NDArray[np.bool_]
    hours_since: NDArray[np.float64]


def gridded(stay: Stay) -> Grid:
    """Resample a stay to an hourly grid.

    Hour h covers h:00 to h:59; the last hour includes 48:00. Several measurements in an hour, also at the same minute,
    are averaged.
    """
    columns = {name: column for column, name in enumerate(PARAMETERS)}
    sums, counts = np.zeros((HOURS, len(PARAMETERS))), np.zeros((HOURS, len(PARAMETERS)))
    for minute, name, value in stay.measurements:
        place = min(minute // 60, HOURS - 1), columns[name]
        sums[place] += value
        counts[place] += 1
    measured = counts > 0
    hours = np.arange(HOURS)[:, None]
    # for each hour, the last hour with a measurement, itself included; −1 before the first measurement
    last = np.maximum.accumulate(np.where(measured, hours, -1))
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=measured)
    carried = np.take_along_axis(means, last.clip(0), axis=0)
    return Grid(np.where(last >= 0, carried, np.nan), measured, (hours - last).astype(np.float64))
