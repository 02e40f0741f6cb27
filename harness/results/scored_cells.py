"""Cells with their scores per sequence; attributions are loaded from disk on demand."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from .cells import Cell, Key, Scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .cells import Axes, PluginInfo, Record


@dataclass(frozen=True, eq=False)
class StoredAttribution:
    """Stored attribution of the sequences of one cell, as arrays.

    Attributes:
        values: float[B, T] or float[B, T, D], 0 beyond each sequence's length; NaN where several inputs leave their
            layout empty.
        lengths: int64[B], in steps.
        signed: whether values below 0 are evidence against the output.
        target: int64[B], the explained outputs; None if they were not loaded.
    """

    values: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, np.dtype[np.int64]]
    signed: bool
    target: np.ndarray[Any, np.dtype[np.int64]] | None = None

    @property
    def steps(self) -> np.ndarray[Any, Any]:
        """Contributions of steps, float[B, T]: those of their cells summed; NaN where there is no cell."""
        if self.values.ndim == 2:  # [B, T]
            return self.values
        empty = np.isnan(self.values)
        if not empty.any():
            return np.asarray(self.values.sum(-1, dtype=np.float64))
        return np.where(empty.all(-1), np.nan, np.where(empty, 0.0, self.values).sum(-1, dtype=np.float64))


# Model seed, cell, and the record of one metric; None if the metric has not scored the cell.
MetricRecord: TypeAlias = "tuple[int, ScoredCell, Record | None]"


@dataclass(frozen=True)
class ScoredCell:
    """A cell (one method on one model of one task) with its scores per sequence.

    Attributes:
        cell: the cell; None if it is missing or damaged.
        scores: float64[R, B], rows of the metrics that every run reproduces: for each the scores of the B sequences,
            then the points of its curve, if it has one.
        measured: float64[Q, B], the same of the metrics that read time or memory.
        read: loads the attribution from disk; None if none is stored.
    """

    cell: Cell | None
    scores: Scores
    measured: Scores
    read: Callable[[], StoredAttribution] | None = None

    def row(self, record: Record) -> Scores:
        """Scores float64[B] of a record with status ``"scored"``."""
        row: Scores = (self.measured if record.metric.unreproducible else self.scores)[record.row]
        return row

    def profile(self, record: Record) -> Scores:
        """Curves float64[P, B] of a record with status ``"scored"``; P is 0 for metrics without curves."""
        start = (record.row or 0) + 1
        rows = self.measured if record.metric.unreproducible else self.scores
        curves: Scores = rows[start : start + record.profile]
        return curves


class Results(Protocol):
    """Protocol of stored results: a run, or the archive of one."""

    @property
    def name(self) -> str:
        """Name of the suite."""

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""

    @property
    def axes(self) -> Axes:
        """Plug-ins of the grid."""

    @property
    def scored_cells(self) -> Mapping[Key, ScoredCell]:
        """Every cell of the grid with its scores."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Content of the JSON file: ``suite``, ``provenance`` and more."""


def model_origins(cells: Mapping[Key, ScoredCell]) -> dict[str, int]:
    """Number of models by origin, the most frequent first."""
    return counted_origins(origins_by_model(cells))


def origins_by_model(cells: Mapping[Key, ScoredCell]) -> dict[tuple[str, int], str]:
    """Origin of the model by spec of the task and model seed; models whose origin is not known are left out."""
    return {
        (key.task.spec, key.model_seed): scored.cell.model_origin
        for key, scored in cells.items()
        if scored.cell is not None and scored.cell.model_origin
    }


def counted_origins(origins: Mapping[tuple[str, int], str]) -> dict[str, int]:
    """Number of models by origin, the most frequent first."""
    return dict(Counter(origins.values()).most_common())


def direction_sign(metric: PluginInfo) -> int:
    """1 if higher is better, −1 if lower is, 0 if neither."""
    return {"higher": 1, "lower": -1}.get(metric.facts.get("direction", ""), 0)


def value_range(metric: PluginInfo) -> tuple[float, float]:
    """Range of a metric's values as (lowest, highest); infinite where it has no bound."""
    return float(metric.facts.get("low", -math.inf)), float(metric.facts.get("high", math.inf))


def is_control(method: PluginInfo) -> bool:
    """Whether a method is a control, which other methods are compared with."""
    return method.facts.get("group") == "control"


class CellsByMethod(dict[Key, ScoredCell]):
    """Cells of one task grouped by method and by metric; each grouping is computed once and cached."""

    @cached_property
    def methods(self) -> dict[str, list[tuple[int, ScoredCell]]]:
        """Cells with their model seeds by spec of the method, in the order of the seeds."""
        by_method: dict[str, list[tuple[int, ScoredCell]]] = {}
        for key in sorted(self, key=lambda key: (key.model_seed, key.explainer_seed)):
            by_method.setdefault(key.method.spec, []).append((key.model_seed, self[key]))
        return by_method

    @cached_property
    def _records(self) -> dict[str, dict[str, list[MetricRecord]]]:
        return {}

    def records(self, metric: PluginInfo) -> dict[str, list[MetricRecord]]:
        """Records of a metric by spec of the method, in the order of the model seeds."""
        records = self._records.get(metric.spec)
        if records is None:
            records = {spec: _metric_records(metric, cells) for spec, cells in self.methods.items()}
            self._records[metric.spec] = records
        return records

    @cached_property
    def _scores(self) -> dict[str, dict[str, dict[int, Scores]]]:
        return {}

    def scores(self, metric: PluginInfo) -> dict[str, dict[int, Scores]]:
        """Scores of a metric by spec of the method and by model seed; see :func:`scores_by_seed`."""
        scores = self._scores.get(metric.spec)
        if scores is None:
            scores = {spec: _scores(records) for spec, records in self.records(metric).items()}
            self._scores[metric.spec] = scores
        return scores


def cells_by_task(cells: Mapping[Key, ScoredCell], tasks: Sequence[PluginInfo]) -> dict[str, CellsByMethod]:
    """Cells of each task by its spec."""
    by_task = {task.spec: CellsByMethod() for task in tasks}
    for key, scored in cells.items():
        if key.task.spec in by_task:
            by_task[key.task.spec][key] = scored
    return by_task


def cells_of_method(cells: Mapping[Key, ScoredCell], method: PluginInfo) -> list[tuple[int, ScoredCell]]:
    """Cells of one method with their model seeds, in the order of the seeds."""
    grouped = cells if isinstance(cells, CellsByMethod) else CellsByMethod(cells)
    return grouped.methods.get(method.spec, [])


def scores_by_seed(metric: PluginInfo, cells: list[tuple[int, ScoredCell]]) -> dict[int, Scores]:
    """Scores float64[B] of each model that passes its gate, by model seed; the mean over its explainer seeds."""
    return _scores(_metric_records(metric, cells))


def _metric_records(metric: PluginInfo, cells: list[tuple[int, ScoredCell]]) -> list[MetricRecord]:
    """Record of a metric for each cell, with the cell and its model seed."""
    return [(seed, scored, None if scored.cell is None else scored.cell.record(metric)) for seed, scored in cells]


def _scores(records: list[MetricRecord]) -> dict[int, Scores]:
    """Scores by model seed; see :func:`scores_by_seed`."""
    rows: dict[int, list[Scores]] = {}
    for seed, scored, record in records:
        if record is not None and record.status == "scored" and scored.cell is not None and scored.cell.fit:
            rows.setdefault(seed, []).append(scored.row(record))
    return {
        seed: _mean_of_defined(np.stack(seed_rows)) if len(seed_rows) > 1 else seed_rows[0]
        for seed, seed_rows in rows.items()
    }


def _mean_of_defined(rows: Scores) -> Scores:
    """Means float64[B] of the columns without their NaN; NaN if a column has nothing else."""
    defined = ~np.isnan(rows)
    count = defined.sum(0)
    total = np.where(defined, rows, 0.0).sum(0)
    means: Scores = np.divide(total, count, out=np.full(rows.shape[1], np.nan), where=count > 0)
    return means
