"""The board that is committed is that of the suite that is committed."""

import json
from pathlib import Path

import pytest

from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.plugins import build

BOARD = Path(__file__).parents[2] / "results" / "quick" / "leaderboard.json"


@pytest.mark.skipif(not BOARD.parent.is_dir(), reason="there are no results beside these tests")
@pytest.mark.parametrize("axis", ["tasks", "methods", "metrics"])
def test_the_committed_board_has_the_axes_of_quick(axis):
    suite = read_suite("quick")
    board = json.loads(BOARD.read_text("utf-8"))
    assert board["suite"] == suite.name
    written = [build(axis.removesuffix("s"), spec).spec for spec in getattr(suite, axis)]
    assert sorted(each["spec"] for each in board[axis]) == sorted(written)
