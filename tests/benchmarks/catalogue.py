"""How big every task is, how good its models are, what training costs: ``python tests/benchmarks/catalogue.py``.

Each task is a process of its own, whose models are trained anew on one thread, in a cache that is thrown away. Without
names all tasks that need no data from outside are measured; with names these, wherever ``XRNNBENCH_DATA`` has their
data. Printed is a Markdown table: seconds of wall time for each seed, and the highest resident size of the process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from xrnnbench import plugins
from xrnnbench.errors import XrnnbenchError
from xrnnbench.tasks.trained import TrainedTask

SEEDS = (0, 1, 2)
COLUMNS = (
    *("task", "train / test / explained", "T", "D or tokens", "model", "held out", "gate", "baseline"),
    *("seconds a seed", "MiB", "truth"),
)


def measure(spec: str) -> dict[str, str]:
    """One task's row, from this process."""
    task = plugins.build("task", spec)
    found = {"task": f"`{spec}`"}
    seeds = SEEDS if task.trainable else SEEDS[:1]
    if isinstance(task, TrainedTask):
        trained = [task.training(seed) for seed in seeds]
        data = task.data()
        found["train / test / explained"] = f"{len(data.train)} / {len(data.test)} / {len(data.explained)}"
        found["seconds a seed"] = ", ".join(f"{each.seconds:.1f}" for each in trained)
    subjects = [task.subject(seed) for seed in seeds]
    batch, names = subjects[0].batch, subjects[0].names
    found.setdefault("train / test / explained", f"– / – / {len(batch)}")
    found.setdefault("seconds a seed", "–")
    shortest, longest = int(batch.lengths.min()), int(batch.lengths.max())
    found["T"] = str(longest) if shortest == longest else f"{shortest}–{longest}"
    found["D or tokens"] = f"{len(names.vocabulary)} tokens" if batch.tokens else str(batch.inputs.shape[2])
    found["model"] = described(subjects[0].model)
    scores = [subject.competence for subject in subjects]
    known = [each for each in scores if each is not None]
    if known:
        found["held out"] = f"{known[0].measure} " + ", ".join(short(each.score) for each in known)
        found["gate"], found["baseline"] = short(known[0].gate), short(known[0].baseline)
    lines = Path("/proc/self/status").read_text("ascii").splitlines() if Path("/proc/self/status").exists() else []
    found["MiB"] = next((f"{int(line.split()[1]) / 1024:.0f}" for line in lines if line.startswith("VmHWM")), "")
    found["truth"] = ", ".join(f"{name} ({truth.semantics})" for name, truth in batch.truths.items()) or "not known"
    return found


def described(model: object) -> str:
    """The network in a few words: its recurrent layers, and how they are pooled."""
    parts = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        if kind in {"RNN", "LSTM", "GRU"}:
            room = "" if name == "recurrent" or "." in name else f"{name} "
            layers = f"{module.num_layers} × " if module.num_layers > 1 else ""
            parts.append(f"{room}{layers}{'bi' * module.bidirectional}{kind} {module.hidden_size}")
    pooling = getattr(model, "pooling", "")
    return " + ".join(parts) + (f", {pooling}" if pooling else "") or type(model).__name__


def short(value: float) -> str:
    """Three digits behind the point, more where they would all be nines; whole numbers without any."""
    written = f"{value:.3f}" if value < 0.9995 else f"{value:.4f}" if value < 0.99995 else "> .9999"
    return f"{value:g}" if value == round(value, 0) else written.replace("0.", ".", 1)


def main() -> None:
    """Measure every task, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--row")
    arguments = parser.parse_args()
    if arguments.row:
        sys.stdout.write(json.dumps(measure(arguments.row)))
        return
    names = arguments.names or [
        name for name in plugins.names("task") if not plugins.find("task", name).data_sets and makes_itself(name)
    ]
    sys.stdout.write(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n")
    for name in names:
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "XRNNBENCH_CACHE": cache, "OMP_NUM_THREADS": "1"}
            command = [sys.executable, __file__, "--row", name]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            sys.stderr.write(f"{name}: {done.stderr.strip().splitlines()[-1]}\n")
            continue
        row = json.loads(done.stdout)
        sys.stdout.write(f"| {' | '.join(row.get(column, '') for column in COLUMNS)} |\n")
        sys.stdout.flush()


def makes_itself(name: str) -> bool:
    """Whether a task needs to be told nothing."""
    try:
        return not plugins.build("task", name).data_sets
    except XrnnbenchError:
        return False


if __name__ == "__main__":
    main()
