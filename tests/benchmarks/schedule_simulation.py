"""How far a run scales: ``python tests/benchmarks/schedule_simulation.py docs/figures/schedule.svg [RUN]``.

A simulation of discrete events: each piece of work (load or train a model, explain a cell, score it) goes to a free
worker, the longest first; the driver handles one result after the other. The pieces are those of `core`, with the
seconds of the packaged calibration, repeated with more seeds to as many cells as wanted. Given a RUN, what the driver
does with a result is measured first: a cell is taken from bytes and written to another folder. Printed are Markdown
tables; the figure shows the speed-up. Five minutes on one core.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import sys
import tempfile
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np

from xrnnbench.harness.execution.forecast.costs import Costs
from xrnnbench.harness.execution.forecast.plan import EXPLAINING, HANDLING, SCORING, START
from xrnnbench.harness.execution.forecast.schedule import Schedule, Work, simulate, urgencies
from xrnnbench.harness.execution.grid import Grid
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.cell_checks import ARRAYS
from xrnnbench.harness.results.store import Store
from xrnnbench.harness.suites.suite import read_suite

SIZES = (2_280, 10_000, 100_000, 1_000_000)
WORKERS = (1, 4, 16, 64, 256, 1_000)
HANDLINGS = (0.0, 0.001, HANDLING, 0.03)
# Seconds between the starts of two workers: a scheduler answers them one by one.
STAGGER = 0.01


def core() -> tuple[list[tuple[float, float, list[tuple[float, float]]]], Grid]:
    """Seconds of each model of `core`, published and trained, with those of its cells: explaining and scoring."""
    suite = read_suite("core")
    grid = Grid.of(suite.tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds)
    costs = Costs.of(grid.tasks)
    metrics = [info for info, _ in grid.metrics]
    models = []
    for info, task in grid.tasks:
        for seed in grid.seeds_of(task):
            cells = [
                (costs.explaining(key) + EXPLAINING, costs.scoring(key, metrics) + SCORING)
                for key, _ in grid.keys(info, seed)
            ]
            models.append((costs.building(info), costs.figures_of(info).training, cells))
    return models, grid


def work_of(models: list[tuple[float, float, list[tuple[float, float]]]], cells: int, *, trained: bool) -> Work:
    """Pieces of a grid of so many cells, whole models of `core` one after the other."""
    seconds: list[float] = []
    waits: list[int] = []
    frees: list[list[int]] = []
    count = number = 0
    while count < cells:
        building, training, pairs = models[number % len(models)]
        number += 1
        model = len(seconds)
        seconds.append(building + (training if trained else 0.0))
        waits.append(0)
        frees.append([])
        for explaining, scoring in pairs[: cells - count]:
            frees[model].append(len(seconds))
            seconds += [explaining, scoring]
            waits += [1, 1]
            frees += [[len(seconds) - 1], []]
            count += 1
    return Work(seconds, waits, frees)


def measured_handling(run: Run) -> tuple[float, float]:
    """Seconds to take a cell from bytes and to write it, medians over the cells of a run."""
    taking, writing = [], []
    with tempfile.TemporaryDirectory() as folder, Store(folder, "copy") as store:
        for key, cell in run.cells.items():
            if cell is None or not cell.explained:
                continue
            sent = pickle.dumps((cell, run.store.arrays(key, cell, *ARRAYS)))
            start = time.process_time()
            received, arrays = pickle.loads(sent)  # noqa: S301  # its own bytes
            taking.append(time.process_time() - start)
            start = time.process_time()
            store.save(key, received, arrays)
            writing.append(time.process_time() - start)
    return statistics.median(taking), statistics.median(writing)


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Markdown table, numbers on the right."""
    line = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, line, *rows])


def duration(seconds: float) -> str:
    """Duration for readers."""
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def of(work: Work, workers: int, handling: float = HANDLING) -> Schedule:
    """Schedule on so many workers; a single one is the run's own process, which never waits."""
    if workers == 1:
        alone = sum(work.seconds)
        return Schedule(alone, alone, 0.0, 0.0, 1, 0.0)
    return simulate(work, workers, handling=handling, startup=START, stagger=STAGGER)


def scaling(works: dict[int, Work]) -> tuple[str, dict[int, list[float]]]:
    """Table of durations by cells and workers, with the speed-up and the limit."""
    rows, speedups = [], {}
    for cells, work in works.items():
        alone = sum(work.seconds)
        schedules = [of(work, workers) for workers in WORKERS]
        speedups[cells] = [alone / schedule.seconds for schedule in schedules]
        shown = [
            f"{duration(each.seconds)} (×{speedup:.3g}, {each.limit})"
            for each, speedup in zip(schedules, speedups[cells], strict=True)
        ]
        rows.append([f"{cells:,}", *shown])
    return table(["cells", *(f"{workers:,}" for workers in WORKERS)], rows), speedups


def orders(work: Work) -> str:
    """Table of the speed-up by the order in which pieces are begun."""
    kinds = {
        "in the order of the grid": [-float(number) for number in range(len(work.seconds))],
        "longest piece first": list(work.seconds),
        "longest chain first": urgencies(work),
        "shortest piece first": [-seconds for seconds in work.seconds],
    }
    alone = sum(work.seconds)
    rows = []
    for name, urgency in kinds.items():
        times = [
            simulate(work, workers, handling=HANDLING, startup=START, stagger=STAGGER, urgency=urgency).seconds
            for workers in WORKERS[1:]
        ]
        rows.append([name, *(f"×{alone / seconds:.3g}" for seconds in times)])
    return table(["order", *(f"{workers:,}" for workers in WORKERS[1:])], rows)


def handlings(work: Work) -> str:
    """Table of the speed-up by what the driver does with a result."""
    alone = sum(work.seconds)
    rows = [
        [
            f"{handling * 1e3:.0f} ms",
            *(f"×{alone / of(work, workers, handling).seconds:.3g}" for workers in WORKERS[1:]),
        ]
        for handling in HANDLINGS
    ]
    return table(["driver, per result", *(f"{workers:,}" for workers in WORKERS[1:])], rows)


def draw(speedups: dict[int, list[float]], path: Path) -> None:
    """Figure of the speed-up by workers, one line for each number of cells."""
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "schedule"
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice of the backend

    figure, axis = plt.subplots(figsize=(5, 3.4))
    axis.plot(WORKERS, WORKERS, color="0.7", linestyle="--", label="ideal")
    for cells, values in speedups.items():
        axis.plot(WORKERS, values, marker="o", markersize=3, label=f"{cells:,} cells")
    axis.set(xscale="log", yscale="log", xlabel="workers", ylabel="speed-up")
    axis.legend(frameon=False, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print the tables and write the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("figure", type=Path)
    parser.add_argument("run", nargs="?")
    arguments = parser.parse_args()
    lines = []
    if arguments.run:
        taking, writing = measured_handling(Run.load(arguments.run))
        lines.append(f"The driver takes a cell in {taking * 1e3:.1f} ms and writes it in {writing * 1e3:.1f} ms.")
    models, _ = core()
    pieces = np.array([seconds for _, _, cells in models for pair in cells for seconds in pair])
    lines.append(
        f"Pieces of core: {len(pieces)}, median {np.median(pieces):.2f} s, 99 % {np.quantile(pieces, 0.99):.0f} s, "
        f"longest {pieces.max():.0f} s, together {duration(pieces.sum())}."
    )
    text, speedups = scaling({cells: work_of(models, cells, trained=False) for cells in SIZES})
    lines.append(text)
    lines.append(orders(work_of(models, SIZES[0], trained=False)))
    lines.append("With models to train:\n\n" + orders(work_of(models, SIZES[0], trained=True)))
    lines.append(handlings(work_of(models, 100_000, trained=False)))
    sys.stdout.write("\n\n".join(lines) + "\n")
    draw(speedups, arguments.figure)


if __name__ == "__main__":
    main()
