"""What a large store costs: ``python tests/benchmarks/large_store.py FOLDER [CELLS ...]``.

For each number of cells a run is written into the folder, with made-up cells of the shape of real ones: 40 methods,
3 models of each task, 12 metrics, 60 sequences. The commands that read a run are then timed as a user calls them, each
in a process of its own, with the seconds and the peak memory of that process. ``first`` is the first opening, which
verifies every file; the others find the index (:mod:`xrnnbench.harness.results.index`) that it leaves. Other words
after the folder choose some of the commands. ``index`` in the place of commands simulates the index alone, without
files of cells, which a million cells would have two millions of.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from xrnnbench.harness.execution.resume import plan_of
from xrnnbench.harness.results.cell_checks import array_hash
from xrnnbench.harness.results.cell_files import Stamp
from xrnnbench.harness.results.cells import (
    Axes,
    Cell,
    Competence,
    Fingerprints,
    Key,
    Measured,
    Passes,
    PluginInfo,
    Record,
    scores_hash,
)
from xrnnbench.harness.results.index import NAME, CellIndex, Entry
from xrnnbench.harness.results.provenance import provenance
from xrnnbench.harness.results.seals import json_text, sealed
from xrnnbench.harness.results.store import Store
from xrnnbench.harness.suites.suite import read_suite

METHODS, SEEDS, SEQUENCES, STEPS, POINTS = 40, 3, 60, 20, 21
GROUPS = ("gradient", "propagation", "perturbation", "temporal")
APPLICATIONS = ("known truth", "speech", "text", "sensors")
# name, parameters, family, direction, statistic, range
METRICS = (
    ("normalised-deletion", {"by": "reference"}, "faithfulness", "higher", "mean", (0, 1)),
    ("comprehensiveness", {"by": "reference"}, "faithfulness", "higher", "mean", ()),
    ("comprehensiveness", {"by": "mean"}, "faithfulness", "higher", "mean", ()),
    ("sufficiency", {"by": "reference"}, "faithfulness", "lower", "mean", ()),
    ("sensitivity-n", {}, "faithfulness", "higher", "mean", (-1, 1)),
    ("completeness-gap", {"shown": "median"}, "faithfulness", "lower", "median", ()),
    ("average-precision", {}, "truth", "higher", "mean", (0, 1)),
    ("auroc", {}, "truth", "higher", "mean", (0, 1)),
    ("max-sensitivity", {}, "stability", "lower", "mean", ()),
    ("gini", {}, "complexity", "neither", "mean", (0, 1)),
    ("forward-passes", {}, "cost", "lower", "mean", ()),
    ("wall-time", {}, "cost", "lower", "mean", ()),
)
LINE = (
    "import sys\nfrom xrnnbench.harness.execution.run import Run\nrun = Run.load(sys.argv[1])\n"
    "sys.stdout.write(f'{sum(cell is not None for cell in run.cells.values())} cells usable\\n')\n"
)


def info(kind, name, parameters=None, **facts):
    """Description of a made-up plug-in."""
    parameters = parameters or {}
    spec = ":".join([name, *(f"{key}={value}" for key, value in parameters.items() if value != "reference")])
    return PluginInfo(
        spec=spec, identity={"kind": kind, "name": name, "version": 1, "parameters": parameters}, facts=facts
    )


def axes(tasks):
    """Axes of a grid with this number of tasks."""
    return Axes(
        tuple(info("task", f"task-{place}", application=APPLICATIONS[place % 4]) for place in range(tasks)),
        tuple(
            info(
                "method", "random" if place == 0 else f"method-{place}", group=GROUPS[place % 4] if place else "control"
            )
            for place in range(METHODS)
        ),
        tuple(metric(*each) for each in METRICS),
    )


def metric(name, parameters, family, direction, statistic, ends):
    """Description of a metric."""
    bounds = {key: str(float(end)) for key, end in zip(("low", "high"), ends, strict=bool(ends))}
    return info(
        "metric", name, parameters, family=family, direction=direction, unit="s" if name == "wall-time" else "",
        statistic=statistic, deterministic=str(name != "wall-time"), intervention=parameters.get("by", ""), **bounds,
    )  # fmt: skip


def arrays_of(place, number, metrics, rng):
    """Arrays of a cell of one method: the better, the higher its number."""
    quality = number / METHODS
    scores = np.clip(quality + 0.1 * rng.standard_normal((len(metrics) - 1 + POINTS, SEQUENCES)), 0, 1)
    scores[1, place % SEQUENCES] = np.nan
    scores[-1] = 128.0 * (1 + number)
    return {
        "attribution": rng.standard_normal((SEQUENCES, STEPS), dtype=np.float32),
        "target": np.arange(SEQUENCES) % 2,
        "lengths": np.full(SEQUENCES, STEPS),
        "scores": scores,
        "measured": np.full((1, SEQUENCES), 0.01 * (1 + number)),
    }


def records_of(metrics, arrays):
    """Records of a cell, the reproducible ones and the measured one; the first metric has a curve."""
    records, row = [], 0
    for place, of in enumerate(metrics):
        rows, start, profile = (arrays["measured"], 0, 0) if of.unreproducible else (arrays["scores"], row, 0)
        if place == 0:
            profile = POINTS
        row += 1 + profile
        values = rows[start]
        defined = values[~np.isnan(values)]
        records.append(
            Record(
                metric=of, status="scored", mean=float(defined.mean()), n=len(defined),
                undefined=len(values) - len(defined), row=start, profile=profile,
                scores=scores_hash(rows[start : start + 1 + profile]),
            )
        )  # fmt: skip
    return tuple(records[:-1]), tuple(records[-1:])


def write_cell(store, key, place, number, metrics, rng):
    """Write one cell as :meth:`Store.save` does, but without waiting for the disk; return its state."""
    arrays = arrays_of(place, number, metrics, rng)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    data = buffer.getvalue()
    records, measured = records_of(metrics, arrays)
    cell = Cell(
        task=key.task, method=key.method, model_seed=key.model_seed, explainer_seed=0, status="explained", signed=True,
        competence=Competence(measure="accuracy", score=0.95, gate=0.8, baseline=0.5), model_origin="published",
        fingerprints=Fingerprints(
            model=f"{place:032x}{key.model_seed:032x}", data=f"{place:064x}",
            attribution=array_hash(arrays["attribution"]), lengths=array_hash(arrays["lengths"]),
        ),
        passes=Passes(forward=128 * number, backward=64, executed=128 * number), records=records,
        measured=Measured(
            date="2026-01-02T03:04:05+00:00", seconds=0.01 * number, peak_bytes=4096, device="cpu", records=measured,
            arrays=hashlib.sha256(data).hexdigest(), origin="code 0123456789ab, torch 2.9.0",
        ),
    )  # fmt: skip
    path = store.folder / key.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".npz").write_bytes(data)
    path.with_name(path.name + ".json").write_bytes(sealed(json_text(cell.model_dump(mode="json"))))
    return store.state(key.path)


def write_store(folder, tasks):
    """Write a finished run with this number of tasks and its suite file; return the path of the suite file."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    grid, rng = axes(tasks), np.random.default_rng(0)
    suite_file = folder / "large.toml"
    lists = {kind: [each.spec for each in getattr(grid, kind)] for kind in ("tasks", "methods", "metrics")}
    values = {"name": "large", **lists, "seeds": list(range(SEEDS))}
    suite_file.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()), "utf-8")
    suite = read_suite(str(suite_file))
    store = Store(folder, "large")
    states = {}
    for place, task in enumerate(grid.tasks):
        for number, method in enumerate(grid.methods):
            for seed in range(SEEDS):
                key = Key(task, method, seed, 0)
                states[key.path] = write_cell(store, key, place, number, grid.metrics, rng)
    content = {
        "format": 2, "suite": suite.model_dump(mode="json"), "plan": plan_of(suite), "complete": True,
        "grid": {kind: [each.model_dump(mode="json") for each in getattr(grid, kind)] for kind in lists},
        "cells": states, "boards": {}, "provenance": provenance(["xrnnbench", "run"]), "retrain": False,
        "models": {"published": len(grid.tasks) * SEEDS},
        "times": {"training": 1.0, "explaining": 1.0, "scoring": 1.0, "rest": 1.0, "total": 4.0},
    }  # fmt: skip
    store.write_run(content)
    return suite_file


def timed(words, folder):
    """Seconds of the clock and of the processor, and the peak memory in GB, of a command; its last line."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    printed = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    last = (printed.strip().splitlines() or [""])[-1][:90]
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6, os.waitstatus_to_exitcode(status), last


def commands(suite_file, folder):
    """Commands that read a run, by name, in the order in which they are timed."""
    run, line = str(folder / "runs" / "large"), ["-m", "xrnnbench"]
    baseline = str(folder / "baseline")
    return {
        "first": ["-c", LINE, run],
        "open": ["-c", LINE, run],
        "run": [*line, "run", str(suite_file), "--out", str(folder)],
        "bless": [*line, "bless", run, baseline],
        "compare": [*line, "compare", run, baseline],
        "compare archives": [*line, "compare", baseline, baseline],
        **{ending: [*line, "leaderboard", run, "--format", ending] for ending in ("md", "csv", "json", "tex", "html")},
        "md again": [*line, "leaderboard", run, "--format", "md"],
    }


def index_costs(folder, numbers):
    """Write the processor's time for writing an index of made-up entries, its size, and the times for reading it."""
    for number in numbers:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        paths = [
            f"cells/task-{place // 120}-0123abcd/method-{place // 3 % 40}-0123abcd/seed-{place % 3}-0"
            for place in range(number)
        ]
        content, stamp = f'{{"records":"{"0123456789abcdef" * 140}"}}', Stamp(9000, 10**18, 20_000, 10**18)
        begin = time.process_time()
        made = CellIndex(folder)
        for path in paths:
            made.note(Entry(path, stamp, "0" * 64, content), {}, made.now())
        made.write()
        made.close()
        written = time.process_time()
        known = CellIndex(folder).digests()
        listed = time.process_time()
        again = CellIndex(folder)
        found = sum(again.find(path, stamp) is not None for path in paths)
        read = time.process_time()
        assert len(known) == found == number
        sys.stdout.write(
            f"{number:>9} entries: written {written - begin:.1f} s, {(folder / NAME).stat().st_size / 1e6:.0f} MB, "
            f"times and hashes {listed - written:.1f} s, entries {read - listed:.1f} s\n"
        )
        sys.stdout.flush()
    shutil.rmtree(folder)


def main(folder, cells=(2_000, 20_000, 100_000), chosen=()):
    """Write the table of seconds and peak memory for each number of cells."""
    for number in cells:
        tasks = -(-number // (METHODS * SEEDS))
        place = Path(folder).absolute() / f"cells-{number}"
        suite_file = place / "large.toml"
        if not suite_file.is_file():
            start = time.perf_counter()
            write_store(place, tasks)
            sys.stdout.write(f"written in {time.perf_counter() - start:.0f} s\n")
        sys.stdout.write(f"{tasks * METHODS * SEEDS} cells\n")
        for name, words in commands(suite_file, place).items():
            if chosen and name not in chosen:
                continue
            seconds, processor, memory, status, last = timed(words, place)
            sys.stdout.write(f"{name:>17} {seconds:7.1f} s {processor:7.1f} s {memory:6.2f} GB  {status} {last}\n")
            sys.stdout.flush()
        for board in place.glob("leaderboard.*"):
            board.unlink()


if __name__ == "__main__":
    names = tuple(word for word in sys.argv[2:] if not word.isdecimal())
    if names == ("index",):
        index_costs(Path(sys.argv[1]) / "index", tuple(int(word) for word in sys.argv[2:] if word.isdecimal()))
        sys.exit()
    main(sys.argv[1], tuple(int(word) for word in sys.argv[2:] if word.isdecimal()) or (2_000, 20_000, 100_000), names)
