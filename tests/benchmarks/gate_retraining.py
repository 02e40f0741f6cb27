"""How often the gate is wrong on models trained again: ``python tests/benchmarks/gate_retraining.py FOLDER``.

Twenty models of each of three tasks, trained from other seeds to equal quality, are explained by six methods. A gate
compares two models of each task, drawn at random, whose explainers are the same: whatever it says is a false alarm.

Then one method on one task has noise mixed into its attributions on the new model; beside it are three methods that did
not change. The same with three models on each side. The same false alarms on two more tasks, whose models had no part
in choosing the prior and the weights of the gate. Last, pairs of published models of ``core`` from its archive, which
had: 40 methods on 16 or 32 sequences each.

The runs go into the folder and are taken up where they were left. Ten minutes on one core. Printed are Markdown tables.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from gate_simulation import INNER, Kept, Mixed, metrics, table

from xrnnbench import Benchmark, read_results
from xrnnbench.harness.gate.gate import compare
from xrnnbench.harness.results.cells import Axes, Key, PluginInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xrnnbench.harness.execution.run import Run
    from xrnnbench.harness.gate.comparison import Comparison
    from xrnnbench.harness.results.scored_cells import Results, ScoredCell

    Cells = dict[Key, ScoredCell]

GATES = 200
MODELS = 20
LEVELS = (0.2, 0.4)
TASKS = ("adding:instances=60", "valence:instances=60", "vowels:instances=60")
HELD_OUT = ("el-nino:instances=60", "order:instances=60")
HELD_OUT_SEEDS = range(3, 15)  # the published models, which have the seeds 0 to 2, are among the last pairs
METHODS = ("deeplift", *INNER, "lime:samples=200", "random")
CHANGED = PluginInfo(spec="changed", identity={"name": "changed"}, facts={"stochastic": "False", "local": "True"})


def trainings(folder: str) -> Run:
    """Every method, with and without noise, on many models of each task."""
    mixed = [Mixed(inner, level) for inner in INNER for level in LEVELS]
    return Benchmark(TASKS, [*METHODS, *mixed], judging(), range(MODELS), name="retr").run(f"{folder}/trainings")


def held_out(folder: str) -> Run:
    """Every method on models of the tasks that chose nothing."""
    return Benchmark(HELD_OUT, METHODS, judging(), HELD_OUT_SEEDS, name="held-out").run(f"{folder}/held-out")


def judging() -> list[str]:
    """Metrics of the comparisons."""
    return [metric for metric in metrics() if not metric.startswith("comprehensiveness:by")]


def side(run: Run, models: Sequence[int], methods: Sequence[PluginInfo], task: PluginInfo | None = None) -> Cells:
    """Cells of some models, which get the seeds 0, 1 and so on."""
    seeds = {seed: place for place, seed in enumerate(models)}
    return {
        Key(key.task, key.method, seeds[key.model_seed], 0): scored
        for key, scored in run.scored_cells.items()
        if key.model_seed in seeds and key.method in methods and task in (None, key.task)
    }


def gate(run: Results, new: Cells, old: Cells, methods: Sequence[PluginInfo]) -> Comparison:
    """Comparison of two sets of cells."""
    axes = Axes(run.axes.tasks, tuple(methods), run.axes.metrics)
    return compare(Kept(run.name, axes, new, {}), Kept(run.name, axes, old, {}))


def equal(run: Run, each: int, models: Sequence[int] = range(MODELS), seed: int = 0) -> Iterator[Comparison]:
    """Gates of models of equal quality, ``each`` on both sides, whose explainers are the same."""
    rng = np.random.default_rng(seed)
    methods = [info for info in run.axes.methods if info.identity["name"] != "mixed"]
    for _ in range(GATES):
        new, old = {}, {}
        for task in run.axes.tasks:
            drawn = rng.choice(models, 2 * each, replace=False)
            new |= side(run, drawn[:each], methods, task)
            old |= side(run, drawn[each:], methods, task)
        yield gate(run, new, old, methods)


def worsened(run: Run, each: int, level: float, seed: int = 0) -> Iterator[tuple[PluginInfo, Comparison]]:
    """Gates on other models of one task, with noise in one method, and the task."""
    rng = np.random.default_rng(seed)
    infos = {info.spec: info for info in run.axes.methods}
    for place in range(GATES):
        task = run.axes.tasks[place % len(TASKS)]
        inner = INNER[place // len(TASKS) % len(INNER)]
        noisy = infos[Mixed(inner, level).spec]
        others = [infos[spec] for spec in METHODS if spec not in {inner, "random"}][:3]
        drawn = rng.choice(MODELS, 2 * each, replace=False)
        new, old = side(run, drawn[:each], others, task), side(run, drawn[each:], others, task)
        for cells, models, method in ((new, drawn[:each], noisy), (old, drawn[each:], infos[inner])):
            for key, scored in side(run, models, [method], task).items():
                cells[Key(task, CHANGED, key.model_seed, 0)] = scored
        yield task, gate(run, new, old, [CHANGED, *others])


def published(archive: Path) -> Iterator[Comparison]:
    """Gates of every two published models of each task of an archive."""
    core = read_results(archive)
    told = {"needs_siblings": "True"}  # a fact that archives of before do not have
    agree = {info.spec: info for info in core.axes.metrics if info.identity["name"] == "model-seed-agreement"}
    metrics = tuple(
        info.model_copy(update={"facts": {**info.facts, **told}}) if info.spec in agree else info
        for info in core.axes.metrics
    )
    for task in core.axes.tasks:
        cells = {key: scored for key, scored in core.scored_cells.items() if key.task == task}
        seeds = sorted({key.model_seed for key in cells})
        for new, old in itertools.permutations(seeds, 2):
            sides = [
                {
                    Key(task, key.method, 0, key.explainer_seed): cell
                    for key, cell in cells.items()
                    if key.model_seed == s
                }
                for s in (new, old)
            ]
            axes = Axes(core.axes.tasks, core.axes.methods, metrics)
            comparison = compare(*(Kept(core.name, axes, side, {}) for side in sides))
            if comparison.models:
                yield comparison


def alarms(found: Sequence[Comparison]) -> str:
    """Share of gates that said worse; a method that fails on the other model is not one by mistake."""
    return f"{sum(any(not math.isnan(one.run) for one in each.of('worse')) for each in found)} of {len(found)}"


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description="How often the gate is wrong on models that were trained again.")
    parser.add_argument("folder", help="where the runs go")
    folder = parser.parse_args().folder
    run, other = trainings(folder), held_out(folder)
    told: Callable[..., None] = print
    rows = []
    for each in (1, 3):
        found = list(equal(run, each))
        rows.append([f"{each} on each side", alarms(found), f"{np.mean([one.tests for one in found]):.0f}"])
    for each in (1, 3):
        found = list(equal(other, each, HELD_OUT_SEEDS))
        rows.append([f"{each} on each side, held-out", alarms(found), f"{np.mean([one.tests for one in found]):.0f}"])
    core = list(published(Path(__file__).parents[2] / "results" / "archives" / "core"))
    rows.append(
        ["published models of `core`, a task each", alarms(core), f"{np.mean([one.tests for one in core]):.0f}"]
    )
    told(table(["models, explainers the same", "alarms", "tests in a gate"], rows))
    told(
        "core, by metric:",
        Counter(change.metric for one in core for change in one.of("worse") if not math.isnan(change.run)),
    )
    rows = []
    for each, level in itertools.product((1, 3), LEVELS):
        shares: dict[str, list[bool]] = {}
        for task, comparison in worsened(run, each, level):
            caught = any(change.method == "changed" for change in comparison.of("worse"))
            shares.setdefault(task.spec, []).append(caught)
        rows.append([each, f"{level:.0%}", *(f"{np.mean(shares[task]):.0%}" for task in TASKS)])
    told("", table(["models", "noise", *TASKS], rows), sep="\n")


if __name__ == "__main__":
    main()
