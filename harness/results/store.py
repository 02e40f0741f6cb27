"""Store of a run: the folder with its cells, its run file and its boards.

A cell is written as an array file and then a JSON file, each by a rename, so that a run killed at any moment leaves no
half-written cell. The JSON file has the hash of the array file. If the two do not match (killed between the two writes,
or damaged later), the records that still match their scores are kept and the others count as missing. One process at a
time works in a folder; the operating system releases its lock when that process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import zipfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
from pydantic import ValidationError

from ...atomic import write_atomically
from ...errors import UsageError
from ...fingerprints import fingerprint
from . import run_file
from .array_files import read_arrays
from .cell_files import Stamp, stamp_of, stamps_of
from .cells import Cell, scores_hash
from .compact_cells import CellPacker
from .index import CellIndex, Entry
from .samples import samples_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

    from .cells import Key, PluginInfo, Record
    from .samples import Samples

    Arrays = Mapping[str, np.ndarray[Any, Any]]

ENDINGS = ("md", "csv", "json", "tex", "html")
ARRAYS = ("attribution", "target", "lengths", "scores", "measured")


class Store:
    """The folder of a run, ``<out>/runs/<name>``; a context manager that locks it for one process.

    Attributes:
        out: the folder of the suite's boards.
        folder: the folder of the run, and of the boards of a changed suite.
        variant: see :class:`xrnnbench.harness.suites.suite.Suite`; a changed suite shares the cells of its suite, but
            has a run file and boards of its own.
        notices: sentences about damaged files.
    """

    def __init__(self, out: str | os.PathLike[str], name: str, variant: str = "") -> None:
        self.out = Path(out)
        self.folder = self.out / "runs" / name
        self.variant = variant
        self.notices: list[str] = []
        self._reported = 0
        self._lock: filelock.FileLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The folder alone, for another process that reads it."""
        return {"out": self.out, "folder": self.folder, "variant": self.variant}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["out"], "", state["variant"])  # type: ignore[misc]
        self.folder = state["folder"]

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

    @classmethod
    def of_run_file(cls, path: Path) -> Self:
        """The store of an existing ``run.json`` or ``run-<variant>.json``, wherever its folder lies.

        A run that was moved out of a folder ``runs/`` keeps its boards in its own folder.
        """
        # absolute, so that the run is still there when the working directory changes
        folder = path.parent.absolute()
        store = cls(folder, folder.name, run_file.variant_of(path))
        store.out = folder.parents[1] if folder.parent.name == "runs" and len(folder.parents) > 1 else folder
        store.folder = folder
        return store

    def __enter__(self) -> Self:
        """Make the folder and lock it.

        Raises:
            UsageError: the folder cannot be made or written, or another process works in it.
        """
        lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise UsageError(
                f"{self._holder()} is working in {self.folder}: wait until it is done, or choose another folder with "
                "--out."
            ) from error
        except OSError as error:
            raise UsageError(_no_folder(self.out, self.folder, error)) from error
        self._lock = lock
        with contextlib.suppress(OSError):  # only names the holder to others
            self._holder_file.write_text(f"Process {os.getpid()} on {platform.node()}", "utf-8")
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write_index()
        if self._lock is not None:
            # a plug-in may have closed the file of the lock, which is free then
            with contextlib.suppress(OSError):
                self._lock.release()
            self._lock = None

    def new_notices(self) -> list[str]:
        """Notices that this has not returned before."""
        new = self.notices[self._reported :]
        self._reported = len(self.notices)
        return new

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Context in which no other process works in the folder, and nothing in it is changed.

        Raises:
            UsageError: another process works in it.
        """
        lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        if (self.folder / ".lock").is_file():
            try:
                lock.acquire()
            except filelock.Timeout as error:
                raise UsageError(
                    f"{self._holder()} is working in {self.folder}: wait until it is done, or stop it."
                ) from error
            except OSError:  # a folder that can only be read: no run is going on in it
                pass
        try:
            yield
        finally:
            lock.release()

    @property
    def _holder_file(self) -> Path:
        # not the lock itself, which whoever tries to lock it empties
        return self.folder / ".lock-holder"

    def _holder(self) -> str:
        """Name of the process that holds the lock."""
        try:
            return self._holder_file.read_text("utf-8").strip() or "Another process"
        except (OSError, UnicodeDecodeError):
            return "Another process"

    # ---- cells --------------------------------------------------------------------------------------------------

    def load(self, key: Key) -> Cell | None:
        """Load the cell of this place; None if it is missing or damaged.

        Files that are as the index knows them are not read again. Records whose scores are damaged are left out. Damage
        is reported in :attr:`notices`.
        """
        stamp = stamp_of(f"{self._root}/{key.path}")
        if stamp.json_size < 0:
            return None
        entry = self._index.find(key.path, stamp)
        cell = self._packer.unpack(entry.content) if entry is not None else None
        if cell is None:
            cell = self._checked(key, stamp)
        if cell is None:
            return None
        if (cell.task.identity, cell.method.identity) != (key.task.identity, key.method.identity):
            self._report_damage(self._path(key, "json"))
            return None
        return cell

    def _checked(self, key: Key, stamp: Stamp) -> Cell | None:
        """Cell of files that are read and checked byte by byte; those that are whole are noted in the index."""
        begun, path = self._index.now(), self._path(key, "json")
        try:
            text = path.read_bytes()
            cell = Cell.model_validate_json(text)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            self._report_damage(path)
            return None
        if cell.explained:
            try:
                data = self._path(key, "npz").read_bytes()
            except OSError:
                self._report_damage(self._path(key, "npz"))
                return None
            if hashlib.sha256(data).hexdigest() != cell.measured.arrays:
                return self._salvage(key, cell, data)
        content, shared = self._packer.pack(cell)
        self._index.note(Entry(key.path, stamp, hashlib.sha256(text).hexdigest(), content), shared, begun)
        # as it is read from the index, so that cells share what they have in common
        return self._packer.unpack(content, shared)

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
            self._write(self._path(key, "npz"), data)
        self._write(self._path(key, "json"), _json(cell.model_dump(mode="json")))
        if arrays is None:
            self._path(key, "npz").unlink(missing_ok=True)
        return cell

    def discard(self, key: Key) -> None:
        """Delete a cell; its JSON first, so that no JSON file is ever without its arrays."""
        for ending in ("json", "npz"):
            self._path(key, ending).unlink(missing_ok=True)

    def arrays(self, key: Key, *names: str) -> dict[str, np.ndarray[Any, Any]]:
        """Load arrays of a cell: ``attribution``, ``target``, ``lengths`` [B], ``scores`` and ``measured`` [R, B]."""
        return read_arrays(self._path(key, "npz"), names)

    # ---- the run's own file and the boards ----------------------------------------------------------------------

    def read_run(self) -> dict[str, Any] | None:
        """Read the content of the run file; None if there is none.

        Raises:
            DataError: the file is damaged.
        """
        return run_file.read(self.run_file)

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write the run file."""
        self._write(self.run_file, _json(content))

    def write_samples(self, task: PluginInfo, samples: Samples) -> None:
        """Write the samples of a task."""
        self._write(samples_path(self.folder, task), (samples.model_dump_json() + "\n").encode())

    def discard_samples(self, task: PluginInfo) -> None:
        """Delete the samples of a task, if there are any."""
        samples_path(self.folder, task).unlink(missing_ok=True)

    def write_board(self, ending: str, text: str) -> Path:
        """Write the board with this ending and return its path."""
        path = self.boards[ending]
        self._write(path, text.encode())
        return path

    @property
    def run_file(self) -> Path:
        """Path of ``run.json``, or of ``run-<variant>.json`` for a variant."""
        return self.folder / (f"run-{self.variant}.json" if self.variant else "run.json")

    @property
    def boards(self) -> dict[str, Path]:
        """Paths of the boards by ending."""
        folder, name = (self.folder, f"leaderboard-{self.variant}") if self.variant else (self.out, "leaderboard")
        return {ending: folder / f"{name}.{ending}" for ending in ENDINGS}

    def boards_state(self) -> dict[str, str]:
        """Hashes of the existing boards by ending."""
        return {
            ending: hashlib.sha256(path.read_bytes()).hexdigest()
            for ending, path in self.boards.items()
            if path.is_file()
        }

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
                digest = hashlib.sha256((self.folder / f"{path}.json").read_bytes()).hexdigest()
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

    def kept_board(self, ending: str, origin: str) -> str | None:
        """Text of a board that was made from this origin before; None if it was not kept."""
        return self._index.board(self.boards[ending].name, origin)

    def keep_board(self, ending: str, origin: str, text: str) -> None:
        """Keep the text of a board, which is read again instead of being made again."""
        self._index.keep_board(self.boards[ending].name, origin, text)

    # ---- files --------------------------------------------------------------------------------------------------

    def _path(self, key: Key, ending: str) -> Path:
        """Path of a cell's file with this ending."""
        return self.folder / f"{key.path}.{ending}"

    def _report_damage(self, path: Path) -> None:
        """Add a notice about a damaged file."""
        self.notices.append(f"{path.relative_to(self.folder)} is missing or damaged: that cell is computed again.")

    def _write(self, path: Path, data: bytes) -> None:
        """Write a file by a rename; an error becomes a UsageError."""
        if self._lock is not None and not (self.folder / ".lock").exists():
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

    def _salvage(self, key: Key, cell: Cell, data: bytes) -> Cell | None:
        """Cell with those records whose scores have the hash in the JSON; None if the attribution is damaged."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self._report_damage(self._path(key, "npz"))
            return None
        if any(array_hash(arrays[name]) != getattr(cell.fingerprints, name) for name in ("attribution", "lengths")):
            self._report_damage(self._path(key, "npz"))
            return None
        records = tuple(record for record in cell.records if _matches(record, arrays["scores"]))
        measured = tuple(record for record in cell.measured.records if _matches(record, arrays["measured"]))
        changed = cell.measured.model_copy(update={"records": measured})
        return cell.model_copy(update={"records": records, "measured": changed})


def array_hash(array: np.ndarray[Any, Any]) -> str:
    """Sha256 of an array: its type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _matches(record: Record, rows: np.ndarray[Any, Any]) -> bool:
    """Whether the scores of a record have the hash that it states."""
    if record.row is None:
        return True
    end = record.row + 1 + record.profile
    return end <= len(rows) and scores_hash(rows[record.row : end]) == record.scores


def _npz_bytes(arrays: Arrays) -> bytes:
    """Content of an ``.npz`` file."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    """Content of a JSON file."""
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _no_folder(out: Path, folder: Path, error: OSError) -> str:
    """Message about a folder that cannot be made."""
    blocking = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocking is not None:
        return f"Results cannot go into {out}: {blocking} is a file, not a folder; choose another with --out."
    return f"Results cannot go into {out} ({error.strerror}); choose another folder with --out."
