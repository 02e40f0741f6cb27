"""Every reader of outside data, with a small valid file of each: what the fuzz tests damage.

A new reader is one more line of READERS, and names the modules of ``tasks/readers`` that it runs through.
"""

import contextlib
import datetime as dt
import decimal
import gzip
import io
import json
import struct
import tarfile
import wave
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from xrnnbench.outside_files import read_arrays
from xrnnbench.tasks.custom.csv_forecast import SeriesFile
from xrnnbench.tasks.custom.csv_task import CsvTask
from xrnnbench.tasks.custom.parallel_text import Parallel
from xrnnbench.tasks.downloads import checksums
from xrnnbench.tasks.downloads.catalogue import source
from xrnnbench.tasks.downloads.unpacking import unpack
from xrnnbench.tasks.models import published
from xrnnbench.tasks.readers import (
    ag_news,
    alignments,
    audio,
    categories,
    docstrings,
    eraser,
    frames,
    glue,
    imdb,
    labelled,
    missing,
    parallel,
    physionet,
    plain_text,
    ptb,
    subwords,
    tables,
    trec,
    ucr,
)


@dataclass(frozen=True)
class Reader:
    """A reader of a file.

    ``name`` is the file's, below the folder that ``read`` is given; ``valid`` its content; ``modules`` those of
    ``tasks/readers`` that it runs through; ``beside`` other files that must be there, by their names.
    """

    name: str
    valid: bytes
    read: object
    modules: tuple[str, ...] = ()
    beside: tuple[tuple[str, bytes], ...] = ()

    def __call__(self, folder, content):
        """Read the content as a file in a folder."""
        for name, other in (*self.beside, (self.name, content)):
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(other)
        return self.read(Path(folder))


def wav(samples=(0, 100, -100, 300) * 300, rate=8000):
    """A wav file of 16 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.array(samples, dtype="<i2").tobytes())
    return buffer.getvalue()


def float_wav():
    """An extensible wav file of floats in two channels, with a tag before its sound."""
    sound = np.linspace(-1, 1, 400, dtype="<f4").tobytes()
    guid = struct.pack("<I", 3) + bytes.fromhex("000010008000 00AA00389B71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 2, 8000, 64000, 8, 32, 22, 32, 3) + guid
    chunks = b"".join(
        kind + struct.pack("<I", len(content)) + content
        for kind, content in ((b"fmt ", form), (b"LIST", b"INFOtags"), (b"data", sound))
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def npz(*, compressed=False, **arrays):
    """An ``.npz`` file."""
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def one_array(content):
    """An ``.npz`` file whose checksums are right, with one member of any content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("inputs.npy", content)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def in_archive(folder):
    (folder / "a.npz").write_bytes(one_array((folder / "a.npy").read_bytes()))
    return read_arrays(folder / "a.npz")


ARRAYS = {"inputs": np.arange(24.0).reshape(2, 4, 3), "lengths": np.array([4, 2]), "ids": np.array(["a", "b"])}


def packed(kind):
    """An archive of two files."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a/one.txt", b"line\n" * 50)
            file.writestr("two.txt", b"x")
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w:gz" if kind == "tar.gz" else "w") as file:
        for name, content in (("a/one.txt", b"line\n" * 50), ("two.txt", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(name):
    def read(folder):
        target = folder / f"out-{len(list(folder.iterdir()))}"
        target.mkdir()
        unpack(folder / name, target)

    return read


def table(**roles):
    """Reader of a table of sequences, up to the tensors that a model reads."""

    def read(folder):
        return table_of(labelled.LabelledFile(path=str(folder / "d.csv"), **roles))

    return read


def table_of(file):
    """Everything that is read from a table, up to the tensors that a model reads."""
    sequences = file.sequences()
    targets, outputs = file.targets_of(sequences)
    file.tested(sequences)
    file.truths_of(sequences)
    assert torch.isfinite(targets.double()).all()
    if sequences.words:
        return targets, outputs
    found = categories.encoded(sequences, torch.ones(len(sequences), dtype=torch.bool))
    inputs = labelled.padded(found.values)
    assert not torch.isinf(inputs).any()
    lengths = torch.tensor([len(values) for values in found.values])
    return missing.marked(inputs, torch.arange(inputs.shape[1]) < lengths[:, None])


# Cells of a frame, which a byte of a "file" chooses.
CELLS = (
    *(0, 1, 2.5, -3, 1e39, -1e300, float("inf"), float("nan"), None, pd.NA, pd.NaT, True, 2**63, 2**200, 10**5000),
    *("a", "b", "", " ", "²", "1_0", "NaN", "2024-01-01", "\ud800", "x" * 5000, b"bytes", 1 + 2j, (1, 2), [1], {}),
    *(
        dt.date(1, 1, 1),
        dt.date(2024, 1, 1),
        np.datetime64("2024-01-01T01").astype(object),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    ),
    *(
        pd.Timestamp("2024-01-02"),
        pd.Timedelta("1h"),
        pd.Period("2024-01"),
        pd.Period("9000-01"),
        decimal.Decimal("1.5"),
    ),
    *(decimal.Decimal("sNaN"), decimal.Decimal("1e400"), np.float32(0.1), np.int8(3), np.datetime64("2024-01-01")),
    *(np.datetime64("9999-01-01", "s"), np.array([1, 2]), object, frozenset()),
)


def frame(folder):
    """A frame of the cells that the bytes of a file choose, read as sequences with a time."""
    chosen = [CELLS[byte % len(CELLS)] for byte in (folder / "f").read_bytes()[:48]]
    rows = len(chosen) // 4
    columns = {name: chosen[place * rows : (place + 1) * rows] for place, name in enumerate(("id", "t", "x", "y"))}
    made = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    if len(chosen) % 2 == 0:
        with contextlib.suppress(OverflowError, decimal.InvalidOperation):  # pandas itself cannot take these
            made = made.infer_objects()
    held = frames.HeldFrame.of(made)
    return table_of(
        labelled.LabelledFile(path=held, predict=("y",), id="id", time="t", features=("x",), missing="mask")
    )


def whole_task(folder):
    """The whole of a task on a table: split, standardised, without the sequences of training."""
    data = CsvTask(path=str(folder / "d.csv"), predict=("y",)).dataset()
    assert torch.isfinite(data.test.inputs).all()


def forecast(**more):
    def read(folder):
        series = SeriesFile(path=str(folder / "d.csv"), time="t", forecast="x", steps=2, **more).read()
        train, _ = series.windows(series.standardised())
        assert torch.isfinite(train.targets).all()

    return read


def finite_series(path):
    found = ucr.read_table(path)
    assert not any(np.isinf(values).any() for values in found.series)
    return found


def stay(path):
    return physionet.gridded(physionet.read_stay(path))


def links(form):
    return lambda folder: [each.values(5, 5) for each in alignments.read(folder / "a", form).values()]


def shown_manifest(folder):
    """Manifest of published models, by the function below its cache, and its model."""
    published._read.cache_clear()
    found = published._read(folder / published.MANIFEST, (0, 0))
    return found.models


LONG = b"id,hour,ward,pulse,y,part,note\n" + b"".join(
    ",".join(
        (str(row // 3), str(row % 3), "abc"[row % 3], str(row / 2), "wi"[row // 6], ("train", "test")[row // 9], "n\n")
    ).encode()
    for row in range(12)
)
DATES = b"t,x,z\n" + b"".join(f"2024-01-{day:02d},{day % 5}.5,{day}\n".encode() for day in range(1, 25))
NUMBERS = b"t,x\n" + b"".join(f"{row},{row % 4}\n".encode() for row in range(24))
WIDE = b"a,b,c,y\n1,2,3,u\n4,5,,v\n7,8.5,9,u\n1,1,2,v\n3,1,2,v\n2,2,2,u\n1,0,0,u\n5,5,1,v\n"
VALUES = WIDE.replace(b",u\n", b",1.5\n").replace(b",v\n", b",2.5\n")
TEXTS = b"text,why,y\ngood film,1 0,1\na bad one .,0 1 .5 0,2\n"
LATIN, UTF16 = "größe;y\n1,5;a\n2;b\n".encode("latin-1"), "größe,y\n1.5,a\n2,b\n".encode("utf-16")
EVIDENCE = {"docid": "a.txt", "start_token": 1, "end_token": 3, "text": "very good"}
ENTRY = json.dumps({"annotation_id": "a.txt", "classification": "POS", "evidences": [[EVIDENCE]]}).encode() + b"\n"
DOCUMENT = b"a very good film ."
DOCUMENTS = json.dumps({"docid": "a.txt", "document": DOCUMENT.decode()}).encode()
STAY = b"Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:00,Weight,-1\n00:07,GCS,15\n47:37,HR,86\n"
OUTCOMES = b"RecordID,SAPS-I,In-hospital_death\n132539,6,0\n132540,16,1\n"
TS = (
    b"@problemName x\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n@equalLength false\n"
    b"@classLabel true 1 2\n@data\n1,2,3:4,?,6:1\n1,2:3,4:2\n"
)
TREES = b"(3 (2 It) (4 (2 's) (4 good)))\n(1 (2 No) (0 film))\n"
ARTICLES = b'"1","Title","Some text"\n"4","Other","More ""text"""\n'
SOURCE = b'"""Module."""\n\n\ndef f(x):\n    """Double a number.\n\n    More."""\n    return 2 * x\n'
MANIFEST = json.dumps({"format": 1, "origin": {"a": [1]}, "models": []}).encode()
RECORD = json.dumps({"set": "trec", "files": {"TREC_10.label": {"sha256": "0", "size": 1}}}).encode()
TREC = source("trec")
FRAME = bytes([15, 15, 16, 16, 0, 1, 0, 1, 2, 2, 1, 0, 15, 15, 16, 16])
SEQUENCES = ("sequences", "labelled", "tables")
LONG_ROLES = {
    "predict": ("y",), "id": "id", "time": "hour", "split": "part", "categories": ("ward",), "features": ("pulse",),
    "time_gap": True, "missing": "mask",
}  # fmt: skip


def reading(name, function):
    """Reader of one file in a folder."""
    return lambda folder: function(folder / name)


def recording(path):
    return audio.log_mel(audio.read_recording(path))


def trees(path):
    return [(tree.label, tree.labels) for tree in ptb.read(path)]


def reviews(folder):
    return eraser.read(folder / "val.jsonl", ("NEG", "POS"))


def pieces(path):
    return subwords.learn([line[:500] for line in parallel.lines(path)], 200)  # a long word takes long


def pairs(folder):
    return parallel.pairs(folder / "a.en", folder / "a.de")


def translation(folder):
    return Parallel(sources=str(folder / "a.en"), translations=str(folder / "a.de")).text()


def record(folder):
    return checksums.recorded_checksum(TREC, TREC.files[0], folder)


READERS = {
    "ag-news": Reader("a.csv", ARTICLES, reading("a.csv", ag_news.read), ("ag_news",)),
    "alignments-naacl": Reader("a", b"1 1 1\n1 2 2 P\n2 1 3 S 0.5\n", links("naacl"), ("alignments",)),
    "alignments-pharaoh": Reader("a", b"0-0 1?2\n\n2-2\n", links("pharaoh"), ("alignments",)),
    "arrays": Reader("a.npz", npz(**ARRAYS), reading("a.npz", read_arrays)),
    "arrays-compressed": Reader("a.npz", npz(compressed=True, **ARRAYS), reading("a.npz", read_arrays)),
    "arrays-member": Reader("a.npy", npy(np.arange(24.0).reshape(2, 4, 3)), in_archive),
    "audio": Reader("a.wav", wav(), reading("a.wav", recording), ("audio",)),
    "audio-float": Reader("a.wav", float_wav(), reading("a.wav", recording), ("audio",)),
    "checksums": Reader("trec.json", RECORD, record),
    "docstrings": Reader("p/a.py", SOURCE, reading("p", docstrings.read), ("docstrings",)),
    "eraser": Reader("val.jsonl", ENTRY, reviews, ("eraser",), (("docs/a.txt", DOCUMENT),)),
    "eraser-document": Reader("docs/a.txt", DOCUMENT, reviews, ("eraser",), (("val.jsonl", ENTRY),)),
    "eraser-documents": Reader("docs.jsonl", DOCUMENTS, reviews, ("eraser",), (("val.jsonl", ENTRY),)),
    "frame": Reader("f", FRAME, frame, ("frames",)),
    "glue": Reader("a.tsv", b"sentence\tlabel\na fine film\t1\ndull\t0\n", reading("a.tsv", glue.read), ("glue",)),
    "imdb": Reader("neg/0_3.txt", b"A dull film.<br />", imdb.read, ("imdb",), (("pos/1_9.txt", b"Good."),)),
    "manifest": Reader("manifest.json", MANIFEST, shown_manifest),
    "parallel": Reader("a.en", b"a dog\na cat .\n", pairs, ("parallel",), (("a.de", b"ein Hund\neine Katze .\n"),)),
    "parallel-task": Reader(
        "a.en", b"a dog\na man\n" * 4, translation, ("parallel",), (("a.de", b"Hund\nMann\n" * 4),)
    ),
    "physionet-outcomes": Reader("o.txt", OUTCOMES, reading("o.txt", physionet.read_deaths), ("physionet",)),
    "physionet-stay": Reader("1.txt", STAY, reading("1.txt", stay), ("physionet",)),
    "plain-text": Reader("a", "naïve\nline\n".encode(), reading("a", plain_text.lines), ("plain_text",)),
    "ptb": Reader("a.txt", TREES, reading("a.txt", trees), ("ptb",)),
    "subwords": Reader("a", b"a dog and a cat\na man\n", reading("a", pieces), ("subwords",)),
    "table": Reader("d.csv", WIDE, reading("d.csv", tables.read_table), ("tables", "csv_text", "written")),
    "table-as-task": Reader("d.csv", VALUES, whole_task, SEQUENCES),
    "table-dates": Reader("d.csv", DATES, forecast(features=("z",), gap="2D"), SEQUENCES),
    "table-dates-formatted": Reader(
        "d.csv", DATES, forecast(features=("z",), time_format="%Y-%m-%d", missing="mask"), SEQUENCES
    ),
    "table-latin-1": Reader(
        "d.csv", LATIN, table(predict=("y",), separator=";", decimal="comma", encoding="latin-1"), SEQUENCES
    ),
    "table-long": Reader("d.csv", LONG, table(**LONG_ROLES), (*SEQUENCES, "categories", "missing")),
    "table-numbers": Reader("d.csv", NUMBERS, forecast(gap="2"), SEQUENCES),
    "table-text": Reader("d.csv", TEXTS, table(predict=("y",), text="text", truth=("why",)), SEQUENCES),
    "table-utf-16": Reader("d.csv", UTF16, table(predict=("y",), encoding="utf-16"), SEQUENCES),
    "table-wide": Reader("d.csv", WIDE, table(predict=("y",), missing="mask"), SEQUENCES),
    "trec": Reader("a", b"DESC:manner How did it ?\nHUM:ind Who was he ?\n", reading("a", trec.read), ("trec",)),
    "ucr-commas": Reader("a.tsv", b"1,0.5,0.25\n2,1e-3,2\n", reading("a.tsv", finite_series), ("ucr",)),
    "ucr-header": Reader("a.ts", TS, reading("a.ts", finite_series), ("ucr",)),
    "ucr-text": Reader("a.txt", b"1  0.5 0.25 NaN\n-1 1e-3 2 3\n", reading("a.txt", finite_series), ("ucr",)),
    "unpacking-gz": Reader("a.txt.gz", gzip.compress(b"line\n" * 50), unpacked("a.txt.gz")),
    "unpacking-plain-tar": Reader("a.tar", packed("tar"), unpacked("a.tar")),
    "unpacking-tar": Reader("a.tar.gz", packed("tar.gz"), unpacked("a.tar.gz")),
    "unpacking-zip": Reader("a.zip", packed("zip"), unpacked("a.zip")),
}
