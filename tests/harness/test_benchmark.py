"""The grid: what is computed, what is kept, and what is computed again."""

import json

import numpy as np
import pytest

from xrnnbench.errors import ContractError, FailedCellsWarning, UsageError
from xrnnbench.harness.execution.benchmark import Benchmark, Run
from xrnnbench.harness.results.cells import reproducible
from xrnnbench.plugins import build

from .conftest import SMALL, cell_files, counted, kept, small_benchmark, spec


def test_a_run_is_the_whole_grid(tmp_path):
    run = small_benchmark(explainer_seeds=(0, 1)).run(tmp_path)
    assert run.complete
    assert not run.failed
    # two tasks × three models × (two seeds of chance, one of slope, which draws nothing)
    assert len(run.cells) == 2 * 3 * 3
    frame = run.records()
    assert len(frame) == 18 * 2
    assert set(frame["status"]) == {"scored"}
    assert (frame[frame["metric"] == "size"]["undefined"] == 2).all() or frame["undefined"].max() > 0


def test_each_model_is_made_once_and_nothing_on_the_second_run(tmp_path, calls):
    small_benchmark().run(tmp_path)
    first = calls()
    assert counted(first, "train") == 6
    assert counted(first, "explain") == 12
    assert small_benchmark().run(tmp_path).nothing_to_do
    assert calls() == []


def test_two_runs_agree_to_the_bit(tmp_path):
    small_benchmark().run(tmp_path / "a")
    small_benchmark().run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")
    for one, other in zip(cell_files(tmp_path / "a", "**/*.npz"), cell_files(tmp_path / "b", "**/*.npz"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_metric_more_explains_nothing_and_a_method_more_trains_what_it_must(tmp_path, calls):
    small_benchmark(metrics=("Size",)).run(tmp_path)
    calls()
    small_benchmark(metrics=("Size", "Kinship")).run(tmp_path)
    found = calls()
    assert counted(found, "explain") == counted(found, "score-size") == 0
    assert counted(found, "score-kinship") == 12
    small_benchmark(methods=("Chance",)).run(tmp_path / "b")
    calls()
    small_benchmark(methods=("Chance", "Gradient")).run(tmp_path / "b")
    found = calls()
    assert counted(found, "explain-chance") == 0
    assert counted(found, "explain-slope") == 6


def test_order_of_history_does_not_show(tmp_path):
    small_benchmark(metrics=("Kinship",)).run(tmp_path / "a")
    small_benchmark(metrics=("Size", "Kinship")).run(tmp_path / "a")
    small_benchmark(metrics=("Size", "Kinship")).run(tmp_path / "b")
    assert kept(tmp_path / "a") == kept(tmp_path / "b")


def test_another_model_rescores_what_compares_models(tmp_path, calls):
    small_benchmark(seeds=(0, 1)).run(tmp_path)
    before = kept(tmp_path)
    calls()
    small_benchmark(seeds=(0, 1, 2)).run(tmp_path)
    found = calls()
    assert counted(found, "explain") == 4
    assert counted(found, "score-kinship") == 12
    assert counted(found, "score-size") == 4
    small_benchmark(seeds=(0, 1)).run(tmp_path)
    assert {path: value for path, value in kept(tmp_path).items() if "seed-2" not in path} == before


def test_a_single_model_has_no_siblings(tmp_path):
    run = small_benchmark(tasks=("FixedTask",)).run(tmp_path)
    assert len(run.cells) == 2
    frame = run.records().set_index(["method", "metric"])
    assert frame.loc[("slope", "kinship"), "note"] == "there is no other model to compare with"


def test_cells_of_another_model_are_computed_again(tmp_path, broken, calls):
    small_benchmark(metrics=("Size",)).run(tmp_path)
    cell_files(tmp_path, "small-*/slope-*/seed-1-0.json")[0].unlink()
    broken("another-model")
    calls()
    run = small_benchmark(metrics=("Size",)).run(tmp_path)
    found = calls()
    assert counted(found, "train") == 1
    # slope was missing; chance spoke of a model that is no more
    assert counted(found, "explain") == 2
    assert any("the model or the data have changed" in notice for notice in run.store.notices)


def test_fresh_computes_everything_again(tmp_path, calls):
    small_benchmark().run(tmp_path)
    before = kept(tmp_path)
    calls()
    small_benchmark().run(tmp_path, fresh=True)
    assert counted(calls(), "explain") == 12
    assert kept(tmp_path) == before


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("raise", "ZeroDivisionError"),
        ("exit", "SystemExit"),
        ("shape", "ContractError"),
        ("nan", "ContractError"),
        ("type", "ContractError"),
        ("change", "ContractError"),
    ],
)
def test_a_method_that_breaks_fails_its_own_cells_only(tmp_path, how, kind):
    good = small_benchmark().run(tmp_path / "good")
    benchmark = small_benchmark(methods=("Chance", "Gradient", f"Broken:how={how}"))
    with pytest.warns(FailedCellsWarning, match=f"6 of 18 cells failed.* method 'broken.*: {kind}: "):
        run = benchmark.run(tmp_path / "bad")
    assert not run.complete
    assert run.failed == 6
    failed = [cell for cell in run.cells.values() if cell.status == "failed"]
    assert {cell.failure.kind for cell in failed} == {kind}
    assert all(cell.failure.traceback and "\n" not in cell.failure.sentence for cell in failed)
    others = {path: value for path, value in kept(tmp_path / "bad").items() if "broken" not in path}
    assert others == kept(tmp_path / "good")
    assert good.complete


def test_failed_cells_are_tried_again_and_only_they(tmp_path, broken, calls):
    benchmark = small_benchmark(methods=("Gradient", "Broken"), metrics=("Size", "BrokenMetric"))
    with pytest.warns(FailedCellsWarning, match="12 of 12 cells failed.* There are 2 different failures"):
        assert benchmark.run(tmp_path).failed == 12
    broken("mended")
    calls()
    run = benchmark.run(tmp_path)
    found = calls()
    assert run.complete
    assert counted(found, "explain-slope") == 0
    assert counted(found, "explain-broken") == 6
    assert benchmark.run(tmp_path).nothing_to_do


def test_the_first_failure_is_said_with_its_place_in_a_script(tmp_path, monkeypatch):
    monkeypatch.chdir(SMALL.parent)
    before, _, _ = SMALL.read_text("utf-8").partition("raise ZeroDivisionError")
    place = f"small.py, line {before.count(chr(10)) + 1}, in attribute"
    with pytest.warns(FailedCellsWarning) as caught:
        small_benchmark(methods=("Gradient", "Broken"), seeds=(0,)).run(tmp_path)
    assert len(caught) == 1
    assert str(caught[0].message) == (
        "2 of 4 cells failed; the board says why, and running it again tries them again. The first: method 'broken' on "
        f"task 'small' (model seed 0): ZeroDivisionError: by zero ({place})."
    )
    assert caught[0].filename == __file__


@pytest.mark.parametrize("how", ["raise", "shape", "infinite", "change"])
def test_a_metric_that_breaks_leaves_the_other_records(tmp_path, how):
    with pytest.warns(FailedCellsWarning, match="metric 'broken-metric.*' of method 'chance' on task 'small'"):
        run = small_benchmark(metrics=("Size", f"BrokenMetric:how={how}")).run(tmp_path)
    frame = run.records()
    assert set(frame[frame["metric"] == "size"]["status"]) == {"scored"}
    assert set(frame[frame["metric"] != "size"]["status"]) == {"failed"}
    assert all(cell.status == "explained" for cell in run.cells.values())


def test_an_attribution_that_a_metric_changes_is_restored_for_the_others(tmp_path):
    small_benchmark(methods=("Gradient",), metrics=("Size", "Kinship")).run(tmp_path / "good")
    metrics = ("BrokenMetric:how=in-place", "Size", "Kinship")
    with pytest.warns(FailedCellsWarning, match="'broken-metric' changed values of the attribution it scores; it has"):
        run = small_benchmark(methods=("Gradient",), metrics=metrics).run(tmp_path / "bad")
    good = Run.load(tmp_path / "good" / "runs" / "small").records().set_index(["task", "model_seed", "metric"])["mean"]
    bad = run.records().set_index(["task", "model_seed", "metric"])["mean"]
    assert len(good) == 12
    assert bad[good.index].equals(good)


def test_a_task_that_breaks_fails_its_cells_and_keeps_what_was_there(tmp_path, broken):
    small_benchmark(tasks=("SmallTask",), methods=("Gradient",), metrics=("Size",)).run(tmp_path)
    broken("training")
    with pytest.warns(FailedCellsWarning, match="the model of task 'small' .*: RuntimeError: the data are not there"):
        run = small_benchmark(tasks=("SmallTask",)).run(tmp_path)
    frame = run.records()
    chance = frame[frame["method"] == "chance"]
    assert set(chance["note"]) == {"RuntimeError: the data are not there"}
    slope = frame[frame["method"] == "slope"].set_index("metric")
    assert set(slope.loc["size", "status"]) == {"scored"}
    assert set(slope.loc["kinship", "status"]) == {"failed"}


def test_not_applicable_is_no_failure(tmp_path):
    run = small_benchmark(methods=("Attentive", "Gradient")).run(tmp_path)
    assert run.complete
    notes = run.records().query("method == 'attentive'")["note"]
    assert set(notes) == {"the model shows no attention"}


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "gone", "garbage"])
@pytest.mark.parametrize("ending", ["json", "npz"])
def test_damaged_cells_are_computed_again(tmp_path, ending, damage):
    benchmark = small_benchmark(metrics=("Size", "Duration"))
    benchmark.run(tmp_path)
    before = kept(tmp_path)
    path = cell_files(tmp_path, f"small-*/slope-*/seed-1-0.{ending}")[0]
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        other = cell_files(tmp_path, f"small-*/chance-*/seed-1-0.{ending}")[0].read_bytes()
        path.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "other": other, "garbage": b"[1]"}[damage])
    run = benchmark.run(tmp_path)
    assert run.complete
    assert kept(tmp_path) == before
    said = any("missing or damaged" in notice for notice in run.store.notices)
    assert said or (ending, damage) == ("json", "gone")


def test_arrays_newer_than_their_json_keep_the_explanation(tmp_path, calls):
    """What a kill between the two writes of a rescoring leaves."""
    small_benchmark(tasks=("SmallTask",), metrics=("Size",)).run(tmp_path)
    files = cell_files(tmp_path, "**/*.json")
    old = {path: path.read_bytes() for path in files}
    small_benchmark(tasks=("SmallTask",), metrics=("Kinship", "Size")).run(tmp_path)
    after = kept(tmp_path)
    for path, data in old.items():
        path.write_bytes(data)
    calls()
    run = small_benchmark(tasks=("SmallTask",), metrics=("Kinship", "Size")).run(tmp_path)
    assert counted(calls(), "explain") == 0
    assert len(run.store.notices) == len(old)
    assert all("1 of its scores are computed again" in notice for notice in run.store.notices)
    assert kept(tmp_path) == after


def test_boards_of_another_suite_are_replaced(tmp_path, calls):
    small_benchmark().run(tmp_path)
    board = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    small_benchmark(name="else", methods=("Gradient",)).run(tmp_path)
    assert (tmp_path / "leaderboard.md").read_text(encoding="utf-8") != board
    calls()
    assert small_benchmark().run(tmp_path).nothing_to_do
    assert (tmp_path / "leaderboard.md").read_text(encoding="utf-8") == board
    assert calls() == []


def test_instances_are_as_good_as_specs(tmp_path):
    plugins = [[build(kind, spec(name))] for kind, name in (("task", "SmallTask"), ("method", "Gradient"))]
    run = Benchmark(*plugins, metrics=[build("metric", spec("Size"))]).run(tmp_path)
    assert run.complete
    assert run.content["plan"] == ""
    assert run.times["total"] > 0


def test_a_plugin_twice_or_with_unwritable_parameters_is_refused():
    with pytest.raises(UsageError, match=r"Two methods are named"):
        small_benchmark(methods=("Gradient", "Gradient"))
    with pytest.raises(UsageError, match="Two metrics are named 'size'"):
        small_benchmark(metrics=("Size", "Size:scale=1"))


def test_a_folder_that_cannot_be_used(tmp_path):
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    for out in (file, file / "below"):
        with pytest.raises(UsageError, match="is a file, not a folder"):
            small_benchmark().run(out)
    assert file.read_text(encoding="utf-8") == ""


def test_a_full_disk_stops_the_run_and_keeps_the_cells(tmp_path, monkeypatch):
    written = []

    def full(path, data):
        if len(written) > 12:
            raise OSError(28, "No space left on device")
        written.append(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr("xrnnbench.harness.results.cell_store.write_atomically", full)
        with pytest.raises(UsageError, match=r"cannot be written .No space left"):
            small_benchmark().run(tmp_path)
    assert small_benchmark().run(tmp_path).complete


def test_load_reads_what_run_left(tmp_path):
    run = small_benchmark().run(tmp_path)
    for path in (run.folder, run.folder / "run.json", tmp_path):
        again = Run.load(path)
        assert again.complete
        assert again.leaderboard() == run.leaderboard()
        assert again.boards["md"].samefile(run.boards["md"])
    with pytest.raises(UsageError, match="There is no run in"):
        Run.load(tmp_path / "runs")


def test_measured_apart(tmp_path):
    run = small_benchmark(metrics=("Size", "Duration", "Passes")).run(tmp_path)
    cell = json.loads(cell_files(tmp_path, "small-*/slope-*/seed-0-0.json")[0].read_text(encoding="utf-8"))
    assert [record["metric"]["spec"] for record in cell["records"]] == ["passes", "size"]
    assert [record["metric"]["spec"] for record in cell["measured"]["records"]] == ["duration"]
    assert "measured" not in reproducible(cell)
    seconds = run.records().query("metric == 'duration'")
    assert np.allclose(seconds["mean"], seconds["seconds"])
    assert set(run.records().query("metric == 'passes' and method == 'slope'")["mean"]) == {24.0}


def test_a_task_that_gives_no_subject_fails(tmp_path, monkeypatch):
    benchmark = small_benchmark(tasks=("SmallTask",))
    monkeypatch.setattr(type(benchmark.grid.tasks[0][1]), "subject", lambda _self, _seed: "no subject")
    with pytest.warns(FailedCellsWarning, match="the model of task 'small'"):
        run = benchmark.run(tmp_path)
    assert {cell.failure.kind for cell in run.cells.values()} == {ContractError.__name__}


def test_unfit_models_are_no_standard_and_not_averaged(tmp_path, broken):
    broken("unfit")
    run = small_benchmark(tasks=("SmallTask",)).run(tmp_path)
    table = run.leaderboard().tables[0]
    assert table.unfit == (0,)
    assert table.entries["slope", "size"].value.seeds == 2
    slope = run.records().query("method == 'slope' and metric == 'kinship'").set_index("model_seed")
    assert slope.loc[1, "mean"] == pytest.approx(slope.loc[2, "mean"])
