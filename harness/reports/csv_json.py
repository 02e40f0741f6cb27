"""A leaderboard as CSV and as JSON, for programs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ...visible_text import visible_json, visible_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.standings import Standing
    from ..leaderboard.task_board import Entry
    from ..leaderboard.task_means import Overview
    from ..results.cells import PluginInfo

_COLUMNS = (
    "suite", "scope", "task", "application", "method", "group", "metric", "family", "direction", "unit", "intervention",
    "status", "mean", "low", "high", "n", "undefined", "seeds", "tasks", "first", "last", "notes",
)  # fmt: skip

# What a spreadsheet takes for the beginning of a formula, also in the wide forms of East Asia and after a semicolon,
# which separates cells in many countries.
_FORMULA: Final = re.compile("(?:^|(?<=;))(?= *[-=+@\uff0d\uff1d\uff0b\uff20])")

_FACTS = ("family", "direction", "unit", "intervention")


def as_csv(board: Leaderboard) -> str:
    """Return the scores as CSV, one row for each task, method and metric, and one for each mean over tasks.

    Unknown values are empty. The scope of a row is ``"task"``, ``"application"`` or ``"family"``; a mean over tasks has
    no task. Comparisons and standings have other columns, and are in the JSON only. A text that a spreadsheet would
    take for a formula has an apostrophe in front.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    applications = {table.task.spec: table.task.facts.get("application", "") for table in board.tables}
    rows = ({"scope": "task", "application": applications[row["task"]], "tasks": 1} | row for row in _rows(board))
    for row in chain(rows, _mean_rows(board)):
        columns = row | {"suite": board.name, "notes": " | ".join(row.get("notes", []))}
        writer.writerow({name: plain_cell(value) for name, value in columns.items()})
    return text.getvalue()


def as_json(board: Leaderboard) -> str:
    """Return the whole leaderboard as JSON; unknown values are null."""
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
                "models": {str(seed): model and model.model_dump() for seed, model in table.models.items()},
                "unfit": table.unfit,
                "caveats": table.caveats,
            }
            for table in board.tables
        ],
        "entries": _rows(board),
        "overviews": list(map(_overview, board.overviews)),
        "standings": list(map(_standing, board.standings)),
        "comparisons": {field.name: _comparisons(board, field.name) for field in fields(board.comparisons)},
        "origins": board.origins,
        "model_origins": dict(board.model_origins),
        "provenance": dict(board.provenance),
    }
    return f"{_json_lines(content)}\n"


def plain_cell(value: object) -> object:
    """Return a value for a cell of a CSV file: a number as it is, and a text in one line that is no formula.

    >>> plain_cell("=1+1"), plain_cell("-m"), plain_cell("a;=b"), plain_cell("a=b"), plain_cell(-0.5)
    ("'=1+1", "'-m", "a;'=b", 'a=b', -0.5)
    """
    return _FORMULA.sub("'", visible_line(value)) if isinstance(value, str) else value


def _json_lines(value: object) -> str:
    """Return JSON with one line for each item of a list: readable, with short git diffs, and made by the C encoder."""
    if isinstance(value, dict):
        inside = [f"{_encode(key)}: {_json_lines(part)}" for key, part in value.items()]
        return "{\n" + ",\n".join(inside) + "\n}" if inside else "{}"
    if isinstance(value, list | Iterator):
        # the rows of a large board would take several GB as dictionaries
        lines = ",\n".join(map(_encode, value))
        return f"[\n{lines}\n]" if lines else "[]"
    return _encode(value)


def _rows(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """Yield a row for each task, method and metric."""
    for table in board.tables:
        for method in table.methods:
            for metric in board.metrics:
                yield {
                    "task": table.task.spec,
                    **_plugin_columns(method, metric),
                    **_entry(table.entries[method.spec, metric.spec]),
                }


def _mean_rows(board: Leaderboard) -> Iterator[dict[str, Any]]:
    """Yield a row for each mean over the tasks of an application or a family; methods without a mean have none."""
    for overview in board.overviews:
        application = overview.name if overview.scope == "application" else ""
        for method in overview.methods:
            for metric in overview.metrics:
                value = overview.means.get((method.spec, metric.spec))
                if value is not None:
                    head = {"scope": overview.scope, "task": "", "application": application, "status": "scored"}
                    tasks = len(overview.tasks[metric.spec])
                    yield {**head, **_plugin_columns(method, metric), **_numbers(value), "tasks": tasks}


def _plugin_columns(method: PluginInfo, metric: PluginInfo) -> dict[str, str]:
    """Return the columns that describe the method and the metric of a row."""
    facts = {fact: metric.facts.get(fact, "") for fact in _FACTS}
    return {"method": method.spec, "group": method.facts.get("group", ""), "metric": metric.spec, **facts}


def _overview(overview: Overview) -> dict[str, Any]:
    """Return the means over the tasks of one application or family as plain values."""
    values = ({"method": spec, "metric": metric, **_numbers(value)} for (spec, metric), value in overview.means.items())
    return {"scope": overview.scope, "name": overview.name, "tasks": dict(overview.tasks), "means": list(values)}


def _standing(standing: Standing) -> dict[str, Any]:
    """Return a standing as plain values."""
    content = {field.name: getattr(standing, field.name) for field in fields(standing)}
    content["methods"] = [method.spec for method in standing.methods]
    content["corrected"] = {spec: _numbers(value) for spec, value in standing.corrected.items()}
    return (
        content
        | {name: dict(content[name]) for name in ("ranks", "cost", "without", "firmness")}
        | {"front": sorted(standing.front)}
    )


def _comparisons(board: Leaderboard, name: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind of comparison: the means over tasks, whose task is None, and then each task."""
    for task, comparisons in [
        (None, board.comparisons),
        *((table.task.spec, table.comparisons) for table in board.tables),
    ]:
        for comparison in getattr(comparisons, name):
            yield {"task": task, **_numbers(comparison)}


def _entry(entry: Entry) -> dict[str, Any]:
    """Return the columns of an entry, its rank range as ``first`` and ``last``."""
    first, last = entry.rank_range or (None, None)
    rank_range = {"first": first, "last": last}
    return {"status": entry.status, **_numbers(entry.value), **rank_range, "notes": list(entry.notes)}


def _numbers(values: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass; NaN becomes None, because JSON has no NaN."""
    pairs = ((name, getattr(values, name)) for name in _field_names(type(values)))
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in pairs}


@cache
def _field_names(of: type[DataclassInstance]) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass."""
    return tuple(field.name for field in fields(of))


# Made once: json.dumps makes a new encoder for every call with options other than its defaults.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False)


def _encode(value: object) -> str:
    """Return JSON in one line."""
    return visible_json(_ENCODER.encode(value))
