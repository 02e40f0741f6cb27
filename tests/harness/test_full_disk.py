"""A disk that is full while a command writes: one sentence, what was there stays, and no part of a file is left."""

import errno
import os
import shutil
import stat

import pytest

from .conftest import spec, suite_text

COMMANDS = {
    "leaderboard": ["leaderboard", "r"],
    "bless": ["bless", "r", "baseline"],
    "costs": ["costs", "r", "--save", "costs.json"],
    "compare": ["compare", "r", "baseline", "--save", "report.md"],
    "explain": ["explain", spec("SmallTask"), "-m", spec("Chance"), "--save", "picture.png"],
    "inspect": ["inspect", spec("SmallTask"), "--html", "page.html"],
    "pages": ["pages", "interventions", "pages"],
    "merge": ["merge", "r", "--out", "merged"],
    "run": ["run", "small.toml", "--out", "r", "--fresh"],
    "run into a new folder": ["run", "small.toml", "--out", "other"],
}


@pytest.fixture
def place(tmp_path, monkeypatch, invoke):
    """A folder with a run, and everything that the commands write."""
    monkeypatch.chdir(tmp_path)
    text = suite_text(tasks=("SmallTask",), methods=("Chance",), metrics=("Size",))
    (tmp_path / "small.toml").write_text(text, "utf-8")
    for words in (COMMANDS["run"], COMMANDS["bless"], COMMANDS["costs"], COMMANDS["compare"], COMMANDS["explain"]):
        assert invoke(*words)[0] == 0, words
    for words in (COMMANDS["inspect"], COMMANDS["pages"]):
        assert invoke(*words)[0] == 0, words
    return tmp_path


@pytest.fixture
def filling(monkeypatch):
    """Return a function after which the disk is full once so many files have been written."""

    def after(count):
        real, left = os.fsync, iter(range(count))

        def full(descriptor):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr("os.fsync", full)
        monkeypatch.setattr("pathlib.Path.write_bytes", lambda path, data: full(-1) or path.open("xb").write(data))

    return after


def whole(folder):
    """All files, by path, but those that only hold what was looked up."""
    skipped = {".lock", ".lock-holder", ".running"}
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in skipped and "index" not in path.name
    }


def errors_in(text):
    """Lines of errors; that on whose code a suite names is none."""
    return [line for line in text.splitlines() if line.startswith("xrnnbench: ") and "whose code" not in line]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_from_the_start(name, place, filling, invoke):
    before = whole(place)
    filling(0)
    status, _, err = invoke(*COMMANDS[name])
    said = errors_in(err)
    assert (status, len(said)) == (2, 1), err
    assert "No space left on device" in said[0]
    assert "traceback" not in err.lower()
    after = whole(place)
    assert not [path for path in after if path.suffix == ".tmp"]
    if name != "run":  # which has discarded cells as it was told
        assert after == before


def test_a_baseline_is_replaced_as_a_whole_or_not_at_all(place, filling, invoke):
    before = whole(place / "baseline")
    assert invoke("run", "small.toml", "--seeds", "0,1", "--out", "two")[0] == 0
    filling(1)
    assert invoke("bless", "two", "baseline")[0] == 2
    assert whole(place / "baseline") == before
    assert invoke("compare", "r", "baseline")[0] == 0


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_a_run_that_meets_a_full_disk_is_resumed(count, place, filling, invoke, monkeypatch):
    wanted = sorted(path for path in whole(place / "r" / "runs") if path.suffix == ".npz")
    with monkeypatch.context():
        filling(count)
        status, _, err = invoke("run", "small.toml", "--out", "other")
    assert status == 2, err
    assert "make room" in err
    assert not list((place / "other").rglob("*.tmp"))
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert invoke("run", "small.toml", "--out", "other")[0] == 0
    assert sorted(path for path in whole(place / "other" / "runs") if path.suffix == ".npz") == wanted


def test_a_run_whose_folder_vanishes_says_so(place, invoke, monkeypatch):
    real = os.fsync

    def vanishing(descriptor):
        real(descriptor)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):  # the folder of a file that is in its place now
            shutil.rmtree(place / "other", ignore_errors=True)

    monkeypatch.setattr("os.fsync", vanishing)
    status, _, err = invoke("run", "small.toml", "--out", "other")
    said = errors_in(err)
    assert (status, len(said)) == (2, 1), err
    assert "is gone: it was deleted or moved" in said[0]
    assert not (place / "other").exists()


def test_a_picture_and_a_device_are_not_exchanged(place, invoke):
    os.mkfifo(place / "pipe.png")
    os.mkfifo(place / "pipe.html")
    for words in (["--save", "pipe.png"], ["--save", "pipe.html"]):
        status, _, err = invoke("explain", spec("SmallTask"), "-m", spec("Chance"), *words)
        assert (status, err.count("\n")) == (2, 1)
    assert invoke("inspect", spec("SmallTask"), "--html", "pipe.html")[0] == 2
    assert invoke("costs", "r", "--save", "pipe.html")[0] == 2
    assert (place / "pipe.png").is_fifo()
    assert (place / "pipe.html").is_fifo()


def test_notes_of_a_run_are_not_read_or_written_through_pipes_and_links(place, invoke):
    folder = place / "other" / "runs" / "small"
    for name in (".running", ".lock-holder"):
        shutil.rmtree(place / "other", ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(b"\xff\xfe\x00")
        assert invoke("run", "small.toml", "--out", "other")[0] == 0
    shutil.rmtree(place / "other")
    folder.mkdir(parents=True)
    os.mkfifo(folder / ".running")
    assert invoke("run", "small.toml", "--out", "other")[0] == 0
    shutil.rmtree(place / "other")
    folder.mkdir(parents=True)
    (place / "precious").write_text("precious", "utf-8")
    (folder / ".running").symlink_to(place / "precious")
    assert invoke("run", "small.toml", "--out", "other")[0] == 0
    assert (place / "precious").read_text("utf-8") == "precious"
