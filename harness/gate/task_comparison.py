"""Comparison of one task of a run with the baseline: its changes, and the tests that will decide about them.

Tasks are compared one after another, so that few cells are in memory, and those of large results by several processes.
Only the verdicts need all of them: their tests share one probability of a false alarm.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..execution.processes import in_processes
from ..execution.run import Run
from .changes import Change, ChangeCollector, PairedComparison, compare_scores
from .match_cells import Matcher, Unmatched, common_metrics, selected
from .model_changes import ModelChange, model_changes
from .model_spread import ModelSpreads

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..results.cells import Cell, PluginInfo
    from ..results.scored_cells import Results, ScoredCell
    from .changes import GateSettings
    from .match_cells import Matching, Selection

# Fewer cells of run and baseline together are compared sooner than a process is started.
FEWEST_CELLS = 20_000


@dataclass
class Unfinished:
    """Counts of what a run lacks.

    Attributes:
        cells: the number of cells.
        missing: those that are not computed.
        unscored: explained ones without a record of a metric.
    """

    cells: int = 0
    missing: int = 0
    unscored: int = 0

    def count(self, cells: Iterable[ScoredCell], metrics: Sequence[PluginInfo]) -> None:
        """Count further cells, which should have records of these metrics."""
        for scored in cells:
            self.cells += 1
            self.missing += scored.cell is None
            self.unscored += scored.cell is not None and _unscored(scored.cell, metrics)

    def add(self, other: Unfinished) -> None:
        """Add the counts of others."""
        self.cells += other.cells
        self.missing += other.missing
        self.unscored += other.unscored

    def problems(self) -> str:
        """Description of what is lacking; empty if nothing is."""
        counts = {"are not computed": self.missing, "lack scores": self.unscored}
        return ", ".join(f"{count} of {self.cells} cells {problem}" for problem, count in counts.items() if count)


def _unscored(cell: Cell, metrics: Sequence[PluginInfo]) -> bool:
    """Whether an explained cell has no record of a metric."""
    return cell.explained and any(cell.record(metric) is None for metric in metrics)


@dataclass
class TasksCompared:
    """Comparison of one task, or of several.

    Attributes:
        changes, comparisons, unmatched: see :class:`.changes.ChangeCollector`.
        models: changes of the models.
        names: specs of the tasks and methods that have pairs of cells.
        apart, gone: see :class:`.match_cells.TaskMatching`.
        unfinished: what the run lacks.
    """

    changes: list[Change] = field(default_factory=list)
    comparisons: list[PairedComparison] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)
    models: list[ModelChange] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)
    apart: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    gone: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    unfinished: Unfinished = field(default_factory=Unfinished)

    def add(self, other: TasksCompared) -> None:
        """Add the comparison of further tasks."""
        before = len(self.changes)
        self.comparisons += [replace(each, place=each.place + before) for each in other.comparisons]
        self.changes += other.changes
        self.unmatched += other.unmatched
        self.models += other.models
        self.names += other.names
        self.apart.update(other.apart)
        self.gone.update(other.gone)
        self.unfinished.add(other.unfinished)


class TaskComparer:
    """Comparer of the tasks of a run with those of the baseline.

    Args:
        run: the run.
        baseline: the results it is compared with.
        only: the selected tasks, methods and metrics.
        settings: margin and significance level.

    Attributes:
        metrics: metrics that are compared, by spec.

    Raises:
        UsageError: neither has a task, method or metric that was selected.
    """

    def __init__(self, run: Results, baseline: Results, only: Selection, settings: GateSettings) -> None:
        self._sides = run, baseline
        self._only, self._settings = only, settings
        self._matcher = Matcher(run, baseline, only)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name.startswith("_")}

    @cached_property
    def metrics(self) -> dict[str, PluginInfo]:
        """See the class."""
        return common_metrics(*self._sides, self._only)

    def all_tasks(self, jobs: int = 1) -> TasksCompared:
        """Compare all tasks.

        Args:
            jobs: number of processes that may do so.
        """
        compared, tasks = TasksCompared(), self._matcher.tasks
        several = jobs > 1 and len(tasks) > 1 and self._matcher.cells >= FEWEST_CELLS
        if not several:
            for each in map(self.of_task, tasks):
                compared.add(each)
            return compared
        for each, notices in in_processes(self._elsewhere, tasks, jobs):
            compared.add(each)
            for results, found in zip(self._sides, notices, strict=True):
                if isinstance(results, Run):
                    results.store.notices += found
        return compared

    def of_task(self, task: str) -> TasksCompared:
        """Compare one task."""
        matched = self._matcher.of_task(task)
        spreads = ModelSpreads(matched.pairs, list(self.metrics.values()))
        collector = ChangeCollector(self._settings, spreads)
        for (_, method), pairs in matched.pairs.items():
            for metric in self.metrics.values():
                change = Change(task, method, metric.spec, "same", unit=metric.facts.get("unit", ""))
                compare_scores(change, metric, pairs, collector)
        unfinished, wanted = Unfinished(), self._sides[0].axes.metrics
        unfinished.count(matched.cells, [metric for metric in wanted if selected(metric, self._only.metrics)])
        return TasksCompared(
            collector.changes,
            collector.comparisons,
            collector.unmatched,
            list(model_changes(matched.pairs)),
            list(matched.pairs),
            matched.apart,
            matched.gone,
            unfinished,
        )

    def _elsewhere(self, task: str) -> tuple[TasksCompared, list[list[str]]]:
        """Compare one task, in another process; with notices about damaged files of both sides."""
        compared, notices = self.of_task(task), []
        for results in self._sides:
            if isinstance(results, Run):
                # what was verified here
                results.store.write_index()
            notices.append(results.store.new_notices() if isinstance(results, Run) else [])
        return compared, notices

    def matching(self, compared: TasksCompared) -> Matching:
        """Matching of all tasks, once they are compared."""
        return self._matcher.matching(compared.names, compared.apart, compared.gone)
