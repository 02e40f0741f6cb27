"""Scoring of one cell: a record for each metric, computed from the stored attribution."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ....metrics.base import Evidence, Measurement
from ....metrics.measuring import measuring
from ....tasks.subject import Cost
from ...results.cells import Record, Scoring, scores_hash
from ..guard.failures import failure_of, stored_text
from ..guard.limits import UNLIMITED
from ..guard.plugin_call import PluginCall

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from ....metrics.base import Metric
    from ...results.cells import Cell, Failure, PluginInfo, Scores
    from ..guard.limits import Limits
    from ..guard.model_state import ModelState

    # the last one is the cost, where the metric ran
    ScoredMetric = tuple[Record, "Scores | None"] | tuple[Record, "Scores | None", Scoring]


def measurement_of(cell: Cell) -> Measurement:
    """Cost of an attribution as it was measured when the attribution was computed."""
    cost = Cost(cell.passes.forward, cell.passes.backward, cell.passes.executed)
    return Measurement(cost, cell.measured.seconds, cell.measured.peak_bytes)


def planned_probes(
    metrics: Iterable[tuple[PluginInfo, Metric]],
    evidence: Evidence,
    limits: Limits = UNLIMITED,
) -> frozenset[Hashable]:
    """Keys of the shared probes that the metrics will use; a metric that raises an error here fails in scoring."""
    keys: set[Hashable] = set()
    for _, metric in metrics:
        with contextlib.suppress(Exception), PluginCall(f"Metric {metric.name!r}", limits):
            if not metric.applicable(evidence.explainer, evidence.subject):
                keys.update(metric.asks)
    return frozenset(keys)


def score_metric(
    info: PluginInfo,
    metric: Metric,
    evidence: Evidence,
    siblings: str,
    limits: Limits = UNLIMITED,
    *,
    state: ModelState,
) -> ScoredMetric:
    """Score one cell by one metric.

    Args:
        info: the metric as it is stored in results.
        metric: the metric.
        evidence: the attribution with its subject and method.
        siblings: fingerprint of the attributions of the other models.
        limits: limits of time and memory.
        state: the model as it was made.

    Returns:
        the record, and rows float64[1 + P, B] of the scores and the P points of their curve; None instead of rows if
        the metric is not applicable or failed. Then the cost, unless the metric is not applicable.
    """
    start, before = time.perf_counter(), evidence.subject.cost.copy()

    def cost() -> Scoring:
        passes = evidence.subject.cost.since(before)
        return Scoring(passes.forward, passes.backward, passes.executed, round(time.perf_counter() - start, 6))

    siblings, who = siblings if metric.needs_siblings else "", f"Metric {metric.name!r}"
    try:
        with state.call((metric, evidence.explainer), limits):
            reason = metric.applicable(evidence.explainer, evidence.subject)
            if not reason and metric.needs_siblings and not evidence.siblings:
                reason = "there is no other model to compare with"
            if reason:
                reason = stored_text(reason, f"{who}: applicable()")
                return Record(metric=info, status="not applicable", reason=reason, siblings=siblings), None
            with measuring(metric, evidence):
                scores = metric.measure(evidence).detach().cpu().numpy()
                curves = metric.sketch(evidence).detach().cpu().numpy().T if metric.profiled else ()
    except Exception as error:  # noqa: BLE001  # whatever a plug-in raises fails its record
        return failed_record(info, failure_of(error), siblings), None, cost()
    n = int((~np.isnan(scores)).sum())
    undefined = metric.asked(len(scores)) - n
    mean = float(np.nanmean(scores)) if n else None
    rows = np.vstack([scores, *curves])
    record = Record(
        metric=info,
        status="scored",
        mean=mean,
        n=n,
        undefined=undefined,
        profile=len(curves),
        scores=scores_hash(rows),
        siblings=siblings,
    )
    return record, rows, cost()


def failed_record(info: PluginInfo, failure: Failure, siblings: str = "") -> Record:
    """Record of a metric that failed."""
    return Record(metric=info, status="failed", failure=failure, siblings=siblings)


def with_records(cell: Cell, arrays: Mapping[str, Any], scored: Sequence[ScoredMetric]) -> tuple[Cell, dict[str, Any]]:
    """Add records to a cell, and their scores to its arrays.

    Records of metrics outside of this grid are kept. Records are sorted by the specs of their metrics, so that the
    cell does not depend on the order in which they were computed.

    Args:
        cell: the stored cell.
        arrays: its attribution, target, lengths, scores [R, B] and measured [R, B].
        scored: new records with their rows, and the cost of the metric where it is known.
    """
    merged: dict[str, tuple[Record, Scores | None]] = {}
    for records, rows in ((cell.records, arrays["scores"]), (cell.measured.records, arrays["measured"])):
        merged |= {record.metric.spec: (record, _rows(record, rows)) for record in records}
    merged |= {each[0].metric.spec: each[:2] for each in scored}
    costs = {each[0].metric.spec: each[2] for each in scored if len(each) == 3}
    ordered = [merged[spec] for spec in sorted(merged)]
    width = len(arrays["target"])
    measured = _stacked([pair for pair in ordered if pair[0].metric.unreproducible], width)
    reproducible = _stacked([pair for pair in ordered if not pair[0].metric.unreproducible], width)
    changed = cell.measured.model_copy(update={"records": measured[0], "scoring": cell.measured.scoring | costs})
    cell = cell.model_copy(update={"records": reproducible[0], "measured": changed})
    return cell, {**arrays, "scores": reproducible[1], "measured": measured[1]}


def _rows(record: Record, rows: Scores) -> Scores | None:
    """Rows of a record, its scores first and then its curves; None if it has no scores."""
    return None if record.row is None else rows[record.row : record.row + 1 + record.profile]


def _stacked(scored: Sequence[tuple[Record, Scores | None]], width: int) -> tuple[tuple[Record, ...], Scores]:
    """Stack the rows of records: the records with the index of their first row, and all rows float64[R, width]."""
    records: list[Record] = []
    rows: list[Scores] = []
    for record, added in scored:
        place = None if added is None else len(rows)
        rows.extend(() if added is None else added)
        records.append(record.model_copy(update={"row": place}))
    return tuple(records), np.stack(rows) if rows else np.empty((0, width))
