"""Section on DeepLIFT: a rescale rule through the recurrence, compared with a library's version that has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..blocks import TableBlock, TableCell, TableRow
from ..number_format import DASH, entry_cell
from .axes import Tick, logarithmic_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...leaderboard.leaderboard import Leaderboard
    from ...leaderboard.task_board import TaskTable
    from ...results.cells import PluginInfo
    from .css_classes import CssClasses

_DEEPLIFT, _LIBRARY, _EXACT = "deeplift", "captum-deeplift", "exact-shapley"
_GAP, _TRUTHS = "completeness-gap", ("truth-correlation", "rank-accuracy", "average-precision")


@dataclass(frozen=True)
class GapPair:
    """The completeness gaps of both versions on one task.

    Attributes:
        label: the spec of the task.
        css_class: the CSS class of the task.
        deeplift, library: the positions of the gaps on the axis, 0 to 1; None where there is no mean.
    """

    label: str
    css_class: str
    deeplift: float | None
    library: float | None


@dataclass(frozen=True)
class DeepLiftSection:
    """The comparison of both versions of DeepLIFT.

    Attributes:
        gaps: the gaps on each task.
        ticks: of the axis of the gaps.
        table: all numbers.
        metric: the spec of the metric of the gap.
    """

    gaps: tuple[GapPair, ...]
    ticks: tuple[Tick, ...]
    table: TableBlock
    metric: str


def deeplift_section(board: Leaderboard, classes: CssClasses) -> DeepLiftSection | None:
    """Return the section; None unless the board has both versions and the completeness gap."""
    deeplift, library, exact = (_find(board.methods, name) for name in (_DEEPLIFT, _LIBRARY, _EXACT))
    gap = _find(board.metrics, _GAP)
    if deeplift is None or library is None or gap is None:
        return None
    truths = [metric for name in _TRUTHS if (metric := _find(board.metrics, name)) is not None][:2]
    pair = (deeplift, library)
    means = [_mean(table, method, gap) for table in board.tables for method in pair]
    axis = logarithmic_axis(mean for mean in means if mean is not None)
    gaps = []
    for table in board.tables:
        ends = [None if (mean := _mean(table, method, gap)) is None else axis.position(mean) for method in pair]
        if any(end is not None for end in ends):
            gaps.append(GapPair(table.task.spec, classes.task(table.task.spec), *ends))
    numbers = _table(board.tables, pair, exact, [gap, *truths])
    return DeepLiftSection(tuple(gaps), axis.ticks, numbers, gap.spec)


def _table(
    tables: Sequence[TaskTable],
    pair: tuple[PluginInfo, PluginInfo],
    exact: PluginInfo | None,
    metrics: Sequence[PluginInfo],
) -> TableBlock:
    """Return the table of the means of both versions, and of their agreement with each other and with exact Shapley."""
    heads = [f"{metric.spec}: {method.identity['name']}" for metric in metrics for method in pair]
    heads += [f"agreement with exact-shapley: {method.identity['name']}" for method in pair] if exact else []
    heads += ["agreement of the two"]

    def row(table: TaskTable) -> TableRow:
        cells = [entry_cell(table.entries[method.spec, metric.spec]) for metric in metrics for method in pair]
        cells += [_agreement(table, method, exact) for method in pair] if exact else []
        return TableRow(table.task.spec, (*cells, _agreement(table, *pair)))

    return TableBlock("Both versions on every task", ("task", *heads), tuple(map(row, tables)))


def _agreement(table: TaskTable, one: PluginInfo, other: PluginInfo) -> TableCell:
    """Return the cell of the rank correlation of two methods on a task."""
    pair = {one.spec, other.spec}
    agreements = table.comparisons.methods
    value = next((agreement.ranks for agreement in agreements if {agreement.first, agreement.second} == pair), None)
    return TableCell(DASH) if value is None else TableCell(f"{value:.2f}", value=value)


def _mean(table: TaskTable, method: PluginInfo, metric: PluginInfo) -> float | None:
    """Return the mean of a method on a task; None if it has none."""
    entry = table.entries[method.spec, metric.spec]
    return entry.value.mean if entry.status == "scored" and entry.value.n else None


def _find(sources: Sequence[PluginInfo], name: str) -> PluginInfo | None:
    """Return the first plug-in with this name; None if there is none."""
    return next((source for source in sources if source.identity["name"] == name), None)
