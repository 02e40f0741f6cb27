"""The renderers of a board: Markdown to be read, CSV and JSON to be computed with."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from .markdown import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .leaderboard import Entry, Leaderboard, Table

_COLUMNS = (
    "suite", "task", "application", "method", "group", "metric", "family", "direction", "unit", "intervention",
    "status", "mean", "low", "high", "n", "undefined", "seeds", "notes",
)  # fmt: skip

_FACTS = ("family", "direction", "unit", "intervention")


def render(board: Leaderboard, ending: str) -> str:
    """The board as the text of a file of that ending: ``"md"``, ``"csv"`` or ``"json"``."""
    return _RENDERERS[ending](board)


def long_form(board: Leaderboard) -> str:
    """CSV of the scores, one row for each task, method and metric; what is not known is empty.

    The comparisons are rows of another kind, and are in the JSON only.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for table, row in _rows(board):
        shown = {key: "" if value is None else value for key, value in row.items()}
        notes = " | ".join(row["notes"])
        application = table.task.facts.get("application", "")
        writer.writerow(shown | {"suite": board.name, "application": application, "notes": notes})
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
            {"method": method.spec, **_numbers(asdict(board.overall[method.spec]))}
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
        "entries": [row for _, row in _rows(board)],
        "comparisons": {field.name: list(_comparisons(board, field.name)) for field in fields(board.comparisons)},
        "origins": board.origins,
        "provenance": dict(board.provenance),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _rows(board: Leaderboard) -> Iterator[tuple[Table, dict[str, Any]]]:
    for table in board.tables:
        for method in table.methods:
            for metric in board.metrics:
                entry = table.entries[method.spec, metric.spec]
                facts = {fact: metric.facts.get(fact, "") for fact in _FACTS}
                place = {"task": table.task.spec, "method": method.spec, "group": method.facts.get("group", "")}
                yield table, {**place, "metric": metric.spec, **facts, **_entry(entry)}


def _comparisons(board: Leaderboard, name: str) -> Iterator[dict[str, Any]]:
    """The rows of one kind of comparison: the means over tasks, whose task is null, and then those of each task."""
    for task, comparisons in [
        (None, board.comparisons),
        *((table.task.spec, table.comparisons) for table in board.tables),
    ]:
        for each in getattr(comparisons, name):
            yield {"task": task, **asdict(each)}


def _entry(entry: Entry) -> dict[str, Any]:
    return {"status": entry.status, **_numbers(asdict(entry.value)), "notes": list(entry.notes)}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """NaN as None: JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}


_RENDERERS: dict[str, Callable[[Leaderboard], str]] = {"md": markdown, "csv": long_form, "json": as_json}
