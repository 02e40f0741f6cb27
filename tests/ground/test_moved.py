"""Old module paths give the modules of today."""

import importlib
import sys

import pytest

import xrnnbench
from xrnnbench.moved import MOVED
from xrnnbench.plugins import find


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_is_the_new_module(old):
    sys.modules.pop(f"xrnnbench.{old}", None)
    with pytest.warns(DeprecationWarning, match=r"is now xrnnbench\."):
        module = importlib.import_module(f"xrnnbench.{old}")
    assert module is importlib.import_module(f"xrnnbench.{MOVED[old]}")


PUBLIC = {
    "methods.base": "Explainer",
    "metrics.base": "Metric",
    "tasks.base": "Task",
    "tasks.data": "Batch",
    "tasks.readers.downloads": "located",
    "tasks.scores": "accuracy",
    "tasks.trained": "TrainedTask",
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", PUBLIC)
def test_what_plug_ins_imported_is_importable_and_exists_once(path):
    name = PUBLIC[path]
    assert getattr(importlib.import_module(f"xrnnbench.{path}"), name) is getattr(xrnnbench, name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_of_a_moved_package_is_not_loaded_twice():
    module = importlib.import_module("xrnnbench.tasks.series.ett")
    assert module.ETTh1 is find("task", "etth1")


def test_a_path_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("xrnnbench.tasks.no_such_module")


def test_packages_of_somebody_else_are_left_alone(tmp_path, monkeypatch):
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "__init__.py").write_text("", "utf-8")
    (folder / "curves.py").write_text("MINE = True\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("metrics.curves").MINE
    sys.modules.pop("metrics.curves")
    sys.modules.pop("metrics")
