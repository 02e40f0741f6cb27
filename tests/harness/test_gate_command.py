"""The commands of the gate."""

import json
import os
import shutil
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from xrnnbench.errors import UsageError
from xrnnbench.harness import cli

from .conftest import command, small_benchmark, write_sealed

RUNNER = CliRunner()
METRICS = ("Size", "Passes", "Duration")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder of a run, that of a rerun, and that of a baseline."""
    out = tmp_path_factory.mktemp("runs")
    run = small_benchmark(metrics=METRICS).run(out / "one")
    other = small_benchmark(metrics=METRICS).run(out / "other")
    found = RUNNER.invoke(cli.app, ["bless", str(run.folder), str(out / "baseline")], catch_exceptions=False)
    assert found.exit_code == 0
    assert "archive.json" in found.output
    return run.folder, other.folder, out / "baseline"


@pytest.fixture
def worse(runs, tmp_path):
    """Return a baseline with fewer passes: what the run needs is one more."""
    folder = tmp_path / "better"
    shutil.copytree(runs[2], folder)
    path = folder / "archive.json"
    content = json.loads(path.read_text("utf-8"))
    place = next(i for i, metric in enumerate(content["grid"]["metrics"]) if metric["identity"]["name"] == "passes")
    rows = [record for entry in content["cells"] for record in entry["double"] if record[0] == place]
    for entry in content["cells"]:
        # whatever has passes now has the fewest of all
        entry["double"] = [[*record[:4], rows[0][4]] if record[0] == place else record for record in entry["double"]]
    write_sealed(path, content)
    return folder


def called(*words):
    return RUNNER.invoke(cli.app, ["compare", *map(str, words)], catch_exceptions=False)


def test_a_rerun_is_no_worse(runs):
    found = called(runs[1], runs[2])
    assert found.exit_code == 0
    assert found.output.startswith("small: no worse\n")


def test_more_passes_are_worse_and_every_form_is_written(runs, worse, tmp_path):
    paths = [tmp_path / "deep" / f"gate.{ending}" for ending in ("txt", "md", "xml", "json")]
    options = [word for path in paths for word in ("--save", path)]
    found = called(runs[1], worse, "--format", "md", *options)
    assert found.exit_code == 1
    assert found.output.startswith("## small: worse\n")
    texts = {path.suffix: path.read_text("utf-8") for path in paths}
    assert texts[".md"] == found.output
    assert texts[".txt"].startswith("small: worse")
    assert int(ET.fromstring(texts[".xml"]).attrib["failures"]) > 0  # noqa: S314  # made by the line above
    changes = json.loads(texts[".json"])["changes"]
    assert {each["metric"] for each in changes if each["verdict"] == "worse"} == {"passes"}


def test_what_is_chosen_alone_is_compared(runs, worse):
    assert called(runs[1], worse, "-x", "size", "-t", "small").exit_code == 0
    assert called(runs[1], worse, "-x", "passes", "-m", "slope", "-m", "chance").exit_code == 1


def test_nothing_comparable_is_3(runs, tmp_path):
    other = small_benchmark(tasks=("SmallTask:size=9",), metrics=METRICS).run(tmp_path)
    found = called(other.folder, runs[2])
    assert (found.exit_code, found.output.splitlines()[0]) == (3, "small: nothing comparable")


def test_models_that_were_trained_again_are_compared_and_told(runs, tmp_path, broken):
    broken("another-model")
    other = small_benchmark(metrics=METRICS).run(tmp_path)
    found = called(other.folder, runs[2])
    assert (found.exit_code, found.output.splitlines()[0]) == (0, "small: no worse")
    assert "3 of 3 models were trained again (other weights); accuracy" in found.output


def test_costs_are_records(runs, tmp_path):
    found = RUNNER.invoke(cli.app, ["costs", str(runs[2])], catch_exceptions=False)
    assert len(json.loads(found.output)["benchmarks"]) == 4
    RUNNER.invoke(cli.app, ["costs", str(runs[0]), "--save", str(tmp_path / "costs.json")], catch_exceptions=False)
    assert json.loads((tmp_path / "costs.json").read_text("utf-8"))["benchmarks"][0]["group"] == "small"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--margin=-0.1"], "A margin of -0.1 does not fit"),
        (["--margin", "nan"], "A margin of nan does not fit"),
        (["--alpha", "2"], "An alpha of 2.0 does not fit"),
        (["--format", "html"], "--format: there is no 'html'; choose among text, md, junit, json"),
        (["--save", "gate.pdf"], "--save gate.pdf: there is no '.pdf'; choose among .txt, .md, .xml, .json"),
        (["--save", "gate"], "--save gate: there is no ''"),
        (["-t", "smal"], "Neither the run nor the baseline has a task 'smal'"),
        (["--save", "/dev/null/gate.md"], "/dev/null/gate.md cannot be written"),
    ],
)
def test_options_that_do_not_fit_are_said(runs, words, said):
    with pytest.raises(UsageError) as found:
        called(runs[1], runs[2], *words)
    assert said in str(found.value)


@pytest.mark.parametrize("words", [["--margins", "1"], ["--margin", "much"], []])
def test_a_wrong_flag_is_usage(runs, words):
    assert called(*((runs[1], runs[2]) if words else (runs[1],)), *words).exit_code == 2


@pytest.mark.full
def test_what_is_no_baseline_is_said_on_the_command_line_with_status_2(runs, tmp_path):
    for words, said in (
        (("compare", runs[0], tmp_path / "nowhere"), "There is neither a run nor an archive of one in"),
        (("compare", tmp_path, runs[2]), "There is neither a run nor an archive of one in"),
        (("bless", tmp_path), "There is neither a run nor an archive of one in"),
        (("costs", tmp_path), "There is neither a run nor an archive of one in"),
    ):
        done = command(*words, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_an_unfinished_run_is_neither_compared_nor_blessed(runs, tmp_path):
    shutil.copytree(runs[0], tmp_path / "runs" / "half")
    cell = next((tmp_path / "runs" / "half" / "cells").rglob("*.json"))
    cell.unlink()
    half = tmp_path / "runs" / "half"
    with pytest.raises(UsageError, match="small is not finished: 1 of 12 cells are not computed"):
        called(half, runs[2])
    with pytest.raises(UsageError, match="small is no baseline: 1 of 12 cells are not computed"):
        RUNNER.invoke(cli.app, ["bless", str(half), str(tmp_path / "kept")], catch_exceptions=False)
    forced = RUNNER.invoke(cli.app, ["bless", str(half), str(tmp_path / "kept"), "--force"], catch_exceptions=False)
    assert forced.exit_code == 0
    assert called(runs[1], tmp_path / "kept").exit_code == 0


def test_bless_has_a_place_of_its_own(runs, tmp_path):
    where = os.path.relpath(runs[0], tmp_path)
    done = command("bless", where, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "results" / "baseline" / "small").iterdir()) == [
        "archive.json", "scores.npz",
    ]  # fmt: skip
