"""Whatever bytes stand in the files of a run or an archive: they are read, left out, or refused in a sentence."""

import contextlib
import copy
import hashlib
import io
import json
import os
import resource
import shutil
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from xrnnbench.errors import XrnnbenchError
from xrnnbench.harness.execution.archive import Archive, write_archive
from xrnnbench.harness.execution.doctor import examine
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.reports.render import render
from xrnnbench.harness.results.index import NAME as INDEX
from xrnnbench.harness.results.seals import json_text, sealed

from ..benchmarks import damage

EXAMPLES = int(os.environ.get("XRNNBENCH_TEST_EXAMPLES", "150"))
pytestmark = pytest.mark.full
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["<script>", "\x1b[2J", "../../x", "\ud800", "=1+1", "small", "explained", "scored"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
DTYPES = ["<f4", "<f8", ">f8", "<i8", "|b1", "<U3", "<c16", "|O", "|V0", "<M8[s]", "(1000000000,)<f8", "f", "no"]
SHAPES = [
    "()",
    "(8,)",
    "(8, 5, 2)",
    "(1, 8)",
    "(0, 8)",
    "(-1,)",
    "(8.5,)",
    "(10**12,)",
    "(1000000000000,)",
    "8",
    "None",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small run and its archive."""
    out = tmp_path_factory.mktemp("fuzz")
    before = peak()
    folder = damage.made(out)
    write_archive(Run.load(folder), out / "archive")
    yield folder, out / "archive"
    # other tests may have taken more in this process before
    assert peak() - before < 1 << 19


def peak():
    """Most memory that this process has ever held, in KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def places(value, at=()):
    """All places in a JSON value."""
    yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in inner:
        yield from places(each, (*at, name))


@st.composite
def changed(draw, content):
    """A JSON value of which some places hold other values, are gone, or are there twice."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from([place for place in places(content) if place] or [()]))
        assume(at)
        holder = content
        for name in at[:-1]:
            holder = holder[name]
        kind = draw(st.sampled_from(["other", "other", "gone", "twice"]))
        if kind == "gone":
            del holder[at[-1]]
        elif kind == "twice" and isinstance(holder, list):
            holder.append(holder[at[-1]])
        else:
            holder[at[-1]] = draw(JSON)
    return content


def texts(content):
    """Bytes for a JSON file: changed content with and without its seal, damaged text, and anything."""
    whole = sealed(json_text(content))

    def written(value):
        return json_text(value).decode("utf-8", "surrogatepass").encode("utf-8", "replace")

    values = changed(content)
    ascii_only = values.map(lambda value: (json.dumps(value, indent=1) + "\n").encode())
    return st.one_of(
        ascii_only.map(sealed),
        ascii_only,
        spoiled(whole),
        st.binary(max_size=200),
        st.sampled_from(
            [b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000, b'{"format": ' + b"9" * 5_000 + b"}", b"{}"]
        ),
        JSON.filter(lambda value: "\\ud800" not in json.dumps(value)).map(lambda value: json.dumps(value).encode()),
    )


@st.composite
def spoiled(draw, data):
    """Bytes of which some are others, gone, or there twice."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["flip", "bytes", "cut", "twice"]))
        if kind == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "bytes":
            data[at : at + 8] = draw(st.binary(max_size=8))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 200))]
        else:
            data[at:at] = data[at : at + 100]
    return bytes(data)


@st.composite
def members(draw, arrays):
    """An array file as another program may have written it, whose headers may lie."""
    buffer = io.BytesIO()
    kind = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    with zipfile.ZipFile(buffer, "w", kind) as file:
        for name, array in arrays.items():
            way = draw(st.sampled_from(["as it is", "as it is", "header", "other", "gone", "anything"]))
            if way == "gone":
                continue
            held = io.BytesIO()
            np.save(held, array)
            content = held.getvalue()
            if way == "header":
                text = (
                    f"{{'descr': {draw(st.sampled_from(DTYPES))!r}, 'fortran_order': {draw(st.booleans())}, "
                    f"'shape': {draw(st.sampled_from(SHAPES))}, }}"
                )
                content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + array.tobytes()
            elif way == "other":
                shape = draw(st.lists(st.integers(0, 9), max_size=4))
                np.save(held := io.BytesIO(), np.full(shape, draw(st.sampled_from([0.5, np.nan, np.inf, 1, True]))))
                content = held.getvalue()
            elif way == "anything":
                content = draw(st.binary(max_size=100))
            file.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@contextlib.contextmanager
def sentences():
    """Context in which errors of the project are allowed, in one line."""
    try:
        yield
    except XrnnbenchError as error:
        said = str(error)
        assert said
        assert said.isprintable()


def read_all(folder):
    """Read a run as boards do, make its board, and look at it as doctor does."""
    with sentences():
        run = Run.load(folder)
        damage.read(run)
        render(run.leaderboard(), "csv")
        assert all(notice.isprintable() for notice in run.store.notices)
    (folder / INDEX).unlink(missing_ok=True)
    assert all(sentence.isprintable() for sentence in examine(folder, mend=False).findings)


@fuzzed
@given(st.data())
def test_json_of_a_cell(whole, data):
    path = data.draw(st.sampled_from(damage.cell_files(whole[0], "json")))
    content = json.loads(path.read_text("utf-8"))
    del content["checksum"]
    with damage.restored(path):
        path.write_bytes(data.draw(texts(content)))
        read_all(whole[0])


@fuzzed
@given(st.data())
def test_arrays_of_a_cell(whole, data):
    path = data.draw(st.sampled_from(damage.cell_files(whole[0], "npz")))
    json_path = path.with_suffix(".json")
    with np.load(path) as file:
        arrays = dict(file)
    content = json.loads(json_path.read_text("utf-8"))
    del content["checksum"]
    with damage.restored(path, json_path):
        written = data.draw(st.one_of(members(arrays), spoiled(path.read_bytes()), st.binary(max_size=100)))
        path.write_bytes(written)
        if data.draw(st.booleans()):
            # as somebody who knows how: the JSON has the hash of the arrays
            content["measured"]["arrays"] = hashlib.sha256(written).hexdigest()
            json_path.write_bytes(sealed(json_text(content)))
        read_all(whole[0])


@fuzzed
@given(st.data())
def test_run_file(whole, data):
    path = whole[0] / "run.json"
    content = json.loads(path.read_text("utf-8"))
    del content["checksum"]
    with damage.restored(path):
        path.write_bytes(data.draw(texts(content)))
        read_all(whole[0])


@fuzzed
@given(st.data())
def test_samples(whole, data):
    path = data.draw(st.sampled_from(sorted((whole[0] / "sequences").glob("*.json"))))
    content = json.loads(path.read_text("utf-8"))
    del content["checksum"]
    with damage.restored(path):
        path.write_bytes(data.draw(texts(content)))
        run = Run.load(whole[0])
        for task in run.axes.tasks:
            samples = run.store.read_samples(task)
            # one or the other: those of the file, or a sentence about it
            assert samples is not None or any("is damaged" in notice for notice in run.store.notices)
        assert examine(whole[0], mend=False).cells == len(run.cells)


@fuzzed
@given(st.data())
def test_index(whole, data):
    folder = whole[0]
    list(Run.load(folder).cells.values())
    assert (folder / INDEX).is_file()
    truth = damage.read(Run.load(folder))
    (folder / INDEX).write_bytes(data.draw(spoiled((folder / INDEX).read_bytes())))
    run = Run.load(folder)
    assert damage.read(run) == truth
    assert run.store.notices == []
    run.store.states(run.content["cells"])
    examine(folder, mend=False)
    (folder / INDEX).unlink(missing_ok=True)


@fuzzed
@given(st.data())
def test_archive_json(whole, data):
    path = whole[1] / "archive.json"
    content = json.loads(path.read_text("utf-8"))
    del content["checksum"]
    with damage.restored(path):
        path.write_bytes(data.draw(texts(content)))
        read_archive(whole[1])


@fuzzed
@given(st.data())
def test_scores_of_an_archive(whole, data):
    paths = whole[1] / "scores.npz", whole[1] / "archive.json"
    with np.load(paths[0]) as file:
        arrays = dict(file)
    content = json.loads(paths[1].read_text("utf-8"))
    del content["checksum"]
    with damage.restored(*paths):
        written = data.draw(st.one_of(members(arrays), spoiled(paths[0].read_bytes()), st.binary(max_size=100)))
        paths[0].write_bytes(written)
        if data.draw(st.booleans()):
            content["scores"] = hashlib.sha256(written).hexdigest()
            paths[1].write_bytes(sealed(json_text(content)))
        read_archive(whole[1])


def read_archive(folder):
    """Read all of an archive, and make its board."""
    with sentences():
        archive = Archive.load(folder)
        for scored in archive.scored_cells.values():
            if scored.cell is not None:
                for record in scored.cell.all_records:
                    assert record.status != "scored" or scored.row(record).ndim == 1
        render(archive.leaderboard(), "csv")
    examine(folder, mend=False)


def test_whatever_doctor_mends_is_well_afterwards(whole, tmp_path):
    """A folder in which everything is damaged at once."""
    folder = shutil.copytree(whole[0], tmp_path / "runs" / "small")
    for number, path in enumerate(sorted(folder.rglob("seed-*"))):
        data = bytearray(path.read_bytes())
        data[number * 7 % len(data)] ^= 1
        path.write_bytes(bytes(data))
    assert examine(folder).findings
    left = examine(folder).findings
    assert all("not there; 'xrnnbench run' computes them" in finding for finding in left)
