"""The overview of a board in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from .number_format import labelled, number, titled

if TYPE_CHECKING:
    from ..leaderboard.leaderboard import Entry, Leaderboard


def overview(board: Leaderboard, console: Console | None = None) -> None:
    """Print the headline of every method on every task, and its mean over the tasks.

    In a terminal, the mean and as many tasks as it is wide enough for: whole numbers of some say more than the first
    digits of all. Elsewhere everything, on lines as long as they come.

    Args:
        board: what to show.
        console: where; standard output if it is left out.
    """
    console = console or Console(highlight=False)
    count = len(board.tables)
    if console.is_terminal:
        while count and _width(_table(board, count), console) > console.width:
            count -= 1
    else:
        console.width = max(console.width, _width(_table(board, count), console))
    console.print(_table(board, count))
    if hidden := len(board.tables) - count:
        console.print(f"{hidden} of {len(board.tables)} tasks do not fit in here: they are on the board.")


def _table(board: Leaderboard, count: int) -> Table:
    """The table of the mean and the first so many tasks."""
    table = Table(title=titled(board.headline), box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    shown = board.tables[:count]
    for head in ("mean", *(each.task.spec for each in shown)):
        table.add_column(head, justify="right", no_wrap=True)
    for method in board.methods:
        overall = board.overall.get(method.spec)
        entries = [_short(each.entries[method.spec, board.headline.spec]) for each in shown]
        table.add_row(labelled(method), "–" if overall is None else number(overall.mean), *entries)
    return table


def _width(table: Table, console: Console) -> int:
    """How wide a table would be if there were room for everything."""
    return console.measure(table, options=console.options.update(width=1 << 16)).maximum


def _short(entry: Entry) -> str:
    if entry.status == "scored":
        return number(entry.value.mean) if entry.value.n else "undefined"
    return "–" if entry.status == "not applicable" else entry.status
