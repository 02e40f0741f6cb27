"""Plug-in files that import what lies beside them."""

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest
import torch

from xrnnbench import plugins
from xrnnbench.errors import UsageError
from xrnnbench.file_modules import stable_name
from xrnnbench.harness.execution.resume import plan_of
from xrnnbench.harness.suites.suite import Suite
from xrnnbench.plugins import FLOORS, build, load_file, names
from xrnnbench.source_files import content_hash

HEAD = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from xrnnbench import Explainer, Metric, register
"""
MINE = """
@register
@dataclass(frozen=True)
class Mine(Explainer):
    '''Mine.

    Cost: nothing.
    Fails where: always.
    '''

    name: ClassVar[str] = "mine-beside"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    def attribute(self, subject, rng):
        return values(subject)
"""
VALUES = """
import torch

def values(subject):
    return torch.ones(subject.shape) * {factor}
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test registers into a copy, and leaves the import system as it was."""
    for kind in FLOORS:
        names(kind)
    monkeypatch.setattr(plugins, "_registry", dict(plugins._registry))
    path, modules = list(sys.path), {name: sys.modules.get(name) for name in ("helpers", "pkg", "random", "torch")}
    yield
    assert sys.path == path
    assert {name: sys.modules.get(name) for name in modules} == modules


def written(folder, **files):
    """Write files, of which ``a__b`` is ``a/b.py``; returns the folder."""
    for name, text in files.items():
        path = folder.joinpath(*f"{name}.py".split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def package(folder, **files):
    """Write files of a package ``pkg``; ``init`` is its ``__init__.py``."""
    folder.joinpath("pkg").mkdir(parents=True, exist_ok=True)
    for name, text in {"init": "", **files}.items():
        (folder / "pkg" / f"{'__init__' if name == 'init' else name}.py").write_text(text, "utf-8")
    return folder / "pkg"


def load(folder, name="mine"):
    return load_file(str(folder / f"{name}.py"))


# ---- what can be imported --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "import helpers\nVALUE = helpers.VALUE",
        "import helpers as h\nVALUE = h.VALUE",
        "from helpers import VALUE",
        "from helpers import *",
        "import pkg.sub\nVALUE = pkg.sub.VALUE",
        "import pkg.sub as s\nVALUE = s.VALUE",
        "from pkg import sub\nVALUE = sub.VALUE",
        "from pkg.sub import VALUE",
        "from pkg import *\nVALUE = sub.VALUE",
        "import pkg\nVALUE = pkg.FROM_SUB",
        "from plain.deep import VALUE",
        "from plain import deep\nVALUE = deep.VALUE",
        "import plain.deep\nVALUE = plain.deep.VALUE",
        "from other import VALUE",
        "def late():\n    import helpers\n    return helpers.VALUE\nVALUE = late()",
        "try:\n    import no_such_neighbour\nexcept ImportError:\n    from helpers import VALUE",
        "VALUE = __import__('helpers').VALUE\nif False:\n    import helpers",
    ],
)
def test_neighbours_are_imported(tmp_path, text):
    written(
        tmp_path, mine=text, helpers="VALUE = 3", other="from helpers import VALUE", plain__deep="from helpers import *"
    )
    package(tmp_path, init="__all__ = ['sub']\nfrom .sub import VALUE as FROM_SUB", sub="from helpers import VALUE")
    assert load(tmp_path).VALUE == 3


@pytest.mark.parametrize(
    "text",
    [
        "from .helpers import VALUE",
        "from . import helpers\nVALUE = helpers.VALUE",
        "import helpers\nVALUE = helpers.VALUE",
        "from pkg.helpers import VALUE",
        "from pkg import helpers\nVALUE = helpers.VALUE",
        "import outside\nVALUE = outside.VALUE",
        "def late():\n    from .helpers import VALUE\n    return VALUE\nVALUE = late()",
        "from . import FROM_HELPERS as VALUE",
        "from .. import outside\nVALUE = outside.VALUE",
    ],
)
def test_a_file_in_a_package_imports_relatively(tmp_path, text):
    written(tmp_path, outside="VALUE = 3")
    folder = package(tmp_path, init="from .helpers import VALUE as FROM_HELPERS", helpers="VALUE = 3", mine=text)
    assert load(folder).VALUE == 3


def test_a_package_may_import_the_file_that_is_loaded(tmp_path):
    folder = package(tmp_path, init="from .mine import VALUE", mine="from . import helpers\nVALUE = 3", helpers="")
    assert load(folder).VALUE == 3
    assert load_file(str(folder / "__init__.py")).VALUE == 3


def test_the_package_of_a_file_that_imports_nothing_of_it_is_not_run(tmp_path):
    """As before files could import their neighbours."""
    folder = package(tmp_path, init="1 / 0", mine="VALUE = 3")
    assert load(folder).VALUE == 3
    assert content_hash(folder / "mine.py") == hashlib.sha256(b"VALUE = 3").hexdigest()


def test_a_late_import_gets_the_text_that_was_hashed(tmp_path):
    late = "def late():\n    from helpers import VALUE\n    return VALUE"
    written(tmp_path, mine=late, helpers="VALUE = 1")
    first = load(tmp_path)
    written(tmp_path, helpers="VALUE = 2")
    second = load(tmp_path)
    assert (first.late(), second.late()) == (1, 2)


def test_any_file_name_can_be_loaded(tmp_path):
    (tmp_path / "my-method.v2.py").write_text("from helpers import VALUE", "utf-8")
    written(tmp_path, helpers="VALUE = 3")
    assert load(tmp_path, "my-method.v2").VALUE == 3


# ---- whose modules they are ------------------------------------------------------------------------------------------


def test_two_folders_have_each_their_own_helpers(tmp_path):
    for name in ("one", "two"):
        late = f"import helpers\ndef late():\n    import helpers\n    return helpers.NAME\n# {name}"
        written(tmp_path / name, mine=late, helpers=f"NAME = {name!r}")
    one, two = load(tmp_path / "one"), load(tmp_path / "two")
    assert [one.helpers.NAME, two.helpers.NAME, one.late(), two.late()] == ["one", "two", "one", "two"]


def test_files_of_one_folder_share_their_neighbours(tmp_path):
    written(tmp_path, mine="import helpers", other="import helpers, mine", helpers="class Base: pass")
    mine, other = load(tmp_path), load(tmp_path, "other")
    assert mine.helpers is other.helpers
    assert other.mine is mine
    assert load(tmp_path) is mine


def test_a_changed_neighbour_is_loaded_anew(tmp_path):
    written(tmp_path, mine="from other import VALUE", other="from helpers import VALUE", helpers="VALUE = 1")
    found, same = [], load(tmp_path)
    assert load(tmp_path) is same
    for value in (2, 3, 1):
        written(tmp_path, helpers=f"VALUE = {value}")
        os.utime(tmp_path / "helpers.py", (1_000_000_000, 1_000_000_000))
        found.append(load(tmp_path).VALUE)
    assert found == [2, 3, 1]
    assert load(tmp_path) is same


def test_a_neighbour_does_not_shadow_the_standard_library(tmp_path):
    text = "import random\nimport torch\nfrom torch import nn\nfrom xrnnbench import Batch"
    written(tmp_path, mine=text, random="1 / 0", xrnnbench="1 / 0")
    module = load(tmp_path)
    assert module.random is random
    assert module.torch is torch
    assert content_hash(tmp_path / "mine.py") == hashlib.sha256(text.encode()).hexdigest()


def test_a_neighbour_is_seen_before_an_installed_package_by_its_folder_only(tmp_path):
    written(tmp_path, mine="import torch\nimport helpers", torch="NAME = 'beside'", helpers="import torch")
    module = load(tmp_path)
    assert module.torch.NAME == module.helpers.torch.NAME == "beside"
    assert sys.modules["torch"] is torch
    assert load(written(tmp_path / "elsewhere", mine="import torch")).torch is torch


def test_a_file_may_have_the_name_of_the_library_that_it_wraps(tmp_path):
    written(tmp_path, torch="from torch import nn\nimport torch")
    assert load(tmp_path, "torch").torch is torch


def test_a_folder_of_data_is_no_package(tmp_path):
    (tmp_path / "torch").mkdir()
    assert load(written(tmp_path, mine="import torch\nfrom torch import nn")).torch is torch


# ---- the hash --------------------------------------------------------------------------------------------------------


def test_the_hash_of_a_file_without_neighbours_is_that_of_its_bytes(tmp_path):
    written(tmp_path, mine=HEAD + MINE, helpers="VALUE = 1")
    digest = hashlib.sha256((tmp_path / "mine.py").read_bytes()).hexdigest()
    assert build("method", f"{tmp_path}/mine.py:Mine").source_hash == digest
    path = (tmp_path / "mine.py").resolve()
    short = hashlib.sha256(f"{path}{digest}".encode()).hexdigest()[:12]
    assert stable_name(load(tmp_path).__name__) == f"xrnnbench_file_mine_{short}"
    assert stable_name("torch") == "torch"


@pytest.mark.parametrize("changed", ["helpers", "deep", "late", "pkg/__init__", "pkg/sub"])
def test_every_neighbour_is_in_the_hash(tmp_path, changed):
    head = "from helpers import values\ndef late():\n    import late\n    from pkg import sub\n"
    written(tmp_path, mine=HEAD + head + MINE, deep="", late="", unrelated="")
    written(tmp_path, helpers="import deep\n" + VALUES.format(factor=1))
    package(tmp_path, sub="", unrelated="")
    spec = f"{tmp_path}/mine.py:Mine"
    suite = Suite.of({"name": "small", "tasks": ["adding"], "methods": [spec], "metrics": ["gini"]}, "here")
    before, plan = build("method", spec).identity(), plan_of(suite)
    for name in ("unrelated", "pkg/unrelated"):
        (tmp_path / f"{name}.py").write_text("CHANGED = 1\n", "utf-8")
    assert build("method", spec).identity() == before
    assert plan_of(suite) == plan
    with (tmp_path / f"{changed}.py").open("a", encoding="utf-8") as file:
        file.write("CHANGED = 1\n")
    assert build("method", spec).identity() != before
    assert plan_of(suite) != plan
    assert build("method", spec).source_hash == content_hash(tmp_path / "mine.py")


def test_the_hash_does_not_depend_on_where_the_folder_is(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / name, mine="import helpers", helpers="VALUE = 1")
    one, two = (content_hash(tmp_path / name / "mine.py") for name in ("one", "two"))
    assert one == two
    assert one != hashlib.sha256(b"import helpers").hexdigest()


def test_files_that_import_each_other_have_a_hash(tmp_path):
    written(tmp_path, mine="import other\nVALUE = 1", other="import mine")
    assert load(tmp_path).other.mine is load(tmp_path)
    assert content_hash(tmp_path / "mine.py") != content_hash(tmp_path / "other.py")


def test_a_file_that_is_not_python_has_a_hash(tmp_path):
    for name, text in (("mine.py", "def"), ("data.csv", "a,b")):
        (tmp_path / name).write_text(text, "utf-8")
        assert content_hash(tmp_path / name) == hashlib.sha256(text.encode()).hexdigest()


# ---- plug-ins in a neighbour -----------------------------------------------------------------------------------------


def test_a_plugin_of_a_neighbour_is_registered_once(tmp_path):
    derived = (
        HEAD + "from helpers import Mine\n" + MINE.replace("Mine(Explainer)", "{0}(Mine)").replace("mine-beside", "{1}")
    )
    written(
        tmp_path, helpers=HEAD + MINE, one=derived.format("One", "one-beside"), two=derived.format("Two", "two-beside")
    )
    one, two = (build("method", f"{tmp_path}/{name}.py:{name.title()}") for name in ("one", "two"))
    base = build("method", "mine-beside")
    assert isinstance(one, type(base))
    assert isinstance(two, type(base))
    assert build("method", f"{tmp_path}/helpers.py:Mine") == build("method", f"{tmp_path}/one.py:Mine") == base
    assert len({one.source_hash, two.source_hash, base.source_hash, ""}) == 4
    (tmp_path / "helpers.py").write_text(HEAD + MINE + "\nCHANGED = 1\n", "utf-8")
    assert build("method", f"{tmp_path}/one.py:One").source_hash != one.source_hash
    assert build("method", "mine-beside").source_hash != base.source_hash


# ---- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "helpers", "said"),
    [
        ("import helprs", "", r"ModuleNotFoundError: No module named 'helprs'"),
        ("from . import helprs", "", r"ImportError: cannot import name 'helprs' from its folder"),
        ("from .helprs import f", "", r"ModuleNotFoundError: No module named 'helprs' beside it"),
        ("import helpers.sub", "", r"ModuleNotFoundError: No module named 'helpers.sub'"),
        ("from helpers import f", "", r"ImportError: cannot import name 'f' from 'helpers'"),
        ("import helpers", "1 / 0", r": helpers.py beside it fails .ZeroDivisionError: division by zero"),
        ("import helpers", "def", r": helpers.py beside it fails .SyntaxError: invalid syntax"),
        ("import helpers", "import nn_such", r": helpers.py beside it fails .ModuleNotFoundError: No .* 'nn_such'"),
        ("from signal import smooth", "", r"signal is a module of Python, which goes before signal.py beside it"),
    ],
)
def test_what_cannot_be_imported_is_a_sentence(tmp_path, text, helpers, said):
    written(tmp_path, mine=text, helpers=helpers, signal="smooth = 1")
    for _ in range(2):
        with pytest.raises(UsageError, match=rf"mine\.py cannot be imported.*{said}") as caught:
            load(tmp_path)
        assert "xrnnbench_files" not in str(caught.value)
    written(tmp_path, mine="import helpers\nVALUE = 3", helpers="")
    assert load(tmp_path).VALUE == 3


# ---- by the command line ---------------------------------------------------------------------------------------------


def xrnnbench(folder, *words):
    command = [sys.executable, "-m", "xrnnbench", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_neighbour_is_found_from_another_folder_and_its_change_is_work(tmp_path):
    head = "def values(subject):\n    from helpers import values\n    return values(subject)\n"
    beside = written(tmp_path / "beside", mine=HEAD + head + MINE, helpers=VALUES.format(factor=1))
    away = tmp_path / "away"
    away.mkdir()
    done = xrnnbench(beside, "check", "./mine.py:Mine")
    assert done.returncode == 0, done.stdout + done.stderr
    words = [
        "run",
        "-t",
        "adding:instances=4",
        "-m",
        "../beside/mine.py:Mine",
        "-x",
        "gini",
        "--seeds",
        "0",
        "--out",
        "out",
    ]
    done = xrnnbench(away, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing to do" in (done := xrnnbench(away, *words)).stdout + done.stderr
    written(beside, helpers=VALUES.format(factor=2))
    assert "Nothing to do" not in (done := xrnnbench(away, *words)).stdout + done.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    cells = sorted((away / "out").rglob("cells/*/*/*.json"))
    assert len({json.loads(path.read_text("utf-8"))["method"]["identity"]["source"] for path in cells}) == 2
