"""The overview of a board in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .tables import labelled, number, titled

if TYPE_CHECKING:
    from .leaderboard import Entry, Leaderboard


def overview(board: Leaderboard) -> None:
    """Print the headline of every method on every task, and its mean over the tasks."""
    console = Console(highlight=False)
    table = Table(title=titled(board.headline), box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    for head in ("mean", *(table.task.spec for table in board.tables)):
        table.add_column(head, justify="right")
    for method in board.methods:
        overall = board.overall.get(method.spec)
        entries = [_short(each.entries[method.spec, board.headline.spec]) for each in board.tables]
        table.add_row(labelled(method), "–" if overall is None else number(overall.mean), *entries)
    console.print(table)


def _short(entry: Entry) -> str:
    if entry.status == "scored":
        return number(entry.value.mean) if entry.value.n else "undefined"
    return "–" if entry.status == "not applicable" else entry.status
