"""Old module paths give the modules of today."""

import importlib
import subprocess
import sys

import pytest

from xrnnbench.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_is_the_new_module(old):
    sys.modules.pop(f"xrnnbench.{old}", None)
    with pytest.warns(DeprecationWarning, match=r"is now xrnnbench\."):
        module = importlib.import_module(f"xrnnbench.{old}")
    assert module is importlib.import_module(f"xrnnbench.{MOVED[old]}")


def test_what_plug_ins_imported_is_importable_and_classes_exist_once():
    program = (
        "from xrnnbench.methods.base import Explainer\nfrom xrnnbench.metrics.base import Metric\n"
        "from xrnnbench.tasks.base import Task\nfrom xrnnbench.tasks.data import Batch\n"
        "from xrnnbench.tasks.scores import accuracy\nfrom xrnnbench.tasks.series.ett import ETTh1\n"
        "from xrnnbench.tasks.trained import TrainedTask\nfrom xrnnbench.tasks.readers.downloads import located\n"
        "import xrnnbench\nfrom xrnnbench.plugins import find\n"
        "assert xrnnbench.Batch is Batch and find('task', 'etth1') is ETTh1\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_path_that_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("xrnnbench.tasks.no_such_module")
