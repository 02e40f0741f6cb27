"""A suite changed on the command line: boards of its own, and the suite's other methods beside what is run."""

import json
import shutil

import pytest

from xrnnbench.errors import FailedCellsWarning, UsageError
from xrnnbench.harness.execution.archive import write_archive
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.execution.progress import Lines
from xrnnbench.harness.execution.reference_rows import RunWithReferences
from xrnnbench.harness.suites.suite import Suite

from .conftest import cell_files, command, counted, spec, suite_text

LISTS = {
    "tasks": [spec("SmallTask"), spec("OtherTask")],
    "methods": ["random", spec("Chance"), spec("Gradient")],
    "metrics": [spec("Size"), spec("Kinship")],
    "seeds": [0, 1, 2],
}
SUITE = Suite.of({"name": "small", **LISTS}, "here")
MINE = spec("Heavy")


def changed(**lists):
    return Benchmark.of(SUITE.instead(**lists))


def methods(run):
    return [source.spec for source in run.axes.methods]


@pytest.fixture
def whole(tmp_path):
    """The suite itself, run; and its boards."""
    return Benchmark.of(SUITE).run(tmp_path)


@pytest.fixture
def before(whole):
    """The figures of the suite's own board."""
    return figures(whole.leaderboard())


@pytest.fixture
def archived(whole, before, tmp_path):
    """The suite's archive in the place where it is looked for; its run is gone."""
    write_archive(whole, tmp_path / "archives" / "small")
    shutil.rmtree(tmp_path / "runs")
    return tmp_path / "archives" / "small"


def boards(run):
    return {ending: path.read_bytes() for ending, path in run.boards.items()}


def figures(board):
    """Every entry of a board but those of the method that was added."""
    entries = {}
    for table in board.tables:
        for (method, metric), entry in table.entries.items():
            if method != "heavy":
                entries[table.task.spec, method, metric] = (entry.status, entry.value.mean, entry.value.n)
    return entries


@pytest.mark.parametrize(
    "lists",
    [
        {"tasks": [*LISTS["tasks"][:1], spec("FixedTask")]},
        {"metrics": LISTS["metrics"][:1]},
        {"seeds": [0, 1]},
        {"methods": [MINE]},
    ],
    ids=lambda lists: next(iter(lists)),
)
def test_a_change_leaves_the_suites_own_board_and_run_as_they_are(whole, tmp_path, lists):
    before, kept = boards(whole), (whole.folder / "run.json").read_bytes()
    run = changed(**lists).run(tmp_path)
    assert run.boards["md"].parent == whole.folder
    assert run.boards["md"].is_file()
    assert boards(whole) == before
    assert (whole.folder / "run.json").read_bytes() == kept
    assert RunWithReferences.load(run.store.run_file).leaderboard().name == "small"
    again = Benchmark.of(SUITE).run(tmp_path)
    # what compares models was scored beside two of them: the suite scores it beside three again
    assert again.nothing_to_do == ("seeds" not in lists)
    assert figures(again.leaderboard()) == figures(whole.leaderboard())


def test_the_same_lists_are_no_change():
    assert SUITE.instead(**LISTS) == SUITE
    assert SUITE.instead() == SUITE
    assert SUITE.instead(seeds=[0, 1]).variant != SUITE.instead(seeds=[0]).variant


def test_a_method_is_one_row_more_and_nothing_else_is_explained(whole, tmp_path, calls):
    calls()
    run = changed(methods=[MINE]).run(tmp_path)
    found = calls()
    assert counted(found, "explain-chance") == 0
    assert counted(found, "explain-slope") == 6  # Heavy is Gradient by another name
    assert counted(found, "score-size") == 6
    assert len(run.cells) == 6
    assert methods(run) == ["heavy", "random", "chance", "slope"]
    assert figures(run.leaderboard()) == figures(whole.leaderboard())
    calls()
    assert changed(methods=[MINE]).run(tmp_path).nothing_to_do
    assert calls() == []


def test_rows_are_taken_from_the_archive(before, archived, tmp_path, calls):
    calls()
    run = changed(methods=[MINE]).run(tmp_path)
    found = calls()
    assert (counted(found, "explain-chance"), counted(found, "explain-slope")) == (0, 6)
    assert len(cell_files(tmp_path, "**/*.json")) == 6
    assert (run.folder / run.content["beside"]["results"]).resolve() == archived.resolve()
    assert str(tmp_path) not in run.content["beside"]["results"]
    assert len(run.content["beside"]["taken"]) == 18
    after = figures(run.leaderboard())
    assert {place: values[::2] for place, values in after.items()} == {
        place: values[::2] for place, values in before.items()
    }
    assert all(after[place][1] == pytest.approx(before[place][1], rel=1e-6) for place in before)
    assert figures(RunWithReferences.load(run.store.run_file).leaderboard()) == after
    assert changed(methods=[MINE]).run(tmp_path).nothing_to_do


def test_what_is_in_the_folder_comes_first(whole, tmp_path):
    write_archive(whole, tmp_path / "archives" / "small")
    for path in cell_files(tmp_path, "small-*/random-*/seed-1-0.*"):
        path.unlink()
    run = changed(methods=[MINE]).run(tmp_path)
    # the two that are left were judged beside the one that is gone
    assert len(run.content["beside"]["cells"]) == 15
    assert len(run.content["beside"]["taken"]) == 3


def test_results_elsewhere_are_named(whole, tmp_path):
    with pytest.warns(DeprecationWarning, match="beside= is now reference_rows="):
        changed(methods=[MINE]).run(tmp_path / "before", beside=whole.folder)
    run = changed(methods=[MINE]).run(tmp_path / "elsewhere", reference_rows=whole.folder)
    assert methods(run) == ["heavy", "random", "chance", "slope"]
    with pytest.raises(UsageError, match="neither a run nor an archive"):
        changed(methods=[MINE]).run(tmp_path / "elsewhere", reference_rows=tmp_path / "none")
    with pytest.raises(UsageError, match="Every method of the suite is run"):
        Benchmark.of(SUITE).run(tmp_path / "elsewhere", reference_rows=whole.folder)


def test_rows_about_another_model_are_left_out_and_that_is_said(archived, tmp_path, broken):
    broken("another-model")
    said = []

    class Said:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def begin(self, steps):
            pass

        doing = done = lambda self, *what: None

        def line(self, text):
            said.append(text)

    run = changed(methods=[MINE]).run(tmp_path, progress=Said())
    assert methods(run) == ["heavy"]
    assert any(
        text.startswith("No reference rows are taken") and " for other, seed 0; other, seed 1;" in text for text in said
    )
    assert any(
        text.startswith("No stored results for the other methods on 'small': ")
        and "with other models or without" in text
        for text in said
    )


def test_other_seeds_have_other_siblings(archived, tmp_path):
    run = changed(methods=[MINE], seeds=[0, 1]).run(tmp_path)
    assert methods(run) == ["heavy"]
    assert run.content["beside"]["taken"] == []


def test_rows_without_a_metric_are_not_taken(archived, tmp_path):
    run = changed(methods=[MINE], metrics=[spec("Size"), spec("Kinship"), spec("Passes")]).run(tmp_path)
    assert methods(run) == ["heavy"]


def test_rows_judged_beside_other_models_are_not_shown(whole, tmp_path):
    """Kinship compares models: what it said beside three is not what it says beside two."""
    assert methods(changed(methods=[MINE], seeds=[0, 1]).run(tmp_path)) == ["heavy"]
    size = changed(methods=[MINE], seeds=[0, 1], metrics=[spec("Size")]).run(tmp_path)
    assert methods(size) == ["heavy", "random", "chance", "slope"]


def test_an_archive_that_changes_or_goes_is_noticed(whole, archived, tmp_path):
    run = changed(methods=[MINE]).run(tmp_path)
    content = json.loads((archived / "archive.json").read_text("utf-8"))
    (archived / "archive.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match="is gone or has changed"):
        RunWithReferences.load(run.store.run_file).leaderboard()
    assert not changed(methods=[MINE]).run(tmp_path).nothing_to_do
    (archived / "scores.npz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"scores.npz is damaged"):
        changed(methods=[MINE], metrics=[spec("Size")]).run(tmp_path)
    shutil.rmtree(archived)
    with pytest.raises(UsageError, match="is gone or has changed"):
        RunWithReferences.load(run.store.run_file).leaderboard()


def test_a_failed_row_beside_is_no_failure_of_the_run(tmp_path):
    suite = Suite.of({"name": "small", **LISTS, "methods": [*LISTS["methods"], spec("Broken")]}, "here")
    with pytest.warns(FailedCellsWarning, match="method 'broken'"):
        assert Benchmark.of(suite).run(tmp_path).failed == 6
    run = Benchmark.of(suite.instead(methods=[MINE])).run(tmp_path)
    assert (run.failed, run.complete) == (0, True)
    assert run.leaderboard().failed == 6
    assert "broken" in methods(run)


def test_a_file_has_no_key_for_what_the_command_line_does(tmp_path):
    path = tmp_path / "small.toml"
    for key in ('beside = ["lime"]', 'variant = "ab"'):
        path.write_text(f"{suite_text()}\n{key}", encoding="utf-8")
        done = command("run", path, cwd=tmp_path)
        assert done.returncode == 2
        assert "unknown key" in done.stderr


@pytest.mark.full
def test_the_command_line_names_the_board(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(suite_text(methods=("Chance", "Gradient", "Attentive")), encoding="utf-8")
    command("run", path, "--out", "r", cwd=tmp_path)
    before = (tmp_path / "r" / "leaderboard.md").read_bytes()
    done = command("run", path, "-m", MINE, "--out", "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    variant = next((tmp_path / "r" / "runs" / "small").glob("leaderboard-*.md"))
    assert f"Board: {variant.relative_to(tmp_path)}" in done.stdout
    assert (tmp_path / "r" / "leaderboard.md").read_bytes() == before
    again = command("leaderboard", next(variant.parent.glob("run-*.json")), "--format", "csv", cwd=tmp_path)
    assert again.stdout.strip() == str(variant.with_suffix(".csv").relative_to(tmp_path))
    rows = [line.split(",") for line in variant.with_suffix(".csv").read_text("utf-8").splitlines()]
    assert {"chance", "slope", "heavy"} <= {word for row in rows for word in row}


@pytest.mark.parametrize("both", [False, True])
def test_a_task_that_the_results_have_with_other_parameters_is_named(archived, tmp_path, both, capsys):
    """With or without another task whose rows are there."""
    tasks = [f"{LISTS['tasks'][0]}:size=6", *(LISTS["tasks"][1:] if both else ())]
    changed(tasks=tasks, methods=[MINE]).run(tmp_path, progress=Lines())
    message = capsys.readouterr().err
    assert "No stored results for the other methods on 'small:size=6': " in message
    assert "has it as 'small', run that to see them." in message
    assert message.count("No stored results") == 1
