"""Whatever a file holds, its reader returns, or refuses it in one sentence of the project's own."""

import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import UsageError, XrnnbenchWarning
from xrnnbench.tasks import readers
from xrnnbench.tasks.readers.written import shown

from .hostile import KINDS, damaged
from .reader_table import READERS

LONGEST = 600
STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=4
)
CONTENTS = st.one_of(
    STEPS.map(lambda steps: lambda valid: damaged(valid, steps)),
    st.binary(max_size=300).map(lambda content: lambda valid: content),
    st.text(max_size=300).map(lambda text: lambda valid: text.encode("utf-8", "surrogatepass")),
)


def read(reader, content):
    """Read a file of some content; what a reader refuses, it has to say in a short sentence."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", XrnnbenchWarning)
        try:
            reader(folder, content)
        except UsageError as error:
            said = str(error).replace(folder, "")
            assert said.endswith((".", "?")), said
            assert said.isprintable(), said
            assert len(said) < LONGEST, said


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_damaged_here_can_be_read(name, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XrnnbenchWarning)
        READERS[name](tmp_path, READERS[name].valid)


def test_every_module_of_readers_is_damaged_here():
    modules = {path.stem for path in Path(readers.__file__).parent.glob("*.py")} - {"__init__"}
    assert {module for reader in READERS.values() for module in reader.modules} == modules


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=CONTENTS)
def test_damaged_files_are_read_or_refused(name, content):
    read(READERS[name], content(READERS[name].valid))


@pytest.mark.full
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=CONTENTS)
def test_many_damaged_files_are_read_or_refused(name, content):
    read(READERS[name], content(READERS[name].valid))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("name", [name for name in READERS if name not in {"frame", "arrays-member"}])
def test_folders_and_pipes_in_the_place_of_a_file_are_refused(name, tmp_path):
    reader = READERS[name]
    for place, put in (("folder", Path.mkdir), ("pipe", os.mkfifo)):
        (tmp_path / place).mkdir()
        for other, content in reader.beside:
            (tmp_path / place / other).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / other).write_bytes(content)
        (tmp_path / place / reader.name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / place / reader.name)
        with pytest.raises(UsageError) as caught:
            reader.read(tmp_path / place)
        assert len(str(caught.value)) < LONGEST


# Small files that claim much, or would need much: written and read in a process of its own, whose memory is measured.
GREEDY = """
import struct, sys, zipfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
import reader_table
from xrnnbench.errors import UsageError

folder = Path(sys.argv[2])


def refused(name, content=None, why=""):
    reader = reader_table.READERS[name]
    try:
        reader(folder, content) if content is not None else reader.read(folder)
    except UsageError as error:
        print(str(error)[:200])
        assert why in str(error), error
    else:
        raise SystemExit(f"{name} was read")


def compressed(name, size, member):
    about = str({"descr": "|u1", "fortran_order": False, "shape": (size,)}).encode()
    with (
        zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file,
        file.open(member, "w", force_zip64=True) as out,
    ):
        out.write(b"\\x93NUMPY\\x01\\x00v\\x00" + about.ljust(117) + b"\\n")
        for _ in range(size >> 24):
            out.write(bytes(1 << 24))


compressed("a.npz", 1 << 30, "inputs.npy")
assert (folder / "a.npz").stat().st_size < 2 << 20
refused("arrays", why="50 times as much")
claims = bytearray(reader_table.wav())
claims[40:44] = struct.pack("<I", 0xFFFFFFF0)
refused("audio", bytes(claims), "claims 4,294,967,280 bytes")
fast = bytearray(reader_table.wav())
fast[24:32] = struct.pack("<II", 2_000_000_000, 4_000_000_000)
refused("audio", bytes(fast), "claims 2,000,000,000 samples")
long = "z" * 1_000_000
ids = "".join(f"{row},{row % 3},{'ab'[row % 2]},1,{row % 2},train,n\\n" for row in range(4000))
heading = "id,hour,ward,pulse,y,part,note\\n"
reader_table.READERS["table-long"](folder, f"{heading}{long},0,b,2,1,train,n\\n{ids}".encode())
steps = "".join(f"x,{step},a,{step},1,train,n\\n" for step in range(60_000))
refused("table-long", f"{heading}{steps}{ids}".encode(), "has 60,000 steps")
with (folder / "d.csv").open("wb") as file:
    file.truncate(1 << 42)  # of which the disk holds nothing
refused("table", why="of memory are free")
with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("a", "w") as out:
    for _ in range(256):
        out.write(bytes(1 << 20))
refused("unpacking-zip", why="unpacks to more than")
"""


@pytest.mark.full
def test_small_files_that_claim_much_take_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    peak = max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, before)
    assert peak < 1 << 20, f"{peak >> 10} MiB"  # in KiB on Linux


def test_messages_show_the_beginning_of_a_text_on_one_line():
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 60) == repr("x" * 60)
    assert shown("x" * 61) == f"'{'x' * 60}'…"
