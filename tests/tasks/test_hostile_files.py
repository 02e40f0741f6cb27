"""Whatever a file holds, its reader returns, or refuses it in one sentence of the project's own."""

import csv
import os
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import DataError, UsageError, XrnnbenchWarning
from xrnnbench.tasks import readers
from xrnnbench.tasks.data import padding
from xrnnbench.tasks.data.padding import padded
from xrnnbench.tasks.readers import ucr
from xrnnbench.tasks.readers.tables import read_table
from xrnnbench.tasks.readers.written import shown

from .hostile import KINDS, damaged
from .reader_table import DATES, ENTRY, NUMBERS, OUTCOMES, READERS, STAY, TEXTS, TS, WIDE, float_wav, forecast, wav

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
    refusal = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XrnnbenchWarning)
        try:
            READERS[name](tmp_path, READERS[name].valid)
        except UsageError as error:
            refusal = error
    assert refusal is None


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


# What was read silently wrong before, or ended in a traceback: reader, content, what is said of it.
NAMED = (
    ("ucr-header", TS.replace(b"@dimensions 2", "@dimensions ²".encode()), "line 5: @dimensions must be followed"),
    ("ucr-header", TS.replace(b"@dimensions 2", b"@dimensions " + b"9" * 5000), "@dimensions must be followed"),
    ("ucr-header", TS.replace(b"1,2,3:", b"1,,3:"), "line 9: a field is empty, where '?' is a missing value"),
    ("ucr-header", TS.replace(b"1,2,3:", b"1,1_0,3:"), "line 9: '1_0' is no number"),
    ("ucr-header", TS.replace(b"1,2,3:", "1,٣,3:".encode()), "line 9: '٣' is no number"),
    ("ucr-header", TS.replace(b"1,2,3:", b"1,1e39,3:"), "line 9: a value is too large: numbers go up to 3.4e+38"),
    ("ucr-header", TS.replace(b"1,2,3:", b"1,1e400,3:"), "line 9: a value is infinite"),
    ("ucr-text", b"? 1 2\n", "line 1: there is no class before the values"),
    ("ucr-text", b"1 1 2\nNaN 1 2\n", "line 2: there is no class before the values"),
    ("ucr-commas", b",\n", "line 1: there is no class before the values"),
    ("ucr-commas", b"1,2,,4\n", "line 1: a field is empty"),
    ("ucr-commas", b"1,2,3,\n", "line 1: a field is empty"),
    ("physionet-outcomes", OUTCOMES.replace(b"132540", "²".encode()), "line 3: '²,16,1' is no outcome"),
    ("physionet-outcomes", OUTCOMES.replace(b"132540", b"1" * 5000), "is no outcome"),
    ("physionet-outcomes", OUTCOMES.replace(b"16", b"1" * 200_000), "line 3: it is no row of comma-separated values"),
    ("physionet-stay", STAY.replace(b"132539", b"1.5"), "line 2: 1.5 is no RecordID, which is a whole number"),
    ("physionet-stay", STAY.replace(b",86", b",8_6"), "line 6: '8_6' is no number"),
    ("physionet-stay", STAY.replace(b",86", b",1e39"), "line 6: '1e39' is too large"),
    ("physionet-stay", STAY.replace(b",86", b",inf"), "line 6: 'inf' is not finite"),
    ("physionet-stay", STAY.replace(b"47:", "٤٧:".encode()), "is not of the form HH:MM,Parameter,Value"),
    ("alignments-naacl", b"1 1 " + b"9" * 5000, "expected 'sentence source target'"),
    ("alignments-pharaoh", b"0-" + b"9" * 5000, "expected links such as '0-0'"),
    ("alignments-pharaoh", "0-٣".encode(), "expected links such as '0-0'"),
    ("eraser", b"[" * 100_000, "line 1 is no JSON that can be read (its brackets are nested too deeply)"),
    ("eraser", b'{"a": ' + b"9" * 5000 + b"}", "it holds a number of thousands of digits"),
    ("eraser", ENTRY.replace(b"a.txt", b"a\\ud800"), "half of a surrogate pair in 'annotation_id'"),
    ("eraser", ENTRY.replace(b"a.txt", b"../a.txt"), "which is no plain file name"),
    ("eraser", ENTRY.replace(b"a.txt", b"a\\u0000"), "which is no plain file name"),
    ("eraser", ENTRY.replace(b"a.txt", b"a" * 300), "which is no plain file name"),
    ("eraser", ENTRY.replace(b": 1,", b": true,"), "has evidence from token True to 3"),
    ("eraser", ENTRY.replace(b'"very good"', b"null"), "has evidence whose text is not that of the tokens 1 to 3"),
    ("ptb", b"(" + b"9" * 5000 + b" a)", "not with a label"),
    ("audio", wav()[:36], "it has no chunk of sound, or none of its format"),
    ("audio", wav()[:22] + b"\0\0" + wav()[24:], "it has no channels"),
    ("audio", wav()[:40] + b"\xff" * 4 + wav()[44:], "claims 4,294,967,295 bytes of sound, and 2,400 follow"),
    ("audio", wav()[:24] + b"\0" * 8 + wav()[32:], "claims 0 samples a second"),
    ("audio", wav()[:34] + b"\x03\0" + wav()[36:], "it claims samples of 3 bits, and 2 bytes for 1 of them"),
    ("audio-float", float_wav()[:32] + b"\x10\0" + float_wav()[34:], "samples of 32 bits, and 16 bytes for 2 of them"),
    ("audio", wav()[:32] + b"\x03\0" + wav()[34:], "is no wav file that can be read"),
    ("audio", wav()[:20] + b"\x55\0" + wav()[22:], "is no wav file that can be read (Unknown wave file format"),
    ("audio-float", float_wav().replace(struct.pack("<f", -1), struct.pack("<f", np.nan)), "that is no number"),
    ("checksums", b"[" * 100_000, "cannot be read: remove it"),
    ("trec", b"DESC:manner" + b" " * 200_000, "is not of the form 'COARSE:fine question'"),
    ("docstrings", b"x = " + b"9" * 5000, "is no Python source"),
    ("docstrings", b"x = " + b"(" * 10_000, "is no Python source"),
    ("docstrings", b'def f():\n    "\\ud800"', "the docstring of f holds no text that UTF-8 can write"),
    ("table", b"\na,b\n1,2\n", "d.csv, row 1, is blank, and must name the columns: remove the blank line"),
    ("table", b"\r\r\n", "d.csv is empty"),
    ("table", b"a,b\n1,\0\n", "holds a zero byte, which is no text in utf-8"),
    ("table", b"a,a\n1,2\n", "names two columns 'a'"),
    ("table", b'a,b\n1,"2\n', "a quote is not closed"),
    ("table-wide", WIDE.replace(b"8.5", b"8_5"), "holds '8_5', which is no number"),
    ("table-wide", WIDE.replace(b"8.5", "٣".encode()), "holds '٣', which is no number"),
    ("table-wide", WIDE.replace(b"8.5", b"1e39"), "row 4, column 'b' holds '1e39', which is too large"),
    ("table-wide", WIDE.replace(b"8.5", b"1e400"), "column 'b' holds '1e400', which is too large"),
    ("table-text", TEXTS.replace(b".5", b"1e400"), "holds '0 1 1e400 0': write a number for each word"),
    ("table-text", TEXTS.replace(b".5", b"nan"), "holds '0 1 nan 0': write a number for each word"),
    ("table-dates", DATES.replace(b"2024-01-02", b"0000-01-01"), "is out of range: dates go from 1678 to 2262"),
    ("table-dates", DATES.replace(b"2024-01-02", b"9999-12-31"), "row 3, column 't' is out of range"),
    ("table-dates", DATES.replace(b"2024-01-02", b"10000-01-01"), "holds '10000-01-01', which is no time"),
    ("table-dates", DATES.replace(b"2024-01-02", b"1700-01-01"), "is over 292 years after the first"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "content", "sentence"), NAMED)
def test_what_was_read_wrongly_before_is_refused_in_a_sentence(name, content, sentence, tmp_path):
    with pytest.raises(UsageError) as caught:
        READERS[name](tmp_path, content)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("pattern", ["%", "%Q", "%Y %Y", "%U", "%s", "\\"])
def test_a_time_format_that_is_none_is_refused(pattern, tmp_path):
    (tmp_path / "d.csv").write_bytes(DATES)
    with pytest.raises(UsageError, match="time"):
        forecast(time_format=pattern)(tmp_path)


@pytest.mark.parametrize("gap", ["NaT", "nan", "soon", "99999999999999D"])
def test_a_gap_that_is_no_span_is_refused(gap, tmp_path):
    for content in (DATES, NUMBERS):
        (tmp_path / "d.csv").write_bytes(content)
        with pytest.raises(UsageError, match="does not fit"):
            forecast(gap=gap)(tmp_path)


def test_two_dates_and_two_time_zones_are_read_in_order(tmp_path):
    (tmp_path / "d.csv").write_text("t\n2024-01-01T00:00+05:00\n2024-01-01T00:00Z\n")
    found = read_table(tmp_path / "d.csv").times("t")
    assert np.diff(found).tolist() == [5 * 3_600_000_000_000]


def test_a_document_of_any_length_is_one_cell(tmp_path):
    (tmp_path / "d.csv").write_text(f"text,y\n{'word ' * 100_000},a\nother,b\n")
    limit = csv.field_size_limit()
    assert len(read_table(tmp_path / "d.csv").texts("text")[0]) == 499_999
    assert csv.field_size_limit() == limit


def test_large_classes_that_differ_stay_two_classes(tmp_path):
    (tmp_path / "a.txt").write_text("9007199254740993 1\n9007199254740992 2\n-1.0 3\n")
    assert ucr.read_table(tmp_path / "a.txt").classes == ("-1", "9007199254740992", "9007199254740993")


def test_padding_that_takes_more_than_it_pads_is_refused(monkeypatch):
    assert padded([torch.ones(3), torch.ones(1)]).tolist() == [[1, 1, 1], [1, 0, 0]]
    monkeypatch.setattr(padding, "ALWAYS_ALLOWED", 1000)
    with pytest.raises(
        DataError, match=r"One of 201 sequences has 200 steps, .* would take 160\.8 kB of memory: cut it"
    ):
        padded([torch.ones(200), *[torch.ones(1)] * 200])
    monkeypatch.setattr(padding, "free_memory", lambda: 100)
    assert len(padded([torch.ones(100), torch.ones(100)])) == 2
    with pytest.raises(DataError, match="would take"):
        padded([torch.ones(200), torch.ones(200)])


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
# not ru_maxrss, which a process inherits from the one that has started it
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")))
"""


@pytest.mark.full
def test_small_files_that_claim_much_take_no_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", GREEDY, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    peak = int(done.stdout.split()[-1])
    assert peak < 1 << 20, f"{peak >> 10} MiB"


def test_messages_show_the_beginning_of_a_text_on_one_line():
    assert shown("a\nb") == "'a\\nb'"
    assert shown("x" * 60) == repr("x" * 60)
    assert shown("x" * 61) == f"'{'x' * 60}'…"
