"""Table of the scores of every sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...errors import UsageError
from ...plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from .cells import PluginInfo
    from .scored_cells import Results


def score_table(results: Results, task: str = "", method: str = "", metric: str = "") -> pd.DataFrame:
    """Scores of every sequence of a run or an archive.

    Args:
        results: the run or the archive.
        task: spec or name of the task whose scores are wanted; all if empty.
        method: the same of the method.
        metric: the same of the metric.

    Returns:
        columns task, method, model_seed, explainer_seed, metric, sequence (number, from 0), id (empty if the sequences
        have none), score (float64, NaN where the metric is not defined) and fit (whether the model passes its gate); a
        row for each sequence, metric and cell.

    Raises:
        UsageError: the results have no such task, method or metric.
    """
    import pandas as pd  # noqa: PLC0415  # takes half a second, too long for a run with nothing to do

    axes = results.axes
    _check(task, axes.tasks, "task")
    _check(method, axes.methods, "method")
    metrics = [info for info in axes.metrics if _matches(metric, info)]
    _check(metric, axes.metrics, "metric")
    parts = []
    for key, scored in results.scored_cells.items():
        cell = scored.cell
        if cell is None or not (_matches(task, key.task) and _matches(method, key.method)):
            continue
        for info in metrics:
            record = cell.record(info)
            if record is None or record.status != "scored":
                continue
            scores = scored.row(record)
            parts.append(
                pd.DataFrame(
                    {
                        "task": key.task.spec,
                        "method": key.method.spec,
                        "model_seed": key.model_seed,
                        "explainer_seed": key.explainer_seed,
                        "metric": info.spec,
                        "sequence": np.arange(len(scores)),
                        "id": list(cell.ids) or "",
                        "score": scores,
                        "fit": cell.fit,
                    }
                )
            )
    columns = ["task", "method", "model_seed", "explainer_seed", "metric", "sequence", "id", "score", "fit"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _matches(name: str, info: PluginInfo) -> bool:
    return not name or name in {info.spec, info.identity["name"]}


def _check(name: str, infos: Sequence[PluginInfo], kind: str) -> None:
    """Refuse a name that is that of no plug-in of the results."""
    if not any(_matches(name, info) for info in infos):
        known = [info.spec for info in infos]
        raise UsageError(f"The results have no {kind} {name!r}{nearest(name, known)}; there are {', '.join(known)}.")
