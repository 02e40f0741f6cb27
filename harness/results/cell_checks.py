"""Checks of the files of a cell, byte by byte: what they must hold to be those of their place, and of each other.

The JSON must have its seal (:mod:`.seals`), name the task, the method and the seeds of its path, and have the hash of
the arrays. Every record must be about rows that are there, that no other record has, that have its hash, and whose mean
and numbers are those that it states. If the arrays are others than those of the JSON, because a run was stopped between
the two writes or because they were changed, the records that still match are kept; the attribution must match.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import ValidationError

from ...ordinary_files import read_ordinary
from .array_files import arrays_of
from .cells import Cell, Key, scores_hash
from .seals import SealError, opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .cells import Record, Scores

    Arrays = Mapping[str, np.ndarray[Any, Any]]

LOST_SEAL: Final = "it was changed after it was written: it has lost its checksum"
ARRAYS: Final = ("attribution", "target", "lengths", "scores", "measured")
# The first format whose files have a seal.
SEALED: Final = 3
# The largest relative difference of a stored mean from that of its row: another machine adds in another order.
_ROUNDING: Final = 1e-9


class BadCellError(ValueError):
    """The files of a cell are no good; the message says why.

    Attributes:
        ending: of the file that is at fault, ``"json"`` or ``"npz"``.
        word: the reason in a word, for a name of a file.
    """

    def __init__(self, ending: str, word: str, reason: str) -> None:
        super().__init__(reason)
        self.ending, self.word = ending, word


@dataclass(frozen=True)
class CheckedCell:
    """A cell that was checked byte by byte.

    Attributes:
        cell: the cell, with the records that match the arrays and the hash of the arrays as they are.
        digest: sha256 of the JSON file.
        dropped: number of records that do not match.
        whole: whether JSON and arrays belong together.
        sealed: whether the JSON has a seal; cells of earlier versions have none.
    """

    cell: Cell
    digest: str
    dropped: int
    whole: bool
    sealed: bool


def check_cell(folder: Path, path: str, key: Key | None = None) -> CheckedCell:
    """Check the files of a cell.

    Args:
        folder: the folder of the run.
        path: path of the files in it, without the ending.
        key: the place that the path is of; None to take the one that the JSON names, which must have this path.

    Raises:
        FileNotFoundError: there is no JSON.
        BadCellError: the cell cannot be used.
    """
    text = _read(f"{folder}/{path}.json")
    cell, sealed = parsed(text)
    if problem := _other_place(cell, path, key):
        raise BadCellError("json", "other-place", problem)
    digest, dropped, whole = hashlib.sha256(text).hexdigest(), 0, True
    if cell.explained:
        try:
            data = read_ordinary(f"{folder}/{path}.npz")
        except FileNotFoundError as error:
            raise BadCellError("npz", "missing", "there is no such file") from error
        except OSError as error:
            raise BadCellError("npz", "unreadable", error.strerror or "it cannot be read") from error
        before = cell
        cell, dropped = _with_arrays(cell, data)
        whole = dropped == 0 and cell.measured.arrays == before.measured.arrays
    return CheckedCell(cell, digest, dropped, whole, sealed)


def parsed(text: bytes) -> tuple[Cell, bool]:
    """Cell of a JSON file, and whether it has a seal.

    Raises:
        BadCellError: the bytes are no cell, or not those that were written.
    """
    try:
        content, sealed = opened(text)
        cell = Cell.model_validate_json(content)
    except SealError as error:
        raise BadCellError("json", "changed", str(error)) from error
    except ValidationError as error:
        raise BadCellError("json", "no-cell", "it is no cell of this version") from error
    except ValueError as error:
        raise BadCellError("json", "no-json", "it is no JSON") from error
    if sealed != (cell.format >= SEALED):
        raise BadCellError("json", "changed", LOST_SEAL)
    return cell, sealed


def place_of(cell: Cell) -> Key:
    """The place that a cell names itself."""
    return Key(cell.task, cell.method, cell.model_seed, cell.explainer_seed)


def misplaced(cell: Cell, key: Key) -> bool:
    """Whether a cell is that of another place."""
    return (cell.model_seed, cell.explainer_seed, cell.task.identity, cell.method.identity) != (
        key.model_seed,
        key.explainer_seed,
        key.task.identity,
        key.method.identity,
    )


def _other_place(cell: Cell, path: str, key: Key | None) -> str:
    """Sentence part about a cell that is that of another place; empty if it is in its own."""
    try:
        own = place_of(cell)
        wrong = own.path != path if key is None else misplaced(cell, key)
    except (KeyError, TypeError, ValueError):
        return "it names no place"
    return f"it is the cell of {own}" if wrong else ""


def _read(path: str) -> bytes:
    """Bytes of the JSON of a cell.

    Raises:
        FileNotFoundError: there is none.
        BadCellError: it cannot be read.
    """
    try:
        return read_ordinary(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise BadCellError("json", "unreadable", error.strerror or "it cannot be read") from error


# ---- arrays ---------------------------------------------------------------------------------------------------------


def _with_arrays(cell: Cell, data: bytes) -> tuple[Cell, int]:
    """Cell with the records that match the arrays, and the number of those that do not.

    Raises:
        BadCellError: the attribution or something that all records need does not match.
    """
    digest = hashlib.sha256(data).hexdigest()
    try:
        arrays = arrays_of(data, ARRAYS, known=digest == cell.measured.arrays)
    except (KeyError, ValueError) as error:
        raise BadCellError("npz", "no-arrays", f"it holds no arrays of a cell: {_told(error)}") from error
    if problem := shape_problem(cell, arrays):
        raise BadCellError("npz", "other-arrays", problem)
    if array_hash(arrays["attribution"]) != cell.fingerprints.attribution:
        raise BadCellError("npz", "other-attribution", "its attribution is not that of the JSON")
    if cell.fingerprints.lengths not in {"", array_hash(arrays["lengths"])}:
        raise BadCellError("npz", "other-lengths", "its lengths are not those of the JSON")
    records = _matching(cell.records, arrays["scores"])
    measured = _matching(cell.measured.records, arrays["measured"])
    dropped = len(cell.records) + len(cell.measured.records) - len(records) - len(measured)
    if dropped == 0 and digest == cell.measured.arrays:
        return cell, 0
    changed = cell.measured.model_copy(update={"records": measured, "arrays": digest})
    return cell.model_copy(update={"records": records, "measured": changed}), dropped


def _told(error: Exception) -> str:
    """Message of an error of reading arrays."""
    return f"there is no {error}" if isinstance(error, KeyError) else str(error)


def shape_problem(cell: Cell, arrays: Arrays) -> str:
    """Sentence part about arrays whose shapes do not fit each other; empty if they do."""
    values, lengths = arrays["attribution"], arrays["lengths"]
    if values.ndim not in {2, 3} or values.dtype.kind != "f":
        return "its attribution is not one of sequences"
    count = len(values)
    if any(arrays[name].shape != (count,) or arrays[name].dtype.kind != "i" for name in ("lengths", "target")):
        return "its lengths and targets are not those of its sequences"
    if count and not (lengths.min() >= 1 and lengths.max() <= values.shape[1]):
        return "its sequences are shorter than their lengths"
    for name in ("scores", "measured"):
        if arrays[name].ndim != 2 or arrays[name].dtype != np.float64 or arrays[name].shape[1] != count:
            return "its scores are not those of its sequences"
    return "" if len(cell.ids) in {0, count} else "it has other sequences than its JSON has names"


def _matching(records: tuple[Record, ...], rows: Scores) -> tuple[Record, ...]:
    """The records that are as their rows say; the others state rows that are not there, are another's, or differ."""
    scored = [record for record in records if record.status == "scored"]
    good = _numbers_agree(scored, rows) if _apart(scored, len(rows)) else _alone(scored, rows)
    agreeing = iter(good)
    return tuple(record for record in records if (next(agreeing) if record.status == "scored" else record.row is None))


def _apart(records: Sequence[Record], count: int) -> bool:
    """Whether all rows of records are there, and no two records have one in common."""
    end = 0
    for record in sorted(records, key=lambda each: -1 if each.row is None else each.row):
        if record.row is None or record.row < end or record.profile < 0:
            return False
        end = record.row + 1 + record.profile
    return end <= count


def _alone(records: Sequence[Record], rows: Scores) -> list[bool]:
    """Whether each of some records agrees with rows that are there and that no other record has."""
    good = []
    for record in records:
        others = [other for other in records if other is not record and _overlap(record, other)]
        good.append(not others and _apart([record], len(rows)) and _numbers_agree([record], rows)[0])
    return good


def _overlap(one: Record, other: Record) -> bool:
    """Whether two records have a row in common."""
    if one.row is None or other.row is None:
        return False
    return one.row <= other.row + other.profile and other.row <= one.row + one.profile


def _numbers_agree(records: Sequence[Record], rows: Scores) -> list[bool]:
    """Whether the hash, the mean and the numbers of each record are those of its rows, which are there."""
    if not records:
        return []
    starts = [record.row or 0 for record in records]
    scores = rows[starts]
    undefined = np.isnan(scores)
    counts = (scores.shape[1] - undefined.sum(1)).tolist()
    sums = np.where(undefined, 0.0, scores).sum(1).tolist()
    return [
        record.n == count
        and 0 <= record.undefined <= scores.shape[1] - count
        and _is_mean(record.mean, total, count, row)
        and scores_hash(rows[start : start + 1 + record.profile]) == record.scores
        for record, start, row, count, total in zip(records, starts, scores, counts, sums, strict=True)
    ]


def _is_mean(stated: float | None, total: float, count: int, row: Scores) -> bool:
    """Whether a stated mean is that of a row, up to rounding; of nothing there is none."""
    if stated is None or not count:
        return stated is None and not count
    return stated == total / count or abs(stated - total / count) <= _ROUNDING * float(np.nansum(np.abs(row))) / count


def array_hash(array: np.ndarray[Any, Any]) -> str:
    """Sha256 of an array: its type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
