"""Boards of large runs by several processes: the same numbers as by one."""

import math
import os
import pickle

import pytest

from xrnnbench import Run
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution import board_processes, processes
from xrnnbench.harness.execution.archive import Archive
from xrnnbench.harness.execution.reference_rows import RunWithReferences
from xrnnbench.harness.gate import task_comparison
from xrnnbench.harness.gate.gate import bless, compare
from xrnnbench.harness.gate.task_comparison import TaskComparer
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.results.cells import PluginInfo

from .conftest import METHODS, TASKS, small_benchmark

pytestmark = pytest.mark.filterwarnings("ignore::xrnnbench.errors.FailedCellsWarning")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(board_processes, "FEWEST_CELLS", 1)
    monkeypatch.setattr(processes, "_TOGETHER", 1)
    return small_benchmark().run(tmp_path)


def test_the_same_board(run):
    alone = Run.load(run.folder).leaderboard()
    boards = board_processes.boards_of_tasks(run, 2)
    assert [board.table.task for board in boards] == list(run.axes.tasks)
    together = Run.load(run.folder).leaderboard(jobs=2)
    for ending in ("json", "md", "tex", "csv"):
        assert render(together, ending) == render(alone, ending)


def test_what_the_processes_verified_is_in_the_index(run):
    names = [path for path in run.folder.iterdir() if path.name.startswith("index")]
    for path in names:
        path.unlink()
    # files as old as those of a run that ended a while ago
    for path in run.folder.glob("cells/*/*/*"):
        os.utime(path, (1e9, 1e9))
    again = Run.load(run.folder)
    again.publish(("md",), jobs=2)
    known = Run.load(run.folder).store._index.digests()
    assert {path for path, each in known.items() if each.checked} == set(run.content["cells"])
    # so that the board is found the next time
    assert again.board is not None
    last = Run.load(run.folder)
    last.publish(("md",), jobs=2)
    assert last.board is None


def test_what_the_processes_left_out_is_known_here(run, monkeypatch):
    damaged = sorted(run.folder.glob("cells/*/*/*.json"))[::5]
    for path in damaged:
        path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))
    names = {f"{path.relative_to(run.folder)} is missing or damaged" for path in damaged}
    together, other = Run.load(run.folder), Run.load(run.folder)
    together.leaderboard(jobs=2)
    assert {notice.partition(" (")[0] for notice in together.store.notices} == names
    monkeypatch.setattr(task_comparison, "FEWEST_CELLS", 1)
    with pytest.raises(UsageError, match="is not finished"):
        compare(other, run, jobs=2)
    assert {notice.partition(" (")[0] for notice in other.store.notices} == names


def test_reference_rows_are_there(run, tmp_path):
    chosen = small_benchmark(methods=METHODS[:1]).run(tmp_path)
    alone = RunWithReferences.load(chosen.folder)
    assert render(alone.leaderboard(jobs=2), "md") == render(alone.leaderboard(), "md")


def test_few_cells_are_done_here(run, monkeypatch):
    monkeypatch.setattr(board_processes, "FEWEST_CELLS", 10**6)
    assert board_processes.boards_of_tasks(run, 2) is None
    monkeypatch.setattr(board_processes, "FEWEST_CELLS", 1)
    assert board_processes.boards_of_tasks(run, 1) is None


def test_a_plugin_is_sent_once_and_whole():
    info = PluginInfo(
        spec="odd:share=inf", identity={"name": "odd", "parameters": {"share": math.inf, "text": "\ud800"}}, facts={}
    )
    one, other = pickle.loads(pickle.dumps([info, info.model_copy()]))  # noqa: S301  # made here
    assert one is other
    assert one == info
    assert one.identity["parameters"] == {"share": math.inf, "text": "\ud800"}


def test_the_same_comparison(run, tmp_path, monkeypatch):
    bless(run, tmp_path / "baseline", force=True)
    baseline = Archive.load(tmp_path / "baseline")
    other = small_benchmark(tasks=TASKS[::-1], seeds=(0, 1)).run(tmp_path / "other")
    alone = [compare(one, two) for one, two in ((run, baseline), (other, baseline), (run, other))]
    monkeypatch.setattr(task_comparison, "FEWEST_CELLS", 1)
    monkeypatch.setattr(TaskComparer, "of_task", lambda *_: pytest.fail("it was done here"))
    together = [compare(one, two, jobs=2) for one, two in ((run, baseline), (other, baseline), (run, other))]
    assert together == alone
    assert list(map(str, together)) == list(map(str, alone))
