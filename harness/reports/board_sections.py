"""What a page says of a board: an overview, means over tasks, each task by family of metrics, comparisons, the origin.

Every renderer of pages shows these blocks, so that no two of them can say different things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import control
from .blocks import Block, Bold, Code, Grid, Heading, Listing, Row, Text, said
from .comparison_sections import findings
from .mean_sections import summaries
from .number_format import entry_datum, leading, mean_datum, means, number, titled
from .ranking_sections import rankings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard, Table
    from ..results.cells import Source
    from .blocks import Inline


def contents(board: Leaderboard) -> list[Block]:
    """The board in blocks, its tables narrow enough to be read."""
    blocks: list[Block] = [Heading(1, f"Leaderboard: {board.name}"), *legend(board), overview(board)]
    blocks += [*summaries(board), *rankings(board)]
    for table in board.tables:
        blocks += task_blocks(board, table)
    return [*blocks, *findings(board), *origin(board)]


def legend(board: Leaderboard) -> Iterator[Text]:
    """What the marks mean, what failed, and what was put in the place of what metrics remove."""
    text = (
        "Mean over models and sequences, with its 95 % interval for other models and other sequences of their "
        "kind. ↑ higher is better, ↓ lower is better; "
    )
    more = (
        " is the best of its column, controls aside; – is not applicable. Methods are in the order of "
        f"{board.headline.spec}."
    )
    if any(entry.places for table in board.tables for entry in table.entries.values()):
        more += (
            " #1–3: paired tests on the same sequences, with Holm's correction, leave first to third place open, "
            "controls aside."
        )
    parts: list[Inline] = [text, Bold("bold"), more]
    if board.failed:
        parts += [" ", Bold(f"{board.failed} of {board.cells} cells failed"), "; the notes below the tables say why."]
    yield Text(tuple(parts))
    yield from _interventions(board)


def _interventions(board: Leaderboard) -> Iterator[Text]:
    """What stands in the place of what a metric removes."""
    found: dict[str, list[str]] = {}
    for metric in board.metrics:
        if metric.facts.get("intervention"):
            found.setdefault(metric.facts["intervention"], []).append(metric.spec)
    if found:
        parts: list[Inline] = ["Interventions, what stands in the place of what a metric removes: "]
        for intervention, metrics in found.items():
            parts += ["; "] * (len(parts) > 1) + [Bold(intervention), f": {', '.join(metrics)}"]
        yield Text((*parts, "."))


def overview(board: Leaderboard) -> Grid:
    """The headline: the mean over tasks, and each task."""
    metric = board.headline
    heads = ("method", "mean over tasks", *(table.task.spec for table in board.tables))
    best = [leading({spec: value.mean for spec, value in board.overall.items()}, board.methods, metric)]
    best += [leading(means(table, metric), board.methods, metric) for table in board.tables]
    rows = []
    for method in board.methods:
        overall = board.overall.get(method.spec)
        won = [method.spec in winners for winners in best]
        first = mean_datum(overall, best=won[0])
        entries = [table.entries[method.spec, metric.spec] for table in board.tables]
        cells = (first, *(entry_datum(entry, best=best) for entry, best in zip(entries, won[1:], strict=True)))
        rows.append(Row(method.spec, cells, control(method)))
    return Grid(f"Overview: {titled(metric)}", heads, tuple(rows), level=2)


def task_blocks(board: Leaderboard, table: Table) -> Iterator[Block]:
    """One task: its models, and its figures by family of metrics."""
    application = table.task.facts.get("application", "")
    yield Heading(2, table.task.spec + (f" ({application})" if application else ""))
    size = _usual_size(table)
    yield _models(table, size)
    for family in board.families:
        metrics, methods, left_out = _applicable(table, board.of_family(family))
        if not metrics:
            reasons = _absences(table, table.methods, board.of_family(family))
            yield said(f"No figures of {family or 'other metrics'}: {', '.join(reasons)}.")
            continue
        yield _of_family(table, family, metrics, methods, left_out, size)


def _of_family(
    table: Table, family: str, metrics: list[Source], methods: list[Source], left_out: list[str], size: int
) -> Grid:
    notes: list[str] = []
    best = {metric.spec: leading(means(table, metric), table.methods, metric) for metric in metrics}

    def row(method: Source) -> Row:
        cells = (
            entry_datum(table.entries[method.spec, metric.spec], size, notes, best=method.spec in best[metric.spec])
            for metric in metrics
        )
        return Row(method.spec, tuple(cells), control(method))

    rows = tuple(map(row, methods))
    absent = _absences(table, methods, metrics)
    remarks = [f"–: {'; '.join(absent)}."] if absent else []
    remarks += [f"Not shown: {'; '.join(left_out)}."] if left_out else []
    title = f"{table.task.spec}: {family or 'other'}"
    return Grid(title, ("method", *map(titled, metrics)), rows, 3, tuple(remarks), tuple(notes))


def _applicable(table: Table, metrics: Sequence[Source]) -> tuple[list[Source], list[Source], list[str]]:
    """The metrics and methods with anything to show, and why the others have nothing."""

    def nothing(methods: Sequence[Source], metrics: Sequence[Source]) -> bool:
        return all(
            table.entries[method.spec, metric.spec].status == "not applicable"
            for method in methods
            for metric in metrics
        )

    shown = [metric for metric in metrics if not nothing(table.methods, [metric])]
    rows = [method for method in table.methods if not nothing([method], metrics)]
    kept = [{each.spec for each in found} for found in (rows, shown)]
    left_out = [
        f"{method.spec} ({', '.join(_absences(table, [method], metrics))})"
        for method in table.methods
        if method.spec not in kept[0]
    ]
    left_out += [
        f"{metric.spec} ({', '.join(_absences(table, rows, [metric]))})"
        for metric in metrics
        if metric.spec not in kept[1]
    ]
    return shown, rows, left_out if rows else []


def _usual_size(table: Table) -> int:
    """How many values most entries rest on."""
    sizes = [entry.value.n for entry in table.entries.values() if entry.status == "scored"]
    return max(sorted(set(sizes)), key=sizes.count) if sizes else 0


def _models(table: Table, size: int) -> Text:
    found = [(seed, model) for seed, model in table.models.items() if model is not None]
    count = len(table.models) - len(table.unfit)
    of = "1 model: the intervals know of other sequences, not of other models" if count == 1 else f"{count} models"
    parts: list[Inline] = [f"n = {size} where nothing else is said, from {of}."]
    if found:
        first = found[0][1]
        scores = ", ".join(f"{number(model.score)} (seed {seed})" for seed, model in found)
        parts.append(
            f"\nHeld-out {first.measure} of the models: {scores}; gate {number(first.gate)}, without learning "
            f"{number(first.baseline)}."
        )
    if table.unfit:
        seeds = ", ".join(map(str, table.unfit))
        parts += ["\n", Bold("Unfit"), f", under the gate and not averaged: the models of seed {seeds}."]
    return Text(tuple(parts))


def _absences(table: Table, methods: Sequence[Source], metrics: Sequence[Source]) -> list[str]:
    """Each distinct reason for which something is not applicable."""
    entries = [table.entries[method.spec, metric.spec] for method in methods for metric in metrics]
    notes = [note for entry in entries if entry.status == "not applicable" for note in entry.notes]
    return sorted(set(notes))


def origin(board: Leaderboard) -> Iterator[Block]:
    """Where the numbers come from."""
    found = board.provenance
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(found.get("libraries", {}).items()))
    commit = found.get("commit") or "unknown"
    items = [
        said(f"xrnnbench {found.get('xrnnbench')}, commit {commit}, code {found.get('code')}"),
        said(f"Python {found.get('python')}, {libraries}"),
        said(f"{found.get('device')}, {found.get('threads')} threads, {found.get('system')}"),
        said(Code(str(found.get("command")))),
        said(str(found.get("date"))),
    ]
    if plugins := found.get("plug-ins"):
        items.append(said(f"plug-ins of {', '.join(f'{name} {version}' for name, version in sorted(plugins.items()))}"))
    if board.model_origins:
        models = "; ".join(f"{count} {origin}" for origin, count in board.model_origins.items())
        items.append(said(f"Models: {models}"))
    if len(board.origins) > 1:
        items.append(said(f"Cells were computed by more than one state of the code: {'; '.join(board.origins)}"))
    yield Heading(2, "Origin")
    yield Listing(tuple(items))
