"""The gate: whether the explanations of a run are worse than those of its baseline.

A method is worse under a metric on a task if its scores have fallen by more than a margin, and if that is not chance:
the same sequences of the same models are compared one by one, and all comparisons of a run share one probability of a
false alarm. Exact counts of cost are compared for equality; times and memory only inform. See docs/gate.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from .archive import write_archive
from .changes import Change, Findings, Rule, Verdict, answer, judge
from .pairing import Apart, Selection, match

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from .cells import Cell, Source
    from .judged import Results


@dataclass(frozen=True)
class Comparison:
    """A run beside its baseline.

    Attributes:
        run, baseline: how they are called.
        changes: worse first, then better, the same, and what informs; the largest first within each.
        apart: what could not be compared, and why.
        new: what only the run has.
        rule: when a change counts.
        tests: how many comparisons share ``rule.alpha``.
    """

    run: str
    baseline: str
    changes: tuple[Change, ...]
    apart: tuple[Apart, ...]
    new: tuple[Apart, ...]
    rule: Rule
    tests: int

    def of(self, verdict: Verdict) -> tuple[Change, ...]:
        """The changes of one verdict."""
        return tuple(change for change in self.changes if change.verdict == verdict)

    @property
    def status(self) -> int:
        """Exit status: 0 no worse, 1 worse, 3 nothing comparable."""
        if self.of("worse"):
            return 1
        return 0 if self.of("better") or self.of("same") else 3


def compare(run: Results, baseline: Results, rule: Rule | None = None, only: Selection | None = None) -> Comparison:
    """Compare a run with its baseline; either may be a run or an archive.

    Raises:
        UsageError: the selection names what neither has.
    """
    matching = match(run, baseline, only or Selection())
    bounds = {metric.spec: metric for metric in baseline.axes.metrics}
    found = Findings(rule or Rule())
    for (task, method), pairs in matching.pairs.items():
        for metric in matching.metrics:
            facts = {**bounds[metric.spec].facts, **metric.facts}
            change = Change(task, method, metric.spec, "same", unit=facts.get("unit", ""))
            judge(change, metric.model_copy(update={"facts": facts}), pairs, found)
    tests = answer(found)
    order = ("worse", "better", "same", "informs")
    changes = sorted(found.changes, key=lambda each: (order.index(each.verdict), -each.size, each.task, each.method))
    return Comparison(
        run.name,
        baseline.name,
        tuple(changes),
        (*matching.apart, *found.apart),
        (*matching.new, *found.new),
        found.rule,
        tests,
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
    missing = sum(cell is None for cell in cells)
    failed = sum(bool(cell.failures(run.axes.metrics)) for cell in cells if cell is not None)
    unjudged = sum(_unjudged(cell, run.axes.metrics) for cell in cells if cell is not None)
    found = {"are not computed": missing, "failed": failed, "lack scores": unjudged}
    wrong = [f"{count} of {len(cells)} cells {what}" for what, count in found.items() if count]
    if wrong and not force:
        raise UsageError(
            f"{run.name} is no baseline: {', '.join(wrong)}; run it again until it is whole, or say --force."
        )
    return write_archive(run, folder)


def _unjudged(cell: Cell, metrics: Sequence[Source]) -> bool:
    return cell.explained and any(cell.record(metric) is None for metric in metrics)
