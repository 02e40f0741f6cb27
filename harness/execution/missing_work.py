"""Stored cells of one task, and their missing results: attributions, scores, or those of another model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tasks.models.origins import ANEW, PUBLISHED, TRAINED
from ...tasks.trained import TrainedTask
from ..results.cell_checks import SEALED
from ..results.siblings import Siblings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...metrics.base import Metric
    from ...tasks.base import Task
    from ...tasks.models.published import Published
    from ..results.cells import Cell, Key, PluginInfo, Record
    from ..results.store import Store
    from .grid import Grid


class TaskCells:
    """Stored cells of one task of a grid, with the results that a run still has to compute.

    Attributes:
        keys: keys of the cells with their methods, by model seed.
        cells: stored cells by key; None if a cell is missing or damaged. The run adds its new cells here.
    """

    def __init__(
        self, grid: Grid, info: PluginInfo, task: Task, store: Store, *, fresh: bool = False, retrain: bool = False
    ) -> None:
        self._grid, self._task, self._retrain = grid, task, retrain
        self.keys = {seed: list(grid.keys(info, seed)) for seed in grid.seeds_of(task)}
        self.cells: dict[Key, Cell | None] = {
            key: None if fresh else _stored(store, key) for pairs in self.keys.values() for key, _ in pairs
        }
        self._siblings = Siblings(self.cells)

    def seeds_with_work(self) -> list[int]:
        """Model seeds with a cell that is incomplete or belongs to another model than the current one."""
        return [seed for seed in self.keys if self.has_work(seed)]

    def has_work(self, seed: int) -> bool:
        """Whether a cell of this model seed is incomplete or belongs to another model than the current one."""
        published = self._task.listed(seed) if isinstance(self._task, TrainedTask) else None
        return any(
            self.unexplained(key) or self.unscored_metrics(key) or self._of_another_model(self.cells[key], published)
            for key, _ in self.keys[seed]
        )

    def steps(self) -> int:
        """Number of models, attributions and scorings to compute, as far as known before the models are built."""
        missing = sum(self.unexplained(key) for key in self.cells)
        unscored = sum(bool(self.unscored_metrics(key)) for key in self.cells if not self.unexplained(key))
        return len(self.seeds_with_work()) + 2 * missing + unscored

    def unexplained(self, key: Key) -> bool:
        """Whether a cell is missing, or failed and is tried again."""
        cell = self.cells[key]
        return cell is None or cell.status == "failed"

    def unscored_metrics(self, key: Key) -> list[tuple[PluginInfo, Metric]]:
        """Metrics without a usable record: missing, failed, compared with other models, or without its curve."""
        return unscored_metrics(self.cells[key], self._grid.metrics, self.siblings_hash(key))

    def scored(self, key: Key) -> bool:
        """Whether a cell is stored and every metric has a record of it, which may be a failed one."""
        cell = self.cells[key]
        if cell is None:
            return False
        records = [cell.record(info) for info, _ in self.unscored_metrics(key)]
        return all(record is not None and record.status == "failed" for record in records)

    def has_all_records(self, cell: Cell) -> bool:
        """Whether every metric of the grid has a record of a cell, or the cell has no attribution to score."""
        return not cell.explained or all(cell.record(info) is not None for info, _ in self._grid.metrics)

    def siblings(self, key: Key) -> dict[int, Key]:
        """Keys of the same method's attributions of the other models, by model seed."""
        return self._siblings.of(key)

    def siblings_hash(self, key: Key) -> str:
        """Fingerprint of the siblings' attributions; when it changes, metrics that compare models are scored again."""
        return self._siblings.hash_of(key)

    def _of_another_model(self, cell: Cell | None, published: Published | None) -> bool:
        """Whether a cell belongs to another model than the current one: published, trained, or trained again."""
        if cell is None or not isinstance(self._task, TrainedTask):
            return False
        if self._retrain or cell.model_origin == ANEW:
            return self._retrain != (cell.model_origin == ANEW)
        if published is None:
            return cell.model_origin == PUBLISHED
        if cell.model_origin == PUBLISHED:
            return cell.fingerprints.model != published.weights
        # an origin with a reason is from a run that knew the published model and could not use it
        return cell.model_origin in {"", TRAINED}


def _stored(store: Store, key: Key) -> Cell | None:
    """A stored cell; where cells are computed, its arrays are read too, so that damage is mended by this run.

    A cell of an earlier version gets its seal.
    """
    cell = store.load(key)
    if not store.locked:
        return cell
    cell = store.verified(key, cell)
    return cell if cell is None or cell.format >= SEALED else store.save_json(key, cell)


def unscored_metrics(
    cell: Cell | None, metrics: Iterable[tuple[PluginInfo, Metric]], siblings_hash: str
) -> list[tuple[PluginInfo, Metric]]:
    """Metrics without a usable record of a cell; none if the cell has no attribution to score.

    Args:
        cell: the stored cell.
        metrics: the metrics of the grid.
        siblings_hash: current fingerprint of the attributions of the other models.
    """
    if cell is None or not cell.explained:
        return []
    return [(info, metric) for info, metric in metrics if _unusable(cell.record(info), metric, siblings_hash)]


def _unusable(record: Record | None, metric: Metric, siblings_hash: str) -> bool:
    """Whether a record is missing, failed, compared with other siblings, or has no curve that the metric now has."""
    if record is None or record.status == "failed":
        return True
    other_siblings = metric.needs_siblings and record.siblings != siblings_hash
    return other_siblings or (record.status == "scored" and record.profile != metric.profiled)
