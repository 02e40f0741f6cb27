import errno
import os

import pytest

from xrnnbench.atomic import write_all_atomically, write_atomically


def test_file_is_written_with_its_folders(tmp_path):
    write_atomically(tmp_path / "a" / "b", b"one")
    write_atomically(tmp_path / "a" / "b", b"two")
    assert (tmp_path / "a" / "b").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_file_has_the_mode_of_any_other(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    write_atomically(tmp_path / "file", b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_files_that_belong_together_are_replaced_only_when_all_are_written(tmp_path, monkeypatch):
    paths = [tmp_path / "scores", tmp_path / "archive"]
    write_all_atomically(dict.fromkeys(paths, b"old").items())
    synced = []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("xrnnbench.atomic.os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_all_atomically(dict.fromkeys(paths, b"new").items())
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    write_all_atomically(dict.fromkeys(paths, b"new").items())
    assert [path.read_bytes() for path in paths] == [b"new", b"new"]


def test_no_file_takes_the_place_of_a_pipe_a_device_or_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "link", "folder"):
        with pytest.raises(OSError, match=r"device or a pipe|directory"):
            write_atomically(tmp_path / name, b"")
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe"]


def test_a_name_of_any_length_that_a_file_may_have(tmp_path):
    write_atomically(tmp_path / ("n" * 255), b"whole")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"whole"
