"""The gate: whether the explanations of a run are worse than those of its baseline.

A method is worse under a metric on a task if its scores have fallen by more than a margin, and if that is not chance:
the same sequences of the same models are compared one by one, and all comparisons of a run share one probability of a
false alarm. Exact counts of cost are compared for equality; times and memory only inform. See docs/gate.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UsageError
from ..execution.archive import write_archive
from ..results.cells import Source
from .changes import Change, Findings, Rule, Verdict, answer, judge
from .match_cells import Apart, Selection, match, selected

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from ..results.cells import Cell
    from ..results.scored_cells import Results

_ORDER = ("worse", "better", "same", "informs")


@dataclass(frozen=True)
class Comparison:
    """A run beside its baseline.

    Attributes:
        run, baseline: how they are called.
        changes: worse first, then better, the same, and what informs; the largest first within each.
        apart: what both have and could not be compared, and why.
        gone: what the baseline has explained and the run was not asked for.
        new: what only the run has.
        rule: when a change counts.
        tests: how many comparisons share ``rule.alpha``.
        metrics: of the changes, by spec.
    """

    run: str
    baseline: str
    changes: tuple[Change, ...]
    apart: tuple[Apart, ...]
    gone: tuple[Apart, ...]
    new: tuple[Apart, ...]
    rule: Rule
    tests: int
    metrics: dict[str, Source]

    def of(self, verdict: Verdict) -> tuple[Change, ...]:
        """The changes of one verdict."""
        return tuple(change for change in self.changes if change.verdict == verdict)

    @property
    def gating(self) -> int:
        """How many comparisons could have been worse."""
        return len(self.changes) - len(self.of("informs"))

    @property
    def status(self) -> int:
        """Exit status: 0 no worse, 1 worse, 3 nothing comparable."""
        if not self.gating:
            return 3
        return 1 if self.of("worse") or self.gone else 0


def compare(run: Results, baseline: Results, rule: Rule | None = None, only: Selection | None = None) -> Comparison:
    """Compare a run with its baseline; either may be a run or an archive.

    Args:
        run: a finished run.
        baseline: what it must not be worse than.
        rule: when a change counts.
        only: which comparisons are asked for; all if None.

    Raises:
        UsageError: the run is not finished, or the selection names what neither has.
    """
    only = only or Selection()
    if unfinished := _unfinished(run, only):
        raise UsageError(f"The run {run.name} is not finished: {unfinished}; the command that made it goes on with it.")
    matching = match(run, baseline, only)
    bounds = {metric.spec: metric for metric in baseline.axes.metrics}
    found = Findings(rule or Rule())
    metrics = {}
    for metric in matching.metrics:
        facts = {**bounds[metric.spec].facts, **metric.facts}
        metrics[metric.spec] = metric.model_copy(update={"facts": facts})
    for (task, method), pairs in matching.pairs.items():
        for metric in metrics.values():
            change = Change(task, method, metric.spec, "same", unit=metric.facts.get("unit", ""))
            judge(change, metric, pairs, found)
    tests = answer(found)
    return Comparison(
        run.name,
        baseline.name,
        tuple(sorted(found.changes, key=_rank)),
        (*matching.apart, *found.apart),
        matching.gone,
        (*matching.new, *found.new),
        found.rule,
        tests,
        metrics,
    )


def bless(run: Results, folder: str | os.PathLike[str], *, force: bool = False) -> list[Path]:
    """Make a run the baseline that later ones are compared with: keep its archive in a folder.

    Args:
        run: a finished run.
        folder: where to; an archive that is there is replaced.
        force: also if cells are missing or failed: what is not there cannot get worse.

    Returns:
        the files.

    Raises:
        UsageError: cells are missing or failed, or the folder cannot be written.
    """
    cells = [judged.cell for judged in run.judged.values()]
    failed = sum(bool(cell.failures(run.axes.metrics)) for cell in cells if cell is not None)
    wrong = [f"{failed} of {len(cells)} cells failed"] if failed else []
    wrong += filter(None, [_unfinished(run, Selection())])
    if wrong and not force:
        raise UsageError(
            f"{run.name} is no baseline: {', '.join(wrong)}; run it again until it is whole, or say --force."
        )
    return write_archive(run, folder)


def _unfinished(run: Results, only: Selection) -> str:
    """What a run still lacks; empty if nothing."""
    metrics = [metric for metric in run.axes.metrics if selected(metric, only.metrics)]
    cells = [
        judged.cell
        for key, judged in run.judged.items()
        if selected(key.task, only.tasks) and selected(key.method, only.methods)
    ]
    missing = sum(cell is None for cell in cells)
    unjudged = sum(_unjudged(cell, metrics) for cell in cells if cell is not None)
    found = {"are not computed": missing, "lack scores": unjudged}
    return ", ".join(f"{count} of {len(cells)} cells {what}" for what, count in found.items() if count)


def _unjudged(cell: Cell, metrics: Sequence[Source]) -> bool:
    return cell.explained and any(cell.record(metric) is None for metric in metrics)


def _rank(change: Change) -> tuple[int, float, str, str, str]:
    return _ORDER.index(change.verdict), -change.size, change.task, change.method, change.metric
