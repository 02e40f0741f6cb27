"""Comparison of a run with its baseline, as the gate found it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.cells import PluginInfo
from .changes import Change, GateSettings
from .match_cells import Unmatched
from .model_changes import ModelChange

if TYPE_CHECKING:
    from .changes import Verdict


@dataclass(frozen=True)
class Comparison:
    """Comparison of a run with its baseline.

    Attributes:
        run, baseline: names of their suites.
        changes: worse first, then better, unchanged, and for information; the largest first within each.
        apart: cells and metrics of both that are not comparable, with the reason.
        gone: cells that the baseline has explained and metrics of the baseline that are not in the run.
        new: cells and metrics that only the run has.
        rule: margin and significance level.
        tests: the number of comparisons that share ``rule.alpha``.
        metrics: metrics of the changes, by spec.
        models: tasks whose models were trained again, or whose data were prepared otherwise.
    """

    run: str
    baseline: str
    changes: tuple[Change, ...]
    apart: tuple[Unmatched, ...]
    gone: tuple[Unmatched, ...]
    new: tuple[Unmatched, ...]
    rule: GateSettings
    tests: int
    metrics: dict[str, PluginInfo]
    models: tuple[ModelChange, ...] = ()

    def of(self, verdict: Verdict) -> tuple[Change, ...]:
        """The changes of one verdict."""
        return tuple(change for change in self.changes if change.verdict == verdict)

    @property
    def gating(self) -> int:
        """Number of comparisons that could have been worse."""
        return len(self.changes) - len(self.of("informs"))

    @property
    def unproven(self) -> tuple[Change, ...]:
        """Unchanged ones that moved by more than their margin, which chance may explain; the largest first."""
        return tuple(change for change in self.of("same") if change.p is not None and change.margin and change.size > 1)

    @property
    def less_accurate(self) -> tuple[ModelChange, ...]:
        """Models that lost more accuracy than ``rule.max_accuracy_loss``."""
        most = self.rule.max_accuracy_loss
        return () if most is None else tuple(model for model in self.models if model.loss > most)

    @property
    def status(self) -> int:
        """Exit status: 0 no worse, 1 worse, 3 nothing comparable."""
        if self.less_accurate:
            return 1
        if not self.gating:
            return 3
        return 1 if self.of("worse") or self.gone else 0
