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
from .changes import Change, GateSettings, decide_verdicts
from .comparison import Comparison
from .gate_report import text
from .match_cells import Selection
from .task_comparison import TaskComparer, Unfinished

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from ..results.scored_cells import Results

_ORDER = ("worse", "better", "same", "informs")


class ReportedComparison(Comparison):
    """Comparison that shows itself as its report."""

    def __str__(self) -> str:
        """The report as text."""
        return text(self)


def compare(
    run: Results,
    baseline: Results,
    rule: GateSettings | None = None,
    only: Selection | None = None,
    jobs: int = 1,
) -> Comparison:
    """Compare a run with its baseline; either may be a run or an archive.

    Args:
        run: a finished run.
        baseline: the results it must not be worse than.
        rule: margin and significance level; the defaults if None.
        only: the selected tasks, methods and metrics; all if None.
        jobs: number of processes that may compare, if there are so many cells that this is sooner done.

    Raises:
        UsageError: the run is not finished, or neither has a task, method or metric that was selected.
    """
    only = only or Selection()
    settings = rule or GateSettings()
    comparer = TaskComparer(run, baseline, only, settings)
    compared = comparer.all_tasks(jobs)
    if problems := compared.unfinished.problems():
        raise UsageError(f"The run {run.name} is not finished: {problems}; the command that made it resumes it.")
    tests = decide_verdicts(compared.changes, compared.comparisons, settings.alpha)
    matching = comparer.matching(compared)
    order = {names: place for place, names in enumerate(matching.pairs)}
    return ReportedComparison(
        run.name,
        baseline.name,
        tuple(sorted(compared.changes, key=_rank)),
        (*matching.apart, *sorted(compared.unmatched, key=lambda entry: order[entry.task, entry.method])),
        matching.gone,
        matching.new,
        settings,
        tests,
        comparer.metrics,
        tuple(compared.models),
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
    wrong = "" if force else lacking(run)
    if wrong:
        raise UsageError(f"{run.name} is no baseline: {wrong}; run it again until it is complete, or use --force.")
    return write_archive(run, folder)


def lacking(run: Results) -> str:
    """Reason why a run is no baseline, in a few words: cells that failed or are missing; empty if it is one."""
    unfinished, failed = Unfinished(), 0
    for scored in run.scored_cells.values():
        unfinished.count([scored], run.axes.metrics)
        failed += scored.cell is not None and bool(scored.cell.failures(run.axes.metrics))
    wrong = [f"{failed} of {len(run.scored_cells)} cells failed"] if failed else []
    return ", ".join([*wrong, *filter(None, [unfinished.problems()])])


def _rank(change: Change) -> tuple[int, float, str, str, str]:
    """Sort key of a change: verdict, size, and names."""
    return _ORDER.index(change.verdict), -change.size, change.task, change.method, change.metric
