"""Every snippet of the pages written by hand runs as it is printed; what cannot run here is parsed.

The Python of a page and its command lines run in their order, in one namespace and one folder, with the files that the
page prints. Command lines that install, download or take minutes are parsed, and so are those within sentences.
"""

import ast
import functools
import importlib.metadata
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import typer
import yaml

import xrnnbench
from xrnnbench.harness import cli
from xrnnbench.harness.execution.archive import read_results
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.spec_files import file_spec

from . import pages
from .example_files import TABLES, write_tables

# Of each page: files, blocks of Python and commands that are run, outputs that are compared; commands and blocks that
# are parsed; drawings. A page that is not named has none of them.
COUNTS = {
    "README.md": (0, 3, 0, 2, 31, 0, 0),
    "CONTRIBUTING.md": (1, 0, 0, 0, 7, 0, 0),
    "SECURITY.md": (0, 0, 0, 0, 3, 0, 0),
    "results/README.md": (0, 0, 0, 0, 4, 0, 0),
    "docs/architecture.md": (0, 0, 0, 0, 3, 0, 1),
    "docs/data.md": (0, 1, 0, 0, 8, 0, 1),
    "docs/gate.md": (2, 2, 9, 1, 4, 1, 0),
    "docs/methods.md": (0, 0, 0, 0, 2, 0, 0),
    "docs/metrics.md": (0, 0, 0, 0, 3, 0, 0),
    "docs/page.md": (0, 0, 0, 0, 5, 0, 0),
    "docs/parallel.md": (3, 0, 0, 0, 22, 0, 0),
    "docs/results.md": (0, 0, 0, 0, 11, 0, 1),
    "docs/suites.md": (0, 0, 1, 0, 11, 1, 0),
    "docs/tasks.md": (0, 0, 1, 0, 4, 0, 0),
    "docs/your-own-method.md": (2, 1, 3, 1, 2, 0, 0),
    "docs/your-own.md": (6, 18, 10, 14, 3, 1, 0),
}

HELPER = Path(pages.__file__)
BLOCKS = {page: pages.blocks(page) for page in pages.PAGES}
COMMANDS = {
    page: [each for block in found if block.kind == "commands" for each in pages.commands(block)]
    for page, found in BLOCKS.items()
}
IN_SENTENCES = {page: pages.command_lines_in_sentences(page) for page in pages.PAGES}
# A method as CONTRIBUTING.md prints it stands for every ./mine.py:Mine.
MINE = (
    next(block.text for block in BLOCKS["CONTRIBUTING.md"] if block.language == "python")
    .replace("from ...", "from xrnnbench.")
    .replace("from ..base", "from xrnnbench.methods.base")
    .replace("SquaredGradient", "Mine")
)
# Words in capitals stand for what a reader puts there.
PLACEHOLDER = re.compile(r"[A-Z]+|FILE\.py:MODEL")


def counted(page):
    """Numbers of snippets of a page by what is done with them."""
    kinds = Counter(block.kind for block in BLOCKS[page])
    run = len([each for each in COMMANDS[page] if not each.only_parsed])
    return {
        "files": kinds["file"],
        "python": kinds["python"],
        "commands": run,
        "outputs": kinds["output"],
        "parsed commands": len(COMMANDS[page]) - run + len(IN_SENTENCES[page]),
        "parsed blocks": kinds["settings"] + kinds["optional"],
        "drawings": kinds["drawing"],
    }


def test_every_snippet_is_counted(capsys):
    table = {page: tuple(counted(page).values()) for page in pages.PAGES}
    with capsys.disabled():
        print("\n" + " ".join(counted("README.md")))  # noqa: T201  # the table is what the test shows
        for page, numbers in table.items():
            print(f"{page:28}" + "".join(f"{number:4}" for number in numbers))  # noqa: T201
        print(f"{'all':28}" + "".join(f"{sum(column):4}" for column in zip(*table.values(), strict=True)))  # noqa: T201
    assert {page: numbers for page, numbers in table.items() if any(numbers)} == COUNTS


def write_files(page, folder):
    """Write what a reader of a page has in their folder: the files that it prints, their tables, a method."""
    write_tables(folder)
    (folder / "mine.py").write_text(MINE, "utf-8")
    (folder / "data" / "sst-trees" / "trees").mkdir(parents=True)
    (folder / "data" / "sst-trees" / "trees" / "train.txt").write_text("(3 (2 a) (4 (4 good) (2 film)))\n", "utf-8")
    printed = [block for block in BLOCKS[page] if block.kind == "file"]
    printed += [block for block in BLOCKS["docs/your-own.md"] if block.file == "my_task.py"]
    for block in printed:
        if block.language in {"python", "toml"} and "/" not in block.file:
            (folder / block.file).write_text(block.text, "utf-8")


class PageRun:
    """Results of what was run of a page, and the folder in which it was."""

    def __init__(self, page, folder):
        self.page, self.folder = page, folder
        write_files(page, folder)
        steps = pages.steps_of(page)
        (folder / "steps.json").write_text(json.dumps(steps), "utf-8")
        environment = os.environ | {
            "XRNNBENCH_CACHE": str(folder / "cache"),
            "XRNNBENCH_DATA": str(folder / "data"),
            "MPLBACKEND": "Agg",
        }
        done = subprocess.run(
            [sys.executable, HELPER, "steps.json", "results.json"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.results = json.loads((folder / "results.json").read_text("utf-8"))
        for result in self.results:
            assert not result["failed"], f"{page}:{result['line']}: {result['failed']}"
        assert len(self.results) == len(steps)

    def output_before(self, block):
        """Output of what was run last before a block."""
        return [result for result in self.results if result["line"] < block.line][-1]["output"]


@pytest.fixture(scope="module")
def page_run(tmp_path_factory):
    """Give the run of a page, which is made once."""
    return functools.cache(lambda page: PageRun(page, tmp_path_factory.mktemp("page")))


@pytest.mark.parametrize("page", [page for page in pages.PAGES if pages.steps_of(page)])
def test_a_page_runs_as_printed(page, page_run):
    run = page_run(page)
    for block in BLOCKS[page]:
        if block.kind == "output":
            output = run.output_before(block)
            assert pages.agrees(block.text, output), f"{page}:{block.line} prints another output than\n{output}"


@pytest.mark.full
@pytest.mark.parametrize("block", [block for found in BLOCKS.values() for block in found if block.kind == "optional"])
def test_snippets_of_optional_libraries_run(block, tmp_path):
    for library in pages.imported(block.text) & pages.OPTIONAL:
        pytest.importorskip(library)
    done = subprocess.run([sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("printed", "output", "agree"),
    [
        ("a  1.00\nb", "a 1.04 b", True),
        ("a 1.00", "a 1.20", False),
        ("12 rows", "13 rows", False),
        ("81% of it", "x 84% of it y", True),
        ("81% of it", "60% of it", False),
        ("first … last", "first 2 3 last", True),
        ("first … last", "last first", False),
        ("[0, 1]", "[0, 1]", True),
        ("[0, 1]", "[0, 2]", False),
        ("nothing", "", False),
    ],
)
def test_outputs_agree_or_not(printed, output, agree):
    assert pages.agrees(printed, output) is agree


def test_blocks_of_unknown_kinds_are_refused():
    for language, text in (("ruby", "puts 1"), ("", "xrnnbench run")):
        with pytest.raises(AssertionError, match="of an unknown kind"):
            assert pages.Block("page.md", 1, language, text + "\n", "").kind


@pytest.mark.parametrize("page", [page for page in pages.PAGES if BLOCKS[page]])
def test_what_is_not_run_can_be_parsed(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_files(page, tmp_path)
    for block in BLOCKS[page]:
        if block.kind in {"python", "optional"} or (block.kind == "file" and block.language == "python"):
            compile(block.text, block.page, "exec")
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), dict)
        if block.language == "toml":
            assert tomllib.loads(block.text)
            (tmp_path / "printed.toml").write_text(block.text, "utf-8")
            assert read_suite("printed.toml").metrics
        if block.language == "csv":
            printed = block.text.splitlines()
            assert (tmp_path / block.file).read_text("utf-8").splitlines()[: len(printed)] == printed
            assert block.file in TABLES


ALL_COMMANDS = [each for page in pages.PAGES for each in [*COMMANDS[page], *IN_SENTENCES[page]]]


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=lambda each: f"{each.page}: {each.text}")
def test_command_lines_can_be_parsed(command, tmp_path, monkeypatch):
    """Their command and options exist, values fit, and so do the names of plug-ins, suites and models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XRNNBENCH_DATA", "")  # --data-dir sets it
    write_files(command.page, tmp_path)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tmp_path / name).touch()
    program, *words = command.words
    if program == "tox":
        assert not words or TOX.fullmatch(words[words.index("-e") + 1])
    elif program == "dask":
        assert_fits_dask(*words)
    elif program == "openssl":
        assert command.only_parsed
    elif program == "xrnnbench":
        assert_fits([("data" if word in {"DIR", "/data/xrnnbench"} else word) for word in words])
    else:
        assert program in pages.PROGRAMS
        assert not command.only_parsed


# Environments of tox.ini, and those that it derives.
TOX = re.compile(r"lint|bench|full|py31[123](-full)?")


def assert_fits(words):
    """Raise an error if a command line of xrnnbench names something that does not exist."""
    name, *arguments = words
    command = typer.main.get_command(cli.app).commands[name]
    if not arguments and name != "run":  # a sentence about the command
        return
    parameters = command.make_context(name, arguments).params
    for kind in ("task", "method", "metric"):
        for spec in parameters.get(kind) or ():
            assert_exists([kind], spec)
    if name == "run" and not PLACEHOLDER.fullmatch(parameters["suite"]):
        assert parameters["suite"] == "mine.toml" or read_suite(parameters["suite"]).metrics
    if name in {"show", "check", "explain", "inspect"}:
        (about,) = {parameters.get(key) for key in ("name", "about")} - {None}
        assert_exists(["task", "method", "metric", "intervention", "suite"], about)


def assert_fits_dask(name, *words):
    """Raise an error if a command line of dask has an option that does not exist."""
    dask = next(entry for entry in importlib.metadata.entry_points(group="dask_cli", name=name)).load()
    dask.make_context(name, list(words))


def test_the_certificates_of_the_page_are_valid(tmp_path):
    """Also by the strict rules of Python 3.13."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl")
    lines = [each.text for each in COMMANDS["docs/parallel.md"] if each.text.startswith("openssl ")]
    for line in [*lines, "openssl verify -x509_strict -CAfile ca.pem cert.pem"]:
        done = subprocess.run(shlex.split(line), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(lines) == 2
    assert done.stdout == "cert.pem: OK\n"


def assert_exists(kinds, spec):
    """Raise an error if there is no such plug-in, suite, or name in a file of the folder."""
    if PLACEHOLDER.fullmatch(spec):
        return
    if file := file_spec(spec):
        tree = ast.parse(Path(file.path).read_text("utf-8"))
        defined = {getattr(node, "name", "") for node in tree.body}
        defined |= {name.id for node in tree.body if isinstance(node, ast.Assign) for name in node.targets}
        assert file.name in defined
        return
    name, _, values = spec.partition(":")
    found = [kind for kind in kinds if kind != "suite" and name in xrnnbench.names(kind)]
    if not found and "suite" in kinds:
        assert read_suite(spec).metrics
    elif values:
        assert xrnnbench.build(found[0], spec)
    else:
        assert found, f"there is no {spec}"


def test_the_model_of_the_readme_is_explained_by_the_exact_methods(page_run):
    """As its sentences say, whatever the figures of another machine are."""
    folder = page_run("README.md").folder / "my-results"
    means = Run.load(folder / "runs" / "benchmark").scores().groupby("method")["score"].mean()
    assert means["deeplift"] > 0.9
    assert means["integrated-gradients"] > 0.9
    assert means["captum-deeplift"] < 0.5
    assert abs(means["random"]) < 0.1
    assert (folder / "leaderboard.md").is_file()


AUTHORS = "docs/your-own-method.md"


def test_the_files_for_authors_import_public_names_only():
    for block in BLOCKS[AUTHORS]:
        if block.kind == "file":
            assert set(re.findall(r"^from (xrnnbench\S*)", block.text, re.MULTILINE)) == {"xrnnbench"}


def test_the_benchmarks_for_authors_score_all_their_cells(page_run):
    """Of the program and of the command, as printed."""
    files = list((page_run(AUTHORS).folder / "mine").rglob("run*.json"))
    assert len(files) == 2
    for file in files:
        cells = [found.cell for found in read_results(file).scored_cells.values()]
        assert sorted(cell.method.identity["name"] for cell in cells) == ["captum-ig", "deeplift", "random"]
        for cell in cells:
            statuses = {record.metric.identity["name"]: record.status for record in cell.records}
            assert statuses == {"top-step": "scored", "sufficiency": "scored"}


def test_the_gate_of_the_page_is_passed_and_not_skipped(page_run):
    results = page_run("docs/gate.md").results
    (output,) = [result["output"] for result in results if result["text"].startswith("pytest ")]
    assert "1 passed" in output
