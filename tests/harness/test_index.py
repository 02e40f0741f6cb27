"""The index of a store saves reading, and is never believed against the files."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results import array_files, cell_checks, cell_store, index
from xrnnbench.harness.results.array_files import read_arrays
from xrnnbench.harness.results.cell_checks import parsed
from xrnnbench.harness.results.compact_cells import CellPacker
from xrnnbench.harness.results.scored_cells import ScoredCell
from xrnnbench.harness.results.seals import opened as opened_text
from xrnnbench.harness.results.seals import sealed
from xrnnbench.harness.results.stored_cells import Recent, UnreadCell
from xrnnbench.ordinary_files import read_ordinary

from .conftest import small_benchmark

HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with cells of every status and with curves, whose files are an hour old."""
    out = tmp_path_factory.mktemp("finished")
    with pytest.warns(match="cells failed"):
        run = small_benchmark(
            methods=("Chance", "Gradient", "Attentive", "Broken"), metrics=("Size", "Falling", "Kinship", "Duration")
        ).run(out)
    folder = run.folder
    (folder / index.NAME).unlink(missing_ok=True)
    for path in files(folder):
        grow_old(path)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def reads(monkeypatch):
    """Return a function that gives the names of the files of cells that were read since it was last called."""
    read = []

    def reading(path):
        path = Path(path)
        if path.parent.parent.parent.name == "cells":
            read.append(path)
        return read_ordinary(path)

    for module in (cell_checks, cell_store):
        monkeypatch.setattr(module, "read_ordinary", reading)

    def names():
        found = sorted(read)
        read.clear()
        return found

    return names


def files(folder):
    return sorted(path for path in (folder / "cells").rglob("seed-*"))


def grow_old(path, by=HOUR):
    status = path.stat()
    os.utime(path, ns=(status.st_mtime_ns - by, status.st_mtime_ns - by))


def opened(folder):
    """Open a run; its cells as JSON by their path."""
    run = Run.load(folder)
    return {key.path: cell and cell.model_dump_json() for key, cell in run.cells.items()}


def true_cells(folder):
    """What the files say."""
    return {
        str(path.relative_to(folder).with_suffix("")): parsed(path.read_bytes())[0].model_dump_json()
        for path in files(folder)
        if path.suffix == ".json"
    }


def resealed(text, before, after):
    """Bytes of a cell with a change, as if it had been written so."""
    return sealed(opened_text(text)[0].replace(before, after, 1))


def test_each_file_is_read_once_and_never_again(folder, reads):
    first = opened(folder)
    assert reads() == files(folder)
    assert opened(folder) == first
    assert reads() == []
    assert first == true_cells(folder)


def test_boards_are_the_same_with_an_index_and_without(folder):
    def boards():
        return [path.read_bytes() for path in Run.load(folder).publish()]

    without = boards()
    assert (folder / index.NAME).is_file()
    assert boards() == without


def made_boards(folder, monkeypatch, *endings):
    """Publish boards; those that were made, not kept, and the texts."""
    made, make = [], Run._board_texts

    def making(run, jobs, wanted):
        made.extend(wanted)
        return make(run, jobs, wanted)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_board_texts", making)
        paths = Run.load(folder).publish(endings or ("md", "csv", "json", "tex", "html"))
    return made, [path.read_bytes() for path in paths]


def test_a_board_is_made_again_if_anything_has_changed(folder, monkeypatch):
    every, first = made_boards(folder, monkeypatch)
    assert every == ["md", "csv", "json", "tex", "html"]
    assert made_boards(folder, monkeypatch) == (["html"], first)
    for path in (folder / "leaderboard.md", folder / "leaderboard.csv"):
        path.unlink()
    assert made_boards(folder, monkeypatch, "md", "csv") == ([], first[:2])

    rewrite(folder, "UPDATE boards SET content = substr(content, 1, 100)")
    assert made_boards(folder, monkeypatch, "csv", "md") == (["csv", "md"], first[1::-1])

    path = next(path for path in files(folder) if path.suffix == ".json" and "slope" in str(path))
    text = path.read_bytes()
    path.write_bytes(text.replace(b'"executed"', b' "executed"', 1))
    # it is too new to be noted, so the board is not kept either
    for _ in range(2):
        assert made_boards(folder, monkeypatch, "md") == (["md"], first[:1])
    grow_old(path)
    assert made_boards(folder, monkeypatch, "md") == (["md"], first[:1])
    assert made_boards(folder, monkeypatch, "md") == ([], first[:1])

    path.unlink()
    made, without = made_boards(folder, monkeypatch, "md")
    assert made == ["md"]
    assert without != first[:1]

    monkeypatch.setattr("xrnnbench.harness.execution.kept_boards.code_hash", lambda: "other code")
    assert made_boards(folder, monkeypatch, "md") == (["md"], without)


def test_a_board_of_cells_that_change_meanwhile_is_not_kept(folder, monkeypatch):
    opened(folder)
    path, make = files(folder)[0].with_suffix(".json"), Run._board_texts

    def making(run, jobs, wanted):
        texts = make(run, jobs, wanted)
        grow_old(path)
        return texts

    with monkeypatch.context() as patched:
        patched.setattr(Run, "_board_texts", making)
        Run.load(folder).publish(("md",))
    assert made_boards(folder, monkeypatch, "md")[0] == ["md"]


def test_a_run_with_nothing_to_do_reads_no_cell(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(index, "MARGIN", -HOUR)
    benchmark = small_benchmark()
    benchmark.run(tmp_path)
    reads()
    assert benchmark.run(tmp_path).nothing_to_do
    assert reads() == []


def test_states_are_those_of_the_files(folder):
    store, paths = Run.load(folder).store, [str(path.relative_to(folder).with_suffix("")) for path in files(folder)]
    before = store.states([*paths, "cells/no/such/seed-0-0"])
    assert before.pop("cells/no/such/seed-0-0") == ""
    assert store.states(paths) == before
    json_path, arrays = (folder / f"{paths[0]}.{ending}" for ending in ("json", "npz"))
    json_path.write_bytes(json_path.read_bytes() + b"\n")
    changed = store.states(paths)
    assert {path for path in paths if changed[path] != before[path]} == {paths[0]}
    arrays.unlink(missing_ok=True)
    assert store.state(paths[0]).endswith("no arrays")


def test_a_changed_file_is_read_again_though_its_size_is_the_same(folder, reads):
    opened(folder)
    reads()
    path = next(path for path in files(folder) if path.suffix == ".json" and path.with_suffix(".npz").is_file())
    text = path.read_bytes()
    changed = resealed(text, b'"executed": ', b'"executed":1')
    assert len(changed) == len(text)
    path.write_bytes(changed)
    reads()
    found = opened(folder)
    assert reads() == [path, path.with_suffix(".npz")]
    assert found == true_cells(folder)


def test_changed_arrays_are_found(folder):
    opened(folder)
    path = next(path for path in files(folder) if path.suffix == ".npz")
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(bytes(data))
    run = Run.load(folder)
    damaged = str(path.relative_to(folder).with_suffix(""))
    assert [key.path for key, cell in run.cells.items() if cell is None] == [damaged]
    assert len(run.store.notices) == 1


def test_a_time_that_is_set_back_deceives_the_index(folder):
    before = opened(folder)
    path = next(path for path in files(folder) if path.suffix == ".json")
    status, text = path.stat(), path.read_bytes()
    path.write_bytes(resealed(text, b'"date": "2', b'"date": "3'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    # documented: size and time decide
    assert opened(folder) == before != true_cells(folder)
    (folder / index.NAME).unlink()
    assert opened(folder) == true_cells(folder)


def test_files_that_are_too_new_are_read_again(folder, reads):
    new = files(folder)[0].with_suffix(".json")
    os.utime(new)
    for _ in range(2):
        opened(folder)
        assert new in reads()
    grow_old(new)
    opened(folder)
    reads()
    opened(folder)
    assert reads() == []


def test_a_copy_with_its_times_keeps_the_index_and_another_does_not(folder, tmp_path, reads):
    first = opened(folder)
    with_times = shutil.copytree(folder, tmp_path / "with times")
    without = shutil.copytree(folder, tmp_path / "without", copy_function=shutil.copyfile)
    reads()
    assert opened(with_times) == first
    assert reads() == []
    assert opened(without) == first
    assert reads() == files(without)


def rewrite(folder, *statements):
    with sqlite3.connect(folder / index.NAME) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def replaced_bytes(start, data):
    def damage(folder):
        with (folder / index.NAME).open("r+b") as file:
            file.seek(start)
            file.write(data)

    return damage


def other_program(folder):
    (folder / index.NAME).unlink()
    rewrite(folder, "CREATE TABLE cells (a, b)")


DAMAGES = {
    "empty": lambda folder: (folder / index.NAME).write_bytes(b""),
    "text": lambda folder: (folder / index.NAME).write_text("no index at all\n" * 1000, "utf-8"),
    "cut": lambda folder: os.truncate(folder / index.NAME, 40_000),
    "header": replaced_bytes(0, bytes(50)),
    "middle": replaced_bytes(32_768, b"\xff" * 7 * 32_768),
    "another program's": other_program,
    "a later version's": lambda folder: rewrite(folder, "PRAGMA user_version = 7"),
    "no table": lambda folder: rewrite(folder, "DROP TABLE cells"),
    "no texts": lambda folder: rewrite(folder, "DELETE FROM texts"),
    "other texts": lambda folder: rewrite(folder, "UPDATE texts SET content = replace(content, 'small', 'large')"),
    "other cells": lambda folder: rewrite(folder, "UPDATE cells SET content = replace(content, '0', '1')"),
    "other digests": lambda folder: rewrite(folder, "UPDATE cells SET digest = replace(digest, 'a', 'b')"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_index_is_made_again(folder, kind, reads):
    first = opened(folder)
    reads()
    DAMAGES[kind](folder)
    assert opened(folder) == first
    assert reads()
    opened(folder)
    reads()
    opened(folder)
    assert reads() == []


def test_without_permission_to_write_every_file_is_read(folder, reads, monkeypatch):
    connect = sqlite3.connect

    def read_only(path, **options):
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", read_only)
        first = opened(folder)
        assert not (folder / index.NAME).exists()
    opened(folder)
    path = files(folder)[0].with_suffix(".json")
    grow_old(path)
    reads()
    monkeypatch.setattr(sqlite3, "connect", read_only)
    for _ in range(2):
        assert opened(folder) == first
        assert path in reads()


def test_while_another_process_writes_the_index_is_read_only(folder, reads, monkeypatch):
    monkeypatch.setattr(index, "_PATIENCE", 0.05)
    first = opened(folder)
    path = files(folder)[0].with_suffix(".json")
    grow_old(path)
    reads()
    other = sqlite3.connect(folder / index.NAME)
    other.execute("BEGIN IMMEDIATE")
    assert opened(folder) == first
    assert path in reads()
    other.rollback()
    other.close()
    opened(folder)
    reads()
    opened(folder)
    assert reads() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.index import CellIndex

insert = CellIndex._insert

def killed(self, connection, entries):
    # nothing is kept in memory, so that the file is half written
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    insert(self, connection, entries)
    connection.execute("UPDATE cells SET content = content || ' '")
    os.kill(os.getpid(), signal.SIGKILL)

CellIndex._insert = killed
list(Run.load(Path(sys.argv[1])).cells.values())
"""


def test_a_kill_while_it_is_written_costs_nothing(folder, reads):
    first = opened(folder)
    for path in files(folder)[:6]:
        grow_old(path)
    done = subprocess.run([sys.executable, "-c", KILLED, folder], check=False)
    assert done.returncode == -signal.SIGKILL
    assert opened(folder) == first
    opened(folder)
    reads()
    assert opened(folder) == first
    assert reads() == []


def test_the_compact_form_gives_every_cell_again(folder):
    packer = CellPacker({}.get)
    texts = {}
    statuses = set()
    for path in files(folder):
        if path.suffix == ".json":
            cell = parsed(path.read_bytes())[0]
            content, shared = packer.pack(cell)
            texts |= shared
            found = CellPacker(texts.get).unpack(content)
            assert found == cell
            assert found.model_dump_json() == cell.model_dump_json()
            statuses |= {cell.status, *(record.status for record in cell.all_records)}
    assert statuses == {"explained", "scored", "not applicable", "failed"}
    assert CellPacker({}.get).unpack(content) is None


def test_cells_share_the_descriptions_of_their_plugins(folder):
    opened(folder)
    cells = [cell for cell in Run.load(folder).cells.values() if cell.explained]
    metrics = {id(record.metric) for cell in cells for record in cell.all_records}
    assert len(metrics) == 4
    assert len({id(cell.task) for cell in cells}) == 2


def test_few_cells_are_kept_and_all_are_found():
    calls = []

    def read(number):
        calls.append(number)
        return number * number

    recent = Recent(read, most=4)
    assert [recent(number) for number in (0, 1, 2, 3, 0, 4, 0, 4, 3)] == [0, 1, 4, 9, 0, 16, 0, 16, 9]
    assert calls == [0, 1, 2, 3, 4, 0]


def test_a_changed_copy_of_an_unread_cell_is_an_ordinary_one():
    cell = ScoredCell(None, np.zeros((2, 3)), np.ones((1, 3)))
    unread = UnreadCell.of("a", {"a": cell}.get)
    assert unread.scores is cell.scores
    changed = replace(unread, scores=cell.measured)
    assert type(changed) is ScoredCell
    assert changed.scores is changed.measured is cell.measured


ARRAYS = {
    "attribution": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    "scores": np.array([[np.nan, -0.0], [np.inf, 1e-300]]),
    "none": np.empty((0, 5)),
    "target": np.arange(4),
    "flags": np.array([True, False]),
}


@pytest.mark.parametrize("known", [True, False])
def test_arrays_are_as_numpy_reads_them(tmp_path, known, monkeypatch):
    path = tmp_path / "a.npz"
    if known:
        np.savez(path, **ARRAYS)
    else:
        np.savez_compressed(path, turned=np.asfortranarray(np.ones((2, 3))), **ARRAYS)
    with np.load(path) as file:
        wanted = {name: file[name] for name in ARRAYS}
    if known:
        monkeypatch.setattr(array_files, "unpacked", None)
    found = read_arrays(path, ARRAYS)
    assert list(found) == list(ARRAYS)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


def test_damaged_arrays_are_an_error(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    with pytest.raises(KeyError):
        read_arrays(path, ["other"])
    data = bytearray(path.read_bytes())
    data[data.index(b"NUMPY") + 150] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises((ValueError, OSError, Exception), match="CRC"):
        read_arrays(path, ["attribution"])
