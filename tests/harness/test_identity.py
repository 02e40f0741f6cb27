"""What a score is relative to is part of its identity: a changed intervention leaves no stale score."""

import json
import shutil

import pytest

from xrnnbench.conformance import checked_spec
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.archive import read_results
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.execution.resume import finished, plan_of
from xrnnbench.harness.execution.steps import build_model
from xrnnbench.harness.suites.suite import Suite
from xrnnbench.plugins import build, find
from xrnnbench.tasks.interventions.base import intervention

from .conftest import counted, small_benchmark, spec

INTERVENTION = '''"""An intervention of a user."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from xrnnbench import Intervention, register


@register
@dataclass(frozen=True)
class Mine(Intervention):
    """A share of the value stays."""

    name: ClassVar[str] = "mine-{number}"
    share: float = 0.0
    part: float = 1.0

    def views(self, subject):
        return (dataclasses.replace(subject, reference=subject.batch.inputs * self.share * self.part),)
'''


@pytest.fixture
def mine(tmp_path, request):
    """A file with an intervention, of another name in every test: names are registered once in a process."""
    path = tmp_path / "mine.py"
    path.write_text(INTERVENTION.replace("{number}", str(abs(hash(request.node.nodeid)))), "utf-8")
    return path


def benchmark(methods, metrics, seeds=(0,)):
    return Benchmark([spec("SmallTask")], methods, metrics, seeds=seeds, name="small")


def means(run):
    return dict(zip(run.records()["metric"], run.records()["mean"], strict=True))


# ---- (a) version and source of an intervention ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["metric", "method"])
def test_the_version_of_an_intervention_is_part_of_whoever_uses_it(kind, monkeypatch):
    users = {"metric": "comprehensiveness:by=zero", "method": "occlusion:by=zero"}
    first = build(kind, users[kind]).identity()
    assert first["parameters"]["by"] == "zero"  # as it was before there was a version
    monkeypatch.setattr(find("intervention", "zero"), "version", 2)
    second = build(kind, users[kind]).identity()
    assert second != first
    assert second["parameters"]["by"] == "zero version 2"
    assert build(kind, users[kind].replace("zero", "mean")).identity()["parameters"]["by"] == "mean"


def test_a_changed_intervention_is_scored_and_explained_again(tmp_path, monkeypatch, calls):
    lists = [spec("Gradient"), "occlusion:by=zero"], ["comprehensiveness:by=zero", "comprehensiveness"]
    benchmark(*lists).run(tmp_path)
    calls()
    monkeypatch.setattr(find("intervention", "zero"), "version", 2)
    monkeypatch.setattr("xrnnbench.harness.execution.resume.code_hash", lambda: "other")
    run = benchmark(*lists).run(tmp_path)
    assert run.complete
    assert not run.nothing_to_do
    assert counted(calls(), "explain-slope") == 0
    folders = sorted(path.name for path in (run.folder / "cells").glob("*/occlusion-*"))
    assert len(folders) == 2


# ---- (b) an intervention from a file -------------------------------------------------------------------------------


def test_an_intervention_from_a_file_is_used_like_a_built_in(tmp_path, mine):
    metrics = [f"comprehensiveness:by={mine}:Mine", f"sufficiency:by={mine}:Mine:share=0.5;part=0.5"]
    run = benchmark([f"occlusion:by={mine}:Mine", "saliency"], [*metrics, "comprehensiveness"]).run(tmp_path / "out")
    assert run.complete
    found = run.records().query("method == 'saliency'").set_index("metric")["mean"]
    by_file = next(value for name, value in found.items() if name.startswith("comprehensiveness:by=mine-"))
    assert by_file == found["comprehensiveness"]  # a share of 0 is the reference of this task
    board = (tmp_path / "out" / "leaderboard.md").read_text("utf-8")
    assert str(tmp_path) not in board  # the file of the machine is on no board
    assert "share=0.5;part=0.5" in board


def test_editing_the_file_of_an_intervention_is_work_to_do(tmp_path, mine, calls):
    lists = [spec("Gradient")], [f"comprehensiveness:by={mine}:Mine"]
    first = means(benchmark(*lists).run(tmp_path / "out"))
    assert benchmark(*lists).run(tmp_path / "out").nothing_to_do
    mine.write_text(mine.read_text("utf-8").replace("share: float = 0.0", "share: float = 0.5"), "utf-8")
    calls()
    run = benchmark(*lists).run(tmp_path / "out")
    assert not run.nothing_to_do
    assert counted(calls(), "explain") == 0
    (before,), (after,) = first.values(), means(run).values()
    assert before != after


def test_an_edit_during_a_run_waits_for_the_next_one(mine):
    """The identity is fixed when the metric is made, so what it means is fixed then, too."""
    metric = build("metric", f"comprehensiveness:by={mine}:Mine")
    before = metric.identity()
    mine.write_text(mine.read_text("utf-8").replace("share: float = 0.0", "share: float = 0.5"), "utf-8")
    assert intervention(metric.by).share == 0.0
    assert metric.identity() == before
    again = build("metric", f"comprehensiveness:by={mine}:Mine")
    assert intervention(again.by).share == 0.5
    assert again.identity() != before


@pytest.mark.parametrize("user", ["comprehensiveness", "occlusion"])
def test_the_kit_accepts_an_intervention_from_a_file(mine, user):
    kind = "metric" if user == "comprehensiveness" else "method"
    assert checked_spec(build(kind, f"{user}:by={mine}:Mine:share=0.5;part=0.5")).passed


@pytest.mark.parametrize(
    "text",
    ["parallel:sources={file},translations=none.txt", "csv:path={file},predict=a", "comprehensiveness:by={file}:M"],
)
def test_any_file_a_parameter_names_is_part_of_the_plan(tmp_path, text):
    file = tmp_path / "named.py"
    file.write_text("one", "utf-8")
    lists = {"tasks": ["adding"], "methods": ["random"], "metrics": ["gini"]}
    kind = "metrics" if text.startswith("c") and "by" in text else "tasks"
    suite = Suite.of({"name": "small"} | lists | {kind: [text.format(file=file)]}, "here")
    before = plan_of(suite)
    file.write_text("two", "utf-8")
    assert plan_of(suite) != before


def test_a_misspelt_file_of_an_intervention_is_one_sentence():
    with pytest.raises(UsageError, match=r"There is no file './none.py'"):
        build("metric", "comprehensiveness:by=./none.py:Mine")


# ---- (c) memory, (d) device ----------------------------------------------------------------------------------------


def test_memory_that_cannot_be_measured_is_undefined(tmp_path, monkeypatch, invoke):
    monkeypatch.setattr("xrnnbench.memory._reset_kernel_peak", lambda: False)
    monkeypatch.setattr("xrnnbench.memory.resident_memory", lambda: None)
    run = benchmark([spec("Gradient")], ["peak-memory"]).run(tmp_path)
    (cell,) = run.cells.values()
    assert cell.measured.peak_bytes is None
    record = cell.measured.records[0]
    assert record.mean is None
    assert record.undefined == 8
    archive = tmp_path / "archive"
    assert invoke("bless", run.folder, archive)[0] == 0
    (kept,) = read_results(archive).scored_cells.values()
    assert kept.cell.measured.peak_bytes is None


def test_the_device_of_a_cell_is_the_one_its_model_ran_on(tmp_path, monkeypatch):
    run = benchmark([spec("Gradient")], [spec("Size")]).run(tmp_path / "a")
    (cell,) = run.cells.values()
    assert cell.measured.device == run.content["provenance"]["device"] == "cpu"
    assert cell.measured.origin.endswith(", cpu, 1 thread")
    monkeypatch.setattr(build_model, "device_name", lambda _device: "NVIDIA H200")
    run = benchmark([spec("Gradient")], [spec("Size")]).run(tmp_path / "b")
    assert run.content["provenance"]["device"] == "NVIDIA H200"
    assert "NVIDIA H200" in next(iter(run.cells.values())).measured.origin
    assert "NVIDIA H200" in (tmp_path / "b" / "leaderboard.md").read_text("utf-8")


# ---- (f) every run that 'run' made is found -------------------------------------------------------------------------


@pytest.fixture
def two_folders(tmp_path):
    """The folder of a changed suite alone, and one of a whole suite."""
    lists = {"tasks": [spec("SmallTask")], "methods": [spec("Gradient")], "metrics": [spec("Size")]}
    suite = Suite.of({"name": "small"} | lists, "here")
    Benchmark.of(suite.instead(seeds=[1])).run(tmp_path / "changed")
    Benchmark.of(suite).run(tmp_path / "whole")
    return tmp_path


@pytest.mark.parametrize("folder", ["changed", "whole"])
def test_a_run_is_found_by_its_folder_its_file_and_its_out_folder(two_folders, folder, invoke):
    out = two_folders / folder
    (file,) = (out / "runs" / "small").glob("run*.json")
    for path in (out, out / "runs" / "small", file):
        assert read_results(path).scored_cells.keys() == read_results(file).scored_cells.keys()
        for words in (["compare", path, path], ["costs", path], ["leaderboard", path], ["bless", path, out / "kept"]):
            status, _, errors = invoke(*words)
            assert status == 0, errors


def test_several_runs_are_named(two_folders):
    shutil.copytree(two_folders / "changed" / "runs" / "small", two_folders / "whole" / "runs" / "other")
    with pytest.raises(UsageError, match=r"several runs .* runs/other/run-.*json, runs/small/run.json"):
        read_results(two_folders / "whole")
    with pytest.raises(UsageError, match="neither a run nor an archive"):
        read_results(two_folders / "whole" / "nothing")


def test_a_changed_suite_has_a_baseline_of_its_own(two_folders, invoke, monkeypatch):
    monkeypatch.chdir(two_folders)
    assert invoke("bless", "changed")[0] == 0
    (kept,) = (two_folders / "results" / "baseline").iterdir()
    assert kept.name.startswith("small-")


# ---- threads -------------------------------------------------------------------------------------------------------


def test_small_models_run_on_one_thread_and_that_is_on_record(tmp_path, monkeypatch):
    import torch  # noqa: PLC0415  # its setting is what is watched

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run = small_benchmark(tasks=("SmallTask",), seeds=(0,)).run(tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert run.content["provenance"]["threads"] == 1
    assert {cell.measured.origin.rpartition(", ")[2] for cell in run.cells.values()} == {"1 thread"}


def test_a_large_model_in_python_gets_all_threads_and_whoever_sets_the_variable_decides(monkeypatch):
    import torch  # noqa: PLC0415  # as above

    from xrnnbench.tasks.engine.threads import threads_for  # noqa: PLC0415  # imports torch

    small, large = torch.nn.LSTM(10, 16), torch.nn.LSTM(10, 512)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_for(small, 8) == 1
    assert threads_for(large, 8) == 8
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_for(small, 8) == torch.get_num_threads()


def test_a_run_takes_the_threads_of_the_variable_and_names_them(tmp_path, monkeypatch):
    import torch  # noqa: PLC0415  # as above

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        run = benchmark([spec("Gradient")], [spec("Size")]).run(tmp_path)
    finally:
        torch.set_num_threads(before)
    assert run.content["provenance"]["threads"] == 2
    assert next(iter(run.cells.values())).measured.origin.endswith("2 threads")


def test_a_run_is_still_there_when_the_working_directory_changes(two_folders, monkeypatch):
    monkeypatch.chdir(two_folders)
    run = read_results("whole")
    monkeypatch.chdir("/")
    assert all(cell is not None for cell in run.cells.values())


def test_run_files_and_cells_of_before_are_read(tmp_path):
    """They have no device, and their memory is a number."""
    run = benchmark([spec("Gradient")], [spec("Size")]).run(tmp_path)
    (path,) = (run.folder / "cells").rglob("*.json")
    content = json.loads(path.read_text("utf-8"))
    del content["measured"]["device"]
    content["measured"]["peak_bytes"] = 0
    content["format"] = 2
    del content["checksum"]
    path.write_text(json.dumps(content), "utf-8")
    content = json.loads(run.store.run_file.read_text("utf-8"))
    del content["checksum"], content["sealed_cells"]
    run.store.run_file.write_text(json.dumps({**content, "format": 1}), "utf-8")
    (cell,) = read_results(run.folder).cells.values()
    assert cell.measured.device == ""
    assert cell.explained
    assert finished(benchmark([spec("Gradient")], [spec("Size")]).suite, tmp_path) is None
