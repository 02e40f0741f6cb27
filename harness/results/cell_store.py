"""Cells of a run in its folder: reading them as they were at one moment, and writing them.

A cell is written as an array file and then a JSON file, each by a rename, so that a run killed at any moment leaves no
half-written cell. The JSON file has the hash of the array file, and arrays are only given out if the bytes that were
read have the hash that is stated by the very cell they are asked for. If the two do not match (killed between the two
writes, or damaged later), the records that still match their scores are kept and the others count as missing.
"""

from __future__ import annotations

import hashlib
import io
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...atomic import write_atomically
from ...errors import DataError, UsageError
from ...fingerprints import fingerprint
from ...ordinary_files import read_ordinary
from .array_files import arrays_of
from .cell_checks import LOST_SEAL, BadCellError, check_cell, misplaced
from .cell_files import Stamp, stamp_of, stamps_of
from .compact_cells import CellPacker
from .damaged_files import put_aside
from .folder_lock import FolderLock
from .index import CellIndex, Entry
from .seals import json_text, sealed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from .cell_checks import CheckedCell
    from .cells import Cell, Key

    Arrays = Mapping[str, np.ndarray[Any, Any]]

# Nanoseconds within which the JSON of a cell follows its arrays, unless the run was killed in between; seconds between
# two looks; and seconds that a reader waits altogether, for all cells of a store.
_BETWEEN = 10_000_000_000
_PAUSE = 0.02
_PATIENCE = 5.0


class ChangedArraysError(DataError):
    """The arrays of a cell are no longer those that its JSON stated when it was read."""


class CellStore:
    """Cells in the folder of a run.

    Attributes:
        folder: the folder of the run.
        locked: whether this process alone works in the folder, so that it may put files aside.
        notices: sentences about damaged files.
        damages: the reason why a cell cannot be used, by its path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.locked = False
        self.notices: list[str] = []
        self.damages: dict[str, str] = {}
        self._said: set[str] = set()
        self._reported = 0
        self._patience = _PATIENCE

    @cached_property
    def _root(self) -> str:
        # paths of many cells are joined as text, which is faster
        return str(self.folder)

    @cached_property
    def _index(self) -> CellIndex:
        return CellIndex(self.folder)

    @cached_property
    def _packer(self) -> CellPacker:
        return CellPacker(self._index.text)

    def new_notices(self) -> list[str]:
        """Notices that this has not returned before."""
        new = self.notices[self._reported :]
        self._reported = len(self.notices)
        return new

    def load(self, key: Key) -> Cell | None:
        """Load the cell of this place; None if it is missing or damaged.

        Files that are as the index knows them are not read again. Records whose scores are damaged are left out. Damage
        is reported in :attr:`notices`; a process that has locked the folder moves damaged files aside.
        """
        begun, stamp = self._index.now(), stamp_of(f"{self._root}/{key.path}")
        if stamp.json_size < 0:
            return None
        entry = self._index.find(key.path, stamp)
        cell = self._packer.unpack(entry.content) if entry is not None else None
        return self._checked(key, begun, stamp) if cell is None or misplaced(cell, key) else cell

    def checked(self, key: Key) -> Cell | None:
        """Load a cell as :meth:`load` does, from files that are read and checked byte by byte.

        A run may be writing the files: they are read again until JSON and arrays are those of one moment. Cells that
        are whole are noted in the index.
        """
        return self._checked(key, self._index.now(), stamp_of(f"{self._root}/{key.path}"))

    def _checked(self, key: Key, begun: int, stamp: Stamp) -> Cell | None:
        """Load a cell that had this stamp at this time; see :meth:`checked`."""
        while True:
            try:
                found = check_cell(self.folder, key.path, key)
            except FileNotFoundError:
                return None
            except BadCellError as error:
                if not self._being_written(key, stamp):
                    self._report_damage(key, error)
                    return None
            else:
                if not found.sealed and self._had_seal(key):
                    self._report_damage(key, BadCellError("json", "changed", LOST_SEAL))
                    return None
                if found.whole:
                    return self._noted(key, stamp, found, begun)
                if not self._being_written(key, stamp):
                    return self._salvaged(key, found)
            begun, stamp = self._index.now(), stamp_of(f"{self._root}/{key.path}")

    def _had_seal(self, key: Key) -> bool:  # noqa: ARG002  # for stores that know it
        """Whether it is known that the cell of a place has been sealed."""
        return False

    def _noted(self, key: Key, stamp: Stamp, found: CheckedCell, begun: int) -> Cell:
        """Note a whole cell in the index."""
        cell = self._packer.sharing(found.cell)
        content, shared = self._packer.pack(cell)
        self._index.note(Entry(key.path, stamp, found.digest, content), shared, begun)
        return cell

    def _being_written(self, key: Key, stamp: Stamp) -> bool:
        """Whether the files of a cell have changed or will soon, since a run is between the writes of the two."""
        if self.locked:
            return False
        if stamp_of(f"{self._root}/{key.path}") != stamp:
            return True
        newer = stamp.arrays_time > stamp.json_time and self._index.now() - stamp.arrays_time < _BETWEEN
        if not newer or self._patience <= 0 or not FolderLock(self.folder).is_taken():
            # a run that has ended since has written the JSON before
            return stamp_of(f"{self._root}/{key.path}") != stamp
        time.sleep(_PAUSE)
        self._patience -= _PAUSE
        return True

    def _salvaged(self, key: Key, found: CheckedCell) -> Cell:
        """A cell without the records that do not match its arrays; it is written so, where this process may write."""
        if found.dropped and key.path not in self._said:
            self._said.add(key.path)
            self.notices.append(
                f"{key.path}.npz is not as its JSON says (a run was stopped while it wrote, or the file was changed): "
                f"{found.dropped} of its scores {'are computed again' if self.locked else 'are left out'}."
            )
        return self.save_json(key, found.cell) if self.locked else found.cell

    def close_index(self) -> None:
        """Let go of the file of the index."""
        self._index.close()

    def write_index(self) -> None:
        """Write what is known about the files of cells; see :mod:`.index`."""
        self._index.write()

    def save(self, key: Key, cell: Cell, arrays: Arrays | None = None) -> Cell:
        """Save a cell, its arrays first.

        Returns:
            the cell as it was written, with the hash of its arrays.

        Raises:
            UsageError: the files cannot be written (no space, no permission).
        """
        if arrays is not None:
            data = _npz_bytes(arrays)
            digest = hashlib.sha256(data).hexdigest()
            cell = cell.model_copy(update={"measured": cell.measured.model_copy(update={"arrays": digest})})
            self.write_file(self._path(key, "npz"), data)
        cell = self.save_json(key, cell)
        if arrays is None:
            self._path(key, "npz").unlink(missing_ok=True)
        return cell

    def save_json(self, key: Key, cell: Cell) -> Cell:
        """Save the JSON of a cell, whose arrays stay as they are; see :meth:`save`."""
        cell = cell.model_copy(update={"format": 3})
        self.write_file(self._path(key, "json"), sealed(json_text(cell.model_dump(mode="json"))))
        return cell

    def discard(self, key: Key) -> None:
        """Delete a cell; its JSON first, so that no JSON file is ever without its arrays."""
        for ending in ("json", "npz"):
            self._path(key, ending).unlink(missing_ok=True)

    def arrays(self, key: Key, cell: Cell, *names: str) -> dict[str, np.ndarray[Any, Any]]:
        """Load arrays of a cell: ``attribution``, ``target``, ``lengths`` [B], ``scores`` and ``measured`` [R, B].

        Raises:
            ChangedArraysError: the arrays are no longer those of this cell.
        """
        try:
            data = read_ordinary(f"{self._root}/{key.path}.npz")
        except OSError as error:
            raise ChangedArraysError(_changed(key)) from error
        if hashlib.sha256(data).hexdigest() != cell.measured.arrays:
            raise ChangedArraysError(_changed(key))
        return arrays_of(data, names, known=True)

    def with_arrays(
        self, key: Key, cell: Cell | None, *names: str
    ) -> tuple[Cell | None, dict[str, np.ndarray[Any, Any]]]:
        """Load arrays of a cell, and the cell again if its files have changed: both are of one moment.

        Args:
            key: the place.
            cell: the cell as it was loaded.
            names: of the arrays; see :meth:`arrays`.

        Returns:
            the cell, None if it is missing or damaged; and its arrays, none if it has no attribution.
        """
        while cell is not None and cell.explained:
            try:
                return cell, self.arrays(key, cell, *names)
            except ChangedArraysError:
                cell = self.checked(key)
        return cell, {}

    def attribution(self, key: Key, cell: Cell) -> dict[str, np.ndarray[Any, Any]]:
        """Load the attribution, the lengths and the targets of a cell, which other records may have by now.

        Raises:
            ChangedArraysError: it is no longer there.
        """
        now, arrays = self.with_arrays(key, cell, "attribution", "lengths", "target")
        if now is None or now.fingerprints != cell.fingerprints:
            raise ChangedArraysError(_changed(key))
        return arrays

    def verified(self, key: Key, cell: Cell | None) -> Cell | None:
        """A cell whose arrays are read and have the hash that it states; None if it is missing or damaged."""
        return self.with_arrays(key, cell)[0]

    def state(self, path: str) -> str:
        """State of a cell's files, which changes when they do: hash of the JSON, size and time of the arrays."""
        return self.states([path])[path]

    def states(self, paths: Iterable[str]) -> dict[str, str]:
        """States of cells by path; "" for those without a JSON file.

        The arrays are not read, nor is a JSON file that is as the index knows it.
        """
        paths, begun = list(paths), self._index.now()
        stamps, known = stamps_of(self.folder, paths), self._index.digests()
        states = {}
        for path in paths:
            stamp = stamps.get(path, Stamp())
            before = known.get(path)
            if stamp.json_size < 0:
                states[path] = ""
            elif before is not None and stamp == before.stamp:
                states[path] = f"{before.digest[:32]} {stamp.arrays}"
            else:
                try:
                    digest = hashlib.sha256(read_ordinary(f"{self._root}/{path}.json")).hexdigest()
                except OSError:
                    states[path] = f"unreadable {stamp.json_time} {stamp.arrays}"
                    continue
                self._index.note(Entry(path, stamp, digest, ""), {}, begun)
                states[path] = f"{digest[:32]} {stamp.arrays}"
        self._index.write()
        return states

    def stamps(self, paths: Iterable[str]) -> dict[str, Stamp]:
        """Sizes and times of the files of cells by path."""
        paths = list(paths)
        stamps = stamps_of(self.folder, paths)
        return {path: stamps.get(path, Stamp()) for path in paths}

    def origin_of(self, stamps: Mapping[str, Stamp]) -> str:
        """Fingerprint of cells whose files are as the index knows them; "" if one of them is not."""
        known = self._index.digests()
        found = {path: known.get(path) for path, stamp in stamps.items() if stamp.json_size >= 0}
        if any(each is None or not each.checked or each.stamp != stamps[path] for path, each in found.items()):
            return ""
        return fingerprint([(path, each.digest, each.stamp.arrays) for path, each in found.items() if each is not None])

    # ---- files --------------------------------------------------------------------------------------------------

    def _path(self, key: Key, ending: str) -> Path:
        """Path of a cell's file with this ending."""
        return self.folder / f"{key.path}.{ending}"

    def _report_damage(self, key: Key, error: BadCellError) -> None:
        """Add a notice about a damaged cell; its files are moved aside where this process may write."""
        if self.locked:
            moved = self._put_aside(key, error.word)
            follows = f"{moved}that cell is computed again"
        else:
            follows = "that cell is left out"
        if key.path not in self.damages:
            self.damages[key.path] = str(error)
            self.notices.append(f"{key.path}.{error.ending} is missing or damaged ({error}): {follows}.")

    def _put_aside(self, key: Key, word: str) -> str:
        """Move the files of a cell aside, and say where to; files that cannot be moved are written over later."""
        try:
            moved = put_aside(self.folder, [f"{key.path}.json", f"{key.path}.npz"], word)
        except OSError:
            return ""
        return f"moved to {moved[0]}, " if moved else ""

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file by a rename; an error becomes a UsageError."""
        if self.locked and not (self.folder / ".lock").exists():
            raise UsageError(
                f"{self.folder} is gone: it was deleted or moved while the run was going on; move it back, or not, and "
                "run again."
            )
        try:
            write_atomically(path, data)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}); finished cells are kept: make room or choose another "
                "folder with --out, and run again."
            ) from error


def _npz_bytes(arrays: Arrays) -> bytes:
    """Content of an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _changed(key: Key) -> str:
    """Message about arrays that are no longer those of a cell."""
    return (
        f"The files of {key} have changed since they were read, because a run is going on or they were damaged: repeat "
        "the command when no run is going on."
    )
