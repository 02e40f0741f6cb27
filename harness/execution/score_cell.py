"""One cell's records: every metric it lacks, from the attribution that is kept."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...metrics.base import Evidence, Measurement
from ...tasks.subject import Cost
from ..results.cells import Record, scores_hash
from .build_model import PLUGIN_ERRORS, failure_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ...metrics.base import Metric
    from ..results.cells import Cell, Failure, Scores, Source

    Judged = tuple[Record, "Scores | None"]


def lacking(cell: Cell | None, metrics: Iterable[tuple[Source, Metric]], siblings: str) -> list[tuple[Source, Metric]]:
    """The metrics a cell has no good record of: never scored, failed, or scored beside others or without a curve.

    Args:
        cell: nothing is lacking where there is no explanation.
        metrics: those of the grid.
        siblings: fingerprint of the other models' attributions as they are now.
    """
    if cell is None or not cell.explained:
        return []
    found = []
    for source, metric in metrics:
        record = cell.record(source)
        if record is None or record.status == "failed" or _stale(record, metric, siblings):
            found.append((source, metric))
    return found


def _stale(record: Record, metric: Metric, siblings: str) -> bool:
    compared = metric.needs_siblings and record.siblings != siblings
    return compared or (record.status == "scored" and record.profile != metric.profiled)


def measurement_of(cell: Cell) -> Measurement:
    """What explaining cost, as it was measured then."""
    cost = Cost(cell.passes.forward, cell.passes.backward, cell.passes.executed)
    return Measurement(cost, cell.measured.seconds, cell.measured.peak_bytes)


def planned(metrics: Iterable[tuple[Source, Metric]], evidence: Evidence) -> frozenset[Hashable]:
    """What metrics will ask of the probes they share; one whose answer is an error says so when it is its turn."""
    found: set[Hashable] = set()
    for _, metric in metrics:
        with contextlib.suppress(*PLUGIN_ERRORS):
            if not metric.applicable(evidence.explainer, evidence.subject):
                found.update(metric.asks)
    return frozenset(found)


def judge(source: Source, metric: Metric, evidence: Evidence, siblings: str) -> Judged:
    """One metric's record of one cell and its rows float64[1 + P, B], scores and curves; None where there are none."""
    kept = siblings if metric.needs_siblings else ""
    try:
        reason = metric.applicable(evidence.explainer, evidence.subject)
        if not reason and metric.needs_siblings and not evidence.siblings:
            reason = "there is no other model to compare with"
        if reason:
            return Record(metric=source, status="not applicable", reason=reason, siblings=kept), None
        with evidence.subject.isolated(f"metric {metric.name!r}"):
            torch.manual_seed(evidence.seed)
            scores = metric.measure(evidence).detach().cpu().numpy()
            curves = metric.sketch(evidence).detach().cpu().numpy().T if metric.profiled else ()
    except PLUGIN_ERRORS as error:
        return failed_record(source, failure_of(error), kept), None
    n = int((~np.isnan(scores)).sum())
    undefined = metric.asked(len(scores)) - n
    mean = float(np.nanmean(scores)) if n else None
    rows = np.vstack([scores, *curves])
    record = Record(
        metric=source,
        status="scored",
        mean=mean,
        n=n,
        undefined=undefined,
        profile=len(curves),
        scores=scores_hash(rows),
        siblings=kept,
    )
    return record, rows


def failed_record(source: Source, failure: Failure, siblings: str = "") -> Record:
    """The record of a metric that failed."""
    return Record(metric=source, status="failed", failure=failure, siblings=siblings)


def with_records(cell: Cell, arrays: Mapping[str, Any], judged: Sequence[Judged]) -> tuple[Cell, dict[str, Any]]:
    """A cell with more records, and its arrays with their scores.

    Records of metrics that are not of this grid stay; they are in order of their names, so that the same records
    make the same cell whatever order they came in.

    Args:
        cell: the cell so far.
        arrays: attribution, target, lengths, scores [R, B] and measured [R, B] so far.
        judged: new records with their rows.
    """
    merged: dict[str, Judged] = {}
    for records, rows in ((cell.records, arrays["scores"]), (cell.measured.records, arrays["measured"])):
        merged |= {record.metric.spec: (record, _rows(record, rows)) for record in records}
    merged |= {record.metric.spec: (record, rows) for record, rows in judged}
    ordered = [merged[spec] for spec in sorted(merged)]
    width = len(arrays["target"])
    apart = _stacked([pair for pair in ordered if pair[0].metric.unreproducible], width)
    exact = _stacked([pair for pair in ordered if not pair[0].metric.unreproducible], width)
    changed = cell.measured.model_copy(update={"records": apart[0]})
    cell = cell.model_copy(update={"records": exact[0], "measured": changed})
    return cell, {**arrays, "scores": exact[1], "measured": apart[1]}


def _rows(record: Record, rows: Scores) -> Scores | None:
    return None if record.row is None else rows[record.row : record.row + 1 + record.profile]


def _stacked(judged: Sequence[Judged], width: int) -> tuple[tuple[Record, ...], Scores]:
    """The records with their place in the rows float64[R, width]."""
    records: list[Record] = []
    rows: list[Scores] = []
    for record, found in judged:
        place = None if found is None else len(rows)
        rows.extend(() if found is None else found)
        records.append(record.model_copy(update={"row": place}))
    return tuple(records), np.stack(rows) if rows else np.empty((0, width))
