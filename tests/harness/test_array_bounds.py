"""No array file is unpacked to more than its size allows."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.archive import Archive, write_archive
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results import array_files
from xrnnbench.harness.results.array_files import arrays_of, unpacked

from .conftest import cell_files, small_benchmark, write_sealed
from .results import results


def packed(**members):
    """An array file with these members as bytes, compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(text, version=1):
    """An ``.npy`` file with this header and some bytes."""
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text.encode() + bytes(64)


BOMB = packed(scores=npy(np.zeros(80 << 20, np.uint8)))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "read", pytest.fail)
    with pytest.raises(ValueError, match=r"^it claims to hold 83,886,208 bytes, and 67,108,864 are the most"):
        arrays_of(BOMB, ["scores"])


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-8,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (8.0,), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': ('<f8', (10000000000,)), 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '|V0', 'fortran_order': False, 'shape': (8,), }",
        "{'shape': (8,), }",
        "[1]",
        "(" * 60_000,
        "-" * 9_000 + "1",
        "\x00",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_lies_is_refused(text, version, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as file:
        file.writestr("scores.npy", header(text, version))
    with pytest.raises(ValueError, match=r"."):
        arrays_of(buffer.getvalue(), ["scores"])


def test_members_that_are_there_twice_encrypted_or_packed_otherwise_are_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("scores.npy", npy(np.zeros(3)))
    with pytest.raises(ValueError, match="packed in another way"):
        unpacked(buffer.getvalue(), None, 1 << 20)
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("scores.npy", npy(np.zeros(3)))
        with pytest.warns(match="Duplicate"):
            file.writestr("scores.npy", npy(np.ones(3)))
    with pytest.raises(ValueError, match="twice"):
        unpacked(buffer.getvalue(), None, 1 << 20)


def test_packed_arrays_of_an_ordinary_size_are_read():
    found = arrays_of(packed(scores=npy(np.asfortranarray(np.arange(6.0).reshape(2, 3)))), ["scores"])
    np.testing.assert_array_equal(found["scores"], np.arange(6.0).reshape(2, 3))


def test_a_cell_whose_arrays_are_a_bomb_is_damage(tmp_path):
    run = small_benchmark(tasks=("SmallTask",), metrics=("Size",), seeds=(0, 1)).run(tmp_path)
    cell_files(tmp_path, "small-*/slope-*/seed-0-0.npz")[0].write_bytes(BOMB)
    found = Run.load(run.folder)
    assert sum(cell is None for cell in found.cells.values()) == 1


OPENED = """
import sys
from pathlib import Path
from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.archive import Archive
try:
    Archive.load(sys.argv[1])
except UsageError as error:
    print(error)
# not ru_maxrss, which a process inherits from the one that has started it
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")))
"""


@pytest.mark.full
def test_an_archive_whose_scores_are_a_bomb_takes_no_memory(tmp_path):
    """A file of 2 MB that holds 2 GB, with the hash that its JSON states."""
    write_archive(results({"up": [0.1, 0.2, 0.4]}), tmp_path)
    path = tmp_path / "scores.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("single_3.npy", "w", force_zip64=True) as member,
    ):
        member.write(header("{'descr': '<f4', 'fortran_order': False, 'shape': (178956970, 3), }")[:-64])
        for _ in range(2048):
            member.write(bytes(1 << 20))
    content = json.loads((tmp_path / "archive.json").read_text("utf-8"))
    content["scores"] = hashlib.sha256(path.read_bytes()).hexdigest()
    write_sealed(tmp_path / "archive.json", content)
    done = subprocess.run([sys.executable, "-c", OPENED, tmp_path], capture_output=True, text=True, check=True)
    said, memory = done.stdout.splitlines()
    assert "it claims to hold 2,147,48" in said
    assert int(memory) < 1 << 20


def test_an_archive_with_arrays_of_another_kind_is_refused(tmp_path, monkeypatch):
    write_archive(results({"up": [0.1, 0.2, 0.4]}), tmp_path)
    monkeypatch.setattr(array_files, "unpacked", None)
    content = json.loads((tmp_path / "archive.json").read_text("utf-8"))
    for array in (np.array([["a", "b", "c"]]), np.zeros((1, 3, 2), np.float32), np.zeros((1, 3), complex)):
        np.savez_compressed(tmp_path / "scores.npz", single_3=array)
        content["scores"] = hashlib.sha256((tmp_path / "scores.npz").read_bytes()).hexdigest()
        write_sealed(tmp_path / "archive.json", content)
        with pytest.raises(UsageError, match="single_3 holds no scores"):
            Archive.load(tmp_path)
