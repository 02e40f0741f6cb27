"""``xrnnbench download``: what it says before anything, whom it asks, and where things go; ``--data-dir`` elsewhere."""

import dataclasses
import io
import json
import os
import subprocess
import sys
import time

import pytest

from xrnnbench.harness.explore import download as downloading
from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.downloads import http as fetching
from xrnnbench.tasks.downloads import locate as downloads
from xrnnbench.tasks.downloads.catalogue import SOURCES, File
from xrnnbench.tasks.models import cache

from ..tasks.serving import serving, sha256
from ..tasks.shared_data import original
from ..tasks.test_archives import zip_of
from .conftest import ending, spec

TREES = zip_of(("trees/train.txt", b"(2 (2 a) (2 b))\n"))


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for variable in (downloads.VARIABLE, downloads.MIRROR):
        # set first, so that what a command sets is taken back too
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    monkeypatch.setattr(fetching, "PAUSE", 0.0)


@pytest.fixture
def server(monkeypatch):
    """Give a server of the trees, which it is held to."""
    with serving() as server:
        file = File(server.serve("/trees.zip", TREES), "trees.zip", len(TREES), sha256(TREES))
        monkeypatch.setitem(SOURCES, "sst-trees", dataclasses.replace(SOURCES["sst-trees"], files=(file,)))
        yield server


def test_everything_is_said_before_anything_is_fetched(server, invoke, tmp_path):
    status, out, err = invoke("download", "sst-trees", answer="n")
    assert (status, err, server.requests()) == (1, "", [])
    for part in (
        "sst-trees: sentences of film reviews",
        "licence  none stated",
        "cite     R. Socher",
        "page     https://nlp.stanford.edu/sentiment/",
        f"from     {server.url}/trees.zip ({len(TREES)} bytes; {sha256(TREES)})",
        f"to       {tmp_path / 'cache' / 'data' / 'sst-trees'}",
        f"Download {len(TREES)} bytes? [y/N]",
        "Nothing was downloaded.",
    ):
        assert part in out
    assert not (tmp_path / "cache").exists()


def test_without_a_terminal_yes_must_be_said(server, invoke):
    status, _, err = invoke("download", "sst-trees")
    assert (status, err.count("\n"), server.requests()) == (2, 1, [])
    assert "There is no terminal to answer on: add --yes." in err


@pytest.mark.parametrize("words", [("--yes",), ("-y",), ()])
def test_a_download_and_another(server, invoke, tmp_path, words):
    place = tmp_path / "cache" / "data" / "sst-trees"
    status, out, err = invoke("download", "sst-trees", *words, answer=None if words else "y")
    assert (status, err) == (0, "")
    assert out.endswith(f"sst-trees is in {place}\n")
    assert (place / "trees" / "train.txt").is_file()
    assert invoke("download", "sst-trees") == (0, f"sst-trees is already there: {place}\n", "")
    assert len(server.requests()) == 1


def test_another_folder(server, invoke, tmp_path):
    place = tmp_path / "new" / "data"
    assert invoke("download", "sst-trees", "--yes", "--data-dir", place)[0] == 0
    assert (place / "sst-trees" / "trees" / "train.txt").is_file()
    assert not (tmp_path / "cache").exists()
    assert "already there" in invoke("download", "sst-trees", "--data-dir", place)[1]
    # what is in that folder is not in the cache
    assert invoke("download", "sst-trees", "--yes")[1].endswith(f"is in {tmp_path / 'cache' / 'data' / 'sst-trees'}\n")
    # and what is in the cache is not in another folder
    assert invoke("download", "sst-trees", "--yes", "--data-dir", tmp_path / "third")[0] == 0
    assert len(server.requests()) == 3


def test_the_variable_names_the_folder_too(server, invoke, tmp_path, monkeypatch):
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path))
    assert invoke("download", "sst-trees", "--yes")[0] == 0
    assert (tmp_path / "sst-trees" / "trees").is_dir()


def test_a_task_has_its_data_sets_fetched(server, invoke, monkeypatch):
    monkeypatch.setattr(Adding, "data_sets", ("sst-trees",))
    status, out, _ = invoke("download", "adding:instances=3", "sst-trees", "--yes")
    assert status == 0
    assert out.count("sst-trees is in") == 1
    assert len(server.requests()) == 1


def test_a_mirror_is_named_before_it_is_asked(server, invoke, monkeypatch):
    monkeypatch.setenv(downloads.MIRROR, f"{server.url}/mirror")
    assert f"from     {server.url}/mirror/sst-trees/trees.zip" in invoke("download", "sst-trees", answer="n")[1]


def test_a_checksum_that_is_not_published_is_said_so(server, invoke, monkeypatch):
    file = dataclasses.replace(SOURCES["sst-trees"].files[0], checksum=None, size=None)
    monkeypatch.setitem(SOURCES, "sst-trees", dataclasses.replace(SOURCES["sst-trees"], files=(file,)))
    _, out, _ = invoke("download", "sst-trees", answer="y")
    assert "(size unknown; no checksum published: that of this download is recorded and verified later)" in out
    assert "Download 1 file of unknown size?" in out
    (downloads.cache_folder() / "sst-trees").rename(downloads.cache_folder() / "away")
    assert f"as at the first download: {sha256(TREES)}" in invoke("download", "sst-trees", answer="n")[1]


def test_errors_are_one_sentence_and_status_two(server, invoke, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    server.files.clear()
    wrong = [
        (("download", "sst-tree"), "did you mean 'sst-trees'"),
        (("download", "ucr:../x"), "no data set or task named 'ucr:../x'"),
        (("download", "adding"), "Task 'adding' needs no downloaded data set"),
        (("download", "adding:no=3"), "no"),
        (("download", "sst-trees", "--yes"), r"no such file (404)"),
        (("download", "sst-trees", "--yes", "--data-dir", tmp_path / "file"), "cannot be kept in"),
        (("show", "adding", "--data-dir", tmp_path / "nothing"), "is not a folder"),
        (("check", "adding", "--data-dir", tmp_path / "file"), "is not a folder"),
        (("run", "quick", "--data-dir", tmp_path / "file"), "is not a folder"),
        (("explain", "adding", "--data-dir", tmp_path / "file"), "is not a folder"),
    ]
    for words, said in wrong:
        status, _, err = invoke(*words)
        assert (status, err.count("\n")) == (2, 1), (words, err)
        assert err.startswith("xrnnbench: ")
        assert said in err, (words, err)


def test_ctrl_c_says_how_to_go_on(server, invoke, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "download", stopped)
    status, _, err = invoke("download", "sst-trees", "--yes")
    assert (status, err) == (130, "Stopped. What has been downloaded is kept; the same command resumes.\n")


def test_the_list_says_what_is_there(server, invoke, tmp_path):
    (tmp_path / "data" / "trec").mkdir(parents=True)
    (tmp_path / "data" / "trec" / "TREC_10.label").write_bytes(b"")
    status, out, _ = invoke("download", "--data-dir", tmp_path / "data")
    assert status == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert set(lines) == {*SOURCES, "ucr:NAME"}
    assert "  here  " in lines["trec"]
    assert "  –  " in " ".join(lines["imdb"].split(" "))
    _, text, _ = invoke("download", "--json", "--data-dir", tmp_path / "data")
    listed = {each["name"]: each for each in json.loads(text)}
    assert set(listed) == set(SOURCES)
    assert listed["trec"]["folder"] == str(tmp_path / "data" / "trec")
    assert listed["imdb"]["folder"] is None
    assert listed["imdb"]["size"] == 84_125_825
    assert listed["ett"]["size"] is None
    assert server.requests() == []


def test_an_incomplete_set_is_not_there(invoke, tmp_path):
    (tmp_path / "multi30k").mkdir()
    (tmp_path / "multi30k" / "training.tar.gz").write_bytes(b"1")
    assert "multi30k" in invoke("download", "--data-dir", tmp_path)[1]
    status, _, err = invoke("download", "multi30k", "--data-dir", tmp_path)
    assert status == 2
    assert "lacks validation.tar.gz" in err


def test_the_data_folder_reaches_the_readers(invoke, tmp_path):
    status, _, _ = invoke("show", spec("SmallTask"), "--data-dir", tmp_path)
    assert status == 0
    assert os.environ[downloads.VARIABLE] == str(tmp_path)


def test_a_bar_follows_the_bytes():
    console = downloading.Console(file=io.StringIO(), force_terminal=True, width=100)
    with downloading.Bar(console) as bar:
        bar.advance(1)
        bar.begin("a.zip", 0, 100)
        bar.advance(60)
        bar.begin("a.zip", 60, 100)
        bar.advance(40)
        (file,) = bar._progress.tasks
        assert (file.completed, file.total, file.description) == (100, 100, "a.zip")


def test_total_of_known_and_unknown_sizes():
    assert downloading.total_size([SOURCES["trec"]]) == "359.2 kB"
    assert downloading.total_size([SOURCES["trec"], SOURCES["ett"]]) == "359.2 kB and 2 files of unknown size"


def test_a_killed_download_goes_on_where_it_was(tmp_path):
    """The register as it is, and genuine files of a mirror."""
    whole = original("topics/TREC.train").read_bytes()
    environment = {
        **os.environ,
        cache.VARIABLE: str(tmp_path),
        "NO_PROXY": "127.0.0.1",
    }
    words = [sys.executable, "-m", "xrnnbench", "download", "trec", "--yes"]
    with serving() as server:
        environment[downloads.MIRROR] = server.url
        server.serve("/trec/train_5500.label", whole, hold=100_000)
        server.serve("/trec/TREC_10.label", original("topics/TREC.test").read_bytes())
        with ending(subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)) as first:
            assert server.holding.wait(60)
            part = tmp_path / "data" / ".incoming" / "trec" / "train_5500.label.part"
            while not (part.is_file() and part.stat().st_size > 80_000):
                assert first.poll() is None
                time.sleep(0.01)
        server.go_on.set()
        server.forget()
        there = part.stat().st_size
        server.files["/trec/train_5500.label"].hold = 0
        second = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        assert (second.returncode, second.stderr) == (0, "")
        assert server.ranges() == [f"bytes={there}-", None]
        assert server.sent()[0] == len(whole) - there
    assert (tmp_path / "data" / "trec" / "train_5500.label").read_bytes() == whole


def test_a_download_loads_no_torch(tmp_path):
    program = (
        "import sys\nfrom xrnnbench.harness import cli\nsys.argv = ['xrnnbench', 'download']\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in ('torch', 'pandas', 'scipy') if name in sys.modules])"
    )
    environment = {**os.environ, cache.VARIABLE: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.endswith("[]\n")


def test_help_names_the_options(invoke):
    status, out, _ = invoke("download", "--help")
    assert status == 0
    assert all(option in out for option in ("--data-dir", "--yes", "--json"))
    for command in ("run", "show", "check", "explain"):
        assert "--data-dir" in invoke(command, "--help")[1]
