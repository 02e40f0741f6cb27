"""A small grid, and a record of what its plug-ins were asked."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xrnnbench.harness import cli
from xrnnbench.harness.execution.benchmark import Benchmark
from xrnnbench.harness.results.cells import reproducible
from xrnnbench.harness.results.seals import json_text, sealed

SMALL = Path(__file__).with_name("small.py")


def spec(name):
    return f"{SMALL}:{name}"


TASKS, METHODS, METRICS = ("SmallTask", "OtherTask"), ("Chance", "Gradient"), ("Size", "Kinship")


def small_benchmark(tasks=TASKS, methods=METHODS, metrics=METRICS, seeds=(0, 1, 2), **more):
    named = [[spec(name) for name in names] for names in (tasks, methods, metrics)]
    return Benchmark(*named, seeds=seeds, **{"name": "small", **more})


def suite_text(tasks=TASKS, methods=METHODS, metrics=METRICS):
    lists = {"tasks": tasks, "methods": methods, "metrics": metrics}
    lines = [f"{key} = {json.dumps([spec(name) for name in names])}" for key, names in lists.items()]
    return "\n".join(['name = "small"', *lines, "seeds = [0, 1, 2]"])


def kept(out):
    """Everything a run must give again to the bit: cells without what was measured, and arrays but the measured."""
    folder = Path(out) / "runs" / "small" / "cells"
    return {
        str(path.relative_to(folder)): reproducible(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.rglob("*.json"))
    }


def cell_files(out, pattern):
    return sorted((Path(out) / "runs" / "small" / "cells").glob(pattern))


def write_sealed(path, content):
    """Write changed content of a JSON file with the checksum that it has, as if it had been written so."""
    content = {name: value for name, value in content.items() if name != "checksum"}
    Path(path).write_bytes(sealed(json_text(content)))


def counted(calls, start):
    """How many of the calls begin so."""
    return sum(word.startswith(start) for word in calls)


# Seconds after which a command counts as one that hangs.
PATIENCE = 600


@contextlib.contextmanager
def ending(process):
    """Context with a process, which is killed if it has not ended by then: what has failed must not be waited for."""
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def command(*words, cwd=None, **environment):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "xrnnbench", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", **environment},
        timeout=PATIENCE,
    )


@pytest.fixture
def invoke(monkeypatch, capsys):
    """Return a function that runs the command line in this process: status, output, errors."""

    def run(*words, answer=None):
        monkeypatch.setattr(sys, "argv", ["xrnnbench", *map(str, words)])
        typed = io.StringIO("" if answer is None else f"{answer}\n")
        typed.isatty = lambda: answer is not None
        monkeypatch.setattr(sys, "stdin", typed)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        printed = capsys.readouterr()
        return caught.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return a function giving what was called since it was asked last."""
    path = tmp_path / "calls"
    monkeypatch.setenv("XRNNBENCH_TEST_CALLS", str(path))

    def since():
        found = path.read_text(encoding="utf-8").split() if path.exists() else []
        path.write_text("", encoding="utf-8")
        return found

    return since


@pytest.fixture
def broken(monkeypatch):
    """Return a function telling the plug-ins how to break."""
    return lambda *ways: monkeypatch.setenv("XRNNBENCH_TEST_BREAK", ",".join(ways))
