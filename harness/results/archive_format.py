"""Format of an archive: ``archive.json`` with the cells and their records, and ``scores.npz`` with the scores.

Cells refer to tasks, methods, metrics, models, origins and reasons by their index in a list, so that each line of the
JSON is one cell. A row of scores has one value for each sequence. Rows are stored in single precision, which halves
their size. Double precision is kept for rows that repeat one number, because these compress to almost nothing, and for
rows that single precision would change by more than rounding: whole numbers over 2²⁴, and values too large for single
precision. Counts are therefore exact.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from ..suites.suite import Suite  # noqa: TC001  # pydantic reads the annotation at run time
from .cells import Cell, Competence, Failure, Fingerprints, Key, Measured, Passes, Quality, Record
from .run_file import KeptGrid, KeptProvenance, Strict
from .scored_cells import ScoredCell
from .stored_cells import Recent, UnreadCell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .cells import Axes, PluginInfo, Scores

NonNegative = Annotated[int, Field(ge=0)]
# metric, mean, n, undefined, row
Scored = tuple[NonNegative, float | None, NonNegative, NonNegative, NonNegative]
_PRECISIONS = {"single": np.float32, "double": np.float64}


class ModelEntry(Strict):
    """Facts of a model, which its cells share; see :class:`.cells.Cell`."""

    model: str
    data: str
    lengths: str
    competence: Annotated[Competence | None, Field(strict=False)]
    origin: str = ""
    quality: Annotated[Quality | None, Field(strict=False)] = None
    ids: Annotated[tuple[str, ...], Field(strict=False)] = ()


class FailureEntry(Strict):
    """Failure without its traceback, because tracebacks contain paths of the machine."""

    kind: str
    sentence: str


# Fields of the record of a scored metric.
_SCORED = {name: field.default for name, field in Record.model_fields.items()} | {"status": "scored"}


class CellEntry(Strict):
    """Entry of one cell.

    Attributes:
        task, method: indices in the grid.
        seeds: model seed and explainer seed.
        passes: forward, backward, executed.
        model, origin: indices in the lists of the archive.
        device: name of the device the model ran on; empty if not known.
        width: number of sequences in a row of scores.
        single, double: scored metrics, with their rows in ``single_<width>`` and ``double_<width>``.
        inapplicable: metrics that are not applicable, with the index of the reason.
        failed: metrics that failed, with the failure.
    """

    task: NonNegative
    method: NonNegative
    seeds: tuple[NonNegative, NonNegative]
    status: Literal["explained", "not applicable", "failed", "missing"]
    reason: str = ""
    failure: FailureEntry | None = None
    signed: bool = False
    complete: bool = False
    incomplete: int = 0
    caveats: tuple[str, ...] = ()
    model: NonNegative = 0
    attribution: str = ""
    passes: tuple[NonNegative, NonNegative, NonNegative] = (0, 0, 0)
    date: str = ""
    seconds: float = 0.0
    peak_bytes: NonNegative | None = None
    device: str = ""
    origin: NonNegative = 0
    width: NonNegative = 0
    single: tuple[Scored, ...] = ()
    double: tuple[Scored, ...] = ()
    inapplicable: tuple[tuple[NonNegative, NonNegative], ...] = ()
    failed: tuple[tuple[NonNegative, FailureEntry], ...] = ()


class ArchiveFile(Strict):
    """Content of ``archive.json``; ``scores`` is the sha256 of ``scores.npz``.

    Files of format 1, of earlier versions, have no seal.
    """

    format: Literal[1, 2] = 2
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
class UniqueList:
    """List of different items, in the order in which they were added."""

    indices: dict[Any, int] = field(default_factory=dict)

    def index(self, item: Any) -> int:  # noqa: ANN401  # any hashable value
        """Index of an item, which is added if it is new."""
        return self.indices.setdefault(item, len(self.indices))

    @property
    def items(self) -> list[Any]:
        """Items in the order of their indices."""
        return list(self.indices)


class ArchiveWriter:
    """Writer of an archive: it makes the entries of cells and collects the lists and rows that they refer to.

    Attributes:
        models, origins, reasons: lists that cells share; models are the JSON of their entries.
        rows: rows as bytes, by the name of their array, ``single_<width>`` or ``double_<width>``.
    """

    def __init__(self, axes: Axes) -> None:
        self.models, self.origins, self.reasons = UniqueList(), UniqueList(), UniqueList()
        self.rows: dict[str, UniqueList] = {}
        self._tasks, self._methods, self._metrics = map(_indices, (axes.tasks, axes.methods, axes.metrics))
        self._axes = axes

    def entry(self, key: Key, scored: ScoredCell) -> CellEntry:
        """Entry of one cell; its rows are added to the arrays."""
        cell = scored.cell
        task, method = self._tasks[key.task.spec], self._methods[key.method.spec]
        seeds = (key.model_seed, key.explainer_seed)
        if cell is None:
            return CellEntry(task=task, method=method, seeds=seeds, status="missing")
        fingerprints, measured = cell.fingerprints, cell.measured
        shared = ModelEntry(
            model=fingerprints.model,
            data=fingerprints.data,
            lengths=fingerprints.lengths,
            competence=cell.competence,
            origin=cell.model_origin,
            quality=cell.quality,
            ids=cell.ids,
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
            incomplete=cell.incomplete,
            caveats=cell.caveats,
            model=self.models.index(shared),
            attribution=fingerprints.attribution,
            passes=(cell.passes.forward, cell.passes.backward, cell.passes.executed),
            date=measured.date,
            seconds=measured.seconds,
            peak_bytes=measured.peak_bytes,
            device=measured.device,
            origin=self.origins.index(measured.origin),
        )
        return entry.model_copy(update=self._records(scored, [cell.record(metric) for metric in self._axes.metrics]))

    def arrays(self) -> bytes:
        """Bytes of ``scores.npz``; the same scores give the same bytes."""
        arrays = {}
        for name, rows in self.rows.items():
            precision = _PRECISIONS[name.partition("_")[0]]
            arrays[name] = np.stack([np.frombuffer(row, precision) for row in rows.items])
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    def _records(self, scored: ScoredCell, records: Sequence[Record | None]) -> dict[str, Any]:
        """Fields of a cell's entry that hold its records; their rows are added to the arrays."""
        fields: dict[str, list[Any]] = {"single": [], "double": [], "inapplicable": [], "failed": []}
        width = 0
        for record in filter(None, records):
            metric = self._metrics[record.metric.spec]
            if record.status == "failed":
                fields["failed"].append((metric, _failure(record.failure)))
            elif record.status == "not applicable":
                fields["inapplicable"].append((metric, self.reasons.index(record.reason)))
            else:
                row = scored.row(record)
                precision = _precision(row)
                rows = self.rows.setdefault(f"{precision}_{len(row)}", UniqueList())
                index = rows.index(row.astype(_PRECISIONS[precision]).tobytes())
                fields[precision].append((metric, record.mean, record.n, record.undefined, index))
                width = len(row)
        return {"width": width, **{name: tuple(entries) for name, entries in fields.items()}}


def read_cells(
    file: ArchiveFile, axes: Axes, arrays: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[tuple[Key, ScoredCell]]:
    """Read the cells of an archive; each is made when one of its attributes is asked for.

    Args:
        file: the content of ``archive.json``.
        axes: the plug-ins of its grid.
        arrays: the arrays of ``scores.npz``.

    Raises:
        IndexError, KeyError: a cell refers to an entry that does not exist.
        ValueError: a row does not have one score for each sequence, or an array is not one of scores.
    """
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype != _PRECISIONS.get(name.partition("_")[0]):
            raise ValueError(f"{name} holds no scores")
    read: Recent[int, ScoredCell] = Recent(lambda place: _scored_cell(file, axes, file.cells[place], arrays))
    for place, entry in enumerate(file.cells):
        key = _key(axes, entry)
        _check(file, axes, entry, arrays)
        yield key, UnreadCell.of(place, read)


def _key(axes: Axes, entry: CellEntry) -> Key:
    return Key(axes.tasks[entry.task], axes.methods[entry.method], *entry.seeds)


def _check(file: ArchiveFile, axes: Axes, entry: CellEntry, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Look up everything that an entry refers to, for the errors of :func:`read_cells`."""
    if entry.status == "missing":
        return
    _ = file.models[entry.model], file.origins[entry.origin]
    for precision in _PRECISIONS:
        for metric, _, n, undefined, row in getattr(entry, precision):
            scores = arrays[f"{precision}_{entry.width}"][row]
            if scores.shape != (entry.width,):
                raise ValueError(f"a row of {axes.metrics[metric].spec} is not of {entry.width} sequences")
            if n + undefined > entry.width:
                raise ValueError(f"{axes.metrics[metric].spec} has more scores than there are sequences")
    for metric, reason in entry.inapplicable:
        _ = axes.metrics[metric], file.reasons[reason]
    for metric, _ in entry.failed:
        _ = axes.metrics[metric]


def _scored_cell(
    file: ArchiveFile, axes: Axes, entry: CellEntry, arrays: Mapping[str, np.ndarray[Any, Any]]
) -> ScoredCell:
    """Cell of an entry with its scores."""
    if entry.status == "missing":
        return ScoredCell(None, np.empty((0, 0)), np.empty((0, 0)))
    # reproducible records under False, measured ones under True
    records: dict[bool, list[Record]] = {False: [], True: []}
    scores: dict[bool, list[Scores]] = {False: [], True: []}
    for precision in _PRECISIONS:
        for place, mean, n, undefined, row in getattr(entry, precision):
            metric = axes.metrics[place]
            measured = metric.unreproducible
            own = {"mean": mean, "n": n, "undefined": undefined, "row": len(scores[measured])}
            # its numbers were validated with the entry
            records[measured].append(Record.of_valid({**_SCORED, "metric": metric, **own}))
            scores[measured].append(arrays[f"{precision}_{entry.width}"][row])
    for metric, record in _unscored(file, axes, entry):
        records[metric.unreproducible].append(record)
    cell = _cell(file, _key(axes, entry), entry, tuple(records[False]), tuple(records[True]))
    return ScoredCell(cell, _stacked(scores[False], entry.width), _stacked(scores[True], entry.width))


def _unscored(file: ArchiveFile, axes: Axes, entry: CellEntry) -> Iterator[tuple[PluginInfo, Record]]:
    """Metrics of a cell that are not applicable or failed, with their records."""
    for place, reason in entry.inapplicable:
        metric = axes.metrics[place]
        yield metric, Record(metric=metric, status="not applicable", reason=file.reasons[reason])
    for place, failure in entry.failed:
        metric = axes.metrics[place]
        yield metric, Record(metric=metric, status="failed", failure=Failure(**dict(failure)))


def _cell(
    file: ArchiveFile, key: Key, entry: CellEntry, records: tuple[Record, ...], measured: tuple[Record, ...]
) -> Cell:
    """Cell of an entry, with its reproducible and its measured records."""
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
            "incomplete": entry.incomplete,
            "caveats": entry.caveats,
            "competence": model.competence,
            "model_origin": model.origin,
            "quality": model.quality,
            "ids": model.ids,
            "fingerprints": Fingerprints(
                model=model.model, data=model.data, attribution=entry.attribution, lengths=model.lengths
            ),
            "passes": Passes(forward=forward, backward=backward, executed=executed),
            "records": records,
            "measured": Measured(
                date=entry.date,
                seconds=entry.seconds,
                peak_bytes=entry.peak_bytes,
                device=entry.device,
                records=measured,
                origin=file.origins[entry.origin],
            ),
        }
    )


def _precision(row: Scores) -> str:
    """Precision of a row: ``"single"`` unless this saves nothing, or changes more than the last digits."""
    defined = row[~np.isnan(row)]
    with np.errstate(over="ignore"):
        rounded = defined.astype(np.float32).astype(np.float64)
    repeated = len(defined) in {0, len(row)} and (rounded == rounded[:1]).all()
    changed = np.isinf(rounded) | ((rounded != defined) & (defined == np.rint(defined)))
    return "double" if repeated or changed.any() else "single"


def _stacked(rows: Sequence[Scores], width: int) -> Scores:
    """Rows as float64[R, width], also if there are none."""
    return np.stack(rows, dtype=np.float64) if rows else np.empty((0, width))


def _failure(failure: Failure | None) -> FailureEntry | None:
    """Entry of a failure."""
    return None if failure is None else FailureEntry(kind=failure.kind, sentence=failure.sentence)


def _indices(plugins: Sequence[PluginInfo]) -> dict[str, int]:
    """Index of each plug-in by its spec."""
    return {info.spec: index for index, info in enumerate(plugins)}
