"""The pages of plug-ins as Markdown, made of their docstrings, so that what is read is what the code says of itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ...atomic import write_atomically
from .plugin_facts import inline, list_plugins

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SECTION = re.compile(r"(?P<name>[A-Z][a-z]+(?: [a-z]+)*):(?: (?P<text>.*))?")
_HEAD = "<!-- Made by `xrnnbench pages`; edit the docstring instead. -->\n\n"


def write_pages(kind: str, folder: Path) -> list[Path]:
    """Write a page for each plug-in of a kind, and README.md, which lists them all.

    Args:
        kind: ``"task"``, ``"method"``, ``"metric"`` or ``"intervention"``.
        folder: made if it does not exist; other files in it are left alone.

    Returns:
        the files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptions = list_plugins(kind)
    texts = {f"{found['name']}.md": page(found) for found in descriptions}
    texts["README.md"] = index(kind, descriptions)
    for name, text in texts.items():
        write_atomically(folder / name, text.encode("utf-8"))
    return [folder / name for name in texts]


def page(description: dict[str, Any]) -> str:
    """One plug-in: its docstring, its parameters with their defaults, and what it says of itself."""
    body = _markdown(description["page"], description["parameters"])
    facts = [f"- {name.replace('_', ' ')}: {_said(value)}" for name, value in description["facts"].items()]
    return f"{_HEAD}# {description['name']}\n\n{body}\n\n## Facts\n\n" + "\n".join(facts) + "\n"


def index(kind: str, descriptions: list[dict[str, Any]]) -> str:
    """All of a kind in one table, in the order of its first column."""
    columns = _COLUMNS.get(kind, {})
    heads = [kind, *list(columns)[:1], "what it is", *list(columns)[1:]]
    table = []
    for found in descriptions:
        first, *rest = [cell(found) for cell in columns.values()] or [""]
        link = f"[{found['name']}]({found['name']}.md)"
        table.append((first, found["name"], [link, *[first][: len(columns)], _inline(found["summary"]), *rest]))
    rows = [heads, ["---"] * len(heads), *(cells for _, _, cells in sorted(table))]
    return f"{_HEAD}# The {kind}s\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def _fact(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda found: _said(found["facts"].get(name, []))


def _range(found: dict[str, Any]) -> str:
    """The range of a metric, ``0 … 1`` or ``≥ 0``; ``any`` where it has no bound."""
    low, high = (found["facts"].get(name) for name in ("low", "high"))
    bounded = [isinstance(bound, float) for bound in (low, high)]
    if all(bounded):
        return f"{low:g} … {high:g}"
    return f"≥ {low:g}" if bounded[0] else f"≤ {high:g}" if bounded[1] else "any"


# What an index says of each plug-in beside its name and first line: the first column orders it.
_COLUMNS: Final[dict[str, dict[str, Callable[[dict[str, Any]], str]]]] = {
    "method": {
        "group": _fact("group"),
        "needs": _fact("needs"),
        "cost": lambda found: _inline(_section(found["page"], "Cost")),
    },
    "metric": {"family": _fact("family"), "better": _fact("direction"), "range": _range, "reads": _fact("reads")},
    "task": {"application": _fact("application")},
    "intervention": {"removes": lambda found: "whole steps" if found["facts"].get("whole_steps") else "steps or cells"},
}


def _markdown(text: str, defaults: dict[str, Any]) -> str:
    """A docstring's paragraphs, its parameters as a list, its other sections as paragraphs with a bold name."""
    lines: list[str] = []
    listing = inside = False
    for line in text.splitlines():
        found = _SECTION.fullmatch(line)
        inside = found is not None or (inside and line.startswith("    "))
        if found is not None:
            listing = found["text"] is None
            lines += ["", f"**{found['name']}:** {_inline(found['text'] or '')}".rstrip(), *([""] if listing else [])]
        elif listing and (item := re.fullmatch(r" {4}(\w+): (.*)", line)) is not None:
            default = f" (default `{_said(defaults[item[1]])}`)" if item[1] in defaults else ""
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
    """The text of one section, in one line; empty if there is none."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(f"{name}: ")), None)
    if start is None:
        return ""
    found = [lines[start].partition(": ")[2]]
    for line in lines[start + 1 :]:
        if not line.startswith("    "):
            break
        found.append(line.strip())
    return " ".join(found)


def _inline(text: str) -> str:
    return inline(text).replace("|", "\\|")


def _said(value: Any) -> str:  # noqa: ANN401  # any JSON value
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
