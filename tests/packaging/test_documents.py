"""What the documents tell people to type works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def python_blocks(document):
    return re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_the_readmes_python_runs(tmp_path):
    blocks = python_blocks(ROOT / "README.md")
    assert len(blocks) >= 2
    command = [sys.executable, "-c", "\n".join(blocks)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([8, 20, 4])" in done.stdout
    assert (tmp_path / "my-results" / "leaderboard.md").is_file()


def test_the_method_of_contributing_passes_its_kit(tmp_path):
    (block,) = python_blocks(ROOT / "CONTRIBUTING.md")
    outside = block.replace("from ..", "from xrnnbench.").replace("from .base", "from xrnnbench.methods.base")
    (tmp_path / "squared.py").write_text(outside, "utf-8")
    command = [sys.executable, "-m", "xrnnbench", "check", "squared.py:SquaredGradient"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text("utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("kind", ["tasks", "methods", "metrics", "interventions"])
def test_the_pages_of_plug_ins_are_what_their_docstrings_say(kind, tmp_path):
    """Mended by: xrnnbench pages KIND docs/KIND. A process of its own knows no plug-ins of other tests."""
    subprocess.run([sys.executable, "-m", "xrnnbench", "pages", kind, tmp_path], capture_output=True, check=True)
    made = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text("utf-8") for path in (ROOT / "docs" / kind).glob("*.md")}
    assert sorted(kept) == sorted(made)
    assert [name for name, text in made.items() if kept[name] != text] == []
