"""Facts of suites as lists and pages, for the command line and for scripts."""

from __future__ import annotations

from typing import Any

from ..suites.suite import packaged, read_suite, suite_summary


def is_suite(name: str) -> bool:
    """Whether a name is that of a packaged suite or of a suite file."""
    return name in packaged() or name.endswith(".toml")


def list_suites() -> list[dict[str, Any]]:
    """Descriptions of the packaged suites, in alphabetical order; see :func:`describe_suite`."""
    return [describe_suite(name) for name in packaged()]


def describe_suite(name: str) -> dict[str, Any]:
    """Description of a suite as JSON values: its name, first line, tasks, methods, metrics and seeds.

    Args:
        name: name of a packaged suite, or path of a suite file.

    Raises:
        SuiteError: there is no such suite, or its file does not describe a grid.
    """
    suite = read_suite(name)
    return {
        "kind": "suite",
        "name": suite.name,
        "summary": suite_summary(name) if name in packaged() else f"The suite of {name}.",
        "tasks": list(suite.tasks),
        "methods": list(suite.methods),
        "metrics": list(suite.metrics),
        "seeds": list(suite.seeds),
        "explainer_seeds": list(suite.explainer_seeds),
    }


def suite_page(description: dict[str, Any]) -> str:
    """Page of a suite as text for the terminal."""
    axes = ("tasks", "methods", "metrics")
    size = ", ".join(f"{len(description[axis])} {axis}" for axis in axes)
    parts = [f"suite {description['name']}", "", description["summary"], "", f"{size}, model seeds "]
    parts[-1] += ", ".join(map(str, description["seeds"]))
    for axis in axes:
        parts += ["", f"{axis.capitalize()}:", *(f"  {spec}" for spec in description[axis])]
    return "\n".join([*parts, "", f"Run it: xrnnbench run {description['name']}"])
