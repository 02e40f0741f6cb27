"""What explaining costs as records of pytest-benchmark, whose ``compare`` then lays runs beside each other.

A record is one method on one task; a round is one cell, its time that of one explanation: the seconds of the cell by
the number of its sequences. The passes, which are exact, are in ``extra_info``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results.scored_cells import of_method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Cell, Source
    from ..results.scored_cells import Judged, Results

# Of pytest-benchmark's files; its reader looks at nothing else of the version.
_VERSION = "5.0.0"


def cost_records(run: Results) -> str:
    """JSON as ``pytest-benchmark compare`` reads it: seconds for one explanation, a round for each model and seed.

    Methods without an explanation that any metric has scored have no record.
    """
    found = run.content["provenance"]
    content = {
        "machine_info": {
            "python_version": found["python"],
            "system": found["system"],
            "cpu": {"brand_raw": found["device"]},
            "threads": found["threads"],
            "libraries": dict(found["libraries"]),
        },
        "commit_info": {"id": found["commit"], "time": found["date"], "dirty": False, "project": "xrnnbench"},
        "benchmarks": [
            record for task in run.axes.tasks for method in run.axes.methods if (record := _record(run, task, method))
        ],
        "datetime": found["date"],
        "version": _VERSION,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _record(run: Results, task: Source, method: Source) -> dict[str, Any] | None:
    cells = {key: judged for key, judged in run.judged.items() if key.task.spec == task.spec}
    explained = [
        (judged.cell, size)
        for _, judged in of_method(cells, method)
        if judged.cell is not None and judged.cell.explained and (size := _size(judged))
    ]
    if not explained:
        return None
    name = f"{task.spec}[{method.spec}]"
    return {
        "group": task.spec,
        "name": name,
        "fullname": f"{run.name}::{name}",
        "params": {"task": task.spec, "method": method.spec},
        "param": method.spec,
        "extra_info": _passes(explained),
        "options": {"disable_gc": False, "timer": "perf_counter", "warmup": False},
        "stats": _stats(np.array([cell.measured.seconds / size for cell, size in explained])),
    }


def _size(judged: Judged) -> int:
    """How many sequences a cell has; 0 if no metric has scored it."""
    return max(int(rows.shape[1]) for rows in (judged.scores, judged.measured))


def _passes(cells: Sequence[tuple[Cell, int]]) -> dict[str, Any]:
    """Passes for one explanation, means over all cells, in sequence-equivalents."""
    total = sum(size for _, size in cells)
    names = ("forward", "backward", "executed")
    means = {f"{name}_passes": sum(getattr(cell.passes, name) for cell, _ in cells) / total for name in names}
    return {**means, "explanations": total, "peak_bytes": max(cell.measured.peak_bytes for cell, _ in cells)}


def _stats(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """As pytest-benchmark computes them; see its documentation, "Glossary"."""
    mean, deviation = float(seconds.mean()), float(seconds.std(ddof=1)) if len(seconds) > 1 else 0.0
    low, middle, high = map(float, np.quantile(seconds, [0.25, 0.5, 0.75]))
    reach = 1.5 * (high - low)
    inside = seconds[(seconds >= low - reach) & (seconds <= high + reach)]
    far = int((np.abs(seconds - mean) > deviation).sum())
    outside = len(seconds) - len(inside)
    return {
        "min": float(seconds.min()),
        "max": float(seconds.max()),
        "mean": mean,
        "stddev": deviation,
        "rounds": len(seconds),
        "median": middle,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": outside,
        "stddev_outliers": far,
        "outliers": f"{far};{outside}",
        "ld15iqr": float(inside.min()),
        "hd15iqr": float(inside.max()),
        "ops": 1 / mean if mean else 0.0,
        "total": float(seconds.sum()),
        "data": seconds.tolist(),
        "iterations": 1,
    }
