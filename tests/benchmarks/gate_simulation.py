"""How often the gate is wrong: ``python tests/benchmarks/gate_simulation.py FOLDER``.

Reruns without a change: every method of `quick` that draws random numbers, and more, explains with 20 explainer seeds.
A gate compares two of them, drawn for each method and task; nothing got worse, so whatever it says is a false alarm.
The same of methods that draw none, whose attributions are rounded otherwise, as by another machine.

Explainers that got worse: noise is mixed into a method's attributions, Φ′ = (1 − q) Φ + q σ ε, with σ the standard
deviation of Φ in the sequence and ε normal. Each gate compares one method on one task with itself, beside three
others that did not change; sequences are drawn from 500 without replacement.

The runs go into the folder and are taken up where they were left; the models come from the cache. A quarter of an hour
on one core. Printed are Markdown tables.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from xrnnbench import Benchmark, Explainer, Subject
from xrnnbench.harness.gate.changes import GateSettings
from xrnnbench.harness.gate.gate import compare
from xrnnbench.harness.results.cells import Axes, Key, PluginInfo
from xrnnbench.harness.results.scored_cells import ScoredCell, direction_sign
from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.plugins import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xrnnbench.harness.execution.run import Run
    from xrnnbench.harness.gate.comparison import Comparison

    Cells = Mapping[Key, ScoredCell]

GATES = 200
DRAWS = 20
STOCHASTIC = (
    *("random", "permutation:draws=4", "permutation-importance", "lime:samples=300"),
    *("smoothgrad", "gradient-shap", "attention-permuted", "integrated-gradients"),
)
# Those of quick but the dearest, and but times and memory.
LEFT_OUT = ("max-sens", "explainer-seed", "parameter-r", "wall", "peak", "comprehensiveness:by")
JITTER = 1e-6
LEVELS = (0.1, 0.2, 0.4)
INNER = ("gradient-x-input", "integrated-gradients", "occlusion")
LARGE = ("adding:instances=500", "valence:instances=500")
NOISES = 5
SIZES = (20, 100, 500)


@dataclass(frozen=True)
class Mixed(Explainer):
    """A method whose attributions are partly noise."""

    name: ClassVar[str] = "mixed"
    stochastic: ClassVar[bool] = True

    inner: str = "gradient-x-input"
    noise: float = 0.0

    def attribute(self, subject: Subject, rng: torch.Generator) -> torch.Tensor:
        """See :meth:`Explainer.attribute`."""
        values = build("method", self.inner).attribute(subject, rng)
        valid = subject.valid if values.dim() == subject.valid.dim() else subject.valid[..., 0]
        count = valid.flatten(1).sum(1)
        centred = values - ((values * valid).flatten(1).sum(1) / count).view(-1, *[1] * (values.dim() - 1))
        deviation = ((centred * valid).square().flatten(1).sum(1) / count).sqrt()
        noise = torch.randn(values.shape, generator=rng) * deviation.view(-1, *[1] * (values.dim() - 1))
        return (1 - self.noise) * values + self.noise * noise


@dataclass(frozen=True)
class Jittered(Explainer):
    """A method with other rounding: what is 0 stays 0."""

    name: ClassVar[str] = "jittered"
    stochastic: ClassVar[bool] = True

    inner: str = "gradient-x-input"
    noise: float = JITTER

    def attribute(self, subject: Subject, rng: torch.Generator) -> torch.Tensor:
        """See :meth:`Explainer.attribute`."""
        values = build("method", self.inner).attribute(subject, rng)
        return values * (1 + self.noise * torch.randn(values.shape, generator=rng))


@dataclass(frozen=True)
class Kept:
    """Cells under other names, as :func:`xrnnbench.harness.gate.gate.compare` reads them."""

    name: str
    axes: Axes
    scored_cells: Cells
    content: Mapping[str, object]
    complete: bool = True


def metrics() -> list[str]:
    """The metrics of quick that are scored."""
    return [metric for metric in read_suite("quick").metrics if not metric.startswith(LEFT_OUT)]


def reruns(folder: str) -> Run:
    """Every stochastic method with many explainer seeds."""
    tasks = read_suite("quick").tasks
    return Benchmark(tasks, STOCHASTIC, metrics(), (0, 1, 2), range(DRAWS), name="nulls").run(f"{folder}/fast")


def mixtures(folder: str) -> Run:
    """Methods with noise in their attributions, on 500 sequences."""
    methods = [Mixed(inner, level) for inner in INNER for level in (0.0, *LEVELS)]
    methods += [Jittered(inner) for inner in INNER]
    return Benchmark(LARGE, methods, metrics(), (0, 1, 2), range(NOISES), name="mixed").run(f"{folder}/mixed")


def kept(run: Run, cells: Cells, methods: Sequence[PluginInfo]) -> Kept:
    """Results of these cells."""
    return Kept(run.name, replace(run.axes, methods=tuple(methods)), cells, {})


def pair_of_draws(run: Run, rng: np.random.Generator) -> tuple[Kept, Kept]:
    """Two reruns: for each method and task two explainer seeds, both called 0."""
    sides: tuple[dict[Key, ScoredCell], dict[Key, ScoredCell]] = ({}, {})
    drawn = {
        (task.spec, method.spec): rng.choice(DRAWS, 2, replace=False)
        if method.facts["stochastic"] == "True"
        else (0, 0)
        for task in run.axes.tasks
        for method in run.axes.methods
    }
    for key, scored in run.scored_cells.items():
        for side, seed in zip(sides, drawn[key.task.spec, key.method.spec], strict=True):
            if key.explainer_seed == seed:
                side[Key(key.task, key.method, key.model_seed, 0)] = scored
    return kept(run, sides[0], run.axes.methods), kept(run, sides[1], run.axes.methods)


def independent(side: Kept) -> Kept:
    """The same, every method said to explain each sequence on its own."""
    told = {each.spec: each.model_copy(update={"facts": {**each.facts, "local": "True"}}) for each in side.axes.methods}
    cells = {
        Key(key.task, told[key.method.spec], key.model_seed, 0): scored for key, scored in side.scored_cells.items()
    }
    return replace(side, axes=replace(side.axes, methods=tuple(told.values())), scored_cells=cells)


def by_margin_alone(comparison: Comparison) -> bool:
    """Whether anything fell by more than its margin, significant or not."""
    tested = (change for change in comparison.changes if change.p is not None and change.size > 1)
    return any(direction_sign(comparison.metrics[change.metric]) * change.difference < 0 for change in tested)


def false_alarms(reruns: Run, gates: int = GATES, seed: int = 0) -> Iterator[tuple[str, int, float]]:
    """What was asked, how many gates of so many said worse, and how many tests shared a gate's α on average."""
    rng = np.random.default_rng(seed)
    pairs = [pair_of_draws(reruns, rng) for _ in range(gates)]
    found = [compare(run, base) for run, base in pairs]
    tests = float(np.mean([each.tests for each in found]))
    yield "the gate as it is", alarms(found), tests
    yield (
        "significance alone (a margin of 0)",
        alarms([compare(run, base, GateSettings(margin=0)) for run, base in pairs]),
        tests,
    )
    yield "the margin alone", sum(map(by_margin_alone, found)), tests
    told = [compare(independent(run), independent(base)) for run, base in pairs]
    yield "global methods taken for local ones", alarms(told), float(np.mean([each.tests for each in told]))


def alarms(found: Sequence[Comparison]) -> int:
    """How many said worse."""
    return sum(each.status == 1 for each in found)


def degraded(run: Run, inner: str, level: float, draw: int, task: PluginInfo, rows: np.ndarray) -> Comparison:
    """One method with noise beside itself without, on some of the sequences, and beside what did not change."""
    sides: tuple[dict[Key, ScoredCell], dict[Key, ScoredCell]] = ({}, {})
    changed = PluginInfo(spec="changed", identity={"name": "changed"}, facts={"stochastic": "True", "local": "True"})
    for key, scored in run.scored_cells.items():
        parameters = key.method.identity["parameters"]
        if key.task != task:
            continue
        for side, noise, seed in zip(sides, (level, 0.0), (draw, 0), strict=True):
            if (parameters["inner"], parameters["noise"], key.explainer_seed) == (inner, noise, seed):
                side[Key(task, changed, key.model_seed, 0)] = cut(scored, rows)
            elif parameters["noise"] == 0.0 and key.explainer_seed < 4:
                side[Key(task, key.method, key.model_seed, key.explainer_seed)] = cut(scored, rows)
    axes = replace(run.axes, tasks=(task,), methods=(changed, *run.axes.methods))
    new, old = (Kept(run.name, axes, side, {}) for side in sides)
    return compare(new, old)


def cut(scored: ScoredCell, rows: np.ndarray) -> ScoredCell:
    """Some of the sequences of a cell."""
    measured = scored.measured[:, rows] if scored.measured.size else scored.measured
    return ScoredCell(scored.cell, scored.scores[:, rows], measured)


def detected(run: Run, level: float, n: int, gates: int = GATES, seed: int = 0) -> tuple[float, float, Counter[str]]:
    """The share of gates that said worse, that of those by faithfulness or truth, and how often because of what."""
    rng = np.random.default_rng(seed)
    families = {metric.spec: metric.facts["family"] for metric in run.axes.metrics}
    alarms, judging, because = 0, 0, Counter[str]()
    for gate in range(gates):
        task = run.axes.tasks[gate % len(run.axes.tasks)]
        inner = INNER[gate // len(run.axes.tasks) % len(INNER)]
        width = next(each.scores.shape[1] for key, each in run.scored_cells.items() if key.task == task)
        rows = rng.choice(width, min(n, width), replace=False)
        worse = degraded(run, inner, level, int(rng.integers(NOISES)), task, rows).of("worse")
        alarms += bool(worse)
        judging += any(families[change.metric] in {"faithfulness", "truth"} for change in worse)
        because.update(change.metric for change in worse)
    return alarms / gates, judging / gates, because


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (heads, ["---"] * len(heads), *rows))


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description="How often the gate is wrong.")
    parser.add_argument("folder", help="where the runs go")
    folder = parser.parse_args().folder
    told: Callable[..., None] = print
    nulls = [(label, f"{count} of {GATES}", f"{tests:.0f}") for label, count, tests in false_alarms(reruns(folder))]
    told(table([f"{GATES} reruns without a change", "alarms", "tests in a gate"], nulls))
    run = mixtures(folder)
    rows = []
    for level in (JITTER, *LEVELS):
        shares = {n: detected(run, level, n) for n in SIZES}
        most = ", ".join(f"{metric} {count}" for metric, count in shares[100][2].most_common(4))
        rows.append([f"{level:g}", *(f"{known:.1%} ({anyhow:.1%})" for anyhow, known, _ in shares.values()), most])
    told("", table(["noise", *(f"n = {n}" for n in SIZES), "most often seen by, n = 100"], rows), sep="\n")


if __name__ == "__main__":
    main()
