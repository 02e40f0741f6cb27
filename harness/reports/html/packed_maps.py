"""Single explanations, packed for the script: what each method said of the samples of each task.

Values are kept in 255 steps between the largest size of a map and its opposite, eight bits each: more than a colour
shows. The largest size itself is kept beside them.
"""

from __future__ import annotations

import base64
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from ...leaderboard.exhibits import Exhibit, Gallery
    from ...leaderboard.leaderboard import Leaderboard, Table
    from .css_classes import Names

    Array = np.ndarray[Any, Any]

_STEPS: Final = 127
# What all maps of a page may take up together, in bytes; of more, fewer sequences of each task are shown.
BUDGET: Final = 2_000_000


def exhibits(board: Leaderboard, gallery: Gallery, names: Names) -> list[dict[str, Any]]:
    """The tasks with anything to show, ready for JSON."""
    shown = [
        (table, gallery.exhibits[table.task.spec]) for table in board.tables if table.task.spec in gallery.exhibits
    ]
    most = max((len(exhibit.samples.sequences) for _, exhibit in shown), default=0)
    count = next((count for count in range(most, 1, -1) if _size(shown, count) <= BUDGET), 1)
    return [_task(table, exhibit, names, count) for table, exhibit in shown]


def packed(values: Array) -> dict[str, Any]:
    """Values float[T, D] as base64 of int8, row by row, with the largest size."""
    size = float(np.abs(values).max(initial=0.0))
    steps = np.rint(values / size * _STEPS) if size > 0 else np.zeros(values.shape)
    return {
        "size": float(f"{size:.4g}"),
        "width": values.shape[1],
        "values": base64.b64encode(steps.astype(np.int8).tobytes()).decode("ascii"),
    }


def _size(shown: list[tuple[Table, Exhibit]], count: int) -> int:
    maps = (found for _, exhibit in shown for each in exhibit.maps.values() for found in each[:count])
    return sum(found.size * 4 // 3 for found in maps)


def _task(table: Table, exhibit: Exhibit, names: Names, count: int) -> dict[str, Any]:
    reading = exhibit.samples.reading
    return {
        "task": names.tasks[table.task.spec],
        "seed": exhibit.seed,
        "features": list(exhibit.samples.features),
        "reading": None if reading is None else reading.model_dump(include={"name", "semantics", "output", "signed"}),
        "sequences": [_sequence(table, exhibit, names, place) for place in range(count)],
    }


def _sequence(table: Table, exhibit: Exhibit, names: Names, place: int) -> dict[str, Any]:
    sample = exhibit.samples.sequences[place]
    said = [method.spec for method in table.methods if method.spec in exhibit.maps]
    return {
        "place": sample.place,
        "length": sample.length,
        "target": sample.target,
        "explained": exhibit.targets[place],
        "steps": list(sample.steps) if not sample.inputs else len(sample.steps),
        "inputs": packed(_standard(np.array(sample.inputs))) if sample.inputs else None,
        "truth": None if exhibit.truth is None else packed(exhibit.truth[place]),
        "maps": [
            {
                "method": names.methods[spec],
                "signed": spec in exhibit.signed,
                "score": _known(exhibit.scores[spec][place]),
                **packed(exhibit.maps[spec][place]),
            }
            for spec in said
        ],
    }


def _standard(values: Array) -> Array:
    """Each feature float[T, D] between −1 and 1 within the sequence: features have scales of their own."""
    low, high = values.min(0), values.max(0)
    span = np.where(high > low, high - low, 1.0)
    return np.where(high > low, 2 * (values - low) / span - 1, 0.0)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.4g}")
