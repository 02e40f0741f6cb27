"""Costs as pytest-benchmark keeps them."""

import json
import statistics
import subprocess
import sys

import numpy as np
import pytest
from pytest_benchmark.stats import Stats

from xrnnbench.harness.reports.benchmark_json import cost_records

from .results import GLOBAL, METHOD, TASK, cell, results, source

SECONDS = {0: 0.4, 1: 0.5, 2: 0.9, 3: 4.0}


def run():
    def rows(key):
        if key.method.spec == "global":
            return cell(key, {}, status="not applicable", reason="no")
        return cell(key, {"up": [0.1, 0.2], "time": [0.1, 0.1]}, seconds=SECONDS[key.model_seed], forward=24)

    return results(rows, tasks=(TASK, source("second")), methods=(METHOD, GLOBAL), seeds=SECONDS, metrics=())


def test_a_record_for_each_method_on_each_task_that_has_an_explanation():
    found = json.loads(cost_records(run()))["benchmarks"]
    assert [each["name"] for each in found] == ["first[good]", "second[good]"]
    assert found[0]["params"] == {"task": "first", "method": "good"}
    # 24 passes of a cell with two sequences
    assert found[0]["extra_info"] == {
        "forward_passes": 12, "backward_passes": 1.5, "executed_passes": 5, "explanations": 8, "peak_bytes": 7,
    }  # fmt: skip


def test_the_statistics_are_pytest_benchmarks():
    found = json.loads(cost_records(run()))["benchmarks"][0]["stats"]
    theirs = Stats()
    for seconds in SECONDS.values():
        theirs.update(seconds / 2)
    for name in ("min", "max", "mean", "stddev", "rounds", "median", "total", "ops", "stddev_outliers"):
        assert found[name] == pytest.approx(getattr(theirs, name)), name
    assert found["mean"] == pytest.approx(statistics.mean(SECONDS.values()) / 2)
    assert found["data"] == pytest.approx([seconds / 2 for seconds in SECONDS.values()])


def test_one_round_has_no_deviation():
    def rows(key):
        return cell(key, {"up": [0.1] * 4}, seconds=2.0)

    (found,) = json.loads(cost_records(results(rows, metrics=())))["benchmarks"]
    assert (found["stats"]["mean"], found["stats"]["stddev"], found["stats"]["ops"]) == (0.5, 0, 2)
    assert all(np.isfinite(value) for value in found["stats"].values() if isinstance(value, float))


def test_pytest_benchmark_reads_them(tmp_path):
    names = ("baseline.json", "run.json")
    for name in names:
        (tmp_path / name).write_text(cost_records(run()), "utf-8")
    program = "from pytest_benchmark.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "compare",
        *(str(tmp_path / name) for name in names),
        "--columns=min,mean",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "first[good]" in done.stdout
    assert "second[good]" in done.stdout
    assert "Mean" in done.stdout
