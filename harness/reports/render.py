"""The renderers of a board: Markdown and a page to be read, LaTeX for papers, CSV and JSON to be computed with."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..leaderboard.exhibits import Gallery
from .latex import latex
from .markdown import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from _typeshed import DataclassInstance

    from ..leaderboard.leaderboard import Entry, Leaderboard
    from ..leaderboard.standings import Standing
    from ..leaderboard.task_means import Overview
    from ..results.cells import Source

_COLUMNS = (
    "suite", "scope", "task", "application", "method", "group", "metric", "family", "direction", "unit", "intervention",
    "status", "mean", "low", "high", "n", "undefined", "seeds", "tasks", "first", "last", "notes",
)  # fmt: skip

_NOTHING = Gallery()
_FACTS = ("family", "direction", "unit", "intervention")


def render(board: Leaderboard, ending: str, gallery: Gallery | None = None) -> str:
    """The board as the text of a file of that ending: ``"md"``, ``"tex"``, ``"csv"``, ``"json"`` or ``"html"``.

    Args:
        board: the board.
        ending: of the file.
        gallery: what a page shows beside it; None if nothing.
    """
    if ending == "html":
        from .html import page  # noqa: PLC0415  # a tenth of a second, which a run with nothing to do does not need

        return page(board, gallery or _NOTHING)
    return _RENDERERS[ending](board)


def long_form(board: Leaderboard) -> str:
    """CSV of the scores, one row for each task, method and metric, and one for each mean over tasks.

    What is not known is empty. Scope is ``"task"``, ``"application"`` or ``"family"``, a mean over tasks having no
    task. The comparisons and the standings are rows of other kinds, and are in the JSON only.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    applications = {table.task.spec: table.task.facts.get("application", "") for table in board.tables}
    rows = [{"scope": "task", "application": applications[row["task"]], "tasks": 1} | row for row in _rows(board)]
    for row in [*rows, *_means(board)]:
        writer.writerow(row | {"suite": board.name, "notes": " | ".join(row.get("notes", []))})
    return text.getvalue()


def as_json(board: Leaderboard) -> str:
    """JSON: the grid, the models, every entry, the overview, the comparisons, the provenance; null is not known."""
    content = {
        "suite": board.name,
        "headline": board.headline.spec,
        "cells": board.cells,
        "failed": board.failed,
        "metrics": [{"spec": metric.spec, **metric.identity, **metric.facts} for metric in board.metrics],
        "methods": [{"spec": method.spec, **method.identity, **method.facts} for method in board.methods],
        "overall": [
            {"method": method.spec, **_numbers(board.overall[method.spec])}
            for method in board.methods
            if method.spec in board.overall
        ],
        "tasks": [
            {
                "spec": table.task.spec,
                **table.task.identity,
                **table.task.facts,
                "models": {str(seed): found and found.model_dump() for seed, found in table.models.items()},
                "unfit": table.unfit,
            }
            for table in board.tables
        ],
        "entries": list(_rows(board)),
        "overviews": list(map(_overview, board.overviews)),
        "standings": list(map(_standing, board.standings)),
        "comparisons": {field.name: list(_comparisons(board, field.name)) for field in fields(board.comparisons)},
        "origins": board.origins,
        "model_origins": dict(board.model_origins),
        "provenance": dict(board.provenance),
    }
    return f"{_laid_out(content)}\n"


def _laid_out(value: object) -> str:
    """JSON with a line for each thing in a list, to be read, compared by git, and written by the fast encoder."""
    if isinstance(value, dict):
        inside = [f"{_encoded(key)}: {_laid_out(part)}" for key, part in value.items()]
        return "{\n" + ",\n".join(inside) + "\n}" if inside else "{}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(map(_encoded, value)) + "\n]"
    return _encoded(value)


def _rows(board: Leaderboard) -> Iterator[dict[str, Any]]:
    for table in board.tables:
        for method in table.methods:
            for metric in board.metrics:
                yield {
                    "task": table.task.spec,
                    **_place(method, metric),
                    **_entry(table.entries[method.spec, metric.spec]),
                }


def _means(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """The means over tasks of each application and each family; methods without one have no row."""
    for overview in board.overviews:
        application = overview.name if overview.scope == "application" else ""
        for method in overview.methods:
            for metric in overview.metrics:
                value = overview.means.get((method.spec, metric.spec))
                if value is not None:
                    head = {"scope": overview.scope, "task": "", "application": application, "status": "scored"}
                    tasks = len(overview.tasks[metric.spec])
                    yield {**head, **_place(method, metric), **_numbers(value), "tasks": tasks}


def _place(method: Source, metric: Source) -> dict[str, str]:
    facts = {fact: metric.facts.get(fact, "") for fact in _FACTS}
    return {"method": method.spec, "group": method.facts.get("group", ""), "metric": metric.spec, **facts}


def _overview(overview: Overview) -> dict[str, Any]:
    values = ({"method": spec, "metric": metric, **_numbers(value)} for (spec, metric), value in overview.means.items())
    return {"scope": overview.scope, "name": overview.name, "tasks": dict(overview.tasks), "means": list(values)}


def _standing(standing: Standing) -> dict[str, Any]:
    found = {field.name: getattr(standing, field.name) for field in fields(standing)}
    found["methods"] = [method.spec for method in standing.methods]
    found["corrected"] = {spec: _numbers(value) for spec, value in standing.corrected.items()}
    return (
        found
        | {name: dict(found[name]) for name in ("ranks", "cost", "without", "firmness")}
        | {"front": sorted(standing.front)}
    )


def _comparisons(board: Leaderboard, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one kind of comparison: the means over tasks, whose task is null, and then those of each task."""
    for task, comparisons in [
        (None, board.comparisons),
        *((table.task.spec, table.comparisons) for table in board.tables),
    ]:
        for each in getattr(comparisons, name):
            yield {"task": task, **_numbers(each)}


def _entry(entry: Entry) -> dict[str, Any]:
    first, last = entry.places or (None, None)
    places = {"first": first, "last": last}
    return {"status": entry.status, **_numbers(entry.value), **places, "notes": list(entry.notes)}


def _numbers(values: DataclassInstance) -> dict[str, Any]:
    """The fields of a value, NaN as None: JSON has no NaN."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value for name, value in vars(values).items()
    }


# Made once: json.dumps makes an encoder for every call that is not as it expects.
_encoded = json.JSONEncoder(ensure_ascii=False).encode

_RENDERERS: dict[str, Callable[[Leaderboard], str]] = {
    "md": markdown,
    "tex": latex,
    "csv": long_form,
    "json": as_json,
}
