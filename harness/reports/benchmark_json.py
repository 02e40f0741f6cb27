"""Time and passes of explanations as JSON of pytest-benchmark, whose ``compare`` then shows several runs in a table.

A record is one method on one task, and a round is one cell. The time of a round is that of one explanation: the seconds
of the cell divided by the number of its sequences. The passes, which are exact, are in ``extra_info``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ...visible_text import visible_json
from ..results.scored_cells import cells_of_method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Cell, PluginInfo
    from ..results.scored_cells import Results, ScoredCell

# The version of pytest-benchmark whose file format this is; its reader checks nothing else.
_VERSION = "5.0.0"


def cost_records(run: Results) -> str:
    """Return JSON for ``pytest-benchmark compare``: seconds for one explanation, a round for each model and seed.

    Methods without an explanation that a metric has scored have no record.
    """
    provenance = run.content["provenance"]
    content = {
        "machine_info": {
            "python_version": provenance["python"],
            "system": provenance["system"],
            "cpu": {"brand_raw": provenance["device"]},
            "threads": provenance["threads"],
            "libraries": dict(provenance["libraries"]),
        },
        "commit_info": {"id": provenance["commit"], "time": provenance["date"], "dirty": False, "project": "xrnnbench"},
        "benchmarks": [
            record for task in run.axes.tasks for method in run.axes.methods if (record := _record(run, task, method))
        ],
        "datetime": provenance["date"],
        "version": _VERSION,
    }
    return visible_json(json.dumps(content, indent=1, ensure_ascii=False)) + "\n"


def _record(run: Results, task: PluginInfo, method: PluginInfo) -> dict[str, Any] | None:
    """Return the record of one method on one task; None if no metric has scored any of its explanations."""
    cells = {key: scored for key, scored in run.scored_cells.items() if key.task.spec == task.spec}
    explained = [
        (scored.cell, size)
        for _, scored in cells_of_method(cells, method)
        if scored.cell is not None and scored.cell.explained and (size := _size(scored))
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


def _size(scored: ScoredCell) -> int:
    """Return the number of sequences of a cell; 0 if no metric has scored it."""
    return max(int(rows.shape[1]) for rows in (scored.scores, scored.measured))


def _passes(cells: Sequence[tuple[Cell, int]]) -> dict[str, Any]:
    """Return the passes for one explanation, means over all cells, in passes of one sequence."""
    total = sum(size for _, size in cells)
    names = ("forward", "backward", "executed")
    means = {f"{name}_passes": sum(getattr(cell.passes, name) for cell, _ in cells) / total for name in names}
    peaks = [cell.measured.peak_bytes for cell, _ in cells if cell.measured.peak_bytes is not None]
    return {**means, "explanations": total, "peak_bytes": max(peaks, default=None)}


def _stats(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, Any]:
    """Return the statistics that pytest-benchmark computes; see its documentation, "Glossary"."""
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
