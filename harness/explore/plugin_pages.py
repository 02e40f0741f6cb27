"""Markdown pages of plug-ins, generated from their docstrings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ...atomic import write_atomically
from .plugin_facts import inline, list_plugins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A sentence such as "Mean imputation: …" is no section; these are, and so is a heading with a list below it.
_SECTION = re.compile(
    r"(?P<name>Cost|Fails where|Source|Truth|Parameters|Args|Attributes): (?P<text>.*)"
    r"|(?P<list>[A-Z][a-z]+(?: [a-z]+)*):"
)
_HEAD = "<!-- Made by `xrnnbench pages`; edit the docstring instead. -->\n\n"


def write_pages(kind: str, folder: Path) -> list[Path]:
    """Write a page for each plug-in of a kind, and README.md with a table of all.

    Args:
        kind: ``"task"``, ``"method"``, ``"metric"`` or ``"intervention"``.
        folder: the folder to write to, made if it does not exist; other files in it are not changed.

    Returns:
        the paths of the written files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptions = list_plugins(kind)
    texts = {f"{description['name']}.md": page(description) for description in descriptions}
    texts["README.md"] = index(kind, descriptions)
    for name, text in texts.items():
        write_atomically(folder / name, text.encode("utf-8"))
    return [folder / name for name in texts]


def page(description: dict[str, Any]) -> str:
    """Page of one plug-in: its docstring, its parameters with their defaults, and its facts."""
    body = _markdown(description["page"], description["parameters"])
    facts = [f"- {name.replace('_', ' ')}: {_shown(value)}" for name, value in description["facts"].items()]
    return f"{_HEAD}# {description['name']}\n\n{body}\n\n## Facts\n\n" + "\n".join(facts) + "\n"


def index(kind: str, descriptions: list[dict[str, Any]]) -> str:
    """Table of all plug-ins of a kind, sorted by its first column."""
    columns = _COLUMNS.get(kind, {})
    heads = [kind, *list(columns)[:1], "what it is", *list(columns)[1:]]
    table = []
    for description in descriptions:
        first, *rest = [cell(description) for cell in columns.values()] or [""]
        name, summary = description["name"], _inline(description["summary"])
        table.append((first, name, [f"[{name}]({name}.md)", *[first][: len(columns)], summary, *rest]))
    rows = [heads, ["---"] * len(heads), *(cells for _, _, cells in sorted(table))]
    return f"{_HEAD}# The {kind}s\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _fact(name: str) -> Callable[[dict[str, Any]], str]:
    """Function that returns the text of one fact of a description."""
    return lambda description: _shown(description["facts"].get(name, []))


def _range(description: dict[str, Any]) -> str:
    """Range of a metric, such as ``0 … 1`` or ``≥ 0``; ``any`` if it has no bound."""
    low, high = (description["facts"].get(name) for name in ("low", "high"))
    bounded = [isinstance(bound, float) for bound in (low, high)]
    if all(bounded):
        return f"{low:g} … {high:g}"
    return f"≥ {low:g}" if bounded[0] else f"≤ {high:g}" if bounded[1] else "any"


# Columns of a table besides name and first line; the table is sorted by the first of them.
_COLUMNS: Final[dict[str, dict[str, Callable[[dict[str, Any]], str]]]] = {
    "method": {
        "group": _fact("group"),
        "needs": _fact("needs"),
        "cost": lambda description: _inline(_section(description["page"], "Cost")),
    },
    "metric": {"family": _fact("family"), "better": _fact("direction"), "range": _range, "reads": _fact("reads")},
    "task": {"application": _fact("application")},
    "intervention": {
        "removes": lambda description: "whole steps" if description["facts"].get("whole_steps") else "steps or cells"
    },
}


def _markdown(text: str, defaults: dict[str, Any]) -> str:
    """Docstring as Markdown: parameters become a list, other sections become paragraphs with a bold name."""
    lines: list[str] = []
    listing = inside = False
    for line in text.splitlines():
        section = _SECTION.fullmatch(line)
        inside = section is not None or (inside and line.startswith("    "))
        if section is not None:
            listing = section["list"] is not None
            heading = f"**{section['list'] or section['name']}:** {_inline(section['text'] or '')}".rstrip()
            lines += ["", heading, *([""] if listing else [])]
        elif listing and (item := re.fullmatch(r" {4}(\w+): (.*)", line)) is not None:
            default = f" (default `{_shown(defaults[item[1]])}`)" if item[1] in defaults else ""
            lines.append(f"- `{item[1]}`{default}: {_inline(item[2])}")
        elif line.startswith("    ") and not (inside or listing):
            lines.append(line)  # a formula
        elif line.startswith("    "):
            lines.append(("  " if listing else "") + _inline(line.strip()))
        else:
            listing = False
            lines.append(_inline(line))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _section(text: str, name: str) -> str:
    """Text of one section of a docstring in one line; empty if there is no such section."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(f"{name}: ")), None)
    if start is None:
        return ""
    section = [lines[start].partition(": ")[2]]
    for line in lines[start + 1 :]:
        if not line.startswith("    "):
            break
        section.append(line.strip())
    return " ".join(section)


def _inline(text: str) -> str:
    """Docstring text for a cell of a Markdown table."""
    return inline(text).replace("|", "\\|")


def _shown(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """JSON value as text of a page."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value) or "nothing"
