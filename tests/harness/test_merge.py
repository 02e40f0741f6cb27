"""Runs of several machines put together are one run, as it would be in one go; what does not belong is refused."""

import contextlib
import json
import re
import shutil

import filelock
import numpy as np
import pytest

import xrnnbench
from xrnnbench.errors import FailedCellsWarning, UsageError
from xrnnbench.harness.execution.merge import merge
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.store import ENDINGS
from xrnnbench.harness.suites.suite import packaged, read_suite
from xrnnbench.plugins import build

from .conftest import METRICS, cell_files, command, counted, kept, small_benchmark, suite_text

ALL = {"methods": ("Chance", "Gradient", "Attentive"), "metrics": ("Size", "Kinship", "Falling", "Duration")}


def ran(folder, **axes):
    small_benchmark(**{**ALL, **axes}).run(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run in one go."""
    return ran(tmp_path_factory.mktemp("whole"))


def arrays(out):
    """Arrays of every cell but the measured ones."""
    found = {}
    for path in cell_files(out, "**/*.npz"):
        with np.load(path) as file:
            found[str(path.relative_to(out))] = {name: file[name].tobytes() for name in file if name != "measured"}
    return found


def boards(out):
    """Boards without what two runs in one go do not have in common either: times, dates and commands."""
    found = {}
    for ending in ENDINGS:
        text = (out / f"leaderboard.{ending}").read_text("utf-8")
        text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]*", "DATE", text)
        found[ending] = "\n".join(line for line in text.splitlines() if "duration" not in line.lower())
    return found


def everything(folder):
    """All files of a folder with their bytes and times, which merging must not change."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def assert_same(merged, whole):
    assert kept(merged) == kept(whole)
    assert arrays(merged) == arrays(whole)
    assert list(Run.load(merged).content["cells"]) == list(Run.load(whole).content["cells"])
    assert Run.load(merged).content["grid"] == Run.load(whole).content["grid"]
    assert Run.load(merged).content["suite"] == Run.load(whole).content["suite"]
    for path in (whole / "runs" / "small" / "sequences").iterdir():
        assert (merged / "runs" / "small" / "sequences" / path.name).read_bytes() == path.read_bytes()


def test_tasks_apart(tmp_path, whole, calls):
    parts = [ran(tmp_path / "a", tasks=("SmallTask",)), ran(tmp_path / "b", tasks=("OtherTask",))]
    before = everything(tmp_path)
    calls()
    merged = merge(parts, tmp_path / "merged")
    assert calls() == []
    assert {path: value for path, value in everything(tmp_path).items() if path in before} == before
    assert merged.complete
    assert merged.store.notices == []
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)


def test_a_merged_run_is_resumed_and_lacks_nothing(tmp_path, whole, calls):
    parts = [ran(tmp_path / "a", methods=("Chance",)), ran(tmp_path / "b", methods=("Gradient", "Attentive"))]
    merge(parts, tmp_path / "merged")
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)
    calls()
    run = small_benchmark(**ALL).run(tmp_path / "merged")
    assert calls() == []
    assert run.complete
    assert small_benchmark(**ALL).run(tmp_path / "merged").nothing_to_do


def test_seeds_apart_are_scored_again_where_models_are_compared(tmp_path, whole, calls):
    parts = [ran(tmp_path / "a", seeds=(0, 1)), ran(tmp_path / "b", seeds=(2,))]
    merged = merge(parts, tmp_path / "merged")
    assert not merged.complete
    assert "of these scores are left out, because they compare other models" in merged.store.notices[-1]
    frame = merged.records()
    assert set(frame[frame["metric"] == "kinship"]["status"]) == {"missing", "not applicable"}
    assert set(frame[frame["metric"] == "size"]["status"]) == {"scored", "not applicable"}
    calls()
    small_benchmark(**ALL).run(tmp_path / "merged")
    found = calls()
    assert counted(found, "explain") == counted(found, "score-size") == 0
    assert counted(found, "score-kinship") == 12
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)


def test_metrics_apart_are_put_together_in_one_cell(tmp_path, whole):
    parts = [ran(tmp_path / "a", metrics=("Size", "Duration")), ran(tmp_path / "b", metrics=("Kinship", "Falling"))]
    merged = merge(parts, tmp_path / "merged")
    assert merged.complete
    assert [info.spec for info in merged.axes.metrics] == ["size", "duration", "kinship", "falling"]
    assert kept(tmp_path / "merged") == kept(whole)
    assert arrays(tmp_path / "merged") == arrays(whole)
    run = small_benchmark(**ALL).run(tmp_path / "merged")
    assert run.complete
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)


def test_the_same_cells_are_taken_once(tmp_path, whole):
    parts = [whole, ran(tmp_path / "a", tasks=("SmallTask",), seeds=(0, 1, 2))]
    merged = merge(parts, tmp_path / "merged")
    assert merged.complete
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)


def test_interrupted_halves(tmp_path, whole):
    halves = []
    for name, rest in (("a", 0), ("b", 1)):
        out = tmp_path / name
        shutil.copytree(whole, out)
        for place, path in enumerate(cell_files(out, "**/*.json")):
            if place % 2 == rest:
                path.unlink()
                path.with_suffix(".npz").unlink(missing_ok=True)
        halves.append(out)
    one = merge(halves[:1], tmp_path / "one")
    assert not one.complete
    assert one.store.notices[0] == "9 of 18 cells are missing."
    merged = merge(halves, tmp_path / "merged")
    assert merged.complete
    assert_same(tmp_path / "merged", whole)
    assert boards(tmp_path / "merged") == boards(whole)
