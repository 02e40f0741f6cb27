"""Runs of several machines put together are one run, as it would be in one go; what does not belong is refused."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import xrnnbench
from xrnnbench.errors import FailedCellsWarning, UsageError
from xrnnbench.harness.execution.archive import write_archive
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.execution.merging import grid as merged_grid
from xrnnbench.harness.execution.merging import merge as merge_module
from xrnnbench.harness.execution.merging.merge import merge
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.store import ENDINGS, Store
from xrnnbench.harness.suites import suite as suite_module
from xrnnbench.harness.suites.suite import Suite, read_suite
from xrnnbench.plugins import find

from .conftest import cell_files, counted, kept, small_benchmark, spec, suite_text, write_sealed

ALL = {"methods": ("Chance", "Gradient", "Attentive"), "metrics": ("Size", "Kinship", "Falling")}


LITTLE = {"tasks": ("SmallTask",), "seeds": (0,), "metrics": ("Size",)}


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
    """Boards without the dates, which two runs in one go do not have in common either."""
    texts = {ending: (out / f"leaderboard.{ending}").read_text("utf-8") for ending in ENDINGS}
    return {ending: re.sub(r"\d{4}-\d\d-\d\dT[\d:+]*", "DATE", text) for ending, text in texts.items()}


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
    before = [everything(part) for part in parts]
    calls()
    merged = merge(parts, tmp_path / "merged")
    assert calls() == []
    assert [everything(part) for part in parts] == before
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
    parts = [ran(tmp_path / "a", metrics=("Size",)), ran(tmp_path / "b", metrics=("Kinship", "Falling"))]
    merged = merge(parts, tmp_path / "merged")
    assert merged.complete
    assert [info.spec for info in merged.axes.metrics] == ["size", "kinship", "falling"]
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


# ---- what parts may have apart --------------------------------------------------------------------------------------


def test_parts_of_a_suite_on_the_command_line(tmp_path, invoke, calls):
    suite = tmp_path / "small.toml"
    suite.write_text(suite_text(**ALL), "utf-8")
    for name in ("SmallTask", "OtherTask"):
        assert invoke("run", suite, "-t", spec(name), "--out", tmp_path / name)[0] == 0
    calls()
    words = ["merge", tmp_path / "SmallTask", tmp_path / "OtherTask" / "runs" / "small", "--out", tmp_path / "merged"]
    status, output, errors = invoke(*words)
    assert (status, errors) == (0, "")
    (file,) = (tmp_path / "merged" / "runs" / "small").glob("run-*.json")
    assert output.startswith("2 runs, 18 cells. Board: ")
    assert output.rstrip().endswith(f"leaderboard-{file.stem.removeprefix('run-')}.md")
    assert [info.spec for info in Run.load(file).axes.tasks] == ["small", "other"]
    # the suite as its file has it finds all cells, and boards of its own
    assert invoke("run", suite, "--out", tmp_path / "merged")[0] == 0
    assert calls() == []
    assert invoke("run", suite, "--out", tmp_path / "merged")[1].startswith("Nothing to do")
    status, _, errors = invoke(*words)
    assert status == 2
    assert "is there already: choose a folder without a run" in errors
    assert errors.count("\n") == 1


def test_what_is_missing_is_said_on_the_command_line(tmp_path, invoke):
    parts = [ran(tmp_path / "a", seeds=(0, 1)), ran(tmp_path / "b", seeds=(2,), tasks=("SmallTask",))]
    status, output, errors = invoke("merge", *parts, "--out", tmp_path / "merged")
    assert status == 0
    assert "18 cells" in output
    assert errors.splitlines()[0] == "3 of 18 cells are missing."
    assert errors.splitlines()[-1] == (
        f"'xrnnbench run' with the suite and --out {tmp_path / 'merged'} computes what is missing or failed."
    )


@pytest.fixture
def little_quick(monkeypatch):
    """Make the packaged suite ``quick`` small: two tasks, two methods, one metric."""
    # as one writes it, and not as runs store it: a default, parameters in another order
    tasks = ("bracket:instances=4", "counter:saturation=50.0,instances=4")
    values = {"name": "quick", "tasks": tasks, "methods": ("random", "saliency"), "metrics": ("gini",)}
    suite = Suite.of(values | {"seeds": (0,)}, "The test")
    for module in (merged_grid, suite_module):
        monkeypatch.setattr(module, "read_suite", lambda name: suite)
    return suite


def test_the_union_of_a_packaged_suite_is_that_suite_and_has_nothing_to_do(tmp_path, little_quick):
    for place, task in enumerate(little_quick.tasks):
        Benchmark.of(little_quick.instead(tasks=[task])).run(tmp_path / str(place))
    merged = merge([tmp_path / "1", tmp_path / "0"], tmp_path / "merged")
    Benchmark.of(little_quick).run(tmp_path / "at-once")
    at_once = Run.load(tmp_path / "at-once").content
    for name in ("suite", "grid", "plan", "models"):
        assert merged.content[name] == at_once[name]
    assert list(merged.content["cells"]) == list(at_once["cells"])
    assert merged.store.run_file.name == "run.json"
    assert (tmp_path / "merged" / "leaderboard.md").is_file()
    assert Benchmark.of(little_quick).run(tmp_path / "merged").nothing_to_do


def test_the_union_of_parts_is_what_the_command_line_makes_of_the_suite(tmp_path, little_quick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for method in little_quick.methods:
        Benchmark.of(little_quick.instead(tasks=little_quick.tasks[:1], methods=[method])).run(method)
    merged = merge(["saliency", "random"], "merged")
    suite = little_quick.instead(tasks=little_quick.tasks[:1], methods=little_quick.methods)
    assert merged.content["suite"]["variant"] == suite.variant
    assert Benchmark.of(suite).run("merged").nothing_to_do
    # in an order of one's own, which all parts have
    for task in little_quick.tasks:
        methods = little_quick.methods[::-1]
        Benchmark.of(little_quick.instead(tasks=[task], methods=methods, seeds=[1])).run(task.partition(":")[0])
    merged = merge(["bracket", "counter"], "reversed")
    suite = little_quick.instead(methods=methods, seeds=[1])
    assert merged.content["suite"]["variant"] == suite.variant
    assert Benchmark.of(suite).run("reversed").nothing_to_do
    # a method that no part has run stays one whose stored results are shown
    part = merge(["saliency"], "part")
    assert part.content["suite"]["beside"] == ["random"]
    assert (
        Benchmark.of(little_quick.instead(tasks=little_quick.tasks[:1], methods=["saliency"])).run("part").nothing_to_do
    )


def test_reference_rows_of_one_part_are_computed_by_another(tmp_path):
    """Then they are compared like any other cells."""
    whole = ran(tmp_path / "a", metrics=("Size",))
    small_benchmark(
        **ALL | {"methods": ("Gradient",), "metrics": ("Size",)}, skipped=[spec("Chance")], variant="ab"
    ).run(whole)
    rows = whole / "runs" / "small" / "run-ab.json"
    assert len(Run.load(rows).content["beside"]["cells"]) == 6
    ran(tmp_path / "b", methods=("Chance",), metrics=("Size",))
    assert len(merge([rows, tmp_path / "b"], tmp_path / "c").cells) == 12
    edit_cell(cell_files(whole, "other-*/chance-*/seed-1-0.json")[0], lambda cell: cell["passes"].update(forward=77))
    refused([rows, tmp_path / "b"], tmp_path / "d", "have other results for chance on other, model seed 1")


def test_a_task_of_one_model_has_one_seed_in_the_merged_run(tmp_path):
    tasks = ("SmallTask", "FixedTask")
    for seed in (0, 1):
        ran(tmp_path / str(seed), tasks=tasks, seeds=(seed,), metrics=("Size",))
    ran(tmp_path / "whole", tasks=tasks, seeds=(0, 1), metrics=("Size",))
    assert merge([tmp_path / "0", tmp_path / "1"], tmp_path / "merged").complete
    assert_same(tmp_path / "merged", tmp_path / "whole")
    merge([tmp_path / "merged", ran(tmp_path / "2", tasks=tasks, seeds=(2,), metrics=("Size",))], tmp_path / "more")
    ran(tmp_path / "more-at-once", tasks=tasks, seeds=(0, 1, 2), metrics=("Size",))
    assert_same(tmp_path / "more", tmp_path / "more-at-once")


def test_explainer_seeds_apart(tmp_path):
    for draw in (0, 1):
        ran(tmp_path / str(draw), explainer_seeds=(draw,))
    ran(tmp_path / "whole", explainer_seeds=(0, 1))
    assert merge([tmp_path / "0", tmp_path / "1"], tmp_path / "merged").complete
    assert_same(tmp_path / "merged", tmp_path / "whole")
    assert boards(tmp_path / "merged") == boards(tmp_path / "whole")


def test_measured_scores_are_those_of_the_attribution_that_is_kept(tmp_path):
    parts = [ran(tmp_path / "a", metrics=("Duration",)), ran(tmp_path / "b", metrics=("Duration", "Size"))]
    merged = merge(parts, tmp_path / "merged")
    assert merged.complete
    for key, cell in merged.cells.items():
        duration = merged.records().set_index(["task", "method", "model_seed", "metric"])["mean"]
        if cell.explained:
            assert duration[key.task.spec, key.method.spec, key.model_seed, "duration"] == cell.measured.seconds


def test_a_computed_cell_is_taken_for_a_failed_one(tmp_path, broken):
    axes = {"methods": ("Gradient", "Broken"), "metrics": ("Size", "BrokenMetric")}
    with pytest.warns(FailedCellsWarning):
        ran(tmp_path / "a", **axes)
    merged = merge([tmp_path / "a"], tmp_path / "failed")
    assert (merged.complete, merged.failed) == (False, 12)
    broken("mended")
    ran(tmp_path / "b", **axes)
    for place, parts in enumerate((["a", "b"], ["b", "a"])):
        merged = merge([tmp_path / name for name in parts], tmp_path / f"merged-{place}")
        assert merged.complete
        assert merged.store.notices == []
        assert_same(tmp_path / f"merged-{place}", tmp_path / "b")


def test_reference_rows_are_merged(tmp_path, invoke):
    suite = tmp_path / "small.toml"
    suite.write_text(suite_text(methods=("Chance", "Gradient"), metrics=("Size",)), "utf-8")
    assert invoke("run", suite, "--out", tmp_path / "all")[0] == 0
    shutil.copytree(tmp_path / "all", tmp_path / "kept")
    words = ["run", suite, "-m", spec("Heavy"), "-t"]
    taken = ["--reference-rows", tmp_path / "all"]
    assert invoke(*words, spec("SmallTask"), "--out", tmp_path / "kept")[0] == 0
    assert invoke(*words, spec("OtherTask"), "--out", tmp_path / "taken", *taken)[0] == 0
    (part,) = (tmp_path / "kept" / "runs" / "small").glob("run-*.json")
    merged = merge([part, tmp_path / "taken"], tmp_path / "merged")
    assert merged.store.notices == []
    assert merged.complete
    assert [info.spec for info in merged.axes.methods] == ["heavy", "chance", "slope"]
    assert len(merged.cells) == 6
    assert len(merged.scored_cells) == 18
    assert all(scored.cell is not None for scored in merged.scored_cells.values())
    run = Benchmark.of(read_suite(str(suite)).instead(methods=[spec("Heavy")])).run(
        tmp_path / "at-once", reference_rows=tmp_path / "all"
    )
    (board,) = merged.folder.glob("leaderboard-*.csv")
    assert board.read_text("utf-8") == run.boards["csv"].read_text("utf-8")
    # they were another machine's, and are not here
    shutil.rmtree(tmp_path / "all")
    merged = merge([part, tmp_path / "taken"], tmp_path / "without")
    assert "its reference rows from all are left out, because it is gone or changed" in merged.store.notices[0]
    assert merged.complete
    assert len(merged.scored_cells) == 18
    assert sum(scored.cell is None for scored in merged.scored_cells.values()) == 6


def test_a_merged_run_remembers_its_parts(tmp_path):
    parts = [ran(tmp_path / name, tasks=(task,)) for name, task in (("a", "SmallTask"), ("b", "OtherTask"))]
    for part, words in zip(parts, ("xrnnbench run a", "xrnnbench run b"), strict=True):
        edit(part, provenance={"command": words, "device": "cpu" if part.name == "a" else "GPU, cpu"})
    first = merge(parts, tmp_path / "first")
    again = merge([tmp_path / "first", ran(tmp_path / "c", tasks=("FixedTask",))], tmp_path / "again")
    assert len(first.content["merged"]) == 2
    commands = [entry["provenance"]["command"] for entry in again.content["merged"]]
    assert commands == ["xrnnbench run a", "xrnnbench run b", "from Python"]
    assert again.content["provenance"]["command"] == "; ".join(commands)
    assert again.content["provenance"]["device"] == "cpu, GPU"
    assert first.times["total"] == pytest.approx(sum(Run.load(part).times["total"] for part in parts))
    assert first.content["merged"][0]["suite"]["tasks"] == ["small"]


# ---- damage ---------------------------------------------------------------------------------------------------------


def test_damaged_cells_are_left_out_by_name(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "a")
    arrays_of, cell, lost = cell_files(tmp_path / "a", "*/slope-*/*.npz")[:3]
    arrays_of.write_bytes(arrays_of.read_bytes()[:100])
    cell.with_suffix(".json").write_text("{", "utf-8")
    lost.unlink()
    merged = merge([tmp_path / "a"], tmp_path / "merged")
    assert not merged.complete
    assert sum(cell is None for cell in merged.cells.values()) == 3
    named = [notice for notice in merged.store.notices if "is missing or damaged" in notice]
    assert len(named) == 3
    for path, notice in zip((arrays_of, cell.with_suffix(".json"), lost), named, strict=True):
        assert notice.startswith(f"{tmp_path / 'a'}: {path.relative_to(tmp_path / 'a' / 'runs' / 'small')} is")
    small_benchmark(**ALL).run(tmp_path / "merged")
    assert_same(tmp_path / "merged", whole)
    # another run has them
    assert merge([tmp_path / "a", whole], tmp_path / "both").complete
    assert_same(tmp_path / "both", whole)


def test_a_damaged_score_is_taken_from_another_run(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "a")
    for path in cell_files(tmp_path / "a", "*/slope-*/*.npz"):
        with np.load(path) as file:
            found = dict(file)
        found["scores"][-1] += 1
        np.savez(path, **found)
    alone = merge([tmp_path / "a"], tmp_path / "alone")
    assert not alone.complete
    *each, last = alone.store.notices
    assert last == "6 of 18 cells lack scores of some metrics."
    assert len(each) == 6
    assert all("1 of its scores are left out" in notice for notice in each)
    assert merge([tmp_path / "a", whole], tmp_path / "both").complete
    assert_same(tmp_path / "both", whole)


# ---- what does not belong -------------------------------------------------------------------------------------------


def edit(out, **changes):
    """Change entries of a run file; a dictionary is updated."""
    path = out / "runs" / "small" / "run.json"
    content = json.loads(path.read_text("utf-8"))
    for name, value in changes.items():
        content[name] = {**content[name], **value} if isinstance(value, dict) else value
    write_sealed(path, content)


def edit_cell(path, change):
    """Change the JSON of a cell."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    write_sealed(path, content)


def refused(parts, out, match, **options):
    """Assert that a merge is refused in one sentence, and changes no file."""
    folder = Path(out).parent
    before = everything(folder)
    with pytest.raises(UsageError, match=match) as caught:
        merge(parts, out, **options)
    assert "\n" not in str(caught.value)
    assert everything(folder) == before
    return str(caught.value)


def test_runs_of_two_suites_are_refused(tmp_path):
    parts = [ran(tmp_path / "a", **LITTLE), ran(tmp_path / "b", **LITTLE, name="other")]
    refused(parts, tmp_path / "c", f"{parts[0]} is a run of the suite 'small' and {parts[1]} of 'other'")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("kind", "name", "attribute", "value", "difference"),
    [
        ("task", "small", "version", 2, "version 1 and version 2"),
        ("method", "chance", "version", 2, "version 1 and version 2"),
        ("metric", "size", "version", 3, "version 1 and version 3"),
        ("metric", "size", "source_hash", "another", "their files differ"),
    ],
)
def test_plugins_of_one_name_that_differ_are_refused(tmp_path, monkeypatch, kind, name, attribute, value, difference):
    ran(tmp_path / "a", **LITTLE)
    monkeypatch.setattr(find(kind, name), attribute, value)
    ran(tmp_path / "b", **LITTLE)
    said = refused([tmp_path / "a", tmp_path / "b"], tmp_path / "c", f"of {tmp_path / 'a'} is not that of")
    assert said.startswith(f"The {kind} '{name}' of ")
    assert f"({difference})" in said


def test_other_parameters_under_one_spec_are_refused(tmp_path, whole):
    """As of a default that was changed."""
    shutil.copytree(whole, tmp_path / "a")
    content = Run.load(whole).content
    content["grid"]["metrics"][0]["identity"]["parameters"]["scale"] = 2.0
    edit(tmp_path / "a", grid=content["grid"])
    refused([whole, tmp_path / "a"], tmp_path / "c", r"The metric 'size' of .* \(scale is 1.0 and 2.0\)")


@pytest.mark.parametrize(
    ("changes", "what", "shown"),
    [
        ({"code": "123456789abc"}, "the code", "123456789abc"),
        ({"xrnnbench": "0.0.9"}, "xrnnbench", "0.0.9"),
        ({"libraries": {"numpy": "1.0"}}, "numpy", "numpy"),
        ({"plug-ins": {"others": "2.0"}}, "others", "plug-ins of others"),
    ],
)
def test_other_code_is_refused_or_allowed_and_told(tmp_path, invoke, changes, what, shown):
    parts = [ran(tmp_path / task, **LITTLE | {"tasks": (task,)}) for task in ("SmallTask", "OtherTask")]
    libraries = Run.load(parts[1]).content["provenance"]["libraries"]
    edit(parts[1], provenance={**changes, "libraries": {**libraries, **changes.get("libraries", {})}})
    refused(parts, tmp_path / "c", f"{parts[0]} was computed with {what} .* and {parts[1]} with .*--allow-mixed")
    assert invoke("merge", *parts, "--out", tmp_path / "c")[0] == 2
    assert invoke("merge", *parts, "--out", tmp_path / "c", "--allow-mixed")[0] == 0
    merged = Run.load(tmp_path / "c")
    assert merged.complete
    assert merged.content["plan"] == ""
    for entry in changes.values():
        for version in entry.values() if isinstance(entry, dict) else [entry]:
            assert f", {version}" in (tmp_path / "c" / "leaderboard.md").read_text("utf-8")
    assert shown in (tmp_path / "c" / "leaderboard.md").read_text("utf-8")


@pytest.mark.parametrize(("way", "what"), [("another-model", "The model of"), ("another-data", "The data of")])
def test_other_models_or_data_of_one_seed_are_refused(tmp_path, broken, way, what):
    ran(tmp_path / "a", **LITTLE | {"methods": ("Chance",)})
    broken(way)
    ran(tmp_path / "b", **LITTLE | {"methods": ("Gradient",)})
    said = refused([tmp_path / "a", tmp_path / "b"], tmp_path / "c", f"^{what} 'small', seed 0, in {tmp_path / 'a'} ")
    assert f"(chance on small, model seed 0, seed 0) {'are' if 'data' in way else 'is'} not that of" in said


def test_other_data_of_other_seeds_are_refused(tmp_path, broken):
    ran(tmp_path / "a", **LITTLE)
    broken("another-data")
    ran(tmp_path / "b", **LITTLE | {"seeds": (1,)})
    refused([tmp_path / "a", tmp_path / "b"], tmp_path / "c", "the sequences must be the same for all seeds")


def test_other_results_of_one_cell_are_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "a")
    path = cell_files(tmp_path / "a", "other-*/slope-*/seed-1-0.json")[0]
    edit_cell(path, lambda cell: cell["passes"].update(forward=77))
    said = refused(
        [tmp_path / "a", whole], tmp_path / "c", "have other results for slope on other, model seed 1, seed 0"
    )
    assert "(the number of passes)" in said
    shutil.copytree(whole, tmp_path / "b")
    path = cell_files(tmp_path / "b", "other-*/slope-*/seed-1-0.json")[0]
    edit_cell(path, lambda cell: cell["records"][-1].update(mean=cell["records"][-1]["mean"] * (1 + 1e-12)))
    refused([whole, tmp_path / "b"], tmp_path / "c", "have other scores of 'size' for slope on other, model seed 1")


def test_a_run_in_which_a_process_works_is_refused(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "a")
    with Store(tmp_path / "a", "small"):
        refused(
            [tmp_path / "a"], tmp_path / "c", f"^Process {os.getpid()} on .* is working in .*: wait until it is done"
        )
    assert merge([tmp_path / "a"], tmp_path / "c").complete


def test_folders_that_hold_something_are_refused(tmp_path, whole, invoke):
    shutil.copytree(whole, tmp_path / "a")
    refused([tmp_path / "a"], tmp_path / "a", "is there already: choose a folder without a run")
    refused([tmp_path / "a"], tmp_path / "a" / "runs" / "small", "is there already")
    ran(tmp_path / "other", name="other", seeds=(0,), metrics=("Size",))
    refused([tmp_path / "a"], tmp_path / "other", "is there already")
    (tmp_path / "file").write_text("x", "utf-8")
    refused([tmp_path / "a"], tmp_path / "file", "is a file, not a folder")
    refused([tmp_path / "a"], tmp_path / "file" / "below", "cannot be written to")
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "leaderboard.md").write_text("mine", "utf-8")
    refused([tmp_path / "a"], tmp_path / "boards", "leaderboard.md is there already")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "notes.txt").write_text("mine", "utf-8")
    assert merge([tmp_path / "a"], tmp_path / "beside").complete
    assert (tmp_path / "beside" / "notes.txt").read_text("utf-8") == "mine"
    assert sorted(path.name for path in (tmp_path / "beside").iterdir() if path.is_dir()) == ["runs"]


def test_a_merge_that_fails_in_the_middle_leaves_nothing(tmp_path, whole, monkeypatch):
    (tmp_path / "there").mkdir()
    for target, name in ((merge_module, "_copy_samples"), (merge_module.RunWithReferences, "publish")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            refused([whole], tmp_path / "c", r"cannot be written to .*\(No space left on device\)")
            refused([whole], tmp_path / "there", "cannot be written to")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]
        assert list((tmp_path / "there").iterdir()) == []
    # while it is moved: boards are moved last
    with monkeypatch.context() as patch:
        renamed = Path.rename
        patch.setattr(Path, "rename", lambda path, to: full() if path.suffix == ".tex" else renamed(path, to))
        refused([whole], tmp_path / "c", "cannot be written to")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_that_changes_while_it_is_merged_is_refused(tmp_path, monkeypatch):
    parts = [ran(tmp_path / metric, **LITTLE | {"metrics": (metric,)}) for metric in ("Size", "Falling")]
    original = Store.arrays

    def others(store, key, *names):
        return {name: value + 1 for name, value in original(store, key, *names).items()}

    monkeypatch.setattr(Store, "arrays", others)
    refused(parts, tmp_path / "c", "changed while they were merged: merge again")


def test_what_is_no_run_is_refused(tmp_path, whole):
    refused([], tmp_path / "c", "There is nothing to merge")
    refused([tmp_path], tmp_path / "c", "There is no run in")
    run_file = whole / "runs" / "small" / "run.json"
    refused([whole, run_file], tmp_path / "c", f"{run_file} and {whole} are the same run: name it once")
    write_archive(Run.load(whole), tmp_path / "archive")
    refused([whole, tmp_path / "archive"], tmp_path / "c", "is an archive, which has no attributions")
    shutil.copytree(whole, tmp_path / "a")
    edit(tmp_path / "a", retrain=True)
    refused([whole, tmp_path / "a"], tmp_path / "c", f"only {tmp_path / 'a'} was run with --retrain")
    (tmp_path / "a" / "runs" / "small" / "run.json").write_text("{", "utf-8")
    refused([whole, tmp_path / "a"], tmp_path / "c", "is damaged")


def test_merge_is_public():
    assert xrnnbench.merge is merge
