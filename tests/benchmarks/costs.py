"""What explaining and scoring cost: ``python tests/benchmarks/costs.py measure FOLDER [TASK…]``.

For each task of `core`, on the model of seed 0, every built-in method explains all sequences and then four, and
every built-in metric that trains no models scores an attribution of random numbers. Counted are the passes; the seconds
are those of the processor, so that other processes on the machine change them little. Each task writes a file into the
folder, and tasks that have one are left out. Two hours on one core.

``python tests/benchmarks/costs.py write FOLDER harness/forecast/calibration.json`` makes the packaged file of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from xrnnbench import Explainer
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.build_model import PLUGIN_ERRORS, build_model
from xrnnbench.harness.execution.score_cell import measuring
from xrnnbench.harness.results.cells import plugin_info
from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.metrics.base import Evidence, Measurement, Probes
from xrnnbench.metrics.removal.features import ties
from xrnnbench.plugins import build, names
from xrnnbench.tasks.subject import Cost, Subject

if TYPE_CHECKING:
    from torch import Tensor

    from xrnnbench.metrics.base import Metric

SMALL = 4
FORWARD_ROWS = 512


@dataclass(frozen=True)
class Noise(Explainer):
    """A method that claims everything, costs nothing, and counts how often it is asked."""

    name: ClassVar[str] = "noise"
    stochastic: ClassVar[bool] = True
    complete: ClassVar[bool] = True
    asked: ClassVar[list[int]] = []

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :class:`Explainer`."""
        self.asked.append(len(subject))
        return torch.randn(subject.shape, generator=rng)


@dataclass(frozen=True)
class FixedNoise(Noise):
    """The same, without a seed."""

    name: ClassVar[str] = "fixed-noise"
    stochastic: ClassVar[bool] = False


def shape_of(subject: Subject) -> dict[str, float]:
    """Sizes of a task: sequences, features and steps of one, outputs, parameters, and microseconds of a pass."""
    batch = subject.batch
    valid = subject.features(subject.granularity)
    rows = batch.inputs[torch.arange(FORWARD_ROWS) % len(batch)]
    lengths = batch.lengths[torch.arange(FORWARD_ROWS) % len(batch)]
    wide = replace(subject, batch=type(batch)(rows, lengths, torch.zeros(FORWARD_ROWS, dtype=torch.int64)),
                   reference=torch.zeros_like(rows), target=torch.zeros(FORWARD_ROWS, dtype=torch.int64),
                   competence=None, cost=Cost(), retraining=None)  # fmt: skip
    start = time.process_time()
    wide.batch_outputs  # noqa: B018  # a cached property
    forward = (time.process_time() - start) / FORWARD_ROWS
    return {
        "instances": len(subject),
        "features": round(float(valid.sum(1).double().mean()), 2),
        "steps": round(float(batch.lengths.double().mean()), 2),
        "width": int(subject.reference.shape[-1]) if subject.reference.dim() == 3 else 1,
        "parameters": sum(p.numel() for p in subject.model.parameters()),
        "forward": forward,
    }


def explained(method: Explainer, subject: Subject) -> dict[str, Any]:
    """Passes and seconds of explaining a subject, and the orders of its curves, 8 for a sequence with ties."""
    if reason := method.applicable(subject):
        return {"status": "not applicable", "reason": reason}
    method.prepare()
    before, start = subject.cost.copy(), time.process_time()
    try:
        attribution = method.explain(subject, 1)
    except PLUGIN_ERRORS as error:
        return {"status": "failed", "reason": str(error)[:80], "seconds": time.process_time() - start}
    seconds, cost = time.process_time() - start, subject.cost.since(before)
    tied = ties(attribution.values.flatten(1), subject.features(attribution.granularity), torch.arange(len(subject)))
    return {
        "status": "explained", "seconds": seconds,
        "passes": [cost.forward, cost.backward, cost.executed], "orders": 1 + 7 * float(tied.double().mean()),
    }  # fmt: skip


def scored(metric: Metric, evidence: Evidence) -> dict[str, Any]:
    """Passes and seconds of scoring, and the sequences of every explanation that the metric asked for."""
    if reason := metric.applicable(evidence.explainer, evidence.subject):
        return {"status": "not applicable", "reason": reason}
    Noise.asked.clear()
    before, start = evidence.subject.cost.copy(), time.process_time()
    try:
        with measuring(metric, evidence):
            metric.measure(evidence)
            if metric.profiled:
                metric.sketch(evidence)
    except PLUGIN_ERRORS as error:
        return {"status": "failed", "reason": str(error)[:80]}
    cost = evidence.subject.cost.since(before)
    return {
        "status": "scored", "seconds": time.process_time() - start,
        "passes": [cost.forward, cost.backward, cost.executed], "asked": list(Noise.asked),
    }  # fmt: skip


def measured_metric(metric: Metric, subject: Subject, shared: Probes) -> dict[str, Any]:
    """Cost of a metric: first on a model, then on another cell of it, then once more on the same cell."""

    def evidence(explainer: Explainer, probes: Probes) -> Evidence:
        attribution = explainer.explain(subject, 1)
        siblings = {seed: (explainer.explain(subject, seed), subject.target) for seed in (2, 3)}
        return Evidence(subject, attribution, explainer, 1, Measurement(Cost(1, 1, 1), 1.0, 1), probes, siblings)

    cell = evidence(Noise(), shared)
    found = {"first": scored(metric, cell)}
    if found["first"]["status"] != "scored":
        return found
    cell = evidence(Noise(), shared)
    found["alone"] = scored(metric, cell)
    found["keys"] = sorted(f"{key} {request}" for key, value in cell._cache.items()  # noqa: SLF001  # what is shared
                           for request in (value if isinstance(value, dict) else [""]))  # fmt: skip
    found["again"] = scored(metric, cell)
    if found["alone"]["asked"]:
        found["fixed"] = scored(metric, evidence(FixedNoise(), shared))
    return found


def measured_task(spec: str) -> dict[str, Any]:
    """Costs of all methods and metrics on a task."""
    start = time.process_time()
    task = build("task", spec)
    task.data()
    data = time.process_time() - start
    start = time.process_time()
    model = build_model(task, 0)
    found: dict[str, Any] = {"spec": spec, "data": data, "build": time.process_time() - start}
    subject = model.subject
    found["shape"] = shape_of(subject)
    found["training"] = {
        "seconds": task.listed(0).seconds,
        "sequences": len(task.data().train) * task.recipe.parameters()["epochs"],
    }
    few = build_model(build("task", f"{spec.partition(':')[0]}:instances={SMALL}"), 0).subject
    found["methods"], found["metrics"] = {}, {}
    core = read_suite("core")
    for name in dict.fromkeys([*core.methods, *names("method")]):
        try:
            method = build("method", name)
        except UsageError:
            continue
        info = plugin_info(method)
        found["methods"][name] = {
            "parameters": info.identity["parameters"], "all": explained(method, subject),
            "few": explained(method, few),
        }  # fmt: skip
        print(spec, name, json.dumps(found["methods"][name]["all"])[:160], flush=True)
    for name in dict.fromkeys([*core.metrics, *names("metric")]):
        metric = build("metric", name)
        if metric.needs_retraining or name == "label-randomisation":
            continue
        found["metrics"][metric.spec] = {
            "name": metric.name, "parameters": plugin_info(metric).identity["parameters"],
            **measured_metric(metric, subject, Probes(subject)),
        }  # fmt: skip
        print(spec, name, json.dumps(found["metrics"][metric.spec]["first"])[:160], flush=True)
    return found


def warm_up() -> None:
    """Run every method once, since the first call of some loads or compiles what later ones use."""
    subject = build_model(build("task", "order:instances=4"), 0).subject
    for name in names("method"):
        with contextlib.suppress(UsageError):
            explained(build("method", name), subject)


def measure(folder: Path, chosen: list[str]) -> None:
    """Measure the tasks without a file."""
    folder.mkdir(parents=True, exist_ok=True)
    warm_up()
    for spec in read_suite("core").tasks:
        name = spec.partition(":")[0]
        path = folder / f"{name}.json"
        if (not chosen or name in chosen) and not path.exists():
            start = time.perf_counter()
            found = measured_task(spec)
            found["wall"] = time.perf_counter() - start
            path.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("measure",))
    parser.add_argument("folder", type=Path)
    parser.add_argument("rest", nargs="*")
    arguments = parser.parse_args()
    measure(arguments.folder, arguments.rest)
