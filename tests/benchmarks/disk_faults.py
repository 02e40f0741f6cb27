"""Faults of the disk at random moments: ``python tests/benchmarks/disk_faults.py FOLDER [COUNT [SEED]] [KIND …]``.

The folder of a run is on a file system of its own, in memory, which nobody else sees. Tries are made until COUNT runs
(30) have met each kind of fault; in the others, the run was done before. Each must end with one sentence, status 2 and
no half-written file, and what it has stored must be as an undisturbed run stores it. Then the fault is taken away, the
run is started again, and its cells are compared, to the bit, with those of the undisturbed run. Printed is a Markdown
table. KIND is one of

* full-start: no byte is free from the start;
* full-middle: the disk is full at a random moment;
* read-only: all folders can only be read from the start, or from a random moment on;
* vanished: the folder of the run is deleted at a random moment;
* lock-link: the lock of the folder is a link to a file elsewhere, which must stay as it is.

Needed are Linux, and the commands unshare, setpriv and mount.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xrnnbench.__main__ import main as command_line
from xrnnbench.harness.execution import benchmark  # noqa: F401  # loads what every run needs
from xrnnbench.harness.results.cells import reproducible
from xrnnbench.plugins import FLOORS, names

WORDS = [
    *("-t", "adding:instances=8", "-t", "counter:instances=8"),
    *("-m", "gradient-x-input", "-m", "saliency", "-m", "random", "-x", "sufficiency", "--seeds", "0,1"),
]
KINDS = ("full-start", "full-middle", "read-only", "vanished", "lock-link")
# Bytes of the file system when there is room, and the longest that a run takes.
ROOM, PATIENCE = 64 << 20, 300


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    numbers = [int(word) for word in sys.argv[2:] if word.isdecimal()]
    count, seed = (*numbers, *(30, 0)[len(numbers) :])
    kinds = [word for word in sys.argv[2:] if word in KINDS] or KINDS
    rng = random.Random(seed)  # noqa: S311  # moments, no secrets
    disk = folder / "disk"
    disk.mkdir(parents=True, exist_ok=True)
    for kind in FLOORS:
        names(kind)
    assert Run(folder / "first").ended()[0] == 0
    begun = time.monotonic()
    status, said = Run(folder / "undisturbed").ended()
    assert status == 0, said
    usual = time.monotonic() - begun
    wanted = cells(folder / "undisturbed")
    print("| fault | tries | met it | one sentence | bit-equal afterwards | seconds |")  # noqa: T201  # its output
    print("|---|---:|---:|---:|---:|---:|", flush=True)  # noqa: T201  # as above
    for kind in kinds:
        begun, tries, met, told, equal = time.monotonic(), 0, 0, 0, 0
        while met < count:
            tries += 1
            out = disk / "out"
            mount(disk)
            status, said = disturbed(kind, out, folder, rng, usual)
            met += status != 0
            told += status == 0 or one_sentence(status, said)
            if status and not one_sentence(status, said):
                print(f"{kind} {tries}: status {status}\n{said}", file=sys.stderr)  # noqa: T201  # as above
            sound = nothing_half_written(out, wanted)
            mend(kind, disk, out)
            again, said = Run(out).ended()
            equal += sound and again == 0 and cells(out) == wanted
            if again or not sound:
                print(f"{kind} {tries}: sound {sound}, again {again}\n{said}", file=sys.stderr)  # noqa: T201  # as above
            unmount(disk)
        seconds = time.monotonic() - begun
        row = f"| {kind} | {tries} | {met} | {told} of {tries} | {equal} of {tries} | {seconds:.0f} |"
        print(row, flush=True)  # noqa: T201  # as above


def mount(disk: Path) -> None:
    """Mount an empty file system in memory."""
    words = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(disk)]
    subprocess.run(words, check=True)


def unmount(disk: Path) -> None:
    """Unmount it, with all that is in it."""
    words = ["umount", "--lazy", str(disk)]
    subprocess.run(words, check=True)


def disturbed(kind: str, out: Path, folder: Path, rng: random.Random, usual: float) -> tuple[int, str]:
    """Run with a fault of a kind; returns the exit status and what was said."""
    moment = rng.uniform(0.0, 0.7) * usual
    if kind == "full-start":
        if rng.random() < 0.5:
            out.mkdir()
        fill(out.parent)
        return Run(out).ended()
    if kind == "lock-link":
        (out / "runs" / "quick").mkdir(parents=True)
        (folder / "precious").write_text("precious", "utf-8")
        (out / "runs" / "quick" / ".lock").symlink_to(folder / "precious")
        status, said = Run(out).ended()
        assert (folder / "precious").read_text("utf-8") == "precious"
        return status, said
    if kind == "read-only" and rng.random() < 0.3:
        out.mkdir()
        allow(out, writing=False)
        return Run(out).ended()
    run = Run(out)
    until = time.monotonic() + moment
    while run.goes_on and (time.monotonic() < until or not out.is_dir()):
        time.sleep(0.002)
    if kind == "full-middle":
        fill(out.parent)
    elif kind == "read-only":
        allow(out, writing=False)
    elif rng.random() < 0.5:
        shutil.rmtree(out, ignore_errors=True)
    elif out.is_dir():
        out.rename(out.with_name("elsewhere"))
    return run.ended()


def fill(disk: Path) -> None:
    """Take all the room that is left."""
    with (disk / "filling").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue


def allow(out: Path, *, writing: bool) -> None:
    """Allow or forbid writing into a folder and all folders in it."""
    for folder in (out, *out.rglob("*")):
        if folder.is_dir():
            folder.chmod(stat.S_IRWXU if writing else stat.S_IRUSR | stat.S_IXUSR)


def mend(kind: str, disk: Path, out: Path) -> None:
    """Take the fault away."""
    (disk / "filling").unlink(missing_ok=True)
    if kind == "read-only":
        allow(out, writing=True)
    if kind == "lock-link":
        (out / "runs" / "quick" / ".lock").unlink(missing_ok=True)


class Run:
    """A run in a process of its own: a copy of this one, which has loaded all libraries once for all runs."""

    def __init__(self, out: Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the process
        self._process = multiprocessing.get_context("fork").Process(target=self._do, args=(out,))
        self._process.start()

    @property
    def goes_on(self) -> bool:
        return self._process.is_alive()

    def ended(self) -> tuple[int, str]:
        """Exit status, which is waited for, and what was said."""
        self._process.join(PATIENCE)
        self._said.seek(0)
        return self._process.exitcode, self._said.read().decode()

    def _do(self, out: Path) -> None:
        os.dup2(self._said.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["xrnnbench", "run", "quick", *WORDS, "--out", str(out), "--jobs", "1"]
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115  # descriptors
        command_line()


def one_sentence(status: int, said: str) -> bool:
    """Whether a run ended as it should: with one sentence of its own."""
    sentences = [line for line in said.splitlines() if line.startswith("xrnnbench: ")]
    return status == 2 and len(sentences) == 1 and "Traceback" not in said and "nobody foresaw" not in said


def nothing_half_written(out: Path, wanted: dict[str, dict[str, object]]) -> bool:
    """Whether all that is stored is whole: no temporary files, and cells as they should be, as far as they go."""
    stored = cells(out)
    return not list(out.rglob("*.tmp")) and all(
        all(wanted[name][key] == value for key, value in cell.items() if key not in {"records", "measured"})
        for name, cell in stored.items()
    )


def cells(out: Path) -> dict[str, dict[str, object]]:
    """What every run must give to the bit."""
    folder = out / "runs" / "quick" / "cells"
    paths = sorted(folder.rglob("*.json"))
    return {str(path.relative_to(folder)): reproducible(json.loads(path.read_text("utf-8"))) for path in paths}


if __name__ == "__main__":
    if os.environ.get("XRNNBENCH_OWN_MOUNTS") != "1":
        # file systems of its own, and permissions that bind root too
        own = ["unshare", "--map-root-user", "--mount", "setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        os.execvpe(own[0], [*own, sys.executable, *sys.argv], {**os.environ, "XRNNBENCH_OWN_MOUNTS": "1"})  # noqa: S606
    main()
