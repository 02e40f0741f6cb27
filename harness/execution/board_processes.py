"""Boards of the tasks of a large run, made by several processes of this machine.

The board of a task does not depend on other tasks; see :mod:`xrnnbench.harness.leaderboard.task_board`. The numbers are
the same as in one process.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from ..results.scored_cells import Results
from .processes import in_processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..leaderboard.task_board import TaskBoard
    from ..results.store import Store

# Boards of fewer cells are made sooner than a process is started.
FEWEST_CELLS = 4000


class StoredRun(Results, Protocol):
    """Results in a folder.

    Attributes:
        store: the folder.
    """

    store: Store


def boards_of_tasks(run: StoredRun, jobs: int) -> Iterator[TaskBoard] | None:
    """Make the board of one task after another; None if this process does it sooner by itself.

    Args:
        run: the run, which can be pickled.
        jobs: number of processes.
    """
    tasks = range(len(run.axes.tasks))
    if jobs < 2 or len(tasks) < 2 or len(run.scored_cells) < FEWEST_CELLS:
        return None
    return in_processes(partial(_board, run), tasks, jobs)


def _board(run: StoredRun, place: int) -> TaskBoard:
    """Make the board of a task, in another process.

    Args:
        run: the run.
        place: index of the task.
    """
    from ..leaderboard.leaderboard import task_boards  # noqa: PLC0415  # not needed where the processes are started

    (board,) = task_boards(run.axes, run.scored_cells, [place])
    # what was verified here
    run.store.write_index()
    return board
