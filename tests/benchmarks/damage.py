"""Damage to stored results: ``python tests/benchmarks/damage.py FOLDER [FLIPS [ARRAY_FLIPS [BOARDS]]]``.

A small run is made in the folder and damaged in every way that is named below: FLIPS bits (1,000) of the JSON of cells
and ARRAY_FLIPS bits (200) of their arrays are turned over one at a time, fields are edited as by hand, cells are copied
and swapped between seeds, methods and tasks, and BOARDS times (200) all cells are read while another process writes
them. After each damage everything is read as a board reads it. Printed is a Markdown table: how often something was
shown that was not measured (wrong), how often the damage was said, and how often it was harmless, because all that is
read is as it was.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from xrnnbench import Benchmark
from xrnnbench.errors import XrnnbenchError
from xrnnbench.harness.execution.archive import Archive, write_archive
from xrnnbench.harness.execution.doctor import examine
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.cells import scores_hash
from xrnnbench.harness.results.index import NAME as INDEX

SMALL = Path(__file__).parents[1] / "harness" / "small.py"
LISTS = {
    "tasks": ("SmallTask", "OtherTask"),
    "methods": ("Chance", "Gradient"),
    "metrics": ("Size", "Falling", "Kinship", "Duration"),
}


def benchmark(metrics=LISTS["metrics"]):
    """The benchmark that is run."""
    named = {axis: [f"{SMALL}:{name}" for name in names] for axis, names in LISTS.items() if axis != "metrics"}
    return Benchmark(
        **named, metrics=[f"{SMALL}:{name}" for name in metrics], seeds=(0, 1, 2), explainer_seeds=(0, 1), name="small"
    )


def made(out):
    """A finished run; its folder."""
    folder = benchmark().run(out).folder
    (folder / INDEX).unlink(missing_ok=True)
    return folder


def read(run):
    """All that a board reads of a run: cell, scores by metric and attribution, by path; None for what is left out."""
    found = {}
    for key, scored in run.scored_cells.items():
        cell = scored.cell
        if cell is None:
            found[key.path] = None
            continue
        facts = cell.model_dump(mode="json", exclude={"records": True, "format": True})
        facts["measured"] = {
            name: value for name, value in facts["measured"].items() if name not in {"records", "arrays"}
        }
        scores = {}
        for record in cell.all_records:
            content = record.model_dump(mode="json", exclude={"row"})
            rows = (scored.row(record).tobytes(), scored.profile(record).tobytes()) if record.row is not None else ()
            scores[record.metric.spec] = json.dumps(content), rows
        stored = scored.read() if scored.read is not None else None
        values = stored and (stored.values.tobytes(), stored.lengths.tobytes(), stored.target.tobytes())
        found[key.path] = json.dumps(facts), scores, values
    return found


def judged(truth, found, notices):
    """Whether what was read is wrong, said or harmless."""
    said = bool(notices)
    for path, true in truth.items():
        cell = found[path]
        if cell == true:
            continue
        if cell is None:
            if not said:
                return "unsaid"
            continue
        if cell[0] != true[0] or cell[2] != true[2] or any(true[1].get(name) != each for name, each in cell[1].items()):
            return "wrong"
        if not said:
            return "unsaid"
    return "said" if said else "harmless"


def outcome(folder, truth):
    """Judge a damaged run as it is read now: without an index."""
    try:
        run = Run.load(folder)
        found = read(run)
    except XrnnbenchError:
        return "said"
    finally:
        (folder / INDEX).unlink(missing_ok=True)
    return judged(truth, found, run.store.notices)


@contextmanager
def restored(*paths):
    """Context after which files are as they were; one that was not there is deleted."""
    before = {path: path.read_bytes() if path.exists() else None for path in paths}
    try:
        yield
    finally:
        for path, data in before.items():
            if data is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(data)
                # as old as a run of yesterday
                os.utime(path, (1.7e9, 1.7e9))


def cell_files(folder, ending):
    """Files of cells with this ending."""
    return sorted((folder / "cells").rglob(f"seed-*.{ending}"))


# ---- kinds of damage: each yields the files that it changes and a function that does so ------------------------------


def flips(paths, count, rng):
    """Single bits that are turned over."""
    for _ in range(count):
        path = rng.choice(paths)
        place, bit = rng.randrange(path.stat().st_size), 1 << rng.randrange(8)

        def flip(path=path, place=place, bit=bit):
            data = bytearray(path.read_bytes())
            data[place] ^= bit
            path.write_bytes(bytes(data))

        yield (path,), flip


def record_edit(**changes):
    """Edit of a record that has scores."""
    return lambda cell: next(each for each in cell["records"] if each["row"] is not None).update(changes)


EDITS = {
    "mean": record_edit(mean=0.123),
    "n": record_edit(n=3),
    "undefined": record_edit(undefined=1),
    "row": record_edit(row=1),
    "row beyond the end": record_edit(row=99),
    "row from the end": record_edit(row=-1),
    "curve": record_edit(profile=2),
    "hash of scores": record_edit(scores="0" * 64),
    "status of a record": record_edit(status="not applicable", reason="by hand"),
    "metric": lambda cell: cell["records"][0]["metric"].update(spec="other"),
    "direction": lambda cell: cell["records"][0]["metric"]["facts"].update(direction="lower"),
    "record twice": lambda cell: cell["records"].append(cell["records"][0]),
    "record gone": lambda cell: cell["records"].pop(),
    "status": lambda cell: cell.update(status="not applicable", reason="by hand"),
    "seconds": lambda cell: cell["measured"].update(seconds=1e-9),
    "memory": lambda cell: cell["measured"].update(peak_bytes=1),
    "date": lambda cell: cell["measured"].update(date="2020-01-01T00:00:00+00:00"),
    "device": lambda cell: cell["measured"].update(device="abacus"),
    "cost of scoring": lambda cell: cell["measured"].update(scoring={}),
    "hash of arrays": lambda cell: cell["measured"].update(arrays="0" * 64),
    "competence": lambda cell: cell["competence"].update(score=0.1),
    "gate": lambda cell: cell["competence"].update(gate=0.1),
    "caveat": lambda cell: cell.update(caveats=["It is best."]),
    "passes": lambda cell: cell["passes"].update(forward=1),
    "model": lambda cell: cell["fingerprints"].update(model="0" * 64),
    "data": lambda cell: cell["fingerprints"].update(data="0" * 64),
    "attribution": lambda cell: cell["fingerprints"].update(attribution="0" * 64),
    "origin of the model": lambda cell: cell.update(model_origin="published"),
    "model seed": lambda cell: cell.update(model_seed=2),
    "explainer seed": lambda cell: cell.update(explainer_seed=5),
    "parameter of the task": lambda cell: cell["task"]["identity"].update(version=7),
    "spec of the method": lambda cell: cell["method"].update(spec="other"),
    "names of sequences": lambda cell: cell.update(ids=[str(number) for number in range(8)]),
    "checksum": lambda cell: cell.update(checksum="0" * 64),
    "no checksum": lambda cell: cell.pop("checksum"),
    "checksum of an earlier version": lambda cell: cell.update(format=2),
}
ARRAY_EDITS = {
    "a score": lambda arrays: arrays["scores"].__setitem__((0, 0), 9.0),
    "a time": lambda arrays: arrays["measured"].__setitem__((0, 0), 9.0),
    "an attribution": lambda arrays: arrays["attribution"].__setitem__((0, 0, 0), 9.0),
    "a length": lambda arrays: arrays["lengths"].__setitem__(0, 1),
    "rows in another order": lambda arrays: arrays.update(scores=arrays["scores"][::-1].copy()),
    "fewer rows": lambda arrays: arrays.update(scores=arrays["scores"][:1]),
    "fewer sequences": lambda arrays: arrays.update({name: arrays[name][:4] for name in ("attribution", "lengths")}),
    "no lengths": lambda arrays: arrays.pop("lengths"),
    "whole numbers": lambda arrays: arrays.update(scores=np.nan_to_num(arrays["scores"]).astype(int)),
}


def edits(folder):
    """Fields of the JSON of a cell that are changed by hand."""
    path = next(path for path in cell_files(folder, "json") if "chance" in str(path) and path.name == "seed-1-1.json")
    for change in EDITS.values():

        def edit(change=change):
            content = json.loads(path.read_text("utf-8"))
            change(content)
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")

        yield (path,), edit


def array_edits(folder):
    """Arrays of a cell that are changed by a script, and written as numpy writes them."""
    path = next(path for path in cell_files(folder, "npz") if "slope" in str(path))
    for change in ARRAY_EDITS.values():

        def edit(change=change):
            with np.load(path) as file:
                arrays = dict(file)
            change(arrays)
            np.savez(path, **arrays)

        yield (path,), edit


def other_places(folder):
    """Pairs of cells: of two seeds, two explainer seeds, two methods, two tasks."""
    paths = {path.with_suffix("") for path in cell_files(folder, "json")}
    first = min(path for path in paths if "small" in path.parts[-3] and "chance" in path.parts[-2])
    method = next(path for path in first.parents[1].iterdir() if path.name.startswith("slope")) / first.name
    task = next(path for path in first.parents[2].iterdir() if path.name.startswith("other"))
    for other in (first.with_name("seed-1-0"), first.with_name("seed-0-1"), method, task.joinpath(*first.parts[-2:])):
        yield first, other


def copies(folder):
    """Cells that are copied over others: their JSON, their arrays, both."""
    for source, target in other_places(folder):
        for endings in ((".json",), (".npz",), (".json", ".npz")):

            def copy(source=source, target=target, endings=endings):
                for ending in endings:
                    shutil.copyfile(f"{source}{ending}", f"{target}{ending}")

            yield tuple(Path(f"{target}{ending}") for ending in endings), copy


def swaps(folder):
    """Cells that change their places: their JSON, their arrays, both."""
    for one, other in other_places(folder):
        for endings in ((".json",), (".npz",), (".json", ".npz")):
            paths = tuple(Path(f"{path}{ending}") for path in (one, other) for ending in endings)

            def swap(paths=paths):
                first = [path.read_bytes() for path in paths]
                half = len(paths) // 2
                for path, data in zip(paths, first[half:] + first[:half], strict=True):
                    path.write_bytes(data)

            yield paths, swap


def losses(folder):
    """Files that are gone, empty, cut, or of another kind."""
    for ending in ("json", "npz"):
        path = cell_files(folder, ending)[0]
        for data in (b"", b"[1]", b"{}", b"null", path.read_bytes()[:100], path.read_bytes() * 2, b"\xff" * 50):
            yield (path,), lambda path=path, data=data: path.write_bytes(data)
    arrays = cell_files(folder, "npz")[1]
    yield (arrays,), arrays.unlink


def run_file_edits(folder):
    """Fields of the run file that are changed by hand, and bits of it that are turned over."""
    path = folder / "run.json"
    changes = (
        lambda content: content["provenance"].update(commit="other"),
        lambda content: content.update(complete=False),
        lambda content: content["cells"].popitem(),
        lambda content: content["suite"].update(seeds=[0]),
        lambda content: content["grid"]["metrics"].pop(),
        lambda content: content.pop("checksum"),
        lambda content: content["times"].update(total=1.0),
    )
    for change in changes:

        def edit(change=change):
            content = json.loads(path.read_text("utf-8"))
            change(content)
            path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")

        yield (path,), edit
    yield from flips([path], 50, random.Random(1))  # noqa: S311  # bits, no secrets


# ---- measuring ------------------------------------------------------------------------------------------------------


def measured(folder, truth, damages):
    """Outcomes of damages, counted."""
    counts = Counter()
    for paths, damage in damages:
        with restored(*paths):
            damage()
            counts[outcome(folder, truth)] += 1
    return counts


def index_damages(folder, truth, count, rng):
    """Outcomes of bits of the index that are turned over, counted; what is read must be as it was."""
    counts = Counter()
    for path in (folder / "cells").rglob("seed-*"):
        os.utime(path, (1.7e9, 1.7e9))
    list(Run.load(folder).cells.values())
    index = folder / INDEX
    whole = index.read_bytes()
    for _ in range(count):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        index.write_bytes(bytes(data))
        run = Run.load(folder)
        counts["harmless" if read(run) == truth and not run.store.notices else "wrong"] += 1
    index.unlink()
    return counts


def archive_damages(folder, out, count, rng):
    """Outcomes of bits of an archive that are turned over, counted; it must be refused or read as it was."""
    counts = Counter()
    paths = write_archive(Run.load(folder), out)
    truth = Archive.load(out).scores()
    for paths_changed, damage in flips(paths, count, rng):
        with restored(*paths_changed):
            damage()
            try:
                counts["harmless" if Archive.load(out).scores().equals(truth) else "wrong"] += 1
            except XrnnbenchError:
                counts["said"] += 1
    return counts


WRITER = """
import sys
from pathlib import Path
from xrnnbench.harness.execution.run import Run
from xrnnbench.harness.results.cell_checks import ARRAYS
from xrnnbench.harness.results.store import Store

few, many = (Run.load(path) for path in sys.argv[1:3])
cells = {key: [(run.cells[key], run.store.arrays(key, run.cells[key], *ARRAYS)) for run in (few, many)]
         for key in few.cells}
with Store.of_run_file(Path(sys.argv[3], "run.json")) as store:
    print("ready", flush=True)
    while True:
        for moment in (1, 0):
            for key, moments in cells.items():
                store.save(key, *moments[moment])
"""


def read_while_written(out, count):
    """Outcomes of reading all cells while another process adds a metric to each, and takes it away again."""
    few = benchmark(("Size", "Kinship")).run(out / "few").folder
    many = benchmark(LISTS["metrics"]).run(out / "many").folder
    truths = [read(Run.load(folder)) for folder in (few, many)]
    folder = Path(shutil.copytree(few, out / "written" / "runs" / "small"))
    counts = Counter()
    with subprocess.Popen([sys.executable, "-c", WRITER, few, many, folder], stdout=subprocess.PIPE) as writer:
        try:
            assert writer.stdout.readline() == b"ready\n"
            while sum(counts.values()) < count:
                counts[moment_of(folder, truths)] += 1
        finally:
            writer.kill()
    return counts


def moment_of(folder, truths):
    """Judge cells that are read while they are written: each must be of one moment, and none may be left out."""
    run = Run.load(folder)
    found = read(run)
    for scored in run.scored_cells.values():
        for record in scored.cell.all_records if scored.cell is not None else ():
            rows = scored.measured if record.metric.unreproducible else scored.scores
            if scores_hash(rows[record.row : record.row + 1 + record.profile]) != record.scores:
                return "wrong"
    if run.store.notices:
        return "said"
    return "harmless" if all(cell in [truth[path] for truth in truths] for path, cell in found.items()) else "wrong"


def mended(folder, truth, damages):
    """Number of damages after which doctor says what was found, and a run computes again what was put aside."""
    counts = Counter()
    whole = folder.parents[1].parent / "whole"
    shutil.copytree(folder, whole)
    for paths, damage in damages:
        damage()
        found = examine(folder).findings
        moved = [path for path in (folder / "damaged").rglob("*") if path.is_file()]
        run = benchmark().run(folder.parents[1])
        again = reproducibly(read(Run.load(folder)))
        counts["said" if found and run.complete and again == reproducibly(truth) else "wrong"] += 1
        counts["moved aside"] += bool(moved)
        shutil.rmtree(folder)
        shutil.copytree(whole, folder)
        del paths
    shutil.rmtree(whole)
    return counts


def reproducibly(found):
    """What was read without what was measured."""
    without = {}
    for path, (facts, scores, values) in found.items():
        kept = {name: value for name, value in json.loads(facts).items() if name != "measured"}
        without[path] = kept, {name: each for name, each in scores.items() if not name.startswith("duration")}, values
    return without


def main(folder, json_flips=1000, array_flips=200, boards=200):
    """Write the table."""
    out = Path(folder)
    shutil.rmtree(out, ignore_errors=True)
    run = made(out / "run")
    truth, rng = read(Run.load(run)), random.Random(0)  # noqa: S311  # bits, no secrets
    kinds = {
        "bits of JSON": lambda: measured(run, truth, flips(cell_files(run, "json"), json_flips, rng)),
        "bits of arrays": lambda: measured(run, truth, flips(cell_files(run, "npz"), array_flips, rng)),
        "edited JSON": lambda: measured(run, truth, edits(run)),
        "edited arrays": lambda: measured(run, truth, array_edits(run)),
        "copied cells": lambda: measured(run, truth, copies(run)),
        "swapped cells": lambda: measured(run, truth, swaps(run)),
        "lost and cut files": lambda: measured(run, truth, losses(run)),
        "run file": lambda: measured(run, truth, run_file_edits(run)),
        "bits of the index": lambda: index_damages(run, truth, array_flips, rng),
        "bits of an archive": lambda: archive_damages(run, out / "archive", array_flips, rng),
        "read while written": lambda: read_while_written(out / "writing", boards),
        "doctor, then run": lambda: mended(run, truth, [*edits(run), *array_edits(run), *copies(run), *swaps(run)]),
    }
    sys.stdout.write("| damage | tries | wrong | not said | said | harmless |\n|---|---:|---:|---:|---:|---:|\n")
    for name, count in kinds.items():
        found = count()
        moved = found.pop("moved aside", None)
        cells = (found[each] for each in ("wrong", "unsaid", "said", "harmless"))
        note = f" ({moved} moved aside)" if moved is not None else ""
        sys.stdout.write(f"| {name}{note} | {sum(found.values())} | {' | '.join(map(str, cells))} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], *map(int, sys.argv[2:]))
