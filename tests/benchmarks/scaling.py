"""How the cost of judging grows with instances, methods and masks: ``python tests/benchmarks/scaling.py figure.svg``.

Each point is a process of its own, which scores attributions of an untrained LSTM with the faithfulness metrics that
share curves, single removals and random subsets. Seconds are of scoring alone, after a small run that loads everything;
memory is the highest resident size of the whole process. Printed and drawn: the exponent of a power law fitted to the
seconds, 1 for linear growth, and the highest size met.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from xrnnbench.metrics.base import Evidence, Measurement, Probes
from xrnnbench.metrics.conformance.specimens import StandIn
from xrnnbench.plugins import build
from xrnnbench.tasks.data.batch import Batch
from xrnnbench.tasks.models.networks import RecurrentNet
from xrnnbench.tasks.subject import Cost, Subject

METRICS = (
    *("comprehensiveness", "sufficiency", "deletion-auc", "insertion-auc", "abpc", "monotonicity", "log-odds"),
    *("infidelity:masks={masks}", "faithfulness-correlation:masks={masks}", "sensitivity-n:masks={masks}"),
    *("faithfulness-estimate", "monotonicity-correlation"),
)
# On each axis the sizes; the other axes stay at the first of these.
USUAL = {"instances": 100, "methods": 1, "masks": 100}
SIZES = {
    "instances": (100, 300, 1000, 3000, 10_000),
    "methods": (1, 3, 10, 30, 100),
    "masks": (100, 300, 1000, 3000, 10_000),
}
STEPS, FEATURES, UNITS = 20, 2, 32


def make_subject(rows: int) -> Subject:
    """Random sequences of one length on an untrained LSTM."""
    torch.manual_seed(0)
    inputs = torch.randn(rows, STEPS, FEATURES)
    batch = Batch(inputs, torch.full((rows,), STEPS), torch.zeros(rows, dtype=torch.int64))
    return Subject(RecurrentNet(FEATURES, UNITS, 2, cell="lstm"), batch, torch.zeros_like(inputs))


def score(instances: int, methods: int, masks: int) -> float:
    """Seconds of scoring so many random attributions of so many sequences."""
    subject = make_subject(instances)
    metrics = [build("metric", spec.format(masks=masks)) for spec in METRICS]
    shared = Probes(subject)
    method = StandIn("random")
    attributions = [method.explain(subject, seed) for seed in range(methods)]
    start = time.perf_counter()
    for seed, attribution in enumerate(attributions):
        cell = Evidence(subject, attribution, method, seed, Measurement(Cost(), 0.0, 0), shared)
        cell.planned = frozenset(ask for metric in metrics for ask in metric.asks)
        for metric in metrics:
            metric.measure(cell)
    return time.perf_counter() - start


def point(sizes: dict[str, int]) -> dict[str, float]:
    """Seconds and highest resident size in MiB, from this process."""
    score(20, 1, 20)
    seconds = score(**sizes)
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return {"seconds": seconds, "mebibytes": peak / 1024}


def measure(axis: str, size: int) -> dict[str, float]:
    """The same, from a process of its own."""
    sizes = json.dumps(USUAL | {axis: size})
    done = subprocess.run([sys.executable, __file__, "--point", sizes], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def exponent(sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Of the power law through the points, by least squares of logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    """Measure every point, print a table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("figure", nargs="?", type=Path)
    parser.add_argument("--point", type=json.loads)
    arguments = parser.parse_args()
    if arguments.point:
        sys.stdout.write(json.dumps(point(arguments.point)))
        return
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # the points have no use for it

    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharey=True, layout="constrained")
    for axis, ax in zip(SIZES, axes, strict=True):
        found = [measure(axis, size) for size in SIZES[axis]]
        seconds = [each["seconds"] for each in found]
        fitted = exponent(SIZES[axis], seconds)
        late = exponent(SIZES[axis][2:], seconds[2:])
        sizes = ", ".join(
            f"{size:,}: {each['seconds']:.2f} s, {each['mebibytes']:.0f} MiB"
            for size, each in zip(SIZES[axis], found, strict=True)
        )
        sys.stdout.write(f"{axis}: {sizes}; exponent {fitted:.2f}, of the last three {late:.2f}\n")
        ax.loglog(SIZES[axis], seconds, "o-")
        ax.set_xlabel(axis)
        ax.set_title(f"exponent {fitted:.2f} (last three {late:.2f})", fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("seconds of scoring")
    if arguments.figure:
        figure.savefig(arguments.figure, metadata={"Date": None})


if __name__ == "__main__":
    main()
