"""What the documents tell people to type works."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from xrnnbench import Evidence, Explainer, Metric, Subject
from xrnnbench.harness.execution.archive import read_results
from xrnnbench.harness.explore.options import ModelOptions
from xrnnbench.harness.explore.own_model import ARRAYS
from xrnnbench.tasks.custom.calling_options import Calling
from xrnnbench.tasks.custom.own_subject import DATA_ARGUMENTS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    ROOT / "results" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def python_blocks(document):
    return re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_method_of_contributing_passes_its_kit(tmp_path):
    (block,) = python_blocks(ROOT / "CONTRIBUTING.md")
    outside = block.replace("from ...", "from xrnnbench.").replace("from ..base", "from xrnnbench.methods.base")
    (tmp_path / "squared.py").write_text(outside, "utf-8")
    command = [sys.executable, "-m", "xrnnbench", "check", "squared.py:SquaredGradient"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


AUTHORS = ROOT / "docs" / "your-own-method.md"


def test_the_page_for_authors_names_every_member():
    text = AUTHORS.read_text("utf-8")
    tables = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"[`.](\w+)(?=[`(.])", tables))
    for cls in (Subject, Evidence):
        members = {name for name in {*dir(cls), *cls.__dataclass_fields__} if not name.startswith("_")}
        # no author calls the model; the batch is listed by its parts; the rest serves the run that guards the subject
        hidden = {"model", "batch", "planned", "cache", "data", "uncounted", "run_uncounted"}
        assert members - hidden - named == set(), cls
    for base in (Explainer, Metric):
        declared = {name for name, kind in vars(base)["__annotations__"].items() if "ClassVar" in str(kind)} - {"kind"}
        assert declared - named == set(), base


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


def anchors(page):
    """Names by which links reach the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_headings_lead_to_one(document):
    for page, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)", document.read_text("utf-8")):
        assert anchor in anchors(document.parent / page if page else document), f"{page}#{anchor}"


def test_the_table_of_words_has_every_argument_option_and_array():
    text = (ROOT / "docs" / "your-own.md").read_text("utf-8")
    (table,) = re.findall(r"^\| Python \| command line .*?(?=^$)", text, re.DOTALL | re.MULTILINE)
    cells = [row.strip("|").split("|") for row in table.splitlines()[2:]]
    python, options, arrays = (set(re.findall(r"[\w-]+", " ".join(row[at] for row in cells))) for at in range(3))
    assert {*DATA_ARGUMENTS, *(field.name for field in fields(Calling))} <= python
    assert set(ARRAYS) <= arrays
    given = {field.name for field in fields(ModelOptions)} - {"data"}
    named = {option.removeprefix("--").removeprefix("no-").replace("-", "_") for option in options}
    assert given <= named


KINDS = ["tasks", "methods", "metrics", "interventions"]


@pytest.fixture(scope="module")
def written_pages(tmp_path_factory):
    """All pages, written by one process of its own, which knows no plug-ins of other tests."""
    folder = tmp_path_factory.mktemp("pages")
    program = (
        "import pathlib, sys\nfrom xrnnbench.harness.explore.plugin_pages import write_pages\n"
        "for kind in sys.argv[2:]:\n    write_pages(kind[:-1], pathlib.Path(sys.argv[1]) / kind)\n"
    )
    subprocess.run([sys.executable, "-c", program, folder, *KINDS], capture_output=True, check=True)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_the_pages_of_plug_ins_are_what_their_docstrings_say(kind, written_pages):
    """Mended by: xrnnbench pages KIND docs/KIND."""
    made = {path.name: path.read_text("utf-8") for path in (written_pages / kind).iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / kind).glob("*.md")}
    assert sorted(kept) == sorted(made)
    assert [name for name, text in made.items() if kept[name] != text] == []


def test_the_readmes_table_is_the_published_board():
    board = json.loads((ROOT / "results" / "quick" / "leaderboard.json").read_text("utf-8"))
    control = {each["spec"] for each in board["methods"] if each.get("group") == "control"}
    values = {(each["method"], each["task"]): each for each in board["entries"] if each["metric"] == board["headline"]}
    means = {each["method"]: each["mean"] for each in board["overall"]}
    text = (ROOT / "README.md").read_text("utf-8")
    (table,) = re.findall(r"^\| method \| mean over tasks .*?(?=^$)", text, re.DOTALL | re.MULTILINE)
    head, _, *rows = table.splitlines()
    tasks = head.strip("| ").split(" | ")[2:]
    assert len(tasks) == len(board["tasks"])
    assert len(rows) == len(board["methods"])
    for row in rows:
        name, mean, *cells = [cell.strip("* ") for cell in row.strip("|").split("|")]
        method = name.removesuffix(" (control)")
        assert (method in control) == name.endswith("(control)")
        found = [means.get(method), *(values[method, each["spec"]]["mean"] for each in board["tasks"])]
        assert [mean, *cells] == ["–" if value is None else f"{value:.3f}" for value in found], name


@pytest.mark.parametrize("suite", ["quick", "core"])
def test_published_boards_are_of_published_models(suite):
    """And name a commit, and no file of the machine they were made on."""
    board = json.loads((ROOT / "results" / suite / "leaderboard.json").read_text("utf-8"))
    assert board["suite"] == suite
    assert set(board["model_origins"]) <= {"published", "given"}
    for origin in [board["provenance"]["commit"], *board["origins"]]:
        assert re.search(r"[0-9a-f]{12}(?!\+)", origin)
    assert re.fullmatch(r"xrnnbench run( core --out results/core)?", board["provenance"]["command"])


def test_the_published_archive_rests_on_the_published_models():
    manifest = json.loads((ROOT / "tasks" / "models" / "weights" / "manifest.json").read_text("utf-8"))
    published = {(each["task"], each["seed"]): each["weights"] for each in manifest["models"]}
    cells = [found.cell for found in read_results(ROOT / "results" / "archives" / "core").scored_cells.values()]
    judged = {
        (cell.task.identity["name"], cell.model_seed): cell.fingerprints.model
        for cell in cells
        if cell.model_origin == "published" and cell.fingerprints.model
    }
    assert len(judged) == 51
    assert judged == published
