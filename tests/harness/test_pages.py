"""Pages are made of docstrings: every part of one is on its page, in Markdown."""

import subprocess
import sys

import pytest

from xrnnbench.harness.explore import plugin_pages as pages
from xrnnbench.harness.explore.plugin_facts import describe_plugin
from xrnnbench.plugins import names


def test_a_page_has_the_parameters_with_their_defaults_the_sections_and_the_facts():
    text = pages.page(describe_plugin("method", "occlusion"))
    assert "# occlusion\n" in text
    assert "- `by` (default `reference`): the intervention that removes a feature" in text
    assert "\n  " in text.partition("- `by`")[2]  # an item that goes on is indented, and stays one item
    assert "\n**Cost:** n + 1 forward sequence-equivalents" in text
    assert "- needs: nothing" in text
    assert "- signed: yes" in text
    assert "``" not in text


def test_a_formula_stays_a_formula():
    text = pages.page(describe_plugin("metric", "abpc"))
    assert "\n\n    ∫ f(least relevant first)" in text
    assert "\n- `points` (default `20`): number of removals on each curve" in text
    index = pages.index("metric", [describe_plugin("metric", "abpc"), describe_plugin("metric", "auroc")])
    assert "| [auroc](auroc.md) | truth | " in index
    assert " | higher | 0 … 1 | order |" in index


@pytest.mark.parametrize("kind", ["task", "method", "metric", "intervention"])
def test_every_plug_in_has_a_page_and_a_line(kind, tmp_path):
    (tmp_path / "mine.md").write_text("kept", "utf-8")
    written = pages.write_pages(kind, tmp_path / "deeper")
    assert {path.stem for path in written} == {*names(kind), "README"}
    index = (tmp_path / "deeper" / "README.md").read_text("utf-8")
    for name in names(kind):
        assert index.count(f"| [{name}]({name}.md) |") == 1
        assert ":meth:" not in (tmp_path / "deeper" / f"{name}.md").read_text("utf-8")
    rows = [line for line in index.splitlines() if line.startswith("| ")]
    assert len({line.count(" | ") for line in rows}) == 1
    assert (tmp_path / "mine.md").read_text("utf-8") == "kept"


@pytest.mark.full
def test_the_command_line_writes_them_or_says_why_not(tmp_path):
    command = [sys.executable, "-m", "xrnnbench", "pages", "metrics"]
    done = subprocess.run([*command, tmp_path / "new"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new" / "README.md").is_file()
    (tmp_path / "file").write_text("", "utf-8")
    done = subprocess.run([*command, tmp_path / "file"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr
