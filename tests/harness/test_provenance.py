import importlib.metadata
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from xrnnbench.harness.execution.resume import plan_of
from xrnnbench.harness.results import provenance as origin
from xrnnbench.harness.suites.suite import Suite, read_suite

from .conftest import SMALL, suite_text


def test_everything_a_board_names_is_there():
    found = origin.provenance(["/somewhere/bin/xrnnbench", "run", "quick"])
    assert found["command"] == "xrnnbench run quick"
    assert found["libraries"]["torch"]
    assert found["threads"] >= 1
    assert len(found["code"]) == 12
    assert origin.provenance([])["command"] == "from Python"


def test_no_path_of_the_machine_is_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "x",
        "run",
        "-m",
        f"{tmp_path}/mine.py:Mine",
        "-t",
        "/elsewhere/task.py:Task:size=3",
        "--out",
        str(tmp_path / "r"),
    ]
    written = origin.written_command(words)
    assert written == "xrnnbench run -m mine.py:Mine -t task.py:Task:size=3 --out r"


def test_every_floor_is_in_the_hash():
    names = set(origin._source_files())
    assert {"xrnnbench.plugins", "xrnnbench.harness.cli", "xrnnbench.tasks.base"} <= {
        name.removesuffix(".__init__") for name in names
    }


def test_every_dependency_is_in_the_plan(monkeypatch):
    """The list for source trees is that of pyproject.toml, and so is the metadata of an installed xrnnbench."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["data"]]
    names = {word.partition(">")[0] for word in asked}
    assert set(origin._REQUIRED) == set(origin.required()) == names
    with_metadata = [
        *project["dependencies"], "sktime ; extra == 'data'", 'xrnnbench[data]; extra == "all"',
        'shap; extra == "peers"', "darts; extra == 'forecasters'",
        'tensorflow-cpu; platform_system == "Linux" and extra == "peers"',
    ]  # fmt: skip
    monkeypatch.setattr(origin.importlib.metadata, "requires", lambda _name: with_metadata)
    assert set(origin.required()) == {word.partition(">")[0] for word in project["dependencies"]} | {"sktime"}
    monkeypatch.setattr(origin.importlib.metadata, "requires", lambda _name: ["no-such-package", "torch>=2.6"])
    assert {"no-such-package", "torch"} & set(origin.versions()) == {"torch"}


def test_another_version_of_what_is_called_is_another_plan(monkeypatch):
    suite, version = read_suite("quick"), importlib.metadata.version
    before = plan_of(suite)
    for name in ("captum", "pandas"):
        with monkeypatch.context() as patch:
            patch.setattr(
                origin.importlib.metadata, "version", lambda asked, name=name: "0" if asked == name else version(asked)
            )
            assert plan_of(suite) != before
    assert plan_of(suite) == before


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_commit_is_that_of_this_codes_repository_only(tmp_path, monkeypatch):
    harness = tmp_path / "harness" / "results"
    harness.mkdir(parents=True)
    file = harness / "provenance.py"
    file.write_text("pass\n", encoding="utf-8")
    monkeypatch.setattr(origin, "__file__", str(file))
    assert origin.commit() == ""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(
            [shutil.which("git"), "-C", str(tmp_path), *words],
            check=True,
            env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull},
        )
    assert len(origin.commit()) == 12
    file.write_text("pass  # changed\n", encoding="utf-8")
    assert origin.commit().endswith("+")
    elsewhere = tmp_path / "venv" / "results" / "provenance.py"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("another version\n", encoding="utf-8")
    monkeypatch.setattr(origin, "__file__", str(elsewhere))
    assert origin.commit() == ""


def test_the_plan_follows_suite_code_and_files(tmp_path, monkeypatch):
    copy = tmp_path / "small.py"
    shutil.copy(SMALL, copy)
    text = suite_text().replace(str(SMALL), str(copy))
    path = tmp_path / "small.toml"
    path.write_text(text, encoding="utf-8")
    suite = read_suite(str(path))
    plans = [plan_of(suite), plan_of(suite), plan_of(suite.instead(seeds=[7]))]
    copy.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    plans.append(plan_of(suite))
    monkeypatch.setattr("xrnnbench.harness.execution.resume.code_hash", lambda: "other")
    plans.append(plan_of(suite))
    monkeypatch.setattr("xrnnbench.harness.execution.resume.versions", lambda: {"torch": "0"})
    plans.append(plan_of(suite))
    assert plans[0] == plans[1]
    assert len(set(plans)) == 5


def test_a_missing_file_has_a_plan_too():
    suite = Suite.of({"name": "a", "tasks": ["none.py:T"], "methods": ["m"], "metrics": ["x"]}, "here")
    assert len(plan_of(suite)) == 64
    assert Path("none.py").exists() is False
