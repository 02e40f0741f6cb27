"""Report of a plan, and of predicted against actual seconds: tables for the terminal, plain text in a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ....visible_text import visible, visible_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .check import ForecastCheck, Ratios
    from .plan import Plan

_TASKS = ("task", "train", "explain", "score", "passes", "training", "explaining", "scoring")
_WIDEST = 400


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """Print a plan: the tasks, the totals, the longest cells, what limits the time, memory and disk."""
    console = console or Console(highlight=False)
    if plan.nothing_to_do:
        console.print(Text(f"{visible_line(plan.suite)}: nothing is missing."))
        return
    rows = [
        (task.task, str(task.models), str(task.explained), str(task.scored), format_count(task.equivalents),
         *map(format_seconds, (task.training, task.explaining, task.scoring)))
        for task in plan.tasks
    ]  # fmt: skip
    _print_table(console, f"{plan.suite}: what is missing", _TASKS, rows)
    longest = [(cell.name, format_seconds(cell.explaining), format_seconds(cell.scoring)) for cell in plan.longest]
    _print_table(console, "The longest cells", ("cell", "explaining", "scoring"), longest)
    for line in plan_lines(plan):
        console.print(Text(visible(line)), soft_wrap=True)


def plan_lines(plan: Plan) -> list[str]:
    """Sentences of a plan: totals, wall time and what limits it, memory and disk."""
    tasks, phases = plan.tasks, plan.phases
    counts = [sum(getattr(task, name) for task in tasks) for name in ("models", "explained", "scored")]
    work = sum(phases[name] for name in ("training", "explaining", "scoring"))
    chain = " → ".join(f"{name} ({format_seconds(seconds)})" for name, seconds in plan.path)
    processes = "1 process" if plan.jobs == 1 else f"{plan.jobs} processes"
    passes = format_count(sum(task.equivalents for task in tasks))
    return [
        f"{counts[0]} models to train, {counts[1]} cells to explain, {counts[2]} to score.",
        f"{passes} sequence-equivalents: {format_seconds(work)} of work, {format_seconds(phases['rest'])} for boards.",
        f"This machine now takes {plan.speed:.1f} s for a second of the machine of the calibration.",
        f"Wall time with {processes} on this machine: about {format_seconds(plan.seconds)}.",
        f"It is limited by {plan.limit}.",
        f"Longest chain: {chain}.",
        f"Memory: about {format_bytes(plan.process_bytes)} a process, {format_bytes(plan.total_bytes)} in total.",
        f"Disk: about {format_bytes(plan.disk_bytes)}.",
        *plan.notes,
    ]


def print_check(check: ForecastCheck, console: Console | None = None) -> None:
    """Print predicted against actual seconds of a run."""
    console = console or Console(highlight=False)
    heads = ("", "cells", "predicted", "actual", "median ratio", "worst ratio", "worst")
    for title, groups in check.tables.items():
        _print_table(console, title, heads, [_ratio_row(ratios) for ratios in groups])
    console.print(Text(visible(check.sentence)), soft_wrap=True)


def _ratio_row(ratios: Ratios) -> tuple[str, ...]:
    """Row of a group of cells."""
    return (
        ratios.name, str(ratios.cells), format_seconds(ratios.predicted), format_seconds(ratios.actual),
        f"{ratios.median:.2f}", f"{ratios.worst:.2f}", ratios.worst_cell,
    )  # fmt: skip


def format_seconds(seconds: float) -> str:
    """Duration for readers.

    >>> format_seconds(0.123), format_seconds(95), format_seconds(7300)
    ('0.1 s', '95 s', '2 h 2 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def format_count(count: float) -> str:
    """Large count for readers.

    >>> format_count(950), format_count(12_345), format_count(23_456_789)
    ('950', '12.3 k', '23.5 M')
    """
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= limit:
            return f"{count / (limit if unit != 'k' else 1e3):.1f} {unit}"
    return f"{count:.0f}"


def format_bytes(count: float) -> str:
    """Number of bytes for readers.

    >>> format_bytes(3_000_000), format_bytes(2_500_000_000)
    ('3 MB', '2.5 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _print_table(console: Console, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; in a pipe on lines of any length."""
    table = Table(title=Text(visible_line(title)), box=box.SIMPLE_HEAD, title_justify="left")
    for number, head in enumerate(heads):
        table.add_column(Text(head), justify="left" if not number or head == "worst" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(visible_line(cell)) for cell in row))
    if not console.is_terminal:
        console.width = max(console.width, _WIDEST)
    console.print(table)
