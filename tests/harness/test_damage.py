"""Damage to a store, and edits, copies and mixtures of it, are found, said, moved aside and computed again."""

import json
import os
import random
import shutil
import stat
from types import SimpleNamespace

import pytest

from xrnnbench.errors import UsageError
from xrnnbench.harness.execution.doctor import examine
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results import cell_store, run_file
from xrnnbench.harness.results.cell_checks import ARRAYS
from xrnnbench.harness.results.cell_store import ChangedArraysError
from xrnnbench.harness.results.seals import SealError, json_text, opened, sealed
from xrnnbench.harness.results.store import Store

from ..benchmarks import damage
from .conftest import cell_files, kept, small_benchmark, write_sealed

GRID = {"tasks": ("SmallTask",), "metrics": ("Size", "Duration"), "seeds": (0, 1)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of every kind of record, and all that is read of it."""
    folder = damage.made(tmp_path_factory.mktemp("whole"))
    for path in (folder / "cells").rglob("seed-*"):
        os.utime(path, (1.7e9, 1.7e9))
    return folder, damage.read(Run.load(folder))


@pytest.fixture
def out(tmp_path):
    """The output folder of a finished small run."""
    small_benchmark(**GRID).run(tmp_path)
    return tmp_path


def folder_of(out):
    return out / "runs" / "small"


def outcomes(whole, damages):
    """What comes of each damage."""
    folder, truth = whole
    return damage.measured(folder, truth, damages)


@pytest.mark.parametrize("kind", ["edits", "array_edits", "copies", "swaps"])
def test_no_edit_and_no_copy_passes(whole, kind):
    assert set(outcomes(whole, getattr(damage, kind)(whole[0]))) == {"said"}


@pytest.mark.parametrize("kind", ["losses", "run_file_edits"])
def test_no_damage_shows_a_wrong_number(whole, kind):
    assert set(outcomes(whole, getattr(damage, kind)(whole[0]))) <= {"said", "harmless"}


@pytest.mark.parametrize("ending", ["json", "npz"])
def test_bits_that_are_turned_over_show_no_wrong_number(whole, ending):
    rng = random.Random(ending)  # noqa: S311  # bits, no secrets
    found = outcomes(whole, damage.flips(damage.cell_files(whole[0], ending), 25, rng))
    assert set(found) <= {"said", "harmless"}
    assert ending == "npz" or set(found) == {"said"}


def test_a_damaged_index_or_archive_shows_no_wrong_number(whole, tmp_path):
    (folder, truth), rng = whole, random.Random(3)  # noqa: S311  # bits, no secrets
    assert set(damage.index_damages(folder, truth, 20, rng)) == {"harmless"}
    assert set(damage.archive_damages(folder, tmp_path, 20, rng)) <= {"said", "harmless"}


@pytest.mark.full
def test_cells_that_are_read_while_they_are_written_are_of_one_moment(tmp_path):
    assert set(damage.read_while_written(tmp_path, 30)) == {"harmless"}


# ---- one moment -----------------------------------------------------------------------------------------------------


def moments(tmp_path):
    """A store, a key, and its cell with arrays before and after a metric was added."""
    benchmark = {**GRID, "seeds": (0, 1)}
    small_benchmark(**{**benchmark, "metrics": ("Size",)}).run(tmp_path)
    store = Run.load(folder_of(tmp_path)).store
    key = next(iter(Run.load(folder_of(tmp_path)).cells))
    before = store.load(key)
    first = before, store.arrays(key, before, *ARRAYS)
    small_benchmark(**{**benchmark, "metrics": ("Duration", "Kinship", "Size")}).run(tmp_path)
    after = store.load(key)
    return store, key, first, (after, store.arrays(key, after, *ARRAYS))


def test_arrays_are_those_of_the_cell_that_is_asked_for(tmp_path):
    store, key, (before, _), (after, arrays) = moments(tmp_path)
    with pytest.raises(ChangedArraysError, match=r"have changed since they were read.*repeat"):
        store.arrays(key, before, "scores")
    cell, found = store.with_arrays(key, before, "scores")
    assert cell == after
    damage.np.testing.assert_array_equal(found["scores"], arrays["scores"])
    # the attribution is still that of the older cell
    assert set(store.attribution(key, before)) == {"attribution", "lengths", "target"}
    fingerprints = before.fingerprints.model_copy(update={"attribution": "0" * 64})
    other = before.model_copy(update={"fingerprints": fingerprints})
    with pytest.raises(ChangedArraysError):
        store.attribution(key, other)


def test_a_reader_waits_for_the_json_that_follows_the_arrays(tmp_path, monkeypatch):
    store, key, first, (after, arrays) = moments(tmp_path)
    with Store(tmp_path, "small") as writer:
        writer.save(key, *first)
        json_path = folder_of(tmp_path) / f"{key.path}.json"
        old = json_path.read_bytes()
        writer.save(key, after, arrays)
        new = json_path.read_bytes()
        # as between the two writes
        json_path.write_bytes(old)
        os.utime(json_path, (1.7e9, 1.7e9))
        pauses = []

        def pause(seconds):
            pauses.append(seconds)
            if len(pauses) == 3:
                json_path.write_bytes(new)

        monkeypatch.setattr(cell_store, "time", SimpleNamespace(sleep=pause))
        assert store.checked(key) == after
    assert len(pauses) == 3
    assert store.notices == []


def test_a_reader_does_not_wait_where_no_run_is_going_on(tmp_path, monkeypatch):
    store, key, first, (after, arrays) = moments(tmp_path)
    json_path = folder_of(tmp_path) / f"{key.path}.json"
    with Store(tmp_path, "small") as writer:
        writer.save(key, *first)
        old = json_path.read_bytes()
        writer.save(key, after, arrays)
        json_path.write_bytes(old)
    monkeypatch.setattr(cell_store, "time", SimpleNamespace(sleep=pytest.fail))
    assert store.checked(key).records == ()
    assert "1 of its scores are left out" in store.notices[0]


def test_a_board_of_cells_that_change_meanwhile_says_so(out, monkeypatch):
    run, make = Run.load(folder_of(out)), Run._board_texts

    def making(run, jobs, wanted):
        os.utime(next((run.folder / "cells").rglob("*.json")))
        return make(run, jobs, wanted)

    monkeypatch.setattr(Run, "_board_texts", making)
    run.publish(("md",))
    assert any("have changed while the board was made" in notice for notice in run.store.notices)


# ---- what a run does with it ----------------------------------------------------------------------------------------


def edit(path, change):
    """Change the JSON of a file as by hand."""
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_bytes(json_text(content))


def test_an_edited_cell_is_moved_aside_and_computed_again(out, calls):
    before = kept(out)
    path = cell_files(out, "small-*/slope-*/seed-1-0.json")[0]
    edit(path, lambda cell: cell["measured"].update(seconds=1e-9))
    edited = path.read_bytes()
    calls()
    run = small_benchmark(**GRID).run(out)
    assert [each for each in calls() if each.startswith("explain")] == ["explain-slope"]
    assert run.complete
    assert kept(out) == before
    aside = folder_of(out) / "damaged" / path.parts[-3] / path.parts[-2] / "seed-1-0.changed.json"
    assert aside.read_bytes() == edited
    assert aside.with_suffix(".npz").is_file()
    (notice,) = run.store.notices
    assert "it was changed after it was written" in notice
    assert str(aside.relative_to(folder_of(out))) in notice
    # a second one gets a name of its own
    edit(path, lambda cell: cell["measured"].update(seconds=1e-9))
    small_benchmark(**GRID).run(out)
    assert aside.with_name("seed-1-0.changed-2.json").is_file()


def test_a_copied_cell_is_moved_aside_and_computed_again(out):
    before = kept(out)
    for ending in ("json", "npz"):
        source, target = cell_files(out, f"small-*/slope-*/seed-?-0.{ending}")
        shutil.copyfile(source, target)
    run = small_benchmark(**GRID).run(out)
    assert "it is the cell of slope on small, model seed 0, seed 0" in run.store.notices[0]
    assert list((folder_of(out) / "damaged").rglob("seed-1-0.other-place.json"))
    assert kept(out) == before


def test_arrays_that_rot_at_the_same_time_and_size_are_found_by_a_run(out):
    small_benchmark(**GRID).run(out)
    for path in cell_files(out, "**/seed-*"):
        os.utime(path, (1.7e9, 1.7e9))
    before = kept(out)
    assert all(cell is not None for cell in Run.load(folder_of(out)).cells.values())
    path = cell_files(out, "small-*/slope-*/seed-1-0.npz")[0]
    data = bytearray(path.read_bytes())
    data[data.index(b"NUMPY") + 150] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, (1.7e9, 1.7e9))
    # the index takes the file for the one that it knows
    run = Run.load(folder_of(out))
    assert all(cell is not None for cell in run.cells.values())
    assert sum(scored.cell is None for scored in run.scored_cells.values()) == 1
    assert "left out" in run.store.notices[0]
    more = small_benchmark(**{**GRID, "metrics": ("Size", "Duration", "Passes")}).run(out)
    assert more.complete
    assert "computed again" in more.store.notices[0]
    assert kept(out).keys() == before.keys()


def test_a_reader_moves_nothing(out):
    path = cell_files(out, "small-*/slope-*/seed-1-0.json")[0]
    path.write_bytes(b"{}")
    run = Run.load(folder_of(out))
    run.publish()
    assert path.read_bytes() == b"{}"
    assert not (folder_of(out) / "damaged").exists()
    assert "that cell is left out" in run.store.notices[0]


# ---- what the commands say ------------------------------------------------------------------------------------------


def test_commands_say_what_they_left_out(out, invoke):
    folder = folder_of(out)
    baseline = out / "baseline"
    assert invoke("bless", folder, baseline)[0] == 0
    damaged, gone, *_ = cell_files(out, "small-*/*/seed-*.json")
    edit(damaged, lambda cell: cell["records"][0].update(mean=0.5))
    gone.unlink()
    status, _, err = invoke("leaderboard", folder, "--format", "md")
    assert status == 0
    assert f"{damaged.relative_to(folder)} is missing or damaged (it was changed after it was written" in err
    assert f"1 of 4 cells are missing and left out: {gone.relative_to(folder).with_suffix('')}." in err
    status, _, err = invoke("bless", folder, baseline)
    assert status == 2
    assert "it was changed after it was written" in err
    assert "2 of 4 cells are not computed" in err
    status, _, err = invoke("bless", folder, baseline, "--force")
    assert status == 0
    assert "The baseline is incomplete: 2 of 4 cells are not computed." in err
    for words in (("compare", folder, baseline), ("compare", baseline, folder), ("costs", folder)):
        assert "it was changed after it was written" in invoke(*words)[2]
    status, _, err = invoke("merge", folder, "--out", out / "merged")
    assert status == 0
    assert "it was changed after it was written" in err


def test_many_damages_are_said_in_few_lines(out, invoke):
    small_benchmark(**{**GRID, "seeds": tuple(range(4))}).run(out)
    for path in cell_files(out, "small-*/*/seed-*.json"):
        path.write_bytes(b"")
    status, _, err = invoke("leaderboard", folder_of(out), "--format", "md")
    assert status == 0
    assert len(err.splitlines()) == 6
    assert "There are 3 more of these; 'xrnnbench doctor " in err


# ---- doctor ---------------------------------------------------------------------------------------------------------


def test_doctor_finds_nothing_in_a_good_run(out, invoke):
    status, text, err = invoke("doctor", folder_of(out))
    assert (status, err) == (0, "")
    assert text.endswith("4 cells: all is well.\n")
    assert invoke("doctor", out, "--dry-run")[0] == 0


def test_doctor_mends_what_is_certain(out, invoke, calls):
    folder, before = folder_of(out), kept(out)
    (edited, orphan), (rotten, _) = (
        cell_files(out, f"small-*/{name}-*/seed-?-0.{ending}")
        for name, ending in (("slope", "json"), ("chance", "npz"))
    )
    edit(edited, lambda cell: cell.update(caveats=["It is best."]))
    orphan.unlink()
    rotten.write_bytes(rotten.read_bytes()[:500])
    samples = next((folder / "sequences").glob("*.json"))
    samples.write_bytes(samples.read_bytes().replace(b"0", b"1", 1))
    (folder / "cells" / "notes.txt").write_text("mine", "utf-8")
    (folder / "cells" / ".a.json.x.tmp").write_text("half", "utf-8")
    state = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    status, looked, _ = invoke("doctor", folder, "--dry-run")
    assert status == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == state
    status, text, _ = invoke("doctor", folder)
    assert status == 1
    assert len(text.splitlines()) == len(looked.splitlines()) == 7
    for said in (
        "1 leftovers of interrupted writes: deleted.",
        ".json is missing or damaged (it was changed after it was written",
        "seed-1-0.npz has no JSON: moved to damaged/",
        ".npz is missing or damaged (it holds no arrays of a cell",
        "cells/notes.txt is no file of a cell: moved to damaged/",
        "is damaged; the next run writes it again: moved to damaged/sequences/",
        "1 good cells, 6 findings: mended as far as this is certain.",
    ):
        assert said in text
    # the cells are now missing, which only a run mends
    status, text, _ = invoke("doctor", folder)
    assert status == 1
    assert "3 cells of run.json are not there; 'xrnnbench run' computes them." in text
    small_benchmark(**GRID).run(out)
    assert kept(out) == before
    assert invoke("doctor", folder)[0] == 0


def test_doctor_keeps_the_scores_that_match(out, calls):
    path = cell_files(out, "small-*/slope-*/seed-0-0.npz")[0]
    before = kept(out)
    damage.np.savez(path, **changed_arrays(path))
    assert any("1 scores do not match it: the scores that match are kept." in each for each in examine(out).findings)
    assert examine(out).findings == []
    calls()
    small_benchmark(**GRID).run(out)
    assert [each for each in calls() if each.startswith(("explain", "score"))] == ["score-size"]
    assert kept(out) == before


def changed_arrays(path):
    """Arrays of a cell with another score."""
    with damage.np.load(path) as file:
        arrays = dict(file)
    arrays["scores"][0, 0] += 1
    return arrays


def test_doctor_gives_files_of_earlier_versions_their_checksum(out, invoke):
    folder = folder_of(out)
    for path in (folder / "cells").rglob("*.json"):
        unsealed(path, 2)
    unsealed(folder / "run.json", 1)
    for path in (folder / "sequences").glob("*.json"):
        unsealed(path, 1)
    # they are read as they are
    run = Run.load(folder)
    assert all(cell is not None for cell in run.cells.values())
    assert run.store.notices == []
    status, text, _ = invoke("doctor", folder)
    assert status == 1
    assert "4 cells are of an earlier version and have no checksum: written with one." in text
    assert invoke("doctor", folder)[0] == 0
    assert all(b'"checksum": "' in path.read_bytes() for path in folder.rglob("*.json"))


def unsealed(path, version):
    """Make a file one of an earlier version."""
    content = json.loads(path.read_text("utf-8"))
    del content["checksum"]
    content.pop("sealed_cells", None)
    path.write_bytes(json_text({**content, "format": version}))


def test_a_cell_that_is_given_the_form_of_an_earlier_version_is_found(out, invoke):
    before = kept(out)
    path = cell_files(out, "small-*/slope-*/seed-0-0.json")[0]
    edit(path, lambda cell: cell["measured"].update(seconds=9.0))
    unsealed(path, 2)
    run = Run.load(folder_of(out))
    assert [key.model_seed for key, cell in run.cells.items() if cell is None] == [0]
    assert "it has lost its checksum" in run.store.notices[0]
    (finding,) = examine(out, mend=False).findings
    assert "it has lost its checksum" in finding
    assert small_benchmark(**GRID).run(out).complete
    assert kept(out) == before


def test_a_run_gives_cells_of_earlier_versions_their_checksum(out):
    for path in (folder_of(out) / "cells").rglob("*.json"):
        unsealed(path, 2)
    unsealed(folder_of(out) / "run.json", 1)
    assert small_benchmark(**{**GRID, "metrics": ("Size",)}).run(out).complete
    assert all(b'"checksum": "' in path.read_bytes() for path in (folder_of(out) / "cells").rglob("*.json"))


def test_doctor_notes_cells_of_an_earlier_grid(out):
    small_benchmark(**{**GRID, "seeds": (0,)}).run(out)
    found = examine(out)
    assert found.findings == []
    assert "2 good cells are named by no run file" in found.notes[0]


def test_doctor_finds_an_index_that_is_wrong(out):
    for path in cell_files(out, "**/seed-*"):
        os.utime(path, (1.7e9, 1.7e9))
    list(Run.load(folder_of(out)).cells.values())
    path = cell_files(out, "small-*/slope-*/seed-0-0.json")[0]
    edit(path, lambda cell: None)
    content = json.loads(path.read_text("utf-8"))
    content["measured"]["date"] = content["measured"]["date"].replace("2", "3", 1)
    write_sealed(path, content)
    os.utime(path, (1.7e9, 1.7e9))
    (finding,) = examine(out).findings
    assert "index.sqlite has other content of 1 cells" in finding
    assert examine(out).findings == []
    assert (
        Run.load(folder_of(out))
        .cells[next(key for key in Run.load(folder_of(out)).cells if path.stem in key.path and "slope" in key.path)]
        .measured.date.startswith("3")
    )


def test_doctor_looks_at_archives_and_refuses_what_is_no_run(out, tmp_path, invoke):
    assert invoke("bless", folder_of(out), tmp_path / "archive")[0] == 0
    assert invoke("doctor", tmp_path / "archive")[0] == 0
    path = tmp_path / "archive" / "archive.json"
    path.write_bytes(path.read_bytes().replace(b"gradient", b"control_", 1))
    status, text, _ = invoke("doctor", tmp_path / "archive")
    assert status == 1
    assert "it was changed after it was written" in text
    (tmp_path / "empty").mkdir()
    assert invoke("doctor", tmp_path / "empty")[0] == 2
    with Store(out, "small"):
        assert invoke("doctor", folder_of(out))[0] == 2


def test_doctor_of_a_folder_that_cannot_be_written(out, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(UsageError, match="cannot be written, so that nothing can be mended: use --dry-run"):
        examine(out)
    assert examine(out, mend=False).findings == []


# ---- seals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [{"a": [1.5, None, "ä\n\\"], "b": {}}, {"checksums": "checksum"}, {"a": 1e300}])
def test_a_sealed_text_opens_to_its_content_also_if_it_is_set_in_another_way(content):
    text = json_text(content)
    assert opened(sealed(text)) == (text, True)
    assert opened(text) == (text, False)
    whole = json.loads(sealed(text))
    for other in (json.dumps(whole), json.dumps(whole, indent=4), sealed(text).decode().replace("\n", "\r\n")):
        assert opened(other.encode()) == (text, True)


@pytest.mark.parametrize("text", [b"", b"[]", b"1", b"null", b"{", b"\xff", b"[" * 100_000])
def test_a_text_that_is_no_object_is_an_error(text):
    with pytest.raises(ValueError, match=r"."):
        opened(text)


def test_a_changed_text_is_an_error():
    text = sealed(json_text({"mean": 0.5, "n": 10}))
    for before, after in ((b"0.5", b"0.6"), (b"mean", b"main"), (b'"n": 10', b'"n": 10, "o": 1')):
        with pytest.raises(SealError):
            opened(text.replace(before, after))


# ---- the lock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_a_lock_that_is_a_link_is_refused_and_not_followed(out, tmp_path, target, invoke):
    mine = tmp_path / "mine"
    if target == "file":
        mine.write_text("precious", "utf-8")
    elif target == "folder":
        mine.mkdir()
    lock = folder_of(out) / ".lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(mine)
    for use in (lambda: Store(out, "small").__enter__(), lambda: Store(out, "small").held().__enter__()):
        with pytest.raises(UsageError, match=r"\.lock is a link, which is not followed: delete it\.$"):
            use()
    assert invoke("merge", folder_of(out), "--out", tmp_path / "merged")[0] == 2
    assert target != "file" or mine.read_text("utf-8") == "precious"
    assert target != "nothing" or not mine.exists()
    # whoever only reads needs no lock
    assert all(cell is not None for cell in Run.load(folder_of(out)).cells.values())


def test_the_name_of_the_holder_is_no_link_either(out, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("precious", "utf-8")
    holder = folder_of(out) / ".lock-holder"
    holder.unlink()
    holder.symlink_to(mine)
    with Store(out, "small"):
        assert mine.read_text("utf-8") == "precious"
        assert not holder.is_symlink()
        for content in (b"\xff\xfe", b"\x1b[31mred", b""):
            holder.write_bytes(content)
            with pytest.raises(UsageError, match=r"^Another process is working in"):
                Store(out, "small").__enter__()
        holder.unlink()
        os.mkfifo(holder)
        with pytest.raises(UsageError, match=r"^Another process is working in"):
            Store(out, "small").__enter__()


def test_files_of_a_run_that_are_links_are_replaced_and_not_followed(out, tmp_path):
    folder, mine = folder_of(out), tmp_path / "mine"
    mine.write_text("precious", "utf-8")
    paths = [folder / "run.json", out / "leaderboard.md", cell_files(out, "small-*/slope-*/seed-0-0.json")[0]]
    for path in paths:
        path.unlink()
        path.symlink_to(mine)
    small_benchmark(**GRID).run(out)
    assert mine.read_text("utf-8") == "precious"
    assert not any(path.is_symlink() for path in paths)


def test_a_pipe_or_a_device_in_the_place_of_a_cell_is_damage(out):
    pipe, device = (path for path in cell_files(out, "small-*/slope-*/seed-?-0.json"))
    pipe.unlink()
    os.mkfifo(pipe)
    device.unlink()
    device.symlink_to("/dev/zero")
    run = Run.load(folder_of(out))
    assert sum(cell is None for cell in run.cells.values()) == 2
    assert all(", not a file" in notice for notice in run.store.notices)
    assert small_benchmark(**GRID).run(out).complete
    assert stat.S_ISREG(pipe.stat().st_mode)


def test_a_run_file_that_is_a_pipe_is_damage(out):
    path = folder_of(out) / "run.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match="it is a named pipe, not a file"):
        run_file.read(path)
