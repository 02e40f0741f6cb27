"""Blocks of the means over tasks: the headline metric by application, and every metric by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import is_control
from .blocks import Heading, TableBlock, TableRow, paragraph
from .number_format import DASH, best_methods, entry_cell, format_metric, mean_cell, method_means

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.task_means import Overview
    from ..results.cells import PluginInfo
    from .blocks import Block, TableCell

_APPLICATIONS = (
    "The headline metric on the tasks of one application, and its mean over them. Each task has the same weight. Only "
    "methods that are scored on all of these tasks have a mean. An application with a single task is a column of the "
    "overview."
)
_FAMILIES = (
    "The mean of every metric over the tasks on which it applies to at least one method. Each task has the same "
    "weight. Only methods that are scored on all of these tasks have a mean. Columns may be means over different "
    "tasks, which are listed below the table. Where the scale of a metric depends on the task, tasks with large values "
    "weigh more."
)


def mean_blocks(board: Leaderboard) -> Iterator[Block]:
    """Yield the blocks of the means by application and by family of metrics, if there are any."""
    applications = [overview for overview in board.overviews if overview.scope == "application"]
    families = {overview.name: overview for overview in board.overviews if overview.scope == "family"}
    if applications:
        yield Heading(2, "By application")
        yield paragraph(_APPLICATIONS)
        yield from (_application(board, overview) for overview in applications)
    if families:
        yield Heading(2, "By family of metrics")
        yield paragraph(_FAMILIES)
        for name in board.families:
            if name in families:
                yield from _family(families[name], len(board.tables))


def _application(board: Leaderboard, overview: Overview) -> TableBlock:
    """Return the table of one application: the mean over its tasks, and each of them."""
    metric = board.headline
    tables = [table for table in board.tables if table.task.spec in overview.tasks[metric.spec]]
    best = [best_methods(_means(overview, metric), overview.methods, metric)]
    best += [best_methods(method_means(table, metric), overview.methods, metric) for table in tables]
    rows = []
    for method in overview.methods:
        is_best = [method.spec in specs for specs in best]
        entries = [table.entries[method.spec, metric.spec] for table in tables]
        cells = [mean_cell(overview.means.get((method.spec, metric.spec)), best=is_best[0])]
        cells += [entry_cell(entry, best=best) for entry, best in zip(entries, is_best[1:], strict=True)]
        if any(cell.text != DASH for cell in cells):
            rows.append(TableRow(method.spec, tuple(cells), is_control(method)))
    heads = ("method", "mean over these", *(table.task.spec for table in tables))
    return TableBlock(f"{overview.name}: {format_metric(metric)}", heads, tuple(rows), level=3)


def _family(overview: Overview, tasks: int) -> Iterator[Block]:
    """Yield the table of one family; a sentence if no method is scored wherever its metrics apply."""
    name = overview.name or "other"
    specs = {spec for spec, _ in overview.means}
    methods = [method for method in overview.methods if method.spec in specs]
    metrics = [metric for metric in overview.metrics if any(metric.spec == spec for _, spec in overview.means)]
    if not methods:
        yield paragraph(f"No means of {name}: no method is scored on every task to which a metric applies.")
        return
    best = {metric.spec: best_methods(_means(overview, metric), methods, metric) for metric in metrics}

    def cell(method: PluginInfo, metric: PluginInfo) -> TableCell:
        return mean_cell(overview.means.get((method.spec, metric.spec)), best=method.spec in best[metric.spec])

    rows = [
        TableRow(method.spec, tuple(cell(method, metric) for metric in metrics), is_control(method))
        for method in methods
    ]
    absent = [source.spec for source in (*overview.methods, *overview.metrics) if source not in (*methods, *metrics)]
    remarks = [_averaged_tasks(overview, metrics, tasks)]
    remarks += [f"Not shown, because they have no mean: {', '.join(absent)}."] if absent else []
    heads = ("method", *map(format_metric, metrics))
    yield TableBlock(f"Mean over tasks: {name}", heads, tuple(rows), level=3, remarks=tuple(remarks))


def _averaged_tasks(overview: Overview, metrics: Sequence[PluginInfo], tasks: int) -> str:
    """Return the sentence that lists the tasks each metric is averaged over."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric in metrics:
        groups.setdefault(overview.tasks[metric.spec], []).append(metric.spec)
    names = {over: f"all {tasks} tasks" if len(over) == tasks else ", ".join(over) for over in groups}
    joined = {over: ", ".join(specs) for over, specs in groups.items()}
    if len(groups) == 1:
        return f"Over {', '.join(names.values())}."
    return f"Over {'; over '.join(f'{names[over]}: {specs}' for over, specs in joined.items())}."


def _means(overview: Overview, metric: PluginInfo) -> dict[str, float]:
    """Return the means of one metric by spec of the method."""
    return {spec: value.mean for (spec, of), value in overview.means.items() if of == metric.spec}
