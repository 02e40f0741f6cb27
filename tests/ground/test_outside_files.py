"""What a file claims is compared with what it is, before memory is taken for it."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from xrnnbench import outside_files
from xrnnbench.errors import DataError
from xrnnbench.outside_files import read_arrays, read_bytes

ARRAYS = {"inputs": np.arange(24.0).reshape(2, 4, 3), "lengths": np.array([4, 2]), "ids": np.array(["a", "bb"])}


def zipped(path, **members):
    """An archive of members by their names, compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def header(text):
    """An ``.npy`` file that has only a header."""
    written = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(written)) + written


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(tmp_path, save):
    more = {"fortran": np.asfortranarray(ARRAYS["inputs"]), "big": np.arange(3, dtype=">i4"), "none": np.zeros((0, 3))}
    save(tmp_path / "a.npz", **ARRAYS, **more)
    found = read_arrays(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as expected:
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
            assert found[name].flags.writeable


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (npy(np.array([print], dtype=object), allow_pickle=True), "holds Python objects, which could run code"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,)}"),
            "claims the shape (10000000000,)",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "claims the shape (-1,)"),
        (header("{'descr': '<U0', 'fortran_order': False, 'shape': (10000000000,)}"), "claims the shape"),
        (header("[" * 9000), "is not a .npz file of plain arrays"),
        (header("-" * 9000 + "1"), "is not a .npz file of plain arrays"),
        (header("{" + "1:" * 20), "is not a .npz file of plain arrays"),
        (b"\x93NUMPY\x09\x00", "is not a .npz file of plain arrays"),
        (b"no array", "is not a .npz file of plain arrays"),
        (b"", "is not a .npz file of plain arrays"),
    ],
)
def test_what_a_header_claims_is_not_believed(tmp_path, content, sentence):
    with pytest.raises(DataError) as caught:
        read_arrays(zipped(tmp_path / "a.npz", inputs=content))
    assert sentence in str(caught.value)


def test_arrays_far_larger_than_their_file_are_refused_and_the_way_out_works(tmp_path, monkeypatch):
    monkeypatch.setattr(outside_files, "ALWAYS_ALLOWED", 1 << 20)
    many = np.zeros(1 << 18)
    np.savez_compressed(tmp_path / "a.npz", inputs=many)
    with pytest.raises(DataError, match=r"would take 2\.1 MB of memory, over 50 times as much: if you trust it, write"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", **np.load(tmp_path / "a.npz"))
    assert np.array_equal(read_arrays(tmp_path / "b.npz")["inputs"], many)


def test_the_sizes_of_all_arrays_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setattr(outside_files, "ALWAYS_ALLOWED", 1 << 20)
    part = npy(np.zeros(100_000))
    with pytest.raises(DataError, match="over 50 times as much"):
        read_arrays(zipped(tmp_path / "a.npz", a=part, b=part))
    assert len(read_arrays(zipped(tmp_path / "b.npz", a=part))) == 1


def test_arrays_larger_than_the_free_memory_are_refused(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", inputs=np.zeros(1000))
    monkeypatch.setattr(outside_files, "free_memory", lambda: 4000)
    assert len(read_arrays(tmp_path / "a.npz")["inputs"]) == 1000
    monkeypatch.setattr(outside_files, "ALWAYS_ALLOWED", 5000)
    with pytest.raises(DataError, match=r"take 8\.1 kB of memory, and 4\.0 kB are free: give fewer sequences"):
        read_arrays(tmp_path / "a.npz")


def test_members_that_are_no_arrays_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("run.py", b"print()")
    with pytest.raises(DataError, match=r"holds 'run\.py', which is no array"):
        read_arrays(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_LZMA) as file:
        file.writestr("a.npy", npy(np.zeros(3)))
    with pytest.raises(DataError, match="compressed in an unusual way"):
        read_arrays(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as file:
        file.writestr("a.npy", npy(np.zeros(3)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.npy", npy(np.ones(3)))
    with pytest.raises(DataError, match="or is twice"):
        read_arrays(tmp_path / "c.npz")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    for path in (tmp_path / "a.npy", tmp_path):
        with pytest.raises(DataError, match=r"is not a \.npz file of plain arrays"):
            read_arrays(path)
    with pytest.raises(DataError, match=r"There is no file '.*none\.npz'\."):
        read_arrays(tmp_path / "none.npz")


def test_a_changed_byte_of_an_array_is_noticed(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    place = content.index(ARRAYS["inputs"].tobytes())
    content[place + 9] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"is not a \.npz file of plain arrays"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a named pipe, not a file"):
        read_bytes(tmp_path / "pipe")
    with pytest.raises(DataError, match="it is a named pipe, not a file"):
        read_arrays(tmp_path / "pipe")


def test_only_as_much_is_read_as_there_is_memory(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"x" * 2000)
    assert read_bytes(tmp_path / "a") == b"x" * 2000
    monkeypatch.setattr(outside_files, "free_memory", lambda: 1000)
    assert read_bytes(tmp_path / "a") == b"x" * 2000
    monkeypatch.setattr(outside_files, "ALWAYS_ALLOWED", 1500)
    with pytest.raises(OSError, match=r"it has 2\.0 kB, and 1\.0 kB of memory are free"):
        read_bytes(tmp_path / "a")


def test_names_that_no_file_has_are_an_error_of_the_system(tmp_path):
    for path in (tmp_path / "a\0b", tmp_path / ("x" * 5000), tmp_path / "none"):
        with pytest.raises(OSError):  # noqa: PT011  # whatever the system says
            read_bytes(path)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        read_bytes(tmp_path)
