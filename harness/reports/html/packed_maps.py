"""Sample attributions of each task and method, packed for the script of the page.

Values are quantised to 255 steps between the negative and the positive of a map's largest absolute value, eight bits
each, which is finer than a colour shows. The largest absolute value is stored with them.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from ...leaderboard.exhibits import Exhibit, Gallery
    from ...leaderboard.leaderboard import Leaderboard
    from ...leaderboard.task_board import TaskTable
    from .css_classes import CssClasses

    Array = np.ndarray[Any, Any]

_STEPS: Final = 127
_EMPTY: Final = -128
# The limit for all maps of a page together, in bytes; beyond it fewer sequences of each task are shown.
BUDGET: Final = 2_000_000


def packed_exhibits(board: Leaderboard, gallery: Gallery, classes: CssClasses) -> list[dict[str, Any]]:
    """Return the sample attributions of each task that has any, as plain values for JSON."""
    shown = [
        (table, gallery.exhibits[table.task.spec]) for table in board.tables if table.task.spec in gallery.exhibits
    ]
    most = max((len(exhibit.samples.sequences) for _, exhibit in shown), default=0)
    count = next((count for count in range(most, 1, -1) if _size(shown, count) <= BUDGET), 1)
    return [_task(table, exhibit, classes, count) for table, exhibit in shown]


def pack(values: Array) -> dict[str, Any]:
    """Return values float[T, D] as base64 of int8, row by row, with their largest absolute value.

    NaN, where several inputs have no value, becomes the one number that no value is.
    """
    empty = np.isnan(values)
    values = np.where(empty, 0.0, values)
    size = float(np.abs(values).max(initial=0.0))
    steps = np.rint(values / size * _STEPS) if size > 0 else np.zeros(values.shape)
    steps[empty] = _EMPTY
    return {
        "size": float(f"{size:.4g}"),
        "width": values.shape[1],
        "values": base64.b64encode(steps.astype(np.int8).tobytes()).decode("ascii"),
    }


def _size(shown: list[tuple[TaskTable, Exhibit]], count: int) -> int:
    """Return the size in bytes of the packed maps of ``count`` sequences of each task."""
    maps = (values for _, exhibit in shown for of_method in exhibit.maps.values() for values in of_method[:count])
    return sum(values.size * 4 // 3 for values in maps)


def _task(table: TaskTable, exhibit: Exhibit, classes: CssClasses, count: int) -> dict[str, Any]:
    """Return the attributions of one task for ``count`` sequences."""
    reading, layout = exhibit.samples.reading, exhibit.samples.layout
    return {
        "task": classes.tasks[table.task.spec],
        "seed": exhibit.seed,
        "features": list(exhibit.samples.features),
        **({} if layout is None else {"inputs": list(layout.inputs)}),
        "reading": None if reading is None else reading.model_dump(include={"name", "semantics", "output", "signed"}),
        "sequences": [_sequence(table, exhibit, classes, index) for index in range(count)],
    }


def _sequence(table: TaskTable, exhibit: Exhibit, classes: CssClasses, index: int) -> dict[str, Any]:
    """Return one sample sequence with its inputs, its truth and the attributions of each method."""
    sample = exhibit.samples.sequences[index]
    specs = [method.spec for method in table.methods if method.spec in exhibit.maps]
    return {
        "place": sample.place,
        "length": sample.length,
        "target": sample.target,
        "explained": exhibit.targets[index],
        "steps": list(sample.steps) if not sample.inputs else len(sample.steps),
        "inputs": pack(_standardised(np.array(sample.inputs, dtype=np.float64))) if sample.inputs else None,
        "truth": None if exhibit.truth is None else pack(exhibit.truth[index]),
        "maps": [
            {
                "method": classes.methods[spec],
                "signed": spec in exhibit.signed,
                "score": _score(exhibit.scores[spec][index]),
                **pack(exhibit.maps[spec][index]),
            }
            for spec in specs
        ],
    }


def _standardised(values: Array) -> Array:
    """Return features float[T, D] scaled to −1 to 1 within the sequence, each separately, as their scales differ."""
    low = np.nanmin(values, 0, initial=np.inf, where=~np.isnan(values))
    high = np.nanmax(values, 0, initial=-np.inf, where=~np.isnan(values))
    span = np.where(high > low, high - low, 1.0)
    return np.where(high > low, 2 * (values - low) / span - 1, np.where(np.isnan(values), np.nan, 0.0))


def _score(value: float) -> float | None:
    """Return a score with four digits; None for NaN."""
    return None if math.isnan(value) else float(f"{value:.4g}")
