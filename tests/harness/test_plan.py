"""The plan of a run: what is missing, what it costs, and that nothing is changed by it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xrnnbench import Benchmark, Run
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.forecast.check import check_forecast
from xrnnbench.harness.execution.forecast.plan_report import plan_lines

from .conftest import METHODS, METRICS, small_benchmark, spec, suite_text

NET = """
import torch
from torch import nn

torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 6, batch_first=True)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


net = Net()
"""


def files_of(folder):
    """Content of all files of a folder, with their times."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def printed(invoke, *words):
    """Output of a command that ends well."""
    status, out, err = invoke(*words)
    assert status == 0, err
    return out


def built_in():
    return Benchmark(["adding:instances=4"], ["saliency", "lime"], ["gini", "comprehensiveness"], name="own")


def test_a_plan_counts_what_is_missing_and_changes_nothing(tmp_path):
    everything = small_benchmark().plan(tmp_path, jobs=2)
    assert not list(tmp_path.iterdir())
    assert [(task.explained, task.scored) for task in everything.tasks] == [(6, 6), (6, 6)]
    small_benchmark(tasks=["SmallTask"]).run(tmp_path)
    before = files_of(tmp_path)
    rest = small_benchmark().plan(tmp_path, jobs=2)
    assert [task.task for task in rest.tasks] == ["other"]
    assert small_benchmark(tasks=["SmallTask"]).plan(tmp_path).nothing_to_do
    again = small_benchmark(tasks=["SmallTask"]).plan(tmp_path, fresh=True)
    assert [(task.explained, task.scored) for task in again.tasks] == [(6, 6)]
    added = small_benchmark(tasks=["SmallTask"], metrics=["Size", "Kinship", "Duration"]).plan(tmp_path)
    assert [(task.explained, task.scored) for task in added.tasks] == [(0, 6)]
    assert files_of(tmp_path) == before


def test_a_plan_predicts_time_memory_and_disk(tmp_path):
    alone = built_in().plan(tmp_path, jobs=1)
    assert alone.phases["total"] == pytest.approx(sum(alone.phases[name] for name in alone.phases if name != "total"))
    assert alone.process_bytes > 50e6
    assert alone.total_bytes == alone.process_bytes
    assert built_in().plan(tmp_path, jobs=3).total_bytes > 2 * alone.process_bytes
    assert alone.longest[0].name.startswith("lime")
    assert [name.split()[0] for name, _ in alone.path] == ["loading", "explaining", "scoring"]
    built_in().run(tmp_path)
    written = sum(len(content) for content, _ in files_of(tmp_path).values())
    assert written / 4 < alone.disk_bytes < 4 * written


def test_models_to_train_are_counted(tmp_path, monkeypatch):
    monkeypatch.setenv("XRNNBENCH_CACHE", str(tmp_path / "cache"))
    grid = (["adding:instances=4"], ["saliency"], ["gini"])
    (published,) = Benchmark(*grid).plan(tmp_path).tasks
    (trained,) = Benchmark(*grid, seeds=[0, 90, 91]).plan(tmp_path).tasks
    assert (published.models, trained.models) == (0, 2)
    assert trained.training > published.training
    assert Benchmark(*grid).plan(tmp_path, retrain=True).tasks[0].models == 1
    assert not (tmp_path / "cache").exists()


def test_a_method_of_ones_own_is_tried_out(tmp_path, calls):
    plan = Benchmark(["adding:instances=4"], [spec("Chance"), "saliency"], ["gini"]).plan(tmp_path)
    assert calls().count("explain-chance") > 0
    assert plan.notes == ()
    assert plan.tasks[0].explained == 2


def test_a_method_that_cannot_be_tried_out_counts_as_usual(tmp_path):
    plan = Benchmark(["adding:instances=4"], [spec("Broken")], ["gini"]).plan(tmp_path)
    (note,) = plan.notes
    assert "cannot be tried out (ZeroDivisionError)" in note
    assert plan.tasks[0].explaining > 0


def test_a_run_keeps_its_forecast_and_is_checked_by_it(tmp_path):
    run = built_in().run(tmp_path)
    assert set(run.content["forecast"]) == {"training", "explaining", "scoring", "rest", "total", "speed"}
    assert Run.load(run.folder).content["forecast"] == run.content["forecast"]
    check = check_forecast(run)
    assert [ratios.name for ratios in check.tables["By method"]]
    assert {ratios.name for ratios in check.tables["By task"]} == {"adding:instances=4"}
    assert check.sentence.startswith("Predicted ")


def test_a_run_without_measured_scoring_cannot_be_checked(tmp_path):
    run = built_in().run(tmp_path)
    for path in run.folder.rglob("seed-*.json"):
        cell = json.loads(path.read_text("utf-8"))
        del cell["measured"]["scoring"]
        path.write_text(json.dumps(cell), "utf-8")
    with pytest.raises(UsageError, match=r"No cell of .* has the time of its scoring"):
        check_forecast(Run.load(run.folder))


def test_the_command_prints_tables_and_json(tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    words = ("plan", "quick", "-t", "adding:instances=4", "-m", "saliency", "-x", "gini", "--seeds", "0")
    text = printed(invoke, *words)
    assert "quick: what is missing" in text
    assert "Wall time with" in text
    plan = json.loads(printed(invoke, *words, "--json", "--jobs", "3"))
    assert (plan["jobs"], plan["tasks"][0]["explained"]) == (3, 1)
    assert not list(tmp_path.iterdir())
    printed(invoke, "run", *words[1:])
    assert "nothing is missing" in printed(invoke, *words)
    assert "Predicted and actual seconds" in printed(invoke, "plan", "--check", "results/runs/quick")


def test_a_model_of_ones_own_is_planned(tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NET, "utf-8")
    np.savez("x.npz", inputs=np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32))
    before = files_of(tmp_path)
    words = ("-t", "nets.py:net", "--data", "x.npz", "-m", "lime:samples=20", "-m", "attention", "-x", "gini")
    plan = json.loads(printed(invoke, "plan", "quick", *words, "--json"))
    (task,) = plan["tasks"]
    assert (task["task"], task["explained"]) == ("net", 2)
    # the model shows no attention
    assert next(cell["explaining"] for cell in plan["longest"] if cell["name"].startswith("attention")) < 0.5
    assert {path: each for path, each in files_of(tmp_path).items() if "__pycache__" not in path.parts} == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no-such-suite",), "no-such-suite"),
        (("quick", "-t", "no-such-task"), "no-such-task"),
        (("quick", "--seeds", "a"), "--seeds a is not a list"),
        (("quick", "--data", "x.npz"), "--data is for a model of yours"),
        (("--check", "nowhere"), "There is no run in 'nowhere'"),
    ],
)
def test_what_run_refuses_plan_refuses(words, sentence, tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    status, _, err = invoke("plan", *words)
    assert (status, err.count("\n")) == (2, 1)
    assert sentence in err


def test_a_suite_of_plugin_files_is_planned(tmp_path, monkeypatch, invoke):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(suite_text(), "utf-8")
    plan = json.loads(printed(invoke, "plan", "small.toml", "--json"))
    assert sum(task["explained"] for task in plan["tasks"]) == 2 * 3 * len(METHODS)
    assert len(METRICS) == 2


def test_lines_name_the_chain_and_the_limit(tmp_path):
    lines = "\n".join(plan_lines(built_in().plan(tmp_path, jobs=2)))
    assert "Longest chain: loading adding:instances=4, seed 0" in lines
    assert "It is limited by" in lines
