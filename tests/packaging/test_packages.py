"""What is installed is what the repository holds: packages, modules, data, examples and entry points."""

import doctest
import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = {name: REPOSITORY / folder for name, folder in PYPROJECT["tool"]["setuptools"]["package-dir"].items()}
FLOORS = {name.removeprefix("xrnnbench.") for name in FOLDERS} - {"xrnnbench"}


def files_on_disk():
    """Yield the package each file of the repository belongs to by its folder, and the file."""
    for root, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield ".".join([root, *path.parent.relative_to(folder).parts]), path


def modules_on_disk():
    """Return the dotted names of all modules, packages included."""
    return sorted(
        package if path.name == "__init__.py" else f"{package}.{path.stem}"
        for package, path in files_on_disk()
        if path.suffix == ".py"
    )


def data_on_disk():
    """Return package and name of every file that is neither code nor a note to readers of the repository."""
    return [(package, path.name) for package, path in files_on_disk() if path.suffix not in {".py", ".pyc", ".md"}]


def installed_modules(package):
    """Yield the dotted names of a package and of all modules below it, as the import system finds them.

    Each sub-package is walked by its own path: an editable install does not show the floors under the root.
    """
    yield package
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        name = f"{package}.{found.name}"
        if found.ispkg:
            yield from installed_modules(name)
        else:
            yield name


def named_in(requirements):
    """Return the canonical names of a list of requirements."""
    return {canonicalize_name(Requirement(line).name) for line in requirements}


def test_there_are_modules():
    assert len(modules_on_disk()) > len(FOLDERS)


def test_listed_packages_are_the_folders_with_code():
    with_code = {package for package, path in files_on_disk() if path.suffix == ".py"}
    assert sorted(PYPROJECT["tool"]["setuptools"]["packages"]) == sorted(with_code)


def test_every_folder_with_code_is_a_regular_package():
    modules = set(modules_on_disk())
    assert {package for package, _ in files_on_disk()} <= modules


def test_installed_modules_are_those_on_disk():
    installed = {name for root in FOLDERS for name in installed_modules(root)}
    assert sorted(installed) == modules_on_disk()


@pytest.mark.parametrize(("package", "name"), data_on_disk())
def test_data_file_is_installed(package, name):
    assert importlib.resources.files(package).joinpath(name).is_file()


def test_package_is_typed():
    assert ("xrnnbench", "py.typed") in data_on_disk()


def test_no_generic_name_is_installed():
    top = {path.parts[0] for path in importlib.metadata.files("xrnnbench")}
    assert not top & (FLOORS | {"src", "tests"})


def test_version_is_that_of_the_distribution():
    assert importlib.import_module("xrnnbench").__version__ == importlib.metadata.version("xrnnbench")


def test_console_script_can_be_called():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="xrnnbench")
    assert callable(script.load())


def test_root_loads_neither_torch_nor_a_floor():
    heavy = sorted({"torch"} | {f"xrnnbench.{floor}" for floor in FLOORS})
    program = f"import sys, xrnnbench; print(*[name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("name", [name for name in modules_on_disk() if not name.endswith(".__main__")])
def test_examples_in_docstrings_are_true(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(importlib.import_module(name), optionflags=flags).failed == 0


def test_every_direct_dependency_is_pinned():
    project = PYPROJECT["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    direct = named_in([*project["dependencies"], *extras]) - {"xrnnbench"}
    lines = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0] for line in lines if re.match(r"[\w.-]+==", line)]
    assert direct - named_in(pins) == set()
