"""Costs of explaining and scoring, for forecasts: ``python tests/benchmarks/costs.py measure FOLDER [TASK…]``.

For each task of `core`, on the model of seed 0, every built-in method explains all sequences and then four, and
every built-in metric that trains no models scores an attribution of random numbers. Counted are the passes; the seconds
are those of the processor, relative to a standard workload at the same time, so that other processes on the machine
change them little. Each task writes a file into the
folder, and tasks that have one are left out. Two hours on one core.

``python tests/benchmarks/costs.py write FOLDER harness/execution/forecast/calibration.json
results/archives/core`` makes the packaged file of them, with the memory that the archive has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from xrnnbench import Explainer
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.forecast.machine import standard_seconds
from xrnnbench.harness.execution.forecast.trial import measured_shape
from xrnnbench.harness.execution.steps.build_model import build_model
from xrnnbench.harness.results.cells import plugin_info
from xrnnbench.harness.suites.suite import read_suite
from xrnnbench.metrics.base import Evidence, Measurement, Probes
from xrnnbench.metrics.measuring import measuring
from xrnnbench.metrics.removal.curves import CurveRequest
from xrnnbench.metrics.removal.features import ties
from xrnnbench.plugins import build, names
from xrnnbench.tasks.subject import Cost, Subject
from xrnnbench.tasks.trained import TrainedTask

if TYPE_CHECKING:
    from torch import Tensor

    from xrnnbench.metrics.base import Metric

SMALL = 4
# Seconds are those of a machine on which the standard workload takes so long, whatever this one is busy with meanwhile.
STANDARD = 0.004


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


def slowness() -> float:
    """Seconds here and now for a second of the machine of the calibration."""
    return standard_seconds(9, time.process_time) / STANDARD


def explained(method: Explainer, subject: Subject) -> dict[str, Any]:
    """Passes and seconds of explaining a subject, and the orders of its curves, 8 for a sequence with ties."""
    if reason := method.applicable(subject):
        return {"status": "not applicable", "reason": reason}
    method.prepare()
    slow = slowness()
    before, start = subject.cost.copy(), time.process_time()
    try:
        attribution = method.explain(subject, 1)
    except Exception as error:  # noqa: BLE001  # whatever a plug-in raises
        return {"status": "failed", "reason": str(error)[:80], "seconds": (time.process_time() - start) / slow}
    seconds, cost = time.process_time() - start, subject.cost.since(before)
    seconds /= (slow + slowness()) / 2
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
    slow = slowness()
    before, start = evidence.subject.cost.copy(), time.process_time()
    try:
        with measuring(metric, evidence):
            metric.measure(evidence)
            if metric.profiled:
                metric.sketch(evidence)
    except Exception as error:  # noqa: BLE001  # whatever a plug-in raises
        return {"status": "failed", "reason": str(error)[:80]}
    seconds, cost = time.process_time() - start, evidence.subject.cost.since(before)
    return {
        "status": "scored", "seconds": seconds / slow,
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
    found["keys"] = sorted(
        f"('courses', {key.order}) {key}" if isinstance(key, CurveRequest) else f"{key} "
        for key, _ in cell.cache.items()
    )
    found["again"] = scored(metric, cell)
    if found["alone"]["asked"]:
        found["fixed"] = scored(metric, evidence(FixedNoise(), shared))
    return found


def measured_task(spec: str) -> dict[str, Any]:
    """Costs of all methods and metrics on a task."""
    start = time.process_time()
    task = build("task", spec)
    trained = isinstance(task, TrainedTask)
    if trained:
        task.data()
    data = time.process_time() - start
    start = time.process_time()
    model = build_model(task, 0)
    found: dict[str, Any] = {"spec": spec, "data": data, "build": time.process_time() - start}
    subject = model.subject
    found["training"] = {"seconds": 0.0, "sequences": 0}
    if trained:
        epochs = task.recipe.parameters()["epochs"]
        found["training"] = {"seconds": task.listed(0).seconds, "sequences": len(task.data().train) * epochs}
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
    for name in dict.fromkeys([*core.metrics, *names("metric")]):
        metric = build("metric", name)
        if metric.needs_retraining or name == "label-randomisation":
            continue
        found["metrics"][metric.spec] = {
            "name": metric.name, "parameters": plugin_info(metric).identity["parameters"],
            **measured_metric(metric, subject, Probes(subject)),
        }  # fmt: skip
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


# ---- the packaged file ----------------------------------------------------------------------------------------------


def rounded(value: float, digits: int = 3) -> float:
    """A number with a few digits, whole numbers as such."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short == int(short) else short


def method_entry(name: str, raw: dict[str, Any], peaks: dict[tuple[str, str], float]) -> dict[str, Any]:
    """Entry of a method: a line through the seconds for all sequences and for four."""
    cells = {}
    for task, found in raw.items():
        all_, few, count = found["methods"][name]["all"], found["methods"][name]["few"], found["instances"]
        if all_["status"] == "not applicable":
            continue
        small = few.get("seconds", all_["seconds"])
        slope = max(0.0, all_["seconds"] - small) / (count - SMALL)
        fixed = max(0.0, all_["seconds"] - slope * count)
        passes = [each / count for each in all_.get("passes", (0, 0, 0))]
        memory = peaks.get((task, name), 0.0)
        cells[task] = [*map(rounded, (fixed, slope, *passes, all_.get("orders", 0), memory))]
    parameters = next(iter(raw.values()))["methods"][name]["parameters"]
    return {"parameters": parameters, "complete": build("method", name).complete, "cells": cells}


def metric_entry(spec: str, raw: dict[str, Any], shares: dict[str, int]) -> dict[str, Any]:
    """Entry of a metric: what is shared is what a second scoring of the same cell does not cost again."""
    cells, keys = {}, set()
    for task, found in raw.items():
        first, alone, again = (found["metrics"][spec].get(which) for which in ("first", "alone", "again"))
        if alone is None or again is None or again["status"] != "scored":
            continue
        keys |= {re.sub(r", \((\d+, )*\d+,?\)\) $", ")", key) for key in found["metrics"][spec]["keys"]}
        shared = max(0.0, alone["seconds"] - again["seconds"])
        passes = [each - other for each, other in zip(alone["passes"], again["passes"], strict=True)]
        asked, plain = alone["asked"], found["metrics"][spec].get("fixed", {}).get("asked") or []
        model = max(0.0, first["seconds"] - alone["seconds"])
        model = model if model > 0.2 * first["seconds"] else 0.0
        figures = (shared, again["seconds"], *passes, len(asked), len(plain), sum(asked), model)
        cells[task] = [*map(rounded, figures)]
    metric = build("metric", spec)
    needs = [word for word in ("stochastic", "complete") if getattr(metric, f"needs_{word}")]
    example = next(iter(raw.values()))["metrics"][spec]
    return {
        "name": example["name"], "parameters": example["parameters"], "needs": needs,
        "curve": any("courses" in key for key in keys),
        "shares": [shares.setdefault(key, len(shares)) for key in sorted(keys)], "cells": cells,
    }  # fmt: skip


def peak_mebibytes(archive: Path) -> dict[tuple[str, str], float]:
    """Largest rise of the memory of a method on a task of `core`, for its sequences, from the archive."""
    content = json.loads((archive / "archive.json").read_text("utf-8"))
    tasks, methods = ([info["identity"]["name"] for info in content["grid"][axis]] for axis in ("tasks", "methods"))
    peaks: dict[tuple[str, str], float] = {}
    for cell in content["cells"]:
        place = tasks[cell["task"]], methods[cell["method"]]
        peaks[place] = max(peaks.get(place, 0.0), (cell.get("peak_bytes") or 0) / 2**20)
    return peaks


def write(folder: Path, target: Path, archive: Path) -> None:
    """Write the packaged file of all measured tasks; the sizes of tasks and a pass are measured now."""
    names_ = [spec.partition(":")[0] for spec in read_suite("core").tasks]
    raw, tasks = {}, {}
    for name in names_:
        found = json.loads((folder / f"{name}.json").read_text("utf-8"))
        slow = slowness()
        shape = measured_shape(build_model(build("task", found["spec"]), 0).subject)
        shape = shape.model_copy(update={"forward": shape.forward / slow})
        raw[name] = found | {"instances": shape.instances}
        sizes = {key: rounded(value, 4) for key, value in shape.model_dump().items()}
        times = {key: rounded(found[key]) for key in ("data", "build")}
        training = {key: rounded(value, 6) for key, value in found["training"].items()}
        tasks[name] = {"shape": sizes, "training": training["seconds"], "sequences": training["sequences"], **times}
    peaks, shares = peak_mebibytes(archive), {}
    content = {
        "format": 1,
        "machine": f"{platform.machine()}, {platform.system()}, torch {torch.__version__}",
        "standard": STANDARD,
        "tasks": tasks,
        "methods": {name: method_entry(name, raw, peaks) for name in next(iter(raw.values()))["methods"]},
        "metrics": {spec: metric_entry(spec, raw, shares) for spec in next(iter(raw.values()))["metrics"]},
    }
    lines = json.dumps(content, indent=1)
    # the figures of a cell on one line
    lines = re.sub(
        r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), lines
    )
    target.write_text(lines + "\n", "utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("measure", "write"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("rest", nargs="*")
    arguments = parser.parse_args()
    if arguments.what == "measure":
        measure(arguments.folder, arguments.rest)
    else:
        write(arguments.folder, *map(Path, arguments.rest))
