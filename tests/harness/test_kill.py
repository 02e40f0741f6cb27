"""A run killed at any moment, and run again, gives what an undisturbed run gives, to the bit."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest

from .conftest import PATIENCE, command, ending, kept, suite_text

ALL = {"methods": ("Chance", "Gradient", "Attentive"), "metrics": ("Size", "Kinship", "Duration")}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "small.toml"
    path.write_text(suite_text(**ALL), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(suite, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed")
    assert command("run", suite, "--out", out).returncode == 0
    return kept(out)


def stopped_after(suite, out, count, tmp_path, how):
    """Start a run, and send it a signal once it has called its plug-ins so many times."""
    calls = tmp_path / "calls"
    environment = {**os.environ, "XRNNBENCH_TEST_CALLS": str(calls), "XRNNBENCH_TEST_SLEEP": "0.02"}
    words = [sys.executable, "-m", "xrnnbench", "run", str(suite), "--out", str(out)]
    streams = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    # a shell has the commands of its background ignore Ctrl-C, and these tests with them
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    run = subprocess.Popen(words, env=environment, preexec_fn=heed, **streams)  # noqa: PLW1509  # no threads here
    with ending(run):
        deadline = time.monotonic() + 60
        while not calls.exists() or calls.read_text(encoding="utf-8").count("\n") < count:
            assert run.poll() is None, run.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        run.send_signal(how)
        _, said = run.communicate(timeout=PATIENCE)
    return run.returncode, said


# the first model, between explanations, the second task's models, while scoring, near the end
@pytest.mark.parametrize("count", [1, 5, 14, 24, 40])
@pytest.mark.full_except("5")
def test_killed_and_run_again(suite, undisturbed, tmp_path, count):
    out = tmp_path / "results"
    status, _ = stopped_after(suite, out, count, tmp_path, signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert kept(out) != undisturbed
    # what a kill in the middle of a write leaves behind
    folder = out / "runs" / "small" / "cells" / "small-00000000"
    folder.mkdir(parents=True)
    (folder / ".seed-0-0.npz.abc.tmp").write_bytes(b"half")
    again = command("run", suite, "--out", out)
    assert again.returncode == 0, again.stderr
    assert kept(out) == undisturbed
    assert list(out.rglob("*.tmp")) == []


@pytest.mark.full
def test_interrupted_by_the_user(suite, undisturbed, tmp_path):
    out = tmp_path / "results"
    status, said = stopped_after(suite, out, 14, tmp_path, signal.SIGINT)
    assert status == 130
    assert "cells are stored in" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert command("leaderboard", out / "runs" / "small").returncode == 0
    assert "missing" in (out / "leaderboard.md").read_text(encoding="utf-8")
    assert command("run", suite, "--out", out).returncode == 0
    assert kept(out) == undisturbed


@pytest.mark.full
def test_two_at_once_in_one_folder(suite, tmp_path):
    out, calls = tmp_path / "results", tmp_path / "calls"
    environment = {**os.environ, "XRNNBENCH_TEST_CALLS": str(calls), "XRNNBENCH_TEST_SLEEP": "30"}
    words = [sys.executable, "-m", "xrnnbench", "run", str(suite), "--out", str(out)]
    with ending(
        subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    ) as first:
        while not calls.exists():
            assert first.poll() is None
            time.sleep(0.01)
        second = command("run", suite, "--out", out)
        first.kill()
    assert second.returncode == 2
    (said,) = (line for line in second.stderr.splitlines() if "whose code now runs" not in line)
    assert f"Process {first.pid} on" in said
    # the lock went with its holder
    assert command("run", suite, "--out", out).returncode == 0
