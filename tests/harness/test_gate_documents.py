"""What docs/gate.md tells people to type and to copy."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from xrnnbench.harness import cli

PAGE = (Path(__file__).parents[2] / "docs" / "gate.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def workflow():
    (block,) = blocks("yaml")
    return yaml.safe_load(block)


def commands():
    """Yield every call of xrnnbench on the page, in words."""
    found = [line for block in blocks("sh") for line in block.splitlines()]
    found += [step["run"] for step in workflow()["jobs"]["gate"]["steps"] if "run" in step]
    for line in found:
        words = line.partition("#")[0].partition("||")[0].split()
        if words and words[0] == "xrnnbench":
            yield words[1:]


def test_the_workflow_is_one():
    found = workflow()
    # YAML 1.1 takes the word for a truth value, as GitHub's reader does not
    assert set(found) == {"name", True, "permissions", "jobs"}
    assert set(found[True]) == {"pull_request", "workflow_dispatch"}
    steps = found["jobs"]["gate"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    names = [step.get("name") for step in steps]
    assert names.index("Explain") < names.index("Bless") < names.index("Compare") < names.index("Say it")


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_can_be_parsed(words):
    name, *arguments = words
    group = typer.main.get_command(cli.app)
    context = group.commands[name].make_context(name, list(arguments), resilient_parsing=False)
    assert context.params


def test_the_test_of_the_page_is_python_that_uses_the_fixture():
    (block,) = [text for text in blocks("python") if "explanation_gate" in text]
    compile(block, "gate.md", "exec")
    assert "def test_explanations_are_no_worse(explanation_gate):" in block
