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
from .match_cells import Selection, match, selected
from .model_changes import model_changes
from .model_spread import ModelSpreads

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from ..results.cells import Cell, PluginInfo
    from ..results.scored_cells import Results

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
    if unfinished := _unfinished(run, only):
        raise UsageError(f"The run {run.name} is not finished: {unfinished}; the command that made it resumes it.")
    matching = match(run, baseline, only)
    baseline_metrics = {metric.spec: metric for metric in baseline.axes.metrics}
    metrics = {}
    for metric in matching.metrics:
        facts = {**baseline_metrics[metric.spec].facts, **metric.facts}
        metrics[metric.spec] = metric.model_copy(update={"facts": facts})
    spreads = ModelSpreads(matching.pairs, list(metrics.values()))
    collector = ChangeCollector(rule or GateSettings(), spreads)
    for (task, method), pairs in matching.pairs.items():
        for metric in metrics.values():
            change = Change(task, method, metric.spec, "same", unit=metric.facts.get("unit", ""))
            compare_scores(change, metric, pairs, collector)
    tests = decide_verdicts(collector)
    return ReportedComparison(
        run.name,
        baseline.name,
        tuple(sorted(collector.changes, key=_rank)),
        (*matching.apart, *collector.unmatched),
        matching.gone,
        matching.new,
        collector.settings,
        tests,
        metrics,
        model_changes(matching.pairs),
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
    cells = [scored.cell for scored in run.scored_cells.values()]
    failed = sum(bool(cell.failures(run.axes.metrics)) for cell in cells if cell is not None)
    wrong = [f"{failed} of {len(cells)} cells failed"] if failed else []
    wrong += filter(None, [_unfinished(run, Selection())])
    if wrong and not force:
        raise UsageError(
            f"{run.name} is no baseline: {', '.join(wrong)}; run it again until it is complete, or use --force."
        )
    return write_archive(run, folder)


def _unfinished(run: Results, only: Selection) -> str:
    """Description of what a run lacks; empty if it is finished."""
    metrics = [metric for metric in run.axes.metrics if selected(metric, only.metrics)]
    cells = [
        scored.cell
        for key, scored in run.scored_cells.items()
        if selected(key.task, only.tasks) and selected(key.method, only.methods)
    ]
    missing = sum(cell is None for cell in cells)
    unscored = sum(_unscored(cell, metrics) for cell in cells if cell is not None)
    counts = {"are not computed": missing, "lack scores": unscored}
    return ", ".join(f"{count} of {len(cells)} cells {problem}" for problem, count in counts.items() if count)


def _unscored(cell: Cell, metrics: Sequence[PluginInfo]) -> bool:
    """Whether an explained cell has no record of a metric."""
    return cell.explained and any(cell.record(metric) is None for metric in metrics)


def _rank(change: Change) -> tuple[int, float, str, str, str]:
    """Sort key of a change: verdict, size, and names."""
    return _ORDER.index(change.verdict), -change.size, change.task, change.method, change.metric
