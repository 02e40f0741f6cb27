"""A board as Markdown: an overview, each task with one table for each family of metrics, comparisons, the origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .findings import findings
from .tables import NOTHING, estimated, grid, labelled, leading, number, titled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cells import Source
    from .leaderboard import Entry, Leaderboard, Table


def markdown(board: Leaderboard) -> str:
    """The board as Markdown, in tables narrow enough to be read."""
    parts = [f"# Leaderboard: {board.name}", _legend(board), _overview(board)]
    for table in board.tables:
        parts += _task(board, table)
    return "\n\n".join([*parts, *findings(board), _origin(board)]) + "\n"


def _legend(board: Leaderboard) -> str:
    text = (
        "Mean over models and sequences, with its 95 % bootstrap interval (models drawn first, then sequences within "
        "them). ↑ higher is better, ↓ lower is better; **bold** is the best of its column, controls aside; – is not "
        f"applicable. Methods are in the order of {board.headline.spec}."
    )
    if board.failed:
        text += f" **{board.failed} of {board.cells} cells failed**; the notes below the tables say why."
    return "\n\n".join(filter(None, [text, _interventions(board)]))


def _interventions(board: Leaderboard) -> str:
    """What stands in the place of what a metric removes."""
    found: dict[str, list[str]] = {}
    for metric in board.metrics:
        if metric.facts.get("intervention"):
            found.setdefault(metric.facts["intervention"], []).append(metric.spec)
    if not found:
        return ""
    said = "; ".join(f"**{intervention}**: {', '.join(metrics)}" for intervention, metrics in found.items())
    return f"Interventions, what stands in the place of what a metric removes: {said}."


def _overview(board: Leaderboard) -> str:
    metric = board.headline
    heads = ["method", "mean over tasks", *(table.task.spec for table in board.tables)]
    means = {spec: value.mean for spec, value in board.overall.items()}
    best = [leading(means, board.methods, metric)]
    best += [leading(_means(table, metric), board.methods, metric) for table in board.tables]
    rows = []
    for method in board.methods:
        overall = board.overall.get(method.spec)
        texts = [NOTHING if overall is None else estimated(overall)]
        texts += [_text(table.entries[method.spec, metric.spec], None, None) for table in board.tables]
        shown = [_bold(text, on=method.spec in winners) for text, winners in zip(texts, best, strict=True)]
        rows.append([labelled(method), *shown])
    return f"## Overview: {titled(metric)}\n\n{grid(heads, rows)}"


def _task(board: Leaderboard, table: Table) -> list[str]:
    application = table.task.facts.get("application", "")
    title = f"## {table.task.spec}" + (f" ({application})" if application else "")
    size = _usual_size(table)
    parts = [title, "\n".join(_models(table, size))]
    for family in board.families:
        notes: list[str] = []
        metrics, methods, left_out = _applicable(table, board.of_family(family))
        if not metrics:
            reasons = _absences(table, table.methods, board.of_family(family))
            parts.append(f"No figures of {family or 'other metrics'}: {', '.join(reasons)}.")
            continue
        best = {metric.spec: leading(_means(table, metric), table.methods, metric) for metric in metrics}
        rows = [
            [
                labelled(method),
                *(
                    _bold(
                        _text(table.entries[method.spec, metric.spec], size, notes),
                        on=method.spec in best[metric.spec],
                    )
                    for metric in metrics
                ),
            ]
            for method in methods
        ]
        parts.append(f"### {table.task.spec}: {family or 'other'}")
        parts.append(grid(["method", *map(titled, metrics)], rows))
        absent = _absences(table, methods, metrics)
        if absent:
            parts.append(f"–: {'; '.join(absent)}.")
        parts += [f"Not shown: {'; '.join(left_out)}."] if left_out else []
        parts += ["\n".join(f"{place}. {note}" for place, note in enumerate(notes, 1))] if notes else []
    return parts


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
    left_out = [
        f"{method.spec} ({', '.join(_absences(table, [method], metrics))})"
        for method in table.methods
        if method not in rows
    ]
    left_out += [
        f"{metric.spec} ({', '.join(_absences(table, rows, [metric]))})" for metric in metrics if metric not in shown
    ]
    return shown, rows, left_out if rows else []


def _bold(text: str, *, on: bool) -> str:
    """The mean in bold, the interval beside it not."""
    mean, space, rest = text.partition(" ")
    return f"**{mean}**{space}{rest}" if on else text


def _text(entry: Entry, size: int | None, notes: list[str] | None) -> str:
    """An entry as it stands in a table; what went wrong is added to the notes."""
    if entry.status == "not applicable":
        return NOTHING
    if entry.status != "scored":
        if notes is None or entry.status != "failed":
            return entry.status
        found = "; ".join(entry.notes)
        if found not in notes:
            notes.append(found)
        return f"failed [{notes.index(found) + 1}]"
    value = entry.value
    if not value.n:
        return f"undefined ({value.undefined})"
    text = estimated(value)
    if size is not None and value.n != size:
        text += f" n = {value.n}" + (f", {value.undefined} undefined" if value.undefined else "")
    return text


def _means(table: Table, metric: Source) -> dict[str, float]:
    entries = {method.spec: table.entries[method.spec, metric.spec] for method in table.methods}
    return {spec: entry.value.mean for spec, entry in entries.items() if entry.status == "scored" and entry.value.n}


def _usual_size(table: Table) -> int:
    """How many values most entries rest on."""
    sizes = [entry.value.n for entry in table.entries.values() if entry.status == "scored"]
    return max(sorted(set(sizes)), key=sizes.count) if sizes else 0


def _models(table: Table, size: int) -> list[str]:
    found = [(seed, model) for seed, model in table.models.items() if model is not None]
    count = len(table.models) - len(table.unfit)
    of = "1 model: the intervals know of other sequences, not of other models" if count == 1 else f"{count} models"
    lines = [f"n = {size} where nothing else is said, from {of}."]
    if found:
        first = found[0][1]
        scores = ", ".join(f"{number(model.score)} (seed {seed})" for seed, model in found)
        lines.append(
            f"Held-out {first.measure} of the models: {scores}; gate {number(first.gate)}, without learning "
            f"{number(first.baseline)}."
        )
    if table.unfit:
        seeds = ", ".join(map(str, table.unfit))
        lines.append(f"**Unfit**, under the gate and not averaged: the models of seed {seeds}.")
    return lines


def _absences(table: Table, methods: Sequence[Source], metrics: Sequence[Source]) -> list[str]:
    """Each distinct reason for which something is not applicable."""
    entries = [table.entries[method.spec, metric.spec] for method in methods for metric in metrics]
    notes = [note for entry in entries if entry.status == "not applicable" for note in entry.notes]
    return sorted(set(notes))


def _origin(board: Leaderboard) -> str:
    found = board.provenance
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(found.get("libraries", {}).items()))
    commit = found.get("commit") or "unknown"
    lines = [
        f"- xrnnbench {found.get('xrnnbench')}, commit {commit}, code {found.get('code')}",
        f"- Python {found.get('python')}, {libraries}",
        f"- {found.get('device')}, {found.get('threads')} threads, {found.get('system')}",
        f"- `{found.get('command')}`",
        f"- {found.get('date')}",
    ]
    if plugins := found.get("plug-ins"):
        lines.append(f"- plug-ins of {', '.join(f'{name} {version}' for name, version in sorted(plugins.items()))}")
    if len(board.origins) > 1:
        lines.append(f"- Cells were computed by more than one state of the code: {'; '.join(board.origins)}")
    return "## Origin\n\n" + "\n".join(lines)
