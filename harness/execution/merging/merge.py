"""Merging: runs of one suite that were computed on several machines become one run."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import UsageError
from ...results import run_file
from ...results.scored_cells import model_origins
from ...results.store import ENDINGS, Store
from ..reference_rows import RunWithReferences
from ..resume import plan_of
from .cells import MergedCells, write_cell
from .grid import MergedGrid
from .parts import load_parts, merged_provenance, merged_times
from .references import MergedReferences

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from ...results.cells import PluginInfo
    from ..run import Run
    from .parts import Part


def merge(runs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *, allow_mixed: bool = False) -> Run:
    """Merge runs of one suite into one run: with all their cells and a board, to be resumed like any other.

    The runs may be of other tasks, methods, metrics or seeds of the suite, or the same suite interrupted at different
    places. Cells that several runs have must be the same to the bit. Damaged cells are left out, and so are scores that
    were compared with other models than the merged run has; ``store.notices`` of the result says so, and the next run
    of the suite in this folder computes them. The runs themselves are not changed.

    Args:
        runs: folders of runs, their run files, or ``--out`` folders of single runs.
        out: output folder, without a run; the merged run is written to ``<out>/runs/<name>``.
        allow_mixed: whether the runs may have been computed by other code or other versions of libraries; the board
            then names all of them.

    Returns:
        the merged run.

    Raises:
        UsageError: the runs do not belong together, a process works in one, or the folder cannot be used; then the
            folder is as it was.
    """
    parts = load_parts(runs, allow_mixed=allow_mixed)
    grid = MergedGrid.of(parts)
    out = Path(out)
    _refuse_folder(out, grid.suite.name)
    merged = Store(out, grid.suite.name, grid.suite.variant)
    with contextlib.ExitStack() as stack:
        for store in {part.run.store.folder.resolve(): part.run.store for part in parts}.values():
            stack.enter_context(store.held())
        with _made_aside(out) as aside:
            store = Store(aside, grid.suite.name, grid.suite.variant)
            notices = _write(store, merged.folder, grid, parts)
            _move(aside, out)
    merged.notices = notices
    content = merged.read_run()
    if content is None:
        raise UsageError(f"{merged.run_file} is gone: another process has changed the folder.")
    return RunWithReferences(merged, content)


def _refuse_folder(out: Path, name: str) -> None:
    """Refuse an output folder that has a run already.

    Raises:
        UsageError: it has, or boards of one, or it is no folder.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file, not a folder: choose another with --out.")
    folders = [out, *sorted(out.glob("runs/*"))]
    found = [folder for folder in folders if any(run_file.is_run_file(path) for path in folder.glob("run*.json"))]
    if not found and (out / "runs" / name).exists():
        found = [out / "runs" / name]
    found += [path for path in (out / f"leaderboard.{ending}" for ending in ENDINGS) if path.exists()]
    if found:
        raise UsageError(
            f"{found[0]} is there already: choose a folder without a run with --out; to add to a merged run, merge its "
            "parts again."
        )


# ---- writing --------------------------------------------------------------------------------------------------------


def _write(store: Store, folder: Path, grid: MergedGrid, parts: Sequence[Part]) -> list[str]:
    """Write the merged run with its boards, task by task; returns what the user should know.

    Args:
        store: the folder to write to.
        folder: the folder that it becomes.
        grid: the grid of the merged run.
        parts: its parts.
    """
    references = MergedReferences(grid, parts)
    states: dict[str, str] = {}
    outdated, unscored = 0, 0
    for task in grid.axes.tasks:
        cells = MergedCells(list(grid.keys(task, grid.axes.methods)), grid.axes.metrics, parts)
        for key, taken in cells.taken.items():
            if taken is not None:
                write_cell(store, key, taken)
                unscored += taken.lacks_scores(grid.axes.metrics)
            states[key.path] = store.state(key.path)
        if _examples(parts):
            _copy_samples(store, task, cells.data, parts)
        outdated += cells.outdated
        references.add(store, task)
    content = _content(grid, parts, states)
    if grid.suite.skipped:
        content["grid"]["methods"] += [info.model_dump(mode="json") for info in references.methods]
        content["beside"] = references.rows(store.folder).model_dump(mode="json")
    run = RunWithReferences(store, content)
    run.publish()
    content["complete"] = not run.failed and all(run.cells.values()) and not unscored
    content["plan"] = _plan(grid, parts) if content["complete"] else ""
    content["boards"] = store.boards_state()
    content["models"] = model_origins(run.scored_cells)
    if grid.suite.skipped:
        content["beside"] = references.rows(folder).model_dump(mode="json")
    store.write_run(content)
    return [*_damages(parts), *references.notices, *_missing(run, unscored, outdated)]


def _content(grid: MergedGrid, parts: Sequence[Part], states: dict[str, str]) -> dict[str, Any]:
    """Content of the run file."""
    axes = {"tasks": grid.axes.tasks, "methods": grid.axes.methods, "metrics": grid.axes.metrics}
    return {
        "format": 2,
        "suite": grid.suite.model_dump(mode="json"),
        "plan": "",
        "complete": False,
        "grid": {kind: [info.model_dump(mode="json") for info in plugins] for kind, plugins in axes.items()},
        "cells": states,
        "boards": {},
        "provenance": merged_provenance(parts),
        "retrain": bool(parts[0].run.content.get("retrain", False)),
        "examples": _examples(parts),
        "times": merged_times(parts),
        "merged": [entry for part in parts for entry in part.history()],
    }


def _plan(grid: MergedGrid, parts: Sequence[Part]) -> str:
    """Plan of the merged run if all parts are complete by the code and the libraries of this process; else none.

    Without a plan the next run checks every cell, and computes what is missing. Parts with reference rows of an archive
    have other plans, because the archive may not be where the next run looks for it.
    """
    retrain = bool(parts[0].run.content.get("retrain", False))
    plans, plan = grid.plans
    for part, suite in zip(parts, plans, strict=True):
        if not part.run.complete or part.run.content["plan"] != plan_of(suite, retrain=retrain):
            return ""
    return plan_of(plan, retrain=retrain)


def _examples(parts: Sequence[Part]) -> bool:
    """Whether boards show sequences of the data: not if one part was made without."""
    return all(part.run.examples for part in parts)


def _copy_samples(store: Store, task: PluginInfo, data: set[str], parts: Sequence[Part]) -> None:
    """Copy the samples of a task from the first part that has those of its data."""
    for part in parts:
        samples = part.run.store.read_samples(task)
        if samples is not None and samples.data in data:
            store.write_samples(task, samples)
            return


def _damages(parts: Sequence[Part]) -> Iterator[str]:
    """Yield the damaged files of the parts."""
    for part in parts:
        for notice in dict.fromkeys(part.run.store.notices):
            yield f"{part.name}: {notice}"


def _missing(run: Run, unscored: int, outdated: int) -> Iterator[str]:
    """Yield what the merged run lacks."""
    missing = sum(cell is None for cell in run.cells.values())
    if missing:
        yield f"{missing} of {len(run.cells)} cells are missing."
    if unscored:
        yield f"{unscored} of {len(run.cells)} cells lack scores of some metrics."
    if outdated:
        yield f"{outdated} of these scores are left out, because they compare other models than the merged run has."


# ---- the output folder ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _made_aside(out: Path) -> Iterator[Path]:
    """Context with a folder in the output folder, which is deleted at the end; after an error nothing is left behind.

    Raises:
        UsageError: the folder or a file cannot be written or read.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".merge-", dir=out) as aside:
            yield Path(aside)
    except BaseException as error:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        if isinstance(error, OSError):
            raise UsageError(f"The merged run cannot be written to {out} ({error.strerror or error}).") from error
        raise


def _move(aside: Path, out: Path) -> None:
    """Move a run with its boards into the output folder; after an error, what was moved is deleted there.

    Raises:
        OSError: it cannot be moved.
    """
    (run,) = (aside / "runs").iterdir()
    moves = [(run, out / "runs" / run.name), *((board, out / board.name) for board in aside.glob("leaderboard.*"))]
    with contextlib.ExitStack() as undo:
        if not (out / "runs").exists():
            (out / "runs").mkdir()
            undo.callback((out / "runs").rmdir)
        for source, target in moves:
            source.rename(target)
            undo.callback(_delete, target)
        undo.pop_all()


def _delete(path: Path) -> None:
    """Delete a folder with all that is in it, or a file."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
