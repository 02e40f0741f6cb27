"""Regression gate: a test of whether the attributions of a run are worse than those of its baseline.

A method is worse under a metric on a task if its scores fell by more than a margin and the change is significant. The
test compares the same sequences in pairs, and all comparisons of a run share one probability of a false alarm. The
models may be the same, or trained again; the test then allows for the spread between models. Counts of passes must be
equal. Times and memory are for information only. See docs/gate.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UsageError
from ..execution.archive import write_archive
from .changes import Change, ChangeCollector, GateSettings, compare_scores, decide_verdicts
from .comparison import Comparison
from .gate_report import text
from .match_cells import Selection, common_metrics, match, selected
from .model_changes import model_changes
from .model_spread import ModelSpreads

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ..results.cells import Cell, PluginInfo
    from ..results.scored_cells import Results, ScoredCell
    from .match_cells import CellPair
    from .model_changes import ModelChange

_ORDER = ("worse", "better", "same", "informs")


class ReportedComparison(Comparison):
    """Comparison that shows itself as its report."""

    def __str__(self) -> str:
        """The report as text."""
        return text(self)


def compare(
    run: Results, baseline: Results, rule: GateSettings | None = None, only: Selection | None = None
) -> Comparison:
    """Compare a run with its baseline; either may be a run or an archive.

    Args:
        run: a finished run.
        baseline: the results it must not be worse than.
        rule: margin and significance level; the defaults if None.
        only: the selected tasks, methods and metrics; all if None.

    Raises:
        UsageError: the run is not finished, or neither has a task, method or metric that was selected.
    """
    only = only or Selection()
    metrics = common_metrics(run, baseline, only)
    collector = ChangeCollector(rule or GateSettings(), ModelSpreads({}, list(metrics.values())))
    unfinished = _Unfinished([metric for metric in run.axes.metrics if selected(metric, only.metrics)])
    models: list[ModelChange] = []

    def compare_task(cells: Sequence[ScoredCell], pairs: Mapping[tuple[str, str], Sequence[CellPair]]) -> None:
        unfinished.count(cells)
        collector.spreads.add(pairs)
        models.extend(model_changes(pairs))
        for (task, method), of_method in pairs.items():
            for metric in metrics.values():
                change = Change(task, method, metric.spec, "same", unit=metric.facts.get("unit", ""))
                compare_scores(change, metric, of_method, collector)

    matching = match(run, baseline, only, compare_task)
    if problems := unfinished.problems():
        raise UsageError(f"The run {run.name} is not finished: {problems}; the command that made it resumes it.")
    tests = decide_verdicts(collector)
    order = {names: place for place, names in enumerate(matching.pairs)}
    return ReportedComparison(
        run.name,
        baseline.name,
        tuple(sorted(collector.changes, key=_rank)),
        (*matching.apart, *sorted(collector.unmatched, key=lambda entry: order[entry.task, entry.method])),
        matching.gone,
        matching.new,
        collector.settings,
        tests,
        metrics,
        tuple(models),
    )


def bless(run: Results, folder: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
    """Make a run the baseline of later runs: write its archive into a folder.

    Args:
        run: a finished run.
        folder: the folder; an archive in it is replaced.
        force: also bless a run with missing or failed cells; these are never reported as worse later.

    Returns:
        the paths of the files.

    Raises:
        UsageError: cells are missing or failed, or the folder cannot be written.
    """
    unfinished, failed = _Unfinished(run.axes.metrics), 0
    for scored in run.scored_cells.values():
        unfinished.count([scored])
        failed += scored.cell is not None and bool(scored.cell.failures(run.axes.metrics))
    wrong = [f"{failed} of {len(run.scored_cells)} cells failed"] if failed else []
    wrong += filter(None, [unfinished.problems()])
    if wrong and not force:
        raise UsageError(
            f"{run.name} is no baseline: {', '.join(wrong)}; run it again until it is complete, or use --force."
        )
    return write_archive(run, folder)


class _Unfinished:
    """Counter of what a run lacks.

    Args:
        metrics: metrics that explained cells should have records of.
    """

    def __init__(self, metrics: Sequence[PluginInfo]) -> None:
        self._metrics = metrics
        self._cells = self._missing = self._unscored = 0

    def count(self, cells: Sequence[ScoredCell]) -> None:
        """Count further cells."""
        self._cells += len(cells)
        for scored in cells:
            cell = scored.cell
            self._missing += cell is None
            self._unscored += cell is not None and _unscored(cell, self._metrics)

    def problems(self) -> str:
        """Description of what is lacking; empty if nothing is."""
        counts = {"are not computed": self._missing, "lack scores": self._unscored}
        return ", ".join(f"{count} of {self._cells} cells {problem}" for problem, count in counts.items() if count)


def _unscored(cell: Cell, metrics: Sequence[PluginInfo]) -> bool:
    """Whether an explained cell has no record of a metric."""
    return cell.explained and any(cell.record(metric) is None for metric in metrics)


def _rank(change: Change) -> tuple[int, float, str, str, str]:
    """Sort key of a change: verdict, size, and names."""
    return _ORDER.index(change.verdict), -change.size, change.task, change.method, change.metric
