"""The overview of a leaderboard in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...visible_text import visible_line
from .number_format import DASH, format_method, format_metric, format_number

if TYPE_CHECKING:
    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.task_board import Entry


def print_overview(board: Leaderboard, console: Console | None = None) -> None:
    """Print the headline metric of every method on every task, and its mean over the tasks.

    A terminal shows the mean and as many tasks as fit its width, since whole numbers of some tasks are more useful than
    truncated numbers of all. Other outputs show all tasks, on lines of any length.

    Args:
        board: the leaderboard.
        console: the console to print to; standard output by default.
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
        console.print(f"{hidden} of {len(board.tables)} tasks do not fit here; the board has them all.")


def _table(board: Leaderboard, count: int) -> Table:
    """Return the table of the mean and the first ``count`` tasks."""
    table = Table(title=_plain(format_metric(board.headline)), box=box.SIMPLE_HEAD)
    table.add_column("method", no_wrap=True)
    shown = board.tables[:count]
    for head in ("mean", *(task_table.task.spec for task_table in shown)):
        table.add_column(_plain(head), justify="right", no_wrap=True)
    for method in board.methods:
        overall = board.overall.get(method.spec)
        entries = [_entry_text(task_table.entries[method.spec, board.headline.spec]) for task_table in shown]
        table.add_row(_plain(format_method(method)), DASH if overall is None else format_number(overall.mean), *entries)
    return table


def _plain(text: str) -> Text:
    """Return a name as it is: no markup of rich, and nothing that a terminal obeys."""
    return Text(visible_line(text))


def _width(table: Table, console: Console) -> int:
    """Return the width of a table, in characters, with nothing cut or wrapped."""
    return console.measure(table, options=console.options.update(width=1 << 16)).maximum


def _entry_text(entry: Entry) -> str:
    """Return the mean of an entry, or the word in its place."""
    if entry.status == "scored":
        return format_number(entry.value.mean) if entry.value.n else "undefined"
    return DASH if entry.status == "not applicable" else entry.status
