"""Blocks of a leaderboard report: legend, overview, means over tasks, standings, tasks, comparisons and origin.

Every renderer of a page shows these blocks, so that all formats have the same content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import is_control
from .blocks import Block, Bold, Code, Heading, Listing, TableBlock, TableRow, Text, paragraph
from .comparison_sections import comparison_blocks
from .mean_sections import mean_blocks
from .number_format import best_methods, entry_cell, format_metric, format_number, mean_cell, method_means
from .ranking_sections import ranking_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.task_board import TaskTable
    from ..results.cells import PluginInfo
    from .blocks import Inline


def board_blocks(board: Leaderboard) -> list[Block]:
    """Return all blocks of a leaderboard; its tables are split by family of metrics, narrow enough to be read."""
    blocks: list[Block] = [Heading(1, f"Leaderboard: {board.name}"), *legend(board), overview_table(board)]
    blocks += [*mean_blocks(board), *ranking_blocks(board)]
    for table in board.tables:
        blocks += task_blocks(board, table)
    return [*blocks, *comparison_blocks(board), *origin(board)]


def legend(board: Leaderboard) -> Iterator[Text]:
    """Yield the explanation of the symbols, the number of failed cells, and the interventions of the metrics."""
    text = (
        "Each number is a mean over models and sequences, unless its column names another statistic, with its 95 % "
        "confidence interval, which covers other models and other sequences of the same kind. ↑: higher is better. "
        "↓: lower is better. "
    )
    more = (
        ": the best of its column, controls excluded. –: not applicable. Methods are sorted by "
        f"{board.headline.spec}, best first."
    )
    if any(entry.rank_range for table in board.tables for entry in table.entries.values()):
        more += (
            " #1–3: rank range. Paired tests on the same sequences, with Holm's correction, do not rule out any rank "
            "from 1 to 3, controls excluded."
        )
    parts: list[Inline] = [text, Bold("Bold"), more]
    if board.failed:
        parts += [" ", Bold(f"{board.failed} of {board.cells} cells failed"), "; the notes below the tables give why."]
    yield Text(tuple(parts))
    yield from _interventions(board)


def _interventions(board: Leaderboard) -> Iterator[Text]:
    """Yield the paragraph that lists the metrics of each intervention, if any metric has one."""
    by_intervention: dict[str, list[str]] = {}
    for metric in board.metrics:
        if metric.facts.get("intervention"):
            by_intervention.setdefault(metric.facts["intervention"], []).append(metric.spec)
    if by_intervention:
        parts: list[Inline] = ["Interventions, the replacements for features that a metric removes: "]
        for intervention, metrics in by_intervention.items():
            parts += ["; "] * (len(parts) > 1) + [Bold(intervention), f": {', '.join(metrics)}"]
        yield Text((*parts, "."))


def overview_table(board: Leaderboard) -> TableBlock:
    """Return the table of the headline metric: the mean over tasks, and each task."""
    metric = board.headline
    heads = ("method", "mean over tasks", *(table.task.spec for table in board.tables))
    best = [best_methods({spec: value.mean for spec, value in board.overall.items()}, board.methods, metric)]
    best += [best_methods(method_means(table, metric), board.methods, metric) for table in board.tables]
    rows = []
    for method in board.methods:
        overall = board.overall.get(method.spec)
        is_best = [method.spec in specs for specs in best]
        first = mean_cell(overall, best=is_best[0])
        entries = [table.entries[method.spec, metric.spec] for table in board.tables]
        cells = (first, *(entry_cell(entry, best=best) for entry, best in zip(entries, is_best[1:], strict=True)))
        rows.append(TableRow(method.spec, cells, is_control(method)))
    return TableBlock(f"Overview: {format_metric(metric)}", heads, tuple(rows), level=2)


def task_blocks(board: Leaderboard, table: TaskTable) -> Iterator[Block]:
    """Yield the blocks of one task: its heading, its models, and a table for each family of metrics."""
    application = table.task.facts.get("application", "")
    yield Heading(2, table.task.spec + (f" ({application})" if application else ""))
    size = _usual_size(table)
    yield _models(table, size)
    for family in board.families:
        metrics, methods, left_out = _applicable(table, board.of_family(family))
        if not metrics:
            reasons = _reasons(table, table.methods, board.of_family(family))
            yield paragraph(f"No values for {family or 'other metrics'}: {', '.join(reasons)}.")
            continue
        yield _family_table(table, family, metrics, methods, left_out, size)


def _family_table(
    table: TaskTable, family: str, metrics: list[PluginInfo], methods: list[PluginInfo], left_out: list[str], size: int
) -> TableBlock:
    """Return the table of one family of metrics on one task."""
    notes: list[str] = []
    best = {metric.spec: best_methods(method_means(table, metric), table.methods, metric) for metric in metrics}

    def row(method: PluginInfo) -> TableRow:
        cells = (
            entry_cell(table.entries[method.spec, metric.spec], size, notes, best=method.spec in best[metric.spec])
            for metric in metrics
        )
        return TableRow(method.spec, tuple(cells), is_control(method))

    rows = tuple(map(row, methods))
    reasons = _reasons(table, methods, metrics)
    remarks = [f"–: {'; '.join(reasons)}."] if reasons else []
    remarks += [f"Not shown: {'; '.join(left_out)}."] if left_out else []
    title = f"{table.task.spec}: {family or 'other'}"
    return TableBlock(title, ("method", *map(format_metric, metrics)), rows, 3, tuple(remarks), tuple(notes))


def _applicable(
    table: TaskTable, metrics: Sequence[PluginInfo]
) -> tuple[list[PluginInfo], list[PluginInfo], list[str]]:
    """Return the metrics and the methods with at least one applicable entry, and the others with their reasons."""

    def none_applies(methods: Sequence[PluginInfo], metrics: Sequence[PluginInfo]) -> bool:
        return all(
            table.entries[method.spec, metric.spec].status == "not applicable"
            for method in methods
            for metric in metrics
        )

    columns = [metric for metric in metrics if not none_applies(table.methods, [metric])]
    rows = [method for method in table.methods if not none_applies([method], metrics)]
    row_specs, column_specs = ({source.spec for source in sources} for sources in (rows, columns))
    left_out = [
        f"{method.spec} ({', '.join(_reasons(table, [method], metrics))})"
        for method in table.methods
        if method.spec not in row_specs
    ]
    left_out += [
        f"{metric.spec} ({', '.join(_reasons(table, rows, [metric]))})"
        for metric in metrics
        if metric.spec not in column_specs
    ]
    return columns, rows, left_out if rows else []


def _usual_size(table: TaskTable) -> int:
    """Return the number of values that most entries of a table have."""
    sizes = [entry.value.n for entry in table.entries.values() if entry.status == "scored"]
    return max(sorted(set(sizes)), key=sizes.count) if sizes else 0


def _models(table: TaskTable, size: int) -> Text:
    """Return the paragraph about the models of a task: their number, their scores, and those under the gate."""
    measured = [(seed, model) for seed, model in table.models.items() if model is not None]
    count = len(table.models) - len(table.unfit)
    of = "1 model: the intervals cover other sequences, but not other models" if count == 1 else f"{count} models"
    parts: list[Inline] = [f"n = {size} unless a cell gives another n, from {of}."]
    if measured:
        first = measured[0][1]
        scores = ", ".join(f"{format_number(model.score)} (seed {seed})" for seed, model in measured)
        parts.append(
            f"\nHeld-out {first.measure} of the models: {scores}; gate {format_number(first.gate)}, without learning "
            f"{format_number(first.baseline)}."
        )
    if table.unfit:
        seeds = ", ".join(map(str, table.unfit))
        parts += ["\n", Bold("Unfit"), f" models, which score under the gate and are not averaged: seed {seeds}."]
    for sentence in table.caveats:
        parts += ["\n", Bold("Caveat"), f": {sentence}"]
    return Text(tuple(parts))


def _reasons(table: TaskTable, methods: Sequence[PluginInfo], metrics: Sequence[PluginInfo]) -> list[str]:
    """Return each distinct reason why an entry is not applicable."""
    entries = [table.entries[method.spec, metric.spec] for method in methods for metric in metrics]
    notes = [note for entry in entries if entry.status == "not applicable" for note in entry.notes]
    return sorted(set(notes))


def origin(board: Leaderboard) -> Iterator[Block]:
    """Yield the provenance of the numbers: versions, device, command, date, and the origin of the models."""
    provenance = board.provenance
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(provenance.get("libraries", {}).items()))
    commit = provenance.get("commit") or "unknown"
    threads = provenance.get("threads")
    plural = "" if threads == 1 else "s"
    items = [
        paragraph(f"xrnnbench {provenance.get('xrnnbench')}, commit {commit}, code {provenance.get('code')}"),
        paragraph(f"Python {provenance.get('python')}, {libraries}"),
        paragraph(f"{provenance.get('device')}, {threads} thread{plural}, {provenance.get('system')}"),
        paragraph(Code(str(provenance.get("command")))),
        paragraph(str(provenance.get("date"))),
    ]
    if plugins := provenance.get("plug-ins"):
        names = ", ".join(f"{name} {version}" for name, version in sorted(plugins.items()))
        items.append(paragraph(f"plug-ins of {names}"))
    if board.model_origins:
        models = "; ".join(f"{count} {origin}" for origin, count in board.model_origins.items())
        items.append(paragraph(f"Models: {models}"))
    if len(board.origins) > 1:
        items.append(paragraph(f"Cells were computed by more than one state of the code: {'; '.join(board.origins)}"))
    yield Heading(2, "Origin")
    yield Listing(tuple(items))
