"""Results made by hand, as a run or an archive would give them."""

from dataclasses import dataclass, field

import numpy as np

from xrnnbench.harness.results.cells import (
    Axes,
    Cell,
    Competence,
    Failure,
    Fingerprints,
    Key,
    Measured,
    Passes,
    PluginInfo,
    Record,
)
from xrnnbench.harness.results.scored_cells import ScoredCell

ORIGIN = {"xrnnbench": "1.2", "commit": "abc", "code": "def", "python": "3.11.7", "libraries": {"torch": "2"}}
ORIGIN |= {
    "device": "cpu",
    "threads": 2,
    "system": "X",
    "command": "xrnnbench run",
    "date": "2026-01-02T03:04:05+00:00",
}
SUITE = {
    "name": "mine",
    "tasks": ["first"],
    "methods": ["good"],
    "metrics": ["up"],
    "seeds": [0],
    "explainer_seeds": [0],
}
NONE = np.empty((0, 0))


def source(name, version=1, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": version}, facts=facts)


UP = source("up", family="faithfulness", direction="higher", deterministic="True")
DOWN = source("down", family="faithfulness", direction="lower", deterministic="True")
BOUNDED = source("bounded", family="truth", direction="higher", deterministic="True", low="0.0", high="1.0")
GAP = source("gap", family="faithfulness", direction="lower", deterministic="True", statistic="median")
PASSES = source("passes", family="cost", direction="lower", unit="sequences", deterministic="True")
TIME = source("time", family="cost", direction="lower", unit="s", deterministic="False")
EITHER = source("either", family="complexity", direction="", deterministic="True")
METRICS = (UP, DOWN, BOUNDED, GAP, PASSES, TIME, EITHER)
TASK, METHOD = source("first", application="speech"), source("good", group="gradient", stochastic="False", local="True")
GLOBAL = source("global", group="perturbation", stochastic="True", local="False")


@dataclass
class Results:
    axes: Axes
    scored_cells: dict
    name: str = "mine"
    complete: bool = True
    content: dict = field(default_factory=lambda: {"suite": SUITE, "provenance": ORIGIN})


def cell(key, rows, **more):
    """Build a cell with these rows; a failure or a reason in the place of a row is told as such."""
    kept = {False: ([], []), True: ([], [])}
    for spec, row in rows.items():
        metric = next(each for each in (*METRICS, *more.get("metrics", ())) if each.spec == spec)
        records, scores = kept[metric.unreproducible]
        if isinstance(row, Failure):
            records.append(Record(metric=metric, status="failed", failure=row))
        elif isinstance(row, str):
            records.append(Record(metric=metric, status="not applicable", reason=row))
        else:
            values = np.asarray(row, dtype=float)
            there = values[~np.isnan(values)]
            mean = float(there.mean()) if len(there) else None
            n, undefined = len(there), len(values) - len(there)
            records.append(Record(metric=metric, status="scored", mean=mean, n=n, undefined=undefined, row=len(scores)))
            scores.append(values)
    made = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=key.explainer_seed,
        status=more.get("status", "explained"),
        reason=more.get("reason", ""),
        failure=more.get("failure"),
        competence=Competence(measure="accuracy", score=more.get("score", 0.9), gate=0.8, baseline=0.5),
        fingerprints=Fingerprints(
            model=more.get("model", f"model-{key.model_seed}"), data=more.get("data", "data"), attribution="a"
        ),
        quality=more.get("quality"),
        ids=more.get("ids", ()),
        passes=Passes(forward=more.get("forward", 12), backward=3, executed=10),
        records=tuple(kept[False][0]),
        measured=Measured(
            date="today", seconds=more.get("seconds", 0.5), peak_bytes=7, records=tuple(kept[True][0]), origin="here"
        ),
    )
    stacked = {apart: np.stack(scores) if scores else NONE for apart, (_, scores) in kept.items()}
    return ScoredCell(made, stacked[False], stacked[True])


def results(rows, *, seeds=(0,), draws=(0,), tasks=(TASK,), methods=(METHOD,), metrics=None, **more):
    """Build results of a grid; ``rows`` are those of every cell, or a function of its key that gives them or a cell."""
    keys = [Key(task, method, seed, draw) for task in tasks for method in methods for seed in seeds for draw in draws]
    scored_cells = {}
    for key in keys:
        found = rows(key) if callable(rows) else rows
        scored_cells[key] = found if isinstance(found, ScoredCell) else cell(key, found, **more)
    if metrics is None:
        metrics = METRICS if callable(rows) else tuple(each for each in METRICS if each.spec in rows)
    return Results(Axes(tuple(tasks), tuple(methods), tuple(metrics)), scored_cells)


def absent(_=None):
    return ScoredCell(None, NONE, NONE)
