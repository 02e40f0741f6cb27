"""Other people's results are read without running code that they name; of a suite file it is said before."""

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import xrnnbench
from xrnnbench.errors import DataError, UsageError
from xrnnbench.harness import cli
from xrnnbench.harness.execution.archive import write_archive
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.execution.publish_models import publish
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results import run_file
from xrnnbench.harness.results.array_files import read_arrays
from xrnnbench.harness.results.store import Store
from xrnnbench.metrics.base import Statistic
from xrnnbench.spec_files import code_files

EVIL = """from pathlib import Path
Path({marker!r}).write_text("ran", "utf-8")
from dataclasses import dataclass
from typing import ClassVar
from xrnnbench import Explainer, register


@register
@dataclass(frozen=True)
class {name}(Explainer):
    \"\"\"Explains nothing.\"\"\"

    name: ClassVar[str] = {kebab!r}
    group: ClassVar[str] = "gradient"

    def attribute(self, subject, rng):
        \"\"\"Attribution of zeros.\"\"\"
        return subject.reduced(subject.batch.inputs * 0.0)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A run of ours."""
    benchmark = Benchmark(["adding"], ["random", "saliency"], ["gini", "comprehensiveness"], name="foreign")
    return benchmark.run(tmp_path_factory.mktemp("own"))


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A file that leaves a marker when it is imported, in the working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    marker = tmp_path / "marker"
    name = f"Evil{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8].capitalize()}"
    text = EVIL.format(marker=str(marker), name=name, kebab=name.lower())
    (folder / "evil.py").write_text(text, encoding="utf-8")
    return f"./evil.py:{name}", marker


def renamed(info, spec):
    """A description of a plug-in by the same identity, whose spec names a file."""
    return info.model_copy(update={"spec": f"{spec}:of={info.spec}" if info.spec != "random" else spec})


@pytest.fixture
def foreign(own, evil, tmp_path):
    """A run whose file and cells name the file wherever a plug-in is named; written as every run is."""
    spec, _ = evil

    def other(info):
        return renamed(info, spec)

    content = json.loads(json.dumps(own.content))
    for axis, infos in zip(
        ("tasks", "methods", "metrics"), (own.axes.tasks, own.axes.methods, own.axes.metrics), strict=True
    ):
        content["grid"][axis] = [other(info).model_dump(mode="json") for info in infos]
        content["suite"][axis] = [other(info).spec for info in infos]
    content["complete"] = True
    with Store(tmp_path / "foreign", "foreign") as store:
        for key, cell in own.cells.items():
            new_key = type(key)(other(key.task), other(key.method), key.model_seed, key.explainer_seed)
            records = tuple(record.model_copy(update={"metric": other(record.metric)}) for record in cell.records)
            update = {"task": other(cell.task), "method": other(cell.method), "records": records}
            names = ("attribution", "target", "lengths", "scores", "measured")
            store.save(new_key, cell.model_copy(update=update), own.store.arrays(key, cell, *names))
        content["cells"] = store.states(content["cells"])
        store.write_run(content)
    return store.folder


@pytest.fixture
def archive(foreign, tmp_path):
    """Its archive."""
    write_archive(Run.load(foreign), tmp_path / "archive")
    return tmp_path / "archive"


def called(*words):
    return CliRunner().invoke(cli.app, list(map(str, words)))


def test_no_command_runs_what_a_run_or_an_archive_names(foreign, archive, evil, tmp_path):
    _, marker = evil
    shown = {
        "leaderboard": called("leaderboard", foreign, "-j", "1"),
        "compare": called("compare", foreign, archive, "-j", "1"),
        "compare archives": called("compare", archive, foreign, "-j", "1", "--format", "json"),
        "bless": called("bless", foreign, tmp_path / "blessed"),
        "bless an archive": called("bless", archive, tmp_path / "again"),
        "merge": called("merge", foreign, "--out", tmp_path / "merged"),
        "costs": called("costs", foreign),
        "costs of an archive": called("costs", archive),
        "plan": called("plan", "--check", foreign),
        "publish": called("publish", foreign, tmp_path / "models"),
    }
    if "doctor" in cli.COMMANDS:
        shown["doctor"] = called("doctor", foreign)
    assert not marker.exists()
    assert not [name for name in sys.modules if "evil" in name]
    wrong = {name: done.exit_code for name, done in shown.items() if done.exit_code and name not in {"publish", "plan"}}
    assert wrong == {}, shown
    assert "evil.py" in (tmp_path / "foreign" / "leaderboard.md").read_text("utf-8")
    error = shown["publish"].exception
    assert isinstance(error, UsageError)
    assert "'foreign' names ./evil.py, and the code of a file that a run names is not run" in str(error)
    assert "--task ./evil.py:CLASS" in str(error)


@pytest.mark.parametrize("of", ["run", "archive"])
def test_reference_rows_run_nothing_that_they_name(of, foreign, archive, evil, tmp_path):
    _, marker = evil
    rows = foreign if of == "run" else archive
    Path("mine.toml").write_text(
        'name = "mine"\ntasks = ["adding"]\nmethods = ["random", "saliency"]\nmetrics = ["gini"]\n', encoding="utf-8"
    )
    words = ("run", "mine.toml", "-m", "recency", "--reference-rows", rows, "--out", tmp_path / "out", "-j", "1")
    assert called(*words).exit_code == 0
    assert not marker.exists()


def test_only_a_file_that_is_typed_is_run_by_publish(foreign, evil, tmp_path):
    spec, marker = evil
    with pytest.raises(UsageError, match=r"names \./evil\.py"):
        publish(Run.load(foreign), tmp_path / "models", [f"./other.py:{spec.partition(':')[2]}"])
    assert not marker.exists()
    with pytest.raises(UsageError, match="is no task"):
        publish(Run.load(foreign), tmp_path / "models", [spec])
    assert marker.exists()


# ---- suite files ----------------------------------------------------------------------------------------------------


def written_suite(**lists):
    axes = {"tasks": ["adding"], "methods": ["random"], "metrics": ["gini"]} | lists
    lines = [f"{axis} = {json.dumps(specs)}" for axis, specs in axes.items()]
    Path("theirs.toml").write_text("\n".join(['name = "theirs"', *lines]), encoding="utf-8")


NOTICE = "xrnnbench: theirs.toml names Python files, whose code now runs: ./evil.py."


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_suite_file_that_names_python_files_is_said_before_they_run(command, evil, tmp_path, monkeypatch):
    spec, marker = evil
    seen = []
    monkeypatch.setattr("typer.echo", lambda text, **_: seen.append((str(text), marker.exists())))
    written_suite(methods=["random", spec])
    assert called(command, "theirs.toml", "--out", tmp_path / "out", "-j", "1").exit_code == 0
    assert (NOTICE, False) in seen
    assert marker.exists()


def test_a_file_that_is_typed_and_a_suite_without_any_are_not_announced(evil, tmp_path):
    spec, _ = evil
    written_suite()
    done = called("run", "theirs.toml", "-m", spec, "--out", tmp_path / "out", "-j", "1")
    assert done.exit_code == 0
    assert "names Python files" not in done.stderr


def test_files_of_methods_that_are_not_run_and_of_parameters_are_said(evil, tmp_path):
    spec, _ = evil
    written_suite(methods=[spec])
    assert NOTICE in called("run", "theirs.toml", "-m", "random", "--out", tmp_path / "out", "-j", "1").stderr
    written_suite(metrics=["gini", "comprehensiveness:by=./nothing.py:Mine:a=1"])
    done = called("run", "theirs.toml", "--out", tmp_path / "out", "-j", "1")
    assert "whose code now runs: ./nothing.py." in done.stderr
    assert isinstance(done.exception, UsageError)


def test_a_suite_can_be_looked_at_without_running_it(evil):
    spec, marker = evil
    written_suite(methods=[spec])
    done = called("show", "theirs.toml")
    assert done.exit_code == 0
    assert spec in done.stdout
    assert not marker.exists()


@pytest.mark.parametrize(
    ("spec", "files"),
    [
        ("lime:samples=500", []),
        ("csv:path=data.csv,predict=label", []),
        ("./mine.py:Mine", ["./mine.py"]),
        ("a,b;c/x.py:Mine:draws=2", ["a,b;c/x.py"]),
        ("comprehensiveness:by=./mine.py:Mine:draws=2", ["./mine.py"]),
        ("temporal-saliency-rescaling:of=./a.py:A:by=b.py:B;c=c.py:C", ["./a.py", "b.py", "c.py"]),
        ("./x.py:X:by=./x.py:Y,of=./y.py:Z", ["./x.py", "./y.py"]),
        ("a=" * 20_000, []),
    ],
)
def test_the_files_whose_code_a_spec_runs(spec, files):
    assert code_files(spec) == files


# ---- the run file ---------------------------------------------------------------------------------------------------


def changed(own, tmp_path, change):
    content = json.loads(json.dumps(own.content))
    change(content["grid"])
    path = tmp_path / "run.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["../../out", "a/b", "a\\b", "", ".", "a\n", "Adding", 3])
def test_names_of_a_run_file_are_no_paths(name, own, tmp_path):
    def change(grid):
        grid["tasks"][0]["identity"]["name"] = name

    with pytest.raises(DataError, match="is damaged"):
        run_file.read(changed(own, tmp_path, change))


@pytest.mark.parametrize("facts", [{"statistic": "mode"}, {"low": "x"}, {"high": "nan"}])
def test_facts_that_are_computed_with_are_checked(facts, own, tmp_path):
    with pytest.raises(DataError, match="is damaged"):
        run_file.read(changed(own, tmp_path, lambda grid: grid["metrics"][0]["facts"].update(facts)))
    assert set(Statistic.__args__) == run_file.STATISTICS


@pytest.mark.parametrize("axis", ["tasks", "methods", "metrics"])
def test_half_a_surrogate_in_a_run_file_stops_no_board(axis, own, tmp_path):
    folder = tmp_path / "runs" / "foreign"
    shutil.copytree(own.folder, folder)
    path = changed(own, tmp_path, lambda grid: grid[axis][0].update(spec="half \ud800"))
    shutil.copy(path, folder / "run.json")
    for words in (
        ("leaderboard", folder, "-j", "1"),
        ("costs", folder),
        ("compare", folder, own.folder, "-j", "1"),
    ):
        done = called(*words)
        assert done.exception is None or isinstance(done.exception, (SystemExit, UsageError)), (words, done.exception)


@pytest.mark.parametrize(
    "header", ["-" * 60_000 + "1", "1" + "+1" * 30_000, "[" * 60_000, "{'descr': __import__('os')}"]
)
def test_a_header_of_an_array_that_is_too_deep_is_no_array(header, tmp_path):
    text = header.encode()
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(tmp_path / "cell.npz", "w", zipfile.ZIP_STORED) as file:
        file.writestr("scores.npy", content)
    with pytest.raises(ValueError, match="it holds something else than arrays"):
        read_arrays(tmp_path / "cell.npz", ["scores"])


# ---- examples -------------------------------------------------------------------------------------------------------


def small(out, **settings):
    return Benchmark(["adding"], ["random"], ["gini"], name="small").run(out, **settings)


def examples_of(out):
    """How many examples the page has, and whether the folder keeps some."""
    text = (Path(out) / "leaderboard.html").read_text("utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert ("This page was made without examples" in text) != bool(data["exhibits"])
    assert "Single explanations" in text
    return len(data["exhibits"]), bool(list((Path(out) / "runs" / "small").glob("sequences/*.json")))


def test_a_run_without_examples_keeps_none_and_remembers_it(tmp_path):
    small(tmp_path)
    assert examples_of(tmp_path) == (1, True)
    run = small(tmp_path, examples=False)
    assert not run.examples
    assert examples_of(tmp_path) == (0, False)
    assert small(tmp_path).nothing_to_do
    assert not small(tmp_path, fresh=True).examples
    (tmp_path / "leaderboard.html").unlink()
    assert small(tmp_path).nothing_to_do
    assert examples_of(tmp_path) == (0, False)
    more = Benchmark(["adding"], ["random", "recency"], ["gini"], name="small").run(tmp_path)
    assert not more.examples
    assert small(tmp_path, examples=True).examples
    assert examples_of(tmp_path) == (1, True)


def test_a_changed_suite_of_the_same_folder_is_without_examples_too(tmp_path):
    small(tmp_path, examples=False)
    changed = Benchmark(["adding"], ["random"], ["gini"], name="small", variant="ab12").run(tmp_path)
    assert not changed.examples


def test_boards_leave_examples_out_and_runs_remember(tmp_path):
    run = small(tmp_path)
    before = {name: (tmp_path / f"leaderboard.{name}").read_text("utf-8") for name in ("md", "csv", "json", "tex")}
    assert called("leaderboard", run.folder, "--no-examples", "--format", "md").exit_code == 0
    assert examples_of(tmp_path) == (0, True)
    assert before == {name: (tmp_path / f"leaderboard.{name}").read_text("utf-8") for name in before}
    assert called("leaderboard", run.folder).exit_code == 0
    assert small(tmp_path).nothing_to_do
    assert examples_of(tmp_path) == (0, True)
    assert called("leaderboard", run.folder, "--examples").exit_code == 0
    assert examples_of(tmp_path) == (1, True)


def test_a_merged_run_is_without_examples_if_a_part_is(tmp_path):
    first = small(tmp_path / "first")
    second = Benchmark(["adding"], ["recency"], ["gini"], name="small").run(tmp_path / "second", examples=False)
    assert not xrnnbench.merge([first.folder, second.folder], tmp_path / "out").examples
    assert examples_of(tmp_path / "out") == (0, False)


def test_the_page_without_examples_has_no_value_of_the_data(tmp_path):
    run = small(tmp_path)
    sequence = json.loads(next((run.folder / "sequences").glob("*.json")).read_text("utf-8"))["sequences"][0]
    packed = json.loads(
        (tmp_path / "leaderboard.html").read_text("utf-8").partition('id="data">')[2].partition("</script>")[0]
    )["exhibits"][0]["sequences"][0]
    assert np.shape(sequence["inputs"])
    small(tmp_path, examples=False)
    for ending in ("md", "csv", "json", "tex", "html"):
        text = (tmp_path / f"leaderboard.{ending}").read_text("utf-8")
        assert packed["inputs"]["values"] not in text
        assert packed["maps"][0]["values"] not in text
        assert sequence["target"] not in text
