"""Examination of the folder of a run: every file is read and checked byte by byte, and what is certain is mended.

Mending guesses nothing. A file that is not as it was written is moved into the folder ``damaged``, where nothing reads
it and nothing of it is lost; the next run computes it again. Of a cell whose arrays are not those of its JSON, the
records that still match are kept. Files of earlier versions get their seals. The index is made anew.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import DataError, UsageError
from ...ordinary_files import read_ordinary
from ..results import run_file
from ..results.cell_checks import LOST_SEAL, BadCellError, check_cell, place_of
from ..results.damaged_files import put_aside
from ..results.index import NAME as INDEX
from ..results.index import CellIndex
from ..results.samples import samples_of_text, samples_text
from ..results.seals import json_text, sealed
from ..results.store import Store
from . import archive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..results.cell_checks import CheckedCell

_CELL: Final = re.compile(r"cells/[^/]+/[^/]+/seed-\d+-\d+")


@dataclass
class Examination:
    """Result of an examination of the folder of a run.

    Attributes:
        folder: the folder.
        mending: whether it was mended.
        findings: a sentence for each thing that is not as it should be, with what was done about it.
        notes: sentences about what is unusual and harmless.
        cells: number of the cells that are good.
        files: number of the files that were checked.
    """

    folder: Path
    mending: bool
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cells: int = 0
    files: int = 0

    @property
    def summary(self) -> str:
        """One line about all of it."""
        found = len(self.findings)
        if not found:
            return f"{self.files} files, {self.cells} cells: all is well."
        done = "mended as far as this is certain" if self.mending else "nothing was changed"
        return (
            f"{self.files} files, {self.cells} good cells, {found} {'finding' if found == 1 else 'findings'}: {done}."
        )


def examine(path: str | os.PathLike[str], *, mend: bool = True) -> Examination:
    """Examine a run: all its cells, of all suites that share the folder, its run files, samples and index.

    Args:
        path: the folder of a run, one of its run files, an ``--out`` folder with a single run, or an archive.
        mend: whether what is certain is mended; otherwise nothing is written.

    Raises:
        UsageError: there is no run, there are several, or a process works in the folder.
    """
    folder = _folder(Path(path))
    if (folder / archive.NAME).is_file() and not _is_run(folder):
        return _archive(folder)
    store = Store.of_run_file(folder / "run.json")
    if mend and not os.access(store.folder, os.W_OK):
        raise UsageError(f"{folder} cannot be written, so that nothing can be mended: use --dry-run.")
    examination = Examination(store.folder, mend)
    # before the lock is taken, for that deletes them
    leftovers = len(list(store.folder.rglob(".*.tmp")))
    with store if mend else store.held():
        if leftovers:
            _find(examination, f"{leftovers} leftovers of interrupted writes", "deleted")
        doctor = _Doctor(store, examination)
        doctor.run_files()
        doctor.cells()
        doctor.samples()
        doctor.index()
    return examination


def _find(examination: Examination, problem: str, done: str) -> None:
    """Add a finding."""
    examination.findings.append(f"{problem}: {done}." if examination.mending and done else f"{problem}.")


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, even if its run file is lost."""
    return (folder / "cells").is_dir() or any(run_file.is_run_file(path) for path in folder.glob("run*.json"))


def _folder(path: Path) -> Path:
    """The folder of the run of a path.

    Raises:
        UsageError: there is none, or there are several.
    """
    if run_file.is_run_file(path) or path.name == archive.NAME:
        path = path.parent
    if _is_run(path) or (path / archive.NAME).is_file():
        return path
    runs = [folder for folder in sorted(path.glob("runs/*")) if _is_run(folder)]
    if len(runs) > 1:
        names = ", ".join(str(folder) for folder in runs)
        raise UsageError(f"There are several runs in {str(path)!r}: name one of {names}.")
    if not runs:
        raise UsageError(f"There is no run in {str(path)!r}: give a folder such as results/runs/quick.")
    return runs[0]


def _archive(folder: Path) -> Examination:
    """Examination of an archive, which can only be restored from a copy."""
    examination = Examination(folder, mending=False, files=2)
    try:
        loaded = archive.Archive.load(folder)
    except UsageError as error:
        examination.findings.append(str(error))
    else:
        # each cell is made and so checked against its schema
        examination.cells = sum(scored.cell is not None for scored in loaded.scored_cells.values())
        if not loaded.sealed:
            examination.notes.append(f"{archive.NAME} is of an earlier version and has no checksum.")
    return examination


class _Doctor:
    """Examination of the parts of one folder.

    Args:
        store: the folder; locked, if it is mended.
        examination: receives what is found.
    """

    def __init__(self, store: Store, examination: Examination) -> None:
        self._store, self._folder = store, store.folder
        self._examination = examination
        self._mending = examination.mending
        self._named: set[str] = set()
        self._sealed: set[str] = set()
        self._wanted: dict[str, str] = {}
        self._good: dict[str, CheckedCell] = {}
        self._bad: set[str] = set()
        # before anything is mended
        self._believed = self._counted_as_checked()

    def _find(self, problem: str, done: str = "") -> None:
        _find(self._examination, problem, done)

    # ---- run files --------------------------------------------------------------------------------------------------

    def run_files(self) -> None:
        """Check the run files, and note which cells they name."""
        files = [path for path in sorted(self._folder.glob("run*.json")) if run_file.is_run_file(path)]
        for path in files:
            self._examination.files += 1
            try:
                content = run_file.read(path)
            except DataError as error:
                self._find(str(error).rstrip("."))
                continue
            if content is not None:
                self._run_file(path, content)
        if not files:
            self._find("There is no run file; 'xrnnbench run' with the same suite writes one")

    def _run_file(self, path: Path, content: Mapping[str, Any]) -> None:
        self._named.update(content["cells"])
        self._sealed.update(content["cells"] if content.get("sealed_cells") else ())
        if content["complete"]:
            self._wanted.update(dict.fromkeys(content["cells"], path.name))
        beside = (content.get("beside") or {}).get("cells", {})
        self._named.update(beside)
        self._wanted.update({cell: path.name for cell, state in beside.items() if state})
        if content["format"] < 2:
            self._find(f"{path.name} is of an earlier version and has no checksum", "written with one")
            if self._mending:
                self._store.write_file(path, sealed(json_text({**content, "format": 2})))
        self._boards(path, content)

    def _boards(self, path: Path, content: Mapping[str, Any]) -> None:
        """Compare the boards with their hashes; one that was written again is no damage."""
        store = Store.of_run_file(path)
        present = store.boards_state()
        other = [store.boards[ending].name for ending, digest in content["boards"].items()
                 if present.get(ending, digest) != digest]  # fmt: skip
        self._examination.files += len(present)
        if other:
            another = "" if run_file.variant_of(path) else "by another suite, "
            self._examination.notes.append(
                f"{', '.join(other)}: not as this run wrote them, but {another}by 'xrnnbench leaderboard', or by hand; "
                "'xrnnbench leaderboard' writes them again."
            )

    # ---- cells ------------------------------------------------------------------------------------------------------

    def cells(self) -> None:
        """Check all files of cells, also of those that no run file names."""
        paths, strangers = self._found_cells()
        unsealed = 0
        for path in paths:
            checked = self._cell(path)
            if checked is not None:
                self._good[path] = checked
                unsealed += not checked.sealed
        self._examination.cells = len(self._good)
        if unsealed:
            self._find(f"{unsealed} cells are of an earlier version and have no checksum", "written with one")
        for file in strangers:
            self._find(f"{file} is no file of a cell", self._put_aside([file], "stranger"))
        self._missing()

    def _found_cells(self) -> tuple[list[str], list[str]]:
        """Paths of all cells without their endings, and the other files among them."""
        paths: dict[str, None] = {}
        strangers = []
        for path in sorted((self._folder / "cells").rglob("*")):
            file = path.relative_to(self._folder).as_posix()
            stem, _, ending = file.rpartition(".")
            if ending in {"json", "npz"} and _CELL.fullmatch(stem):
                paths[stem] = None
                self._examination.files += 1
            elif not path.is_dir() and not path.name.endswith(".tmp"):
                strangers.append(file)
        return list(paths), strangers

    def _cell(self, path: str) -> CheckedCell | None:
        """Check a cell, and mend it; None if it cannot be used."""
        try:
            checked = check_cell(self._folder, path)
            if not checked.sealed and path in self._sealed:
                raise BadCellError("json", "changed", LOST_SEAL)  # noqa: TRY301  # as any other damage
        except FileNotFoundError:
            self._bad.add(path)
            self._find(f"{path}.npz has no JSON", self._put_aside([f"{path}.npz"], "no-json"))
            return None
        except BadCellError as error:
            files = [f"{path}.json", f"{path}.npz"]
            self._bad.add(path)
            self._find(f"{path}.{error.ending} is missing or damaged ({error})", self._put_aside(files, error.word))
            return None
        if not checked.whole:
            self._find(
                f"{path}.npz is not as its JSON says, and {checked.dropped} scores do not match it",
                "the scores that match are kept",
            )
        if not checked.cell.explained and (self._folder / f"{path}.npz").exists():
            self._find(f"{path}.npz belongs to no attribution", self._put_aside([f"{path}.npz"], "no-attribution"))
        if self._mending and not (checked.whole and checked.sealed):
            self._store.save_json(place_of(checked.cell), checked.cell)
        return checked

    def _put_aside(self, files: list[str], word: str) -> str:
        """Move files aside, and say so."""
        if not self._mending:
            return ""
        try:
            moved = put_aside(self._folder, files, word)
        except OSError as error:
            return f"it could not be moved aside ({error.strerror})"
        return f"moved to {', '.join(moved)}" if moved else ""

    def _missing(self) -> None:
        """Find the cells that are not there although a finished run has them, and those that no run file names."""
        files: Counter[str] = Counter(
            file for path, file in self._wanted.items()
            if path not in self._good and path not in self._bad
        )  # fmt: skip
        for file, count in files.items():
            self._find(f"{count} cells of {file} are not there; 'xrnnbench run' computes them")
        others = [path for path in self._good if path not in self._named]
        if others:
            self._examination.notes.append(
                f"{len(others)} good cells are named by no run file, such as {others[0]}: they are of an earlier grid."
            )

    # ---- samples and index ------------------------------------------------------------------------------------------

    def samples(self) -> None:
        """Check the samples of all tasks."""
        for path in sorted((self._folder / "sequences").glob("*.json")):
            self._examination.files += 1
            file = path.relative_to(self._folder).as_posix()
            try:
                found, is_sealed = samples_of_text(read_ordinary(path))
            except (OSError, ValueError):
                self._find(f"{file} is damaged; the next run writes it again", self._put_aside([file], "damaged"))
                continue
            if not is_sealed:
                self._find(f"{file} is of an earlier version and has no checksum", "written with one")
                if self._mending:
                    self._store.write_file(path, samples_text(found))

    def index(self) -> None:
        """Compare the index with what was found, and make it anew."""
        if not (self._folder / INDEX).exists():
            return
        self._examination.files += 1
        wrong = [path for path, digest in self._believed.items() if self._differs(path, digest)]
        if wrong:
            self._find(f"{INDEX} has other content of {len(wrong)} cells, such as {wrong[0]}", "made anew")
        if self._mending:
            self._store.close_index()
            for name in (INDEX, f"{INDEX}-journal"):
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink(missing_ok=True)
            for checked in self._good.values():
                self._store.load(place_of(checked.cell))

    def _counted_as_checked(self) -> dict[str, str]:
        """Hashes of the JSON of the cells that the index counts as checked, by their path."""
        index = CellIndex(self._folder)
        known = index.digests()
        stamps = self._store.stamps(known)
        index.close()
        return {path: each.digest for path, each in known.items() if each.checked and each.stamp == stamps[path]}

    def _differs(self, path: str, digest: str) -> bool:
        """Whether a cell is not the whole one whose JSON has this hash."""
        good = self._good.get(path)
        return good is None or not good.whole or good.digest != digest
