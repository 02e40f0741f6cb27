"""Data sets on demand: found where they lie, fetched only when asked, whole and right or not at all.

Genuine files go through the real way, from a web server on this machine.
"""

import dataclasses
import errno
import itertools
import json
import logging
import os
import shutil
import socket
import threading
from pathlib import Path

import filelock
import pytest
import requests

from xrnnbench.errors import DataError, UnknownNameError
from xrnnbench.tasks.downloads import checksums as records
from xrnnbench.tasks.downloads import http as fetching
from xrnnbench.tasks.downloads import locate as downloads
from xrnnbench.tasks.downloads.catalogue import ALIASES, SOURCES, File, Source, folder_name, source
from xrnnbench.tasks.downloads.http import fetch
from xrnnbench.tasks.downloads.locate import cache_folder, download, downloaded_folder, find, located
from xrnnbench.tasks.models import cache

from .serving import serving, sha256
from .shared_data import SETS, archived, laid
from .test_archives import tar_of, zip_of

CONTENT = bytes(range(256)) * 4000
SIZE = len(CONTENT)
TREES = zip_of(("trees/train.txt", b"(2 (2 a) (2 b))\n"), ("trees/dev.txt", b"(2 c)\n"))
OTHERS = zip_of(("trees/train.txt", b"something else\n"))


@pytest.fixture(scope="module")
def one_server():
    with serving() as server:
        yield server


@pytest.fixture
def server(one_server, monkeypatch):
    """Give a server that knows nothing, on a machine without data."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    one_server.forget()
    one_server.files.clear()
    return one_server


@pytest.fixture(autouse=True)
def nothing_here(tmp_path, monkeypatch):
    """Without data, and without pauses."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    for variable in (downloads.VARIABLE, downloads.MIRROR):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(fetching, "PAUSE", 0.0)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Give a data folder that is named."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv(downloads.VARIABLE, str(folder))
    return folder


def known(monkeypatch, **changes):
    """Change the source of the trees, and give it."""
    changed = dataclasses.replace(SOURCES["sst-trees"], **changes)
    monkeypatch.setitem(SOURCES, "sst-trees", changed)
    return changed


def one_file(url, content=TREES, *, checksum=True, name="trees.zip"):
    return (File(url, name, len(content), sha256(content) if checksum is True else checksum),)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- one file --------------------------------------------------------------------------------------------------------


def got(server, folder, *, checksum=True, name="a.bin", size=SIZE, timeout=(5.0, 5.0), **ways):
    """Fetch a file that is served in some way."""
    url = f"{server.url}/{name}"
    if name not in {path.strip("/") for path in server.files} or ways:
        server.serve(f"/{name}", ways.pop("content", CONTENT), **ways)
    digest = sha256(CONTENT) if checksum is True else checksum
    folder.mkdir(exist_ok=True)
    return fetch(File(url, name, size, digest), url, folder, digest, timeout=timeout)


def test_a_file_comes_whole(server, tmp_path):
    assert got(server, tmp_path / "in").read_bytes() == CONTENT
    assert (server.ranges(), server.sent()) == ([None], [SIZE])
    assert list((tmp_path / "in").iterdir()) == [tmp_path / "in" / "a.bin"]
    assert server.requests()[0].headers["Accept-Encoding"] == "identity"
    got(server, tmp_path / "in")
    assert len(server.ranges()) == 1


def test_without_length_and_checksum(server, tmp_path):
    assert got(server, tmp_path / "in", checksum=None, size=None, length=False).read_bytes() == CONTENT


def test_progress_is_told_every_byte_once(server, tmp_path):
    told = []

    class Told:
        def begin(self, name, done, total):
            told.append((name, done, total))

        def advance(self, count):
            told.append(count)

    url = server.serve("/a.bin", CONTENT, cuts=[300_000])
    file = File(url, "a.bin", SIZE, sha256(CONTENT))
    fetch(file, url, tmp_path, file.checksum, Told())
    assert [each for each in told if isinstance(each, tuple)] == [("a.bin", 0, SIZE), ("a.bin", 300_000, SIZE)]
    assert sum(each for each in told if isinstance(each, int)) == SIZE


def test_a_dropped_connection_is_taken_up_where_it_broke(server, tmp_path):
    assert got(server, tmp_path / "in", cuts=[300_000, 400_000]).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=300000-", "bytes=700000-"]
    assert server.sent() == [300_000, 400_000, SIZE - 700_000]


def test_a_later_call_goes_on_too(server, tmp_path):
    with pytest.raises(DataError, match=r"dropped; 300,000 bytes are kept, and the same command goes on"):
        got(server, tmp_path / "in", cuts=[300_000, 0])
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["a.bin.part", "a.bin.part.json"]
    server.forget()
    assert got(server, tmp_path / "in").read_bytes() == CONTENT
    assert (server.ranges(), server.sent()) == (["bytes=300000-"], [SIZE - 300_000])


def test_a_server_that_ignores_ranges_gives_all(server, tmp_path):
    assert got(server, tmp_path / "in", cuts=[300_000], ranges=False).read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=300000-"]
    assert server.sent() == [300_000, SIZE]


@pytest.mark.parametrize("mark", [{"tag": '"one"'}, {"date": "Wed, 01 Jan 2020 00:00:00 GMT"}])
def test_without_checksum_the_server_must_vouch(server, tmp_path, mark):
    with pytest.raises(DataError):
        got(server, tmp_path / "in", checksum=None, cuts=[300_000, 0], **mark)
    server.forget()
    assert got(server, tmp_path / "in", checksum=None).read_bytes() == CONTENT
    assert server.sent() == [SIZE - 300_000]
    assert server.requests()[0].headers["If-Range"] == next(iter(mark.values()))


def test_two_versions_are_never_pasted_together(server, tmp_path):
    with pytest.raises(DataError):
        got(server, tmp_path / "in", checksum=None, cuts=[300_000, 0], tag='"one"')
    other = bytes(reversed(CONTENT))
    assert got(server, tmp_path / "in", checksum=None, content=other, tag='"two"').read_bytes() == other


@pytest.mark.parametrize("mark", [{}, {"tag": 'W/"weak"'}])
def test_without_checksum_and_mark_all_is_fetched_again(server, tmp_path, mark):
    assert got(server, tmp_path / "in", checksum=None, cuts=[300_000], **mark).read_bytes() == CONTENT
    assert server.ranges() == [None, None]


def test_a_part_that_is_whole_is_not_asked_for(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    assert got(server, tmp_path).read_bytes() == CONTENT
    assert server.ranges() == []
    (tmp_path / "b.bin.part").write_bytes(CONTENT)
    assert got(server, tmp_path, name="b.bin", size=None).read_bytes() == CONTENT
    assert server.sent() == [0]


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_part_that_is_too_long_is_dropped(server, tmp_path, size):
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    assert got(server, tmp_path, size=size).read_bytes() == CONTENT


def test_a_login_page_costs_no_part(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:300_000])
    with pytest.raises(DataError, match="it has 6 bytes instead of"):
        got(server, tmp_path, content=b"<html>", ranges=False)
    assert got(server, tmp_path, ranges=True).read_bytes() == CONTENT
    assert server.sent()[-1] == SIZE - 300_000


def test_a_damaged_note_says_nothing(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:300_000])
    (tmp_path / "a.bin.part.json").write_text("[", encoding="utf-8")
    assert got(server, tmp_path).read_bytes() == CONTENT
    assert server.sent() == [SIZE - 300_000]


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({"status": 404}, r"the server has no such file \(404\)"),
        ({"status": 403}, r"the server refuses it \(403\)"),
        ({"status": 429}, r"asked too often \(429\)"),
        ({"status": 500}, r"has trouble \(500\): try again later"),
        ({"status": 503}, r"has trouble \(503\): try again later"),
        ({"status": 418}, "answers with status 418"),
        ({"pause": 0.6, "timeout": (5.0, 0.2)}, "nothing came for 0.2 seconds"),
        ({"cuts": [0]}, "the connection was dropped"),
        ({"content": CONTENT[:-1] + b"?"}, "is not the file that was expected .*removed"),
        ({"content": CONTENT[:-1]}, "it has 1,023,999 bytes instead of 1,024,000"),
        ({"content": CONTENT[:-1], "length": False}, "it has 1,023,999 bytes instead of 1,024,000"),
        ({"content": CONTENT + b"?", "length": False}, "is longer than it should be"),
        ({"content": CONTENT, "length": SIZE - 1}, "it has 1,023,999 bytes instead of 1,024,000"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(server, tmp_path, ways, said):
    with pytest.raises(DataError, match=said) as caught:
        got(server, tmp_path / "in", **ways)
    assert "a.bin" in str(caught.value)
    assert str(caught.value).count("\n") == 0
    assert not (tmp_path / "in" / "a.bin").exists()


def test_silence_is_a_dropped_connection(server, tmp_path):
    server.go_on.clear()
    assert got(server, tmp_path / "in", hold=300_000, timeout=(5.0, 0.2)).read_bytes() == CONTENT
    server.go_on.set()
    starts = [0 if asked is None else int(asked.removeprefix("bytes=")[:-1]) for asked in server.ranges()]
    assert len(starts) == 4
    lost = [300_000 - (later - earlier) for earlier, later in itertools.pairwise(starts)]
    assert all(0 <= each < 1 << 14 for each in lost)


def test_hosts_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wrong = {
        f"http://127.0.0.1:{port}/a": "the host refuses the connection",
        "http://no-such-host.invalid/a": "the host is unknown, or this machine is offline",
        "http://[/a": "cannot be fetched",
    }
    for url, said in wrong.items():
        with pytest.raises(DataError, match=said):
            fetch(File(url, "a", 1, None), url, tmp_path, None, failure_hint="look elsewhere")
    assert list(tmp_path.iterdir()) == []


# ---- a set -----------------------------------------------------------------------------------------------------------


def test_a_set_is_fetched_unpacked_and_found(server, monkeypatch):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES)))
    folder = download(wanted, cache_folder())
    assert folder == located("sst-trees") == cache_folder() / "sst-trees"
    assert sorted(files_of(folder)) == ["trees/dev.txt", "trees/train.txt"]
    assert find(folder, "train.txt").read_bytes() == b"(2 (2 a) (2 b))\n"
    assert sorted(path.name for path in cache_folder().iterdir()) == [".incoming", "sst-trees", "sst-trees.json"]
    assert [path.name for path in (cache_folder() / ".incoming").iterdir()] == ["sst-trees.lock"]
    record = json.loads((cache_folder() / "sst-trees.json").read_text("utf-8"))["files"]["trees.zip"]
    assert (record["size"], f"sha256:{record['sha256']}") == (len(TREES), sha256(TREES))
    assert download(wanted, cache_folder()) == folder
    assert len(server.ranges()) == 1


def test_looking_for_a_set_fetches_nothing(monkeypatch):
    monkeypatch.setattr(requests, "get", lambda *_, **__: pytest.fail("something was asked for"))
    for name in (*SOURCES, *ALIASES, "ucr:Coffee", "uea:BasicMotions"):
        with pytest.raises(DataError, match=r"is not here \(.*; licence: .*'xrnnbench download .*--data-dir"):
            located(name)
    for name in ("sst-tree", "ucr:", "ucr:../x", "ucr:a/b", "nothing:ECG200", ""):
        with pytest.raises(UnknownNameError, match="There is no data set named"):
            located(name)


def test_several_files_come_into_one_folder(server, monkeypatch):
    files = {"one.tar.gz": tar_of(("./a.txt", b"1")), "two.tar.gz": tar_of(("b.txt", b"2")), "plain.csv": b"c,d\n"}
    sources = [one_file(server.serve(f"/{name}", content), content, name=name)[0] for name, content in files.items()]
    folder = download(known(monkeypatch, files=tuple(sources)), cache_folder())
    assert files_of(folder) == {"a.txt": b"1", "b.txt": b"2", "plain.csv": b"c,d\n"}


def test_what_has_come_is_kept_when_the_next_file_fails(server, monkeypatch):
    first, second = one_file(server.serve("/a.csv", b"a"), b"a", name="a.csv")[0], File("", "b.csv", 1, sha256(b"b"))
    wanted = known(monkeypatch, files=(first, dataclasses.replace(second, url=f"{server.url}/b.csv")))
    with pytest.raises(DataError, match=r"404.*; if you have it from elsewhere, put it into sst-trees/ of the folder"):
        download(wanted, cache_folder())
    assert not (cache_folder() / "sst-trees").exists()
    server.serve("/b.csv", b"b")
    assert files_of(download(wanted, cache_folder())) == {"a.csv": b"a", "b.csv": b"b"}
    assert [each.path for each in server.requests()] == ["/a.csv", "/b.csv", "/b.csv"]


@pytest.mark.parametrize("content", [OTHERS, TREES[:-40], b"<html>", b""])
def test_nothing_wrong_touches_what_is_there(server, monkeypatch, content):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES)))
    before = files_of(download(wanted, cache_folder()))
    url = server.serve("/trees.zip", content)
    # published anew: what is there no longer is what is published
    newer = dataclasses.replace(wanted, files=one_file(url, TREES + b"newer"))
    assert downloaded_folder(newer, cache_folder()) is None
    with pytest.raises(DataError):
        download(newer, cache_folder())
    # a bad archive with the right checksum
    if content != OTHERS:
        with pytest.raises(DataError, match="cannot be unpacked"):
            download(dataclasses.replace(wanted, files=one_file(url, content)), cache_folder())
    assert files_of(cache_folder() / "sst-trees") == before
    assert located("sst-trees")
    right = known(monkeypatch, files=one_file(server.serve("/trees.zip", OTHERS), OTHERS))
    assert files_of(download(right, cache_folder())) == {"trees/train.txt": b"something else\n"}


def test_a_checksum_that_is_not_published_is_held_to(server, monkeypatch):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES), checksum=None))
    folder = download(wanted, cache_folder())
    shutil.rmtree(folder)
    server.serve("/trees.zip", OTHERS + bytes(len(TREES) - len(OTHERS)))
    with pytest.raises(DataError, match=r"from the first download, as none is published: .* remove .*sst-trees\.json"):
        download(wanted, cache_folder())
    assert not folder.exists()
    server.serve("/trees.zip", TREES)
    assert download(wanted, cache_folder()) == folder
    (cache_folder() / "sst-trees.json").write_text("{", encoding="utf-8")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"record .* cannot be read: remove it"):
        download(wanted, cache_folder())


def test_a_page_instead_of_an_archive_is_not_found_again(server, monkeypatch):
    """Without a checksum it takes the unpacking to see that it is none."""
    file = File(server.serve("/trees.zip", b"<html>log in first</html>"), "trees.zip")
    wanted = known(monkeypatch, files=(file,))
    with pytest.raises(DataError, match="cannot be unpacked"):
        download(wanted, cache_folder())
    assert not (cache_folder() / "sst-trees.json").exists()
    server.serve("/trees.zip", TREES)
    assert download(wanted, cache_folder())


def test_a_mirror_gives_the_same_files_or_none(server, monkeypatch):
    known(monkeypatch, files=one_file("http://no-such-host.invalid/trees.zip"))
    wanted = source("sst-trees")
    monkeypatch.setenv(downloads.MIRROR, f"{server.url}/mirror/")
    server.serve("/mirror/sst-trees/trees.zip", OTHERS + bytes(len(TREES) - len(OTHERS)))
    with pytest.raises(DataError, match="is not the file that was expected"):
        download(wanted, cache_folder())
    server.serve("/mirror/sst-trees/trees.zip", TREES)
    assert download(wanted, cache_folder())
    assert downloads.address(source("ucr:Coffee"), source("ucr:Coffee").files[0]).endswith("/ucr-Coffee/Coffee.zip")
    monkeypatch.setenv(downloads.MIRROR, "ftp://mirror")
    with pytest.raises(DataError, match="begins with http"):
        downloads.address(wanted, wanted.files[0])


def test_a_crash_leaves_nothing_half_unpacked(server, monkeypatch):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES)))

    def dying(path, folder):
        (folder / "half").write_bytes(b"1")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(downloads, "unpack", dying)
        with pytest.raises(KeyboardInterrupt):
            download(wanted, cache_folder())
    assert not (cache_folder() / "sst-trees").exists()
    # what a killed process could not even clear away
    (cache_folder() / ".incoming" / "sst-trees.x.unpacked").mkdir()
    download(wanted, cache_folder())
    assert [path.name for path in (cache_folder() / ".incoming").iterdir()] == ["sst-trees.lock"]
    assert len(server.ranges()) == 1


def test_what_the_system_refuses_is_one_sentence(server, monkeypatch, tmp_path):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES)))
    (tmp_path / "file").write_bytes(b"")
    for base in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=r"cannot be kept in .*: choose another folder, with --data-dir"):
            download(wanted, base)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("unpack", "fetch"):
        with monkeypatch.context() as patch:
            patch.setattr(downloads, name, full)
            with pytest.raises(DataError, match=r"\(the disk is full\): make room"):
                download(wanted, tmp_path / "full")
    assert not (tmp_path / "full" / "sst-trees").exists()


def test_one_run_waits_for_another_to_unpack(data, monkeypatch):
    known(monkeypatch, files=one_file("http://no-such-host.invalid/trees.zip"))
    (data / "sst-trees").mkdir()
    (data / "sst-trees" / "trees.zip").write_bytes(TREES)
    lock = filelock.FileLock(cache_folder() / ".incoming" / "sst-trees.lock", thread_local=False)
    Path(lock.lock_file).parent.mkdir(parents=True)
    lock.acquire()
    threading.Timer(0.3, lock.release).start()
    assert located("sst-trees") == cache_folder() / "sst-trees"
    monkeypatch.setattr(downloads, "_PATIENCE", 0.1)
    (cache_folder() / "sst-trees").rename(data / "away")
    with lock, pytest.raises(DataError, match="wait for it"):
        located("sst-trees")


def test_one_process_at_a_time(server, monkeypatch):
    wanted = known(monkeypatch, files=one_file(server.serve("/trees.zip", TREES)))
    lock = cache_folder() / ".incoming" / "sst-trees.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock), pytest.raises(DataError, match="by another process"):
        download(wanted, cache_folder())


# ---- what the user put there ----------------------------------------------------------------------------------------


def test_unpacked_files_are_taken_as_they_lie(data):
    for name in ("sst-trees", "ucr-ECG200", "ecg5000", "etth1"):
        (data / name).mkdir()
        (data / name / "a.txt").write_bytes(b"1")
    assert located("sst-trees") == data / "sst-trees"
    assert located("ucr:ECG200") == located("ecg200") == data / "ucr-ECG200"
    assert located("ecg5000") == data / "ecg5000"
    assert located("etth1") == data / "etth1"
    (data / "imdb").mkdir()
    with pytest.raises(DataError, match="is not here"):
        located("imdb")


def test_archives_are_verified_and_unpacked_once_into_the_cache(data, monkeypatch):
    known(monkeypatch, files=one_file("http://no-such-host.invalid/trees.zip"))
    (data / "sst-trees").mkdir()
    archive = data / "sst-trees" / "trees.zip"
    archive.write_bytes(OTHERS)
    with pytest.raises(DataError, match=r"trees\.zip is not the file that was expected"):
        located("sst-trees")
    assert not (cache_folder() / "sst-trees").exists()
    archive.write_bytes(TREES)
    (data / "sst-trees" / "README.md").write_bytes(b"from the publisher")
    folder = located("sst-trees")
    assert folder == cache_folder() / "sst-trees"
    assert sorted(files_of(folder)) == ["trees/dev.txt", "trees/train.txt"]
    assert sorted(path.name for path in (data / "sst-trees").iterdir()) == ["README.md", "trees.zip"]
    monkeypatch.setattr(downloads, "unpack", lambda *_: pytest.fail("unpacked again"))
    assert located("sst-trees") == folder


def test_some_of_the_archives_are_not_enough(data):
    (data / "multi30k").mkdir()
    (data / "multi30k" / "training.tar.gz").write_bytes(b"1")
    with pytest.raises(DataError, match=r"lacks validation\.tar\.gz, mmt16_task1_test\.tar\.gz: add the missing files"):
        located("multi30k")
    (data / "multi30k" / "train.en").write_bytes(b"unpacked\n")
    assert located("multi30k") == data / "multi30k"


def test_another_file_than_the_published_is_logged(data, caplog):
    (data / "trec").mkdir()
    (data / "trec" / "TREC_10.label").write_bytes(b"NUM:dist How far ?\n")
    with caplog.at_level(logging.WARNING):
        assert located("trec") == data / "trec"
    assert "TREC_10.label is not the file that was published" in caplog.text


def test_a_data_folder_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="is not a folder"):
        located("trec")


def test_files_are_found_wherever_they_lie(tmp_path):
    for name in ("a/train.txt", "b/deep/train.txt", "b/test.txt", "._test.txt", "dev.txt", "a/dev.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert find(tmp_path, "test.txt") == tmp_path / "b" / "test.txt"
    assert find(tmp_path, "a/train.txt") == tmp_path / "a" / "train.txt"
    assert find(tmp_path, "deep/train.txt") == tmp_path / "b" / "deep" / "train.txt"
    assert find(tmp_path, "dev.txt") == tmp_path / "dev.txt"
    assert find(tmp_path, "deep") == tmp_path / "b" / "deep"
    with pytest.raises(DataError, match=r"several 'train\.txt'"):
        find(tmp_path, "train.txt")
    with pytest.raises(DataError, match=r"There is no 'tra\*\.txt' in"):
        find(tmp_path, "tra*.txt")


# ---- what is known of the sets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SOURCES, "ucr:Coffee", "uea:BasicMotions"])
def test_every_source_says_what_it_is(name):
    each = source(name)
    assert isinstance(each, Source)
    assert each.name == name
    assert all((each.about, each.licence, each.citation, each.page.startswith("http"), each.extent))
    assert folder_name(name) == each.folder
    assert ":" not in each.folder
    assert len({file.name for file in each.files}) == len(each.files) > 0
    for file in each.files:
        assert file.url.startswith(("http://", "https://"))
        assert file.size is None or file.size > 0
        algorithm, _, digits = (file.checksum or f"sha256:{0:064}").partition(":")
        assert len(bytes.fromhex(digits)) == {"sha256": 32, "md5": 16}[algorithm]


def test_sizes_in_words():
    assert source("sst-trees").extent == "789.5 kB"
    assert source("ucr:Coffee").extent == "size unknown"
    files = (File("", "a", 2_000_000), File("", "b"))
    assert dataclasses.replace(source("sst-trees"), files=files).extent == "at least 2.0 MB"


# ---- genuine files ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


def served(server, name, files):
    """Give the source of a set with the files there are: re-packed ones are held to their own checksums."""
    changed = []
    for file in source(name).files:
        if file.name not in files:
            continue
        content = files[file.name].read_bytes()
        url = server.serve(f"/{file.name}", content)
        same = file.size in {None, len(content)} and file.checksum is not None
        matches = same and records.checksum_of(files[file.name], file.checksum) == file.checksum
        changed.append(dataclasses.replace(file, url=url) if matches else one_file(url, content, name=file.name)[0])
    return dataclasses.replace(source(name), files=tuple(changed))


# Of the thousands of documents, recordings and patients, so many are enough for the way.
MANY = 150
# Published files of which genuine copies are there: what is served is held to the checksum in the register.
GENUINE = {
    "ag-news": {"test.csv"},
    "trec": {"train_5500.label", "TREC_10.label"},
    "multi30k": {"training.tar.gz", "validation.tar.gz", "mmt16_task1_test.tar.gz"},
    "physionet2012": {"Outcomes-a.txt"},
}


@pytest.mark.parametrize("name", SETS)
def test_genuine_sets_come_through_the_real_way(server, shared, tmp_path, monkeypatch, name):
    files = archived(name, shared, MANY)
    wanted = served(server, name, files)
    published = {file.name: file.checksum for file in source(name).files}
    assert {file.name for file in wanted.files if file.checksum == published[file.name]} == GENUINE.get(name, set())
    monkeypatch.setitem(SOURCES, name, wanted)
    folder = download(wanted, cache_folder())
    assert located(name) == folder
    expected = files_of(laid(name, shared / "content"))
    assert files_of(folder) == expected
    # the same archives in a data folder, and a server that is not asked
    server.forget()
    folder.rename(tmp_path / "away")
    monkeypatch.setenv(downloads.VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data" / wanted.folder).mkdir(parents=True)
    for file in wanted.files:
        (tmp_path / "data" / wanted.folder / file.name).symlink_to(files[file.name])
    assert files_of(located(name)) == expected
    assert server.ranges() == []


@pytest.mark.parametrize("count", ["9" * 5000, "٣", "²", "", "-1"])
def test_numbers_of_a_server_that_are_none_count_as_unknown(tmp_path, count):
    response = requests.Response()
    response.headers = {"Content-Length": count, "Content-Range": f"bytes {count}-{count}/{count}"}
    downloader = fetching._ResumingDownloader(
        File("http://x", "x"), tmp_path / "x.part", None, fetching.SilentProgress(), (1, 1), ""
    )
    assert downloader._total(response, 0) is None
    assert fetching._range_of(response) == (None, None)


def test_a_folder_that_cannot_be_read_is_said(monkeypatch):
    def refused(place):
        raise PermissionError(errno.EACCES, "Permission denied", str(place))

    monkeypatch.setattr(downloads, "_is_filled", refused)
    with pytest.raises(
        DataError, match=r"'trec' cannot be looked up \(Permission denied: .*\): make its folder readable"
    ):
        located("trec")


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe, not a file"):
        records.checksum_of(tmp_path / "pipe", "sha256:0")


def test_the_page_has_a_row_for_every_set():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = [(each.name, each.about, each.extent, each.licence, each.citation) for each in SOURCES.values()]
    assert rows == [f"| `{name}` | {' | '.join(facts)} |" for name, *facts in expected]
