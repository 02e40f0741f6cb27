"""An archive gives back what a run knew, and says what is wrong with it in one sentence."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xrnnbench import Archive, Run, read_results
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.archive import write_archive
from xrnnbench.harness.results.cells import Failure
from xrnnbench.harness.results.scored_cells import direction_sign
from xrnnbench.harness.statistics.estimates import Estimate

from .conftest import small_benchmark, write_sealed
from .results import DOWN, EITHER, GLOBAL, METHOD, PASSES, TASK, TIME, UP, absent, cell, results, source

BROKEN = Failure(kind="KeyError", sentence="no\nsuch thing", traceback="on that machine")
VALUES = st.one_of(
    st.floats(-1e300, 1e300),
    st.just(math.nan),
    st.integers(-(2**53), 2**53).map(float),
    st.sampled_from([0.0, 0.1]),
)


def rows_of(results):
    """Every score by cell and metric, and every state that is not a score."""
    found = {}
    for key, scored in results.scored_cells.items():
        for metric in results.axes.metrics:
            record = scored.cell and scored.cell.record(metric)
            place = str(key), metric.spec
            if record is None or record.status != "scored":
                found[place] = record and (record.status, record.reason, str(record.failure))
            else:
                found[place] = (record.mean, record.n, record.undefined, scored.row(record))
    return found


def agree(one, other):
    assert one.keys() == other.keys()
    for place, found in one.items():
        if isinstance(found, tuple) and isinstance(found[-1], np.ndarray):
            assert found[:-1] == other[place][:-1]
            np.testing.assert_allclose(other[place][-1], found[-1], rtol=1e-7, atol=2e-45)
        else:
            assert found == other[place]


def mixed():
    """A cell of every kind, on two seeds."""

    def rows(key):
        if key.task.spec == "second":
            return cell(key, {}, status="not applicable", reason="the model shows no attention")
        if key.method.spec == "global":
            return absent() if key.model_seed else cell(key, {}, status="failed", failure=BROKEN, model="", data="")
        if key.model_seed:
            return {"up": "it does not fit", "down": BROKEN, "passes": [7.0] * 3, "time": [0.1, 0.2, 0.3]}
        return {"up": [0.1, math.nan, 1e-9], "down": [1.0, 2.0, 3.5], "passes": [2.0**40 + 1] * 3, "time": [0.1] * 3}

    tasks, metrics = (TASK, source("second")), (UP, DOWN, PASSES, TIME)
    return results(rows, tasks=tasks, methods=(METHOD, GLOBAL), seeds=(0, 1), metrics=metrics)


def test_the_old_name_of_its_cells_warns(tmp_path):
    run = small_benchmark(tasks=("SmallTask",), seeds=(0,)).run(tmp_path / "run")
    write_archive(run, tmp_path / "kept")
    for either in (run, read_results(tmp_path / "kept")):
        with pytest.warns(DeprecationWarning, match="judged is now scored_cells"):
            assert either.judged is either.scored_cells


def test_what_was_kept_comes_back(tmp_path):
    write_archive(mixed(), tmp_path)
    found = Archive.load(tmp_path)
    assert (found.name, found.complete, found.axes) == ("mine", True, mixed().axes)
    agree(rows_of(mixed()), rows_of(found))
    for (_, one), (_, other) in zip(mixed().scored_cells.items(), found.scored_cells.items(), strict=True):
        if one.cell is not None and one.cell.failure is None:
            left_out = {"records", "measured"}
            assert other.cell.model_dump(exclude=left_out) == one.cell.model_dump(exclude=left_out)
            assert other.cell.measured.seconds == one.cell.measured.seconds
    failed = next(scored.cell.failure for scored in found.scored_cells.values() if scored.cell and scored.cell.failure)
    # a traceback names the machine
    assert (failed.sentence, failed.traceback) == ("no\nsuch thing", "")


@settings(deadline=None, max_examples=60)
@given(st.lists(VALUES, min_size=1, max_size=6))
def test_any_scores_come_back_and_counts_exactly(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("archive")
    write_archive(results({"up": values}), folder)
    (scored,) = Archive.load(folder).scored_cells.values()
    found, values = scored.scores[0], np.array(values)
    np.testing.assert_allclose(found, values, rtol=1e-7, atol=2e-45)
    whole = values == np.rint(values)
    assert (found[whole] == values[whole]).all()


def test_an_archive_of_an_archive_is_the_same(tmp_path):
    write_archive(mixed(), tmp_path / "one")
    write_archive(Archive.load(tmp_path / "one"), tmp_path / "other")
    for name in ("archive.json", "scores.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_a_run_and_its_archive_have_the_same_board(tmp_path):
    run = small_benchmark(metrics=("Size", "Kinship", "Passes", "Duration")).run(tmp_path / "out")
    paths = write_archive(run, tmp_path / "kept")
    assert sum(path.stat().st_size for path in paths) < 40_000
    found = read_results(tmp_path / "kept")
    agree(rows_of(run), rows_of(found))
    one, other = run.leaderboard(), found.leaderboard()
    assert [method.spec for method in one.methods] == [method.spec for method in other.methods]
    for table, kept in zip(one.tables, other.tables, strict=True):
        for place, entry in table.entries.items():
            assert kept.entries[place].status == entry.status
            _close(entry.value, kept.entries[place].value)


def _close(one: Estimate, other: Estimate):
    for name in ("mean", "low", "high", "n", "undefined", "seeds"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-6, nan_ok=True)


def test_a_folder_is_read_as_what_is_in_it(tmp_path):
    run = small_benchmark().run(tmp_path / "out")
    write_archive(run, tmp_path / "kept")
    assert isinstance(read_results(run.folder), Run)
    assert isinstance(read_results(run.folder / "run.json"), Run)
    assert isinstance(read_results(tmp_path / "kept"), Archive)
    assert isinstance(read_results(tmp_path / "kept" / "archive.json"), Archive)


@pytest.mark.full
def test_comparing_archives_loads_neither_torch_nor_a_plug_in(tmp_path):
    write_archive(results({"up": [0.1, 0.2], "time": [0.5, 0.5]}), tmp_path)
    program = f"""
import sys
from xrnnbench import compare, read_results
from xrnnbench.harness.reports.benchmark_json import cost_records
from xrnnbench.harness.gate.gate_report import FORMS, report
found = read_results({str(tmp_path)!r})
texts = [report(compare(found, found), form) for form in FORMS] + [cost_records(found)]
heavy = ("torch", "pandas", "xrnnbench.methods", "xrnnbench.tasks", "xrnnbench.metrics")
print(min(map(len, texts)) > 0, [name for name in sys.modules if name.startswith(heavy)])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True []", done.stderr


def _without(key):
    def change(content):
        del content[key]

    return change


def _cell(**values):
    def change(content):
        content["cells"][0].update(values)

    return change


def _twice(content):
    content["cells"].append(content["cells"][0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("grid"), "grid: Field required"),
        (lambda content: content.update(format=3), "format: Input should be 1 or 2"),
        (_cell(task=9), "a cell refers to a missing entry"),
        (_cell(task=-1), "cells.0.task"),
        (_cell(single=[[0, 1.0, 3, 0, 99]]), "a cell refers to a missing entry"),
        (_cell(width=7), "a cell refers to a missing entry"),
        (_cell(status="lost"), "cells.0.status"),
        (_twice, "a cell is there twice"),
        (lambda content: content.update(scores="0" * 64), "archive.json has the hash of another file"),
    ],
)
def test_a_damaged_json_is_said(tmp_path, change, said):
    write_archive(results({"up": [0.1, 0.2, 0.4], "down": [1.0, 2.0, 3.0]}), tmp_path)
    path = tmp_path / "archive.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    write_sealed(path, content)
    _refused(tmp_path, said)


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("archive.json", lambda data: data[: len(data) // 2], "is damaged (it is no JSON)"),
        ("archive.json", lambda data: b"", "is damaged (it is no JSON)"),
        ("archive.json", lambda data: b"[]", "is damaged (it is no JSON)"),
        ("archive.json", lambda data: b"\xff\xfe", "is damaged ("),
        ("scores.npz", lambda data: data[:-20], "archive.json has the hash of another file"),
        ("scores.npz", lambda data: b"", "archive.json has the hash of another file"),
        ("scores.npz", None, "No such file or directory"),
        ("archive.json", None, "There is neither a run nor an archive"),
    ],
)
def test_a_damaged_file_is_said(tmp_path, name, damage, said):
    write_archive(results({"up": [0.1, 0.2, 0.4]}), tmp_path)
    path = tmp_path / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage(path.read_bytes()))
    _refused(tmp_path, said)


@pytest.mark.parametrize("kind", ["nothing", "empty", "file"])
def test_what_is_no_archive_is_said(tmp_path, kind):
    path = tmp_path / "place"
    if kind == "empty":
        path.mkdir()
    elif kind == "file":
        path.write_text("text", "utf-8")
    _refused(path, "There is neither a run nor an archive of one in")
    with pytest.raises(UsageError, match=r"There is no archive in|is damaged"):
        Archive.load(path)


def _refused(path, said):
    with pytest.raises(UsageError) as found:
        read_results(path)
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(UsageError, match="The archive cannot be written to"):
        write_archive(results({"up": [0.1]}), tmp_path / "file")


def test_metrics_without_a_better_are_kept_as_well(tmp_path):
    write_archive(results({"either": [1.0, 2.0]}), tmp_path)
    (metric,) = Archive.load(tmp_path).axes.metrics
    assert (metric, direction_sign(metric)) == (EITHER, 0)
