"""Boards of the tasks of a large run, made by several processes of this machine.

The board of a task does not depend on other tasks. Each process reads the cells of its tasks from the folder of the
run, and sends their boards back; see :mod:`xrnnbench.harness.leaderboard.task_board`. The numbers are the same as in
one process.
"""

from __future__ import annotations

import pickle
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..results.scored_cells import Results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..leaderboard.task_board import TaskBoard
    from ..results.store import Store

# Boards of fewer cells are made sooner than a process is started.
FEWEST_CELLS = 4000
# Tasks that a process does at once: the descriptions of plug-ins are sent once with them.
_TOGETHER = 4


class StoredRun(Results, Protocol):
    """Results in a folder, which are made of its store and the content of their file.

    Attributes:
        store: the folder.
    """

    store: Store


def boards_of_tasks(run: StoredRun, jobs: int) -> Iterator[TaskBoard] | None:
    """Make the board of one task after another; None if this process does it sooner by itself.

    Args:
        run: the run.
        jobs: number of processes.
    """
    tasks = len(run.axes.tasks)
    jobs = min(jobs, -(-tasks // _TOGETHER))
    if jobs < 2 or len(run.scored_cells) < FEWEST_CELLS:
        return None
    return _made(run, jobs, [range(start, min(start + _TOGETHER, tasks)) for start in range(0, tasks, _TOGETHER)])


def _made(run: StoredRun, jobs: int, shares: list[range]) -> Iterator[TaskBoard]:
    """Make the boards of shares of the tasks, and yield them in order."""
    from joblib import Parallel, delayed, parallel_config  # noqa: PLC0415  # few runs are so large

    with tempfile.TemporaryDirectory() as folder, parallel_config("loky", inner_max_num_threads=1):
        # the run file is written after its boards, so the processes have the content from here
        file = Path(folder, "run.pickle")
        file.write_bytes(pickle.dumps((type(run), run.store, run.content)))
        make = Parallel(n_jobs=jobs, return_as="generator")
        for boards in make(delayed(_boards)(file, share) for share in shares):
            yield from boards


def _boards(file: Path, places: range) -> list[TaskBoard]:
    """Make the boards of some tasks, in another process.

    Args:
        file: file with the run.
        places: indices of the tasks.
    """
    from ..leaderboard.leaderboard import task_boards  # noqa: PLC0415  # not needed where the processes are started

    run = _read(file)
    boards = list(task_boards(run.axes, run.scored_cells, places))
    run.store.write_index()
    return boards


@lru_cache(maxsize=1)
def _read(file: Path) -> StoredRun:
    """Read the run once in each process."""
    kind, store, content = pickle.loads(file.read_bytes())  # noqa: S301  # written by the process that reads the result
    run: StoredRun = kind(store, content)
    return run
