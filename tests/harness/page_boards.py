"""Boards for the tests of the page: read off cells that are made here, with maps, curves and samples."""

from dataclasses import replace

import numpy as np

from xrnnbench.harness.leaderboard.exhibits import make_gallery
from xrnnbench.harness.leaderboard.leaderboard import make_leaderboard
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
from xrnnbench.harness.results.samples import Reading, Sample, Samples
from xrnnbench.harness.results.scored_cells import ScoredCell, StoredAttribution

HOSTILE = (
    "</script><img src=x onerror=alert(1)>", "<!-- <script>", "\"quoted\" 'and' `ticks`", "a&amp;b&lt;", "مرحبا:بك=نعم",
    "\u202eright to left", "👩‍💻 emoji", "{{ braces }} {% raw %}", "</style><style>*{display:none}", "x" * 150,
    "line\nbreak\ttab", "javascript:alert(1)", "normalised-deletion", "a:b=c,d=e", "]]>", "\\u003c",
)  # fmt: skip
POINTS = 21
NONE = np.empty((0, 0))


def source(name, **facts):
    return PluginInfo(spec=name, identity={"name": name, "version": 1}, facts=facts)


def axes(methods, tasks, metrics):
    """Return axes of these names; the first method is random, and every fourth one a control."""
    families = ("faithfulness", "truth", "stability", "cost")
    groups = ("gradient", "propagation", "perturbation")
    applications = ("known truth", "speech")
    return Axes(
        tuple(source(name, application=applications[place % 2]) for place, name in enumerate(tasks)),
        tuple(
            source(name, group="control" if place % 4 == 0 else groups[place % 3]) for place, name in enumerate(methods)
        ),
        tuple(
            source(
                name,
                family=families[place % 4],
                direction=("higher", "lower", "neither")[place % 3],
                deterministic="True",
                intervention="reference" if place % 4 == 0 else "",
            )
            for place, name in enumerate(metrics)
        ),
    )


def samples_of(place, words):
    """Return samples of a task: text for every other one, else series of three features."""
    text = place % 2 == 0
    rng = np.random.default_rng(place)
    found = []
    for number in range(3):
        length = 5 + 2 * number
        width = 1 if text else 3
        steps = tuple(words[step % len(words)] for step in range(length)) if text else tuple(map(str, range(length)))
        inputs = () if text else tuple(map(tuple, rng.normal(size=(length, width)).round(4).tolist()))
        truth = tuple(map(tuple, rng.normal(size=(length, width)).round(4).tolist()))
        found.append(
            Sample(place=number, length=length, steps=steps, inputs=inputs, target=f"class {words[0]}", truth=truth)
        )
    reading = Reading(name="main", semantics="planted", output=f"of {words[0]}", signed=True, toward=1)
    features = () if text else (words[0], "x1", "x2")
    return Samples(
        data=f"data {place}", features=features, outputs=(words[0], "yes"), reading=reading, sequences=tuple(found)
    )


def made_cell(key, place, metrics, rng, *, size, quality):
    """Return a cell of random scores; what is scored by the first metric has its curves."""
    records, rows = [], []
    for number, metric in enumerate(metrics):
        scores = quality + rng.normal(size=size) * 0.1
        curves = np.clip(
            np.linspace(1, 0.1, POINTS)[:, None] ** (1 + quality) + rng.normal(size=(POINTS, size)) * 0.02, 0, 1
        )
        kept = np.vstack([scores, *(curves if number == 0 else ())])
        records.append(
            Record(metric=metric, status="scored", mean=scores.mean(), n=size, row=len(rows), profile=len(kept) - 1)
        )
        rows.extend(kept)
    width = 1 if place % 2 == 0 else 3
    values = rng.normal(size=(size, 9, width) if width > 1 else (size, 9)).astype(np.float32)
    target = np.arange(size) % 2
    cell = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=0,
        status="explained",
        competence=Competence(measure="accuracy", score=0.9, gate=0.8, baseline=0.5),
        fingerprints=Fingerprints(data=f"data {place}"),
        passes=Passes(forward=int(10 ** (5 * quality)) * size, backward=size),
        records=tuple(records),
        measured=Measured(date="", origin="here"),
    )
    return ScoredCell(
        cell, np.array(rows), NONE, lambda: StoredAttribution(values, np.full(size, 9), signed=True, target=target)
    )


def made_cells(grid, *, seeds=2, size=6):
    """Return every cell of a grid."""
    rng = np.random.default_rng(0)
    found = {}
    for place, task in enumerate(grid.tasks):
        for number, method in enumerate(grid.methods):
            for seed in range(seeds):
                key = Key(task, method, seed, 0)
                quality = number / len(grid.methods)
                found[key] = made_cell(key, place, grid.metrics, rng, size=size, quality=quality)
    return found


def failed(key):
    """Return a cell that failed."""
    cell = Cell(
        task=key.task,
        method=key.method,
        model_seed=key.model_seed,
        explainer_seed=0,
        status="failed",
        failure=Failure(kind="KeyError", sentence="<b>no</b>"),
        measured=Measured(date=""),
    )
    return ScoredCell(cell, NONE, NONE)


PROVENANCE = {"xrnnbench": "1.2", "commit": "abc", "code": "def", "python": "3", "libraries": {"torch": "2"}} | {
    "device": "cpu", "threads": 2, "system": "X", "command": "xrnnbench run -m '</code><b>'", "date": "today",
}  # fmt: skip


def shown(grid, cells, words=("one", "two")):
    """Return board and gallery of cells."""
    board = make_leaderboard("mine", grid, cells, PROVENANCE)
    return board, shown_beside(grid, board, cells, words)


def shown_beside(grid, board, cells, words=("one", "two")):
    """Return the gallery of a board's cells."""
    kept = {task.spec: samples_of(place, words) for place, task in enumerate(grid.tasks)}
    return make_gallery(grid, board.headline, cells, lambda task: kept[task.spec])


def small(**more):
    """Return board and gallery of ordinary names; one cell has failed."""
    methods = ("random", "deeplift", "slope", "occlusion", "captum-deeplift", "lime:samples=9")
    metrics = ("normalised-deletion", "completeness-gap", "truth-correlation", "passes", "sufficiency")
    grid = axes(methods, ("adding", "valence", "vowels"), metrics)
    cells = made_cells(grid, **more)
    key = next(key for key in cells if key.task.spec == "vowels" and key.method.spec == "slope")
    return shown(grid, cells | {key: failed(key)})


def hostile():
    """Return board and gallery whose names nobody should give."""
    grid = axes(("random", *HOSTILE), HOSTILE[:4], HOSTILE)
    return shown(grid, made_cells(grid), HOSTILE)


def large(methods=30, tasks=20, metrics=20):
    """Return a board as large as pages are meant for: one task computed, and again under other names."""
    grid = axes(
        ("random", *(f"method-{place}:samples={10 * place}" for place in range(methods - 1))),
        ("task-0", "task-1"),
        ("normalised-deletion", *(f"comprehensiveness-{place}:by=marginal:draws=2" for place in range(metrics - 1))),
    )
    board, gallery = shown(grid, made_cells(grid, seeds=2, size=4))
    names = [f"task-{place}" for place in range(tasks)]
    tables = tuple(
        replace(board.tables[place % 2], task=source(name, application="speech")) for place, name in enumerate(names)
    )
    curves, exhibits = (
        {name: found[f"task-{place % 2}"] for place, name in enumerate(names)}
        for found in (gallery.curves, gallery.exhibits)
    )
    return replace(board, tables=tables), replace(gallery, curves=curves, exhibits=exhibits)
