"""What stands in an archive: ``archive.json`` for everything that is read at a glance, ``scores.npz`` for the scores.

Cells name tasks, methods, metrics, models, origins and reasons by their place in a list, so that a line of the JSON is
one cell. Scores are kept in single precision, half the size; a row of it is the score of every sequence. Kept in
double precision are rows that are one number repeated, which take no room, and those single precision would change by
more than rounding: whole numbers over 2²⁴, and what is too large for it. Counts are therefore exact.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..suites.suite import Suite  # noqa: TC001  # pydantic reads the annotation at run time
from .cells import Cell, Competence, Failure, Fingerprints, Key, Measured, Passes, Record
from .run_file import KeptGrid, KeptProvenance, Strict
from .scored_cells import Judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .cells import Axes, Scores, Source

Place = Annotated[int, Field(ge=0)]
# metric, mean, n, undefined, row
Scored = tuple[Place, float | None, Place, Place, Place]
_PRECISIONS = {"single": np.float32, "double": np.float64}


class ModelEntry(Strict):
    """A model, its data, how good it is and where it is from, as several cells share them; see :class:`.cells.Cell`."""

    model: str
    data: str
    lengths: str
    competence: Annotated[Competence | None, Field(strict=False)]
    origin: str = ""


class FailureEntry(Strict):
    """A failure without its traceback, which names the machine it happened on."""

    kind: str
    sentence: str


class CellEntry(Strict):
    """One cell.

    Attributes:
        task, method: places in the grid.
        seeds: of the model and of the explainer.
        passes: forward, backward, executed.
        model, origin: places in the archive's lists.
        width: how many sequences a row of its scores has.
        single, double: its scored metrics, their rows being those of ``single_<width>`` and ``double_<width>``.
        inapplicable: metrics with the reason's place.
        failed: metrics with what went wrong.
    """

    task: Place
    method: Place
    seeds: tuple[Place, Place]
    status: Literal["explained", "not applicable", "failed", "missing"]
    reason: str = ""
    failure: FailureEntry | None = None
    signed: bool = False
    complete: bool = False
    model: Place = 0
    attribution: str = ""
    passes: tuple[Place, Place, Place] = (0, 0, 0)
    date: str = ""
    seconds: float = 0.0
    peak_bytes: Place = 0
    origin: Place = 0
    width: Place = 0
    single: tuple[Scored, ...] = ()
    double: tuple[Scored, ...] = ()
    inapplicable: tuple[tuple[Place, Place], ...] = ()
    failed: tuple[tuple[Place, FailureEntry], ...] = ()


class ArchiveFile(Strict):
    """The whole JSON; ``scores`` is the sha256 of ``scores.npz``."""

    format: Literal[1] = 1
    suite: Annotated[Suite, Field(strict=False)]
    complete: bool
    provenance: KeptProvenance
    scores: str
    grid: Annotated[KeptGrid, Field(strict=False)]
    models: tuple[ModelEntry, ...]
    origins: tuple[str, ...]
    reasons: tuple[str, ...]
    cells: tuple[CellEntry, ...]


@dataclass
class Shelf:
    """Things by their place, each kept once."""

    places: dict[Any, int] = field(default_factory=dict)

    def place(self, thing: Any) -> int:  # noqa: ANN401  # whatever can be a key
        """Where a thing is; it is put there if it is not."""
        return self.places.setdefault(thing, len(self.places))

    @property
    def things(self) -> list[Any]:
        """In the order of their places."""
        return list(self.places)


class Packing:
    """Cells on the way into an archive.

    Attributes:
        models, origins, reasons: what cells share; models as the JSON of their entry.
        rows: by name of an array, ``single_<width>`` or ``double_<width>``, the bytes of its rows.
    """

    def __init__(self, axes: Axes) -> None:
        self.models, self.origins, self.reasons = Shelf(), Shelf(), Shelf()
        self.rows: dict[str, Shelf] = {}
        self._tasks, self._methods, self._metrics = map(_places, (axes.tasks, axes.methods, axes.metrics))
        self._axes = axes

    def entry(self, key: Key, judged: Judged) -> CellEntry:
        """One cell's line; its rows are put where the line says."""
        cell = judged.cell
        task, method = self._tasks[key.task.spec], self._methods[key.method.spec]
        seeds = (key.model_seed, key.explainer_seed)
        if cell is None:
            return CellEntry(task=task, method=method, seeds=seeds, status="missing")
        prints, measured = cell.fingerprints, cell.measured
        shared = ModelEntry(
            model=prints.model,
            data=prints.data,
            lengths=prints.lengths,
            competence=cell.competence,
            origin=cell.model_origin,
        ).model_dump_json()
        entry = CellEntry(
            task=task,
            method=method,
            seeds=seeds,
            status=cell.status,
            reason=cell.reason,
            failure=_failure(cell.failure),
            signed=cell.signed,
            complete=cell.complete,
            model=self.models.place(shared),
            attribution=prints.attribution,
            passes=(cell.passes.forward, cell.passes.backward, cell.passes.executed),
            date=measured.date,
            seconds=measured.seconds,
            peak_bytes=measured.peak_bytes,
            origin=self.origins.place(measured.origin),
        )
        return entry.model_copy(update=self._records(judged, [cell.record(metric) for metric in self._axes.metrics]))

    def arrays(self) -> bytes:
        """The ``.npz``; the same scores give the same bytes."""
        packed = {}
        for name, shelf in self.rows.items():
            precision = _PRECISIONS[name.partition("_")[0]]
            packed[name] = np.stack([np.frombuffer(row, precision) for row in shelf.things])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **packed)
        return buffer.getvalue()

    def _records(self, judged: Judged, records: Sequence[Record | None]) -> dict[str, Any]:
        found: dict[str, list[Any]] = {"single": [], "double": [], "inapplicable": [], "failed": []}
        width = 0
        for record in filter(None, records):
            metric = self._metrics[record.metric.spec]
            if record.status == "failed":
                found["failed"].append((metric, _failure(record.failure)))
            elif record.status == "not applicable":
                found["inapplicable"].append((metric, self.reasons.place(record.reason)))
            else:
                row = judged.row(record)
                precision = _precision(row)
                rows = self.rows.setdefault(f"{precision}_{len(row)}", Shelf())
                place = rows.place(row.astype(_PRECISIONS[precision]).tobytes())
                found[precision].append((metric, record.mean, record.n, record.undefined, place))
                width = len(row)
        return {"width": width, **{name: tuple(items) for name, items in found.items()}}


def unpacked(file: ArchiveFile, axes: Axes, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Iterator[tuple[Key, Judged]]:
    """The cells of an archive.

    Raises:
        IndexError, KeyError: a place there is not.
        ValueError: a row that is not one score for each sequence.
    """
    rows = {name: array.astype(np.float64) for name, array in arrays.items()}
    for entry in file.cells:
        key = Key(axes.tasks[entry.task], axes.methods[entry.method], *entry.seeds)
        yield key, _judged(file, axes, key, entry, rows)


def _judged(file: ArchiveFile, axes: Axes, key: Key, entry: CellEntry, rows: Mapping[str, Scores]) -> Judged:
    if entry.status == "missing":
        return Judged(None, np.empty((0, 0)), np.empty((0, 0)))
    scored = [
        (axes.metrics[metric], mean, n, undefined, rows[f"{precision}_{entry.width}"][row])
        for precision in _PRECISIONS
        for metric, mean, n, undefined, row in getattr(entry, precision)
    ]
    kept: dict[bool, list[Record]] = {False: [], True: []}
    scores: dict[bool, list[Scores]] = {False: [], True: []}
    for metric, mean, n, undefined, row in scored:
        if row.shape != (entry.width,):
            raise ValueError(f"a row of {metric.spec} is not of {entry.width} sequences")
        apart = metric.unreproducible
        place = len(scores[apart])
        kept[apart].append(Record(metric=metric, status="scored", mean=mean, n=n, undefined=undefined, row=place))
        scores[apart].append(row)
    for metric, record in _unscored(file, axes, entry):
        kept[metric.unreproducible].append(record)
    cell = _cell(file, key, entry, tuple(kept[False]), tuple(kept[True]))
    return Judged(cell, _stacked(scores[False], entry.width), _stacked(scores[True], entry.width))


def _unscored(file: ArchiveFile, axes: Axes, entry: CellEntry) -> Iterator[tuple[Source, Record]]:
    for place, reason in entry.inapplicable:
        metric = axes.metrics[place]
        yield metric, Record(metric=metric, status="not applicable", reason=file.reasons[reason])
    for place, failure in entry.failed:
        metric = axes.metrics[place]
        yield metric, Record(metric=metric, status="failed", failure=Failure(**dict(failure)))


def _cell(
    file: ArchiveFile, key: Key, entry: CellEntry, records: tuple[Record, ...], apart: tuple[Record, ...]
) -> Cell:
    model = file.models[entry.model]
    forward, backward, executed = entry.passes
    return Cell.model_validate(
        {
            "task": key.task,
            "method": key.method,
            "model_seed": key.model_seed,
            "explainer_seed": key.explainer_seed,
            "status": entry.status,
            "reason": entry.reason,
            "failure": None if entry.failure is None else Failure(**dict(entry.failure)),
            "signed": entry.signed,
            "complete": entry.complete,
            "competence": model.competence,
            "model_origin": model.origin,
            "fingerprints": Fingerprints(
                model=model.model, data=model.data, attribution=entry.attribution, lengths=model.lengths
            ),
            "passes": Passes(forward=forward, backward=backward, executed=executed),
            "records": records,
            "measured": Measured(
                date=entry.date,
                seconds=entry.seconds,
                peak_bytes=entry.peak_bytes,
                records=apart,
                origin=file.origins[entry.origin],
            ),
        }
    )


def _precision(row: Scores) -> str:
    """``"single"`` unless that saves nothing, or changes more than the last digits."""
    there = row[~np.isnan(row)]
    with np.errstate(over="ignore"):
        rounded = there.astype(np.float32).astype(np.float64)
    repeated = len(there) in {0, len(row)} and (rounded == rounded[:1]).all()
    changed = np.isinf(rounded) | ((rounded != there) & (there == np.rint(there)))
    return "double" if repeated or changed.any() else "single"


def _stacked(rows: Sequence[Scores], width: int) -> Scores:
    return np.stack(rows) if rows else np.empty((0, width))


def _failure(failure: Failure | None) -> FailureEntry | None:
    return None if failure is None else FailureEntry(kind=failure.kind, sentence=failure.sentence)


def _places(sources: Sequence[Source]) -> dict[str, int]:
    return {source.spec: place for place, source in enumerate(sources)}
