"""Boards of the tasks of a large run, made by several processes of this machine.

The board of a task does not depend on other tasks; see :mod:`xrnnbench.harness.leaderboard.task_board`. The numbers are
the same as in one process.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from ..results.scored_cells import Results, cells_by_task
from .processes import in_processes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..leaderboard.task_board import TaskBoard
    from ..results.scored_cells import CellsByMethod
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
    return _noticed(run.store, in_processes(_BoardMaker(run), tasks, jobs))


def _noticed(store: Store, made: Iterable[tuple[TaskBoard, list[str]]]) -> Iterator[TaskBoard]:
    """Yield boards, and keep what the other processes found out about the files."""
    for board, notices in made:
        store.notices += notices
        yield board


class _BoardMaker:
    """Maker of boards of tasks in another process.

    Args:
        run: the run.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run

    def __getstate__(self) -> dict[str, StoredRun]:
        # without the cells, which the other process reads itself
        return {"_run": self._run}

    @cached_property
    def _cells(self) -> dict[str, CellsByMethod]:
        # once in a process: to go through all cells for each task would take longer than the boards of many tasks
        return cells_by_task(self._run.scored_cells, self._run.axes.tasks)

    def __call__(self, place: int) -> tuple[TaskBoard, list[str]]:
        """Make the board of the task with this index; with notices about damaged files."""
        # late imports: the process that starts the others may not need them
        from ..leaderboard.leaderboard import headline_of  # noqa: PLC0415
        from ..leaderboard.task_board import task_board  # noqa: PLC0415

        axes = self._run.axes
        task = axes.tasks[place]
        board = task_board(task, axes, headline_of(axes.metrics), self._cells[task.spec], place)
        # what was verified here
        self._run.store.write_index()
        return board, self._run.store.new_notices()
