"""Faults at random moments: ``python tests/benchmarks/faults.py FOLDER [COUNT [SEED]] [KIND …]``.

A run on two processes is disturbed COUNT times (50) by each kind of fault: kill -9 of a worker or of a cell process, of
the scheduler, of the run itself, and SIGTERM to the run. A run that has ended is started again until it is complete.
Its cells are then compared, to the bit, with those of an undisturbed run in one process. Printed is a Markdown table.
KIND is one of worker, scheduler, run and SIGTERM, by default all.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from xrnnbench.harness.results.cells import reproducible

WORDS = [
    *("-t", "adding:instances=16", "-t", "counter:instances=16", "-t", "valence:instances=16"),
    *("-m", "occlusion", "-m", "lime", "-m", "gradient-x-input", "-m", "deeplift", "-m", "random"),
    *("-x", "comprehensiveness", "-x", "sufficiency", "-x", "model-seed-agreement", "-x", "max-sensitivity"),
    *("--seeds", "0,1,2"),
]
KINDS = ("worker", "scheduler", "run", "SIGTERM")


def main() -> None:
    folder = Path(sys.argv[1])
    numbers = [int(word) for word in sys.argv[2:] if word.isdecimal()]
    count, seed = (*numbers, *(50, 0)[len(numbers) :])
    kinds = [word for word in sys.argv[2:] if word in KINDS] or KINDS
    rng = random.Random(seed)  # noqa: S311  # moments, no secrets
    assert started(folder / "undisturbed", 1).wait() == 0
    wanted = cells(folder / "undisturbed")
    print("| fault | faults | runs | bit-equal | seconds |\n|---|---:|---:|---:|---:|")  # noqa: T201  # its output
    for kind in kinds:
        begun, faults, runs, equal = time.monotonic(), 0, 0, 0
        while faults < count:
            out = folder / kind
            shutil.rmtree(out, ignore_errors=True)
            faults += disturbed(kind, out, rng)
            runs += 1
            equal += cells(out) == wanted
        seconds = time.monotonic() - begun
        print(f"| {kind} | {faults} | {runs} | {equal} of {runs} | {seconds:.0f} |", flush=True)  # noqa: T201  # as above


def disturbed(kind: str, out: Path, rng: random.Random) -> int:
    """Run until all is complete, with faults of a kind; returns their number."""
    faults = 0
    while True:
        run = started(out, 2)
        moments = rng.uniform(0.5, 9.0)
        while run.poll() is None:
            until = time.monotonic() + moments
            while run.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            if run.poll() is None and struck(kind, run, rng):
                faults += 1
            moments = rng.uniform(1.0, 6.0) if kind in {"worker", "scheduler"} else 600.0
        status = run.wait()
        if status == 0:
            return faults
        # -15: before the first line of the command line has run
        expected = {"run": {-9}, "SIGTERM": {143, -15}, "scheduler": {2}, "worker": set()}[kind]
        if status not in expected:
            raise SystemExit(f"{kind}: status {status}\n{(out / 'log').read_text('utf-8')}")


def struck(kind: str, run: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """Do it; returns whether there was something to do it to."""
    if kind == "SIGTERM":
        run.terminate()
        return True
    if kind == "run":
        run.kill()
        return True
    victims = victims_of(kind, psutil.Process(run.pid))
    if not victims:
        return False
    try:
        rng.choice(victims).kill()
    except psutil.NoSuchProcess:
        return False
    return True


def victims_of(kind: str, run: psutil.Process) -> list[psutil.Process]:
    """Processes of a kind: workers with their cell processes and servers, or the scheduler."""
    try:
        cluster = next(child for child in run.children() if "local_cluster" in " ".join(child.cmdline()))
        if kind == "scheduler":
            return [cluster]
        return [each for server in cluster.children() for each in server.children(recursive=True)]
    except (StopIteration, psutil.Error):
        return []


def started(out: Path, jobs: int) -> subprocess.Popen[bytes]:
    """A run in a process of its own."""
    out.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "xrnnbench", "run", "quick", *WORDS, "--out", str(out), "--jobs", str(jobs)]
    with (out / "log").open("wb") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def cells(out: Path) -> dict[str, dict[str, object]]:
    """What every run must give to the bit."""
    folder = out / "runs" / "quick" / "cells"
    paths = sorted(folder.rglob("*.json"))
    return {str(path.relative_to(folder)): reproducible(json.loads(path.read_text("utf-8"))) for path in paths}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
