"""What a page says of means over tasks: the headline by application, and every metric by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import control
from .blocks import Grid, Heading, Row, said
from .number_format import NOTHING, entry_datum, leading, mean_datum, means, titled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.task_means import Overview
    from ..results.cells import Source
    from .blocks import Block, Datum

_APPLICATIONS = (
    "The headline on the tasks of one application, and its mean over them, each task counting alike; only methods that "
    "are scored on all of them have a mean. An application with a single task is a column of the overview."
)
_FAMILIES = (
    "Every metric's mean over the tasks on which it applies to any method, each task counting alike; only methods that "
    "are scored on all of these have a mean. Columns may be means over different tasks, which stand below. Where the "
    "scale of a metric depends on the task, tasks of large values weigh more."
)


def summaries(board: Leaderboard) -> Iterator[Block]:
    """Means by application and by family, as far as there are any."""
    applications = [each for each in board.overviews if each.scope == "application"]
    families = {each.name: each for each in board.overviews if each.scope == "family"}
    if applications:
        yield Heading(2, "By application")
        yield said(_APPLICATIONS)
        yield from (_application(board, each) for each in applications)
    if families:
        yield Heading(2, "By family of metrics")
        yield said(_FAMILIES)
        for name in board.families:
            if name in families:
                yield from _family(families[name], len(board.tables))


def _application(board: Leaderboard, overview: Overview) -> Grid:
    metric = board.headline
    tables = [table for table in board.tables if table.task.spec in overview.tasks[metric.spec]]
    best = [leading(_values(overview, metric), overview.methods, metric)]
    best += [leading(means(table, metric), overview.methods, metric) for table in tables]
    rows = []
    for method in overview.methods:
        won = [method.spec in winners for winners in best]
        entries = [table.entries[method.spec, metric.spec] for table in tables]
        cells = [mean_datum(overview.means.get((method.spec, metric.spec)), best=won[0])]
        cells += [entry_datum(entry, best=best) for entry, best in zip(entries, won[1:], strict=True)]
        if any(cell.text != NOTHING for cell in cells):
            rows.append(Row(method.spec, tuple(cells), control(method)))
    heads = ("method", "mean over these", *(table.task.spec for table in tables))
    return Grid(f"{overview.name}: {titled(metric)}", heads, tuple(rows), level=3)


def _family(overview: Overview, tasks: int) -> Iterator[Block]:
    """Its table; if no method is scored wherever its metrics apply, a sentence."""
    name = overview.name or "other"
    specs = {spec for spec, _ in overview.means}
    methods = [method for method in overview.methods if method.spec in specs]
    metrics = [metric for metric in overview.metrics if any(metric.spec == spec for _, spec in overview.means)]
    if not methods:
        yield said(f"No means of {name}: no method is scored on every task on which a metric applies.")
        return
    best = {metric.spec: leading(_values(overview, metric), methods, metric) for metric in metrics}

    def cell(method: Source, metric: Source) -> Datum:
        return mean_datum(overview.means.get((method.spec, metric.spec)), best=method.spec in best[metric.spec])

    rows = [Row(each.spec, tuple(cell(each, metric) for metric in metrics), control(each)) for each in methods]
    absent = [each.spec for each in (*overview.methods, *overview.metrics) if each not in (*methods, *metrics)]
    remarks = [_over(overview, metrics, tasks)]
    remarks += [f"Not shown, for want of a mean: {', '.join(absent)}."] if absent else []
    heads = ("method", *map(titled, metrics))
    yield Grid(f"Mean over tasks: {name}", heads, tuple(rows), level=3, remarks=tuple(remarks))


def _over(overview: Overview, metrics: Sequence[Source], tasks: int) -> str:
    """Which metrics are means over which tasks."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for metric in metrics:
        groups.setdefault(overview.tasks[metric.spec], []).append(metric.spec)
    named = {over: f"all {tasks} tasks" if len(over) == tasks else ", ".join(over) for over in groups}
    joined = {over: ", ".join(specs) for over, specs in groups.items()}
    if len(groups) == 1:
        return f"Over {', '.join(named.values())}."
    return f"Over {'; over '.join(f'{named[over]}: {specs}' for over, specs in joined.items())}."


def _values(overview: Overview, metric: Source) -> dict[str, float]:
    return {spec: value.mean for (spec, of), value in overview.means.items() if of == metric.spec}
