"""The folder of a run: cells that are there and whole, or not there.

Arrays are written first, the JSON last, each by a rename, so that a run killed at any moment leaves no cell half
written. The JSON carries the hash of the arrays: where the two do not belong together (killed between them, or damaged
later), what still agrees is kept and the rest counts as not there. One process at a time works in a folder; the
operating system gives the lock back when that process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ...atomic import write_atomically
from ...errors import UsageError
from . import run_file as runfile
from .cells import Cell, scores_hash
from .samples import samples_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from .cells import Key, Record, Source
    from .samples import Samples

    Arrays = Mapping[str, np.ndarray[Any, Any]]

ENDINGS = ("md", "csv", "json", "tex", "html")
ARRAYS = ("attribution", "target", "lengths", "scores", "measured")

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Store:
    """The folder ``<out>/runs/<name>``; use it as a context to work in it alone.

    Attributes:
        out: where the boards of the suite go.
        folder: where the run goes, and the boards of a variant of the suite.
        variant: see :class:`xrnnbench.harness.suites.suite.Suite`; it shares the suite's cells, not its run file and
            boards.
        notices: sentences about what was found damaged.
    """

    def __init__(self, out: str | os.PathLike[str], name: str, variant: str = "") -> None:
        self.out = Path(out)
        self.folder = self.out / "runs" / name
        self.variant = variant
        self.notices: list[str] = []
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Make the folder and lock it.

        Raises:
            UsageError: the folder cannot be made or written, or another process works in it.
        """
        path = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise UsageError(_no_folder(self.out, self.folder, error)) from error
        try:
            _lock(self._descriptor)
        except OSError as error:
            holder = path.read_text("utf-8").strip() or "another process"
            self._release()
            raise UsageError(
                f"{holder} is working in {self.folder}: wait until it is done, or choose another folder with --out."
            ) from error
        os.truncate(self._descriptor, 0)
        os.write(self._descriptor, f"Process {os.getpid()} on {platform.node()}".encode())
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    # ---- cells --------------------------------------------------------------------------------------------------

    def load(self, key: Key) -> Cell | None:
        """The cell kept for this place, or None; whatever of it is damaged is left out, and said in a notice."""
        path = self._path(key, "json")
        try:
            cell = Cell.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            self._say_damaged(path)
            return None
        if (cell.task.identity, cell.method.identity) != (key.task.identity, key.method.identity):
            self._say_damaged(path)
            return None
        if not cell.explained:
            return cell
        try:
            data = self._path(key, "npz").read_bytes()
        except OSError:
            self._say_damaged(self._path(key, "npz"))
            return None
        return cell if hashlib.sha256(data).hexdigest() == cell.measured.arrays else self._salvaged(key, cell, data)

    def save(self, key: Key, cell: Cell, arrays: Arrays | None = None) -> Cell:
        """Keep a cell, its arrays first; the cell as it was kept comes back.

        Raises:
            UsageError: the files cannot be written (no space, no permission).
        """
        if arrays is not None:
            data = _packed(arrays)
            digest = hashlib.sha256(data).hexdigest()
            cell = cell.model_copy(update={"measured": cell.measured.model_copy(update={"arrays": digest})})
            self._write(self._path(key, "npz"), data)
        self._write(self._path(key, "json"), _json(cell.model_dump(mode="json")))
        if arrays is None:
            self._path(key, "npz").unlink(missing_ok=True)
        return cell

    def discard(self, key: Key) -> None:
        """Forget a cell; its JSON first, so that no JSON is ever without its arrays."""
        for ending in ("json", "npz"):
            self._path(key, ending).unlink(missing_ok=True)

    def arrays(self, key: Key, *names: str) -> dict[str, np.ndarray[Any, Any]]:
        """Some of a cell's arrays: ``attribution``, ``target``, ``lengths`` [B], ``scores`` and ``measured`` [R, B]."""
        with np.load(self._path(key, "npz"), allow_pickle=False) as found:
            return {name: found[name] for name in names}

    # ---- the run's own file and the boards ----------------------------------------------------------------------

    def read_run(self) -> dict[str, Any] | None:
        """The content of the run file, or None if there is none.

        Raises:
            DataError: it is damaged.
        """
        return runfile.read(self.run_file)

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Keep the run file."""
        self._write(self.run_file, _json(content))

    def write_samples(self, task: Source, samples: Samples) -> None:
        """Keep a few sequences of a task, to be shown."""
        self._write(samples_path(self.folder, task), (samples.model_dump_json() + "\n").encode())

    def write_board(self, ending: str, text: str) -> Path:
        """Keep the board of that ending and return its path."""
        path = self.boards[ending]
        self._write(path, text.encode())
        return path

    @property
    def run_file(self) -> Path:
        """``run.json``, or ``run-<variant>.json`` of a variant."""
        return self.folder / (f"run-{self.variant}.json" if self.variant else "run.json")

    @property
    def boards(self) -> dict[str, Path]:
        """The paths of the boards, by ending."""
        folder, name = (self.folder, f"leaderboard-{self.variant}") if self.variant else (self.out, "leaderboard")
        return {ending: folder / f"{name}.{ending}" for ending in ENDINGS}

    def boards_state(self) -> dict[str, str]:
        """The hash of each board that is there, by ending."""
        return {
            ending: hashlib.sha256(path.read_bytes()).hexdigest()
            for ending, path in self.boards.items()
            if path.is_file()
        }

    def state(self, path: str) -> str:
        """Something that changes when a cell's files do: the hash of the JSON, size and time of the arrays.

        The arrays are not read: of a large run they are more than can be read in the time nothing may take.
        """
        json_path, arrays = self.folder / f"{path}.json", self.folder / f"{path}.npz"
        if not json_path.is_file():
            return ""
        found = arrays.stat() if arrays.is_file() else None
        stamp = f"{found.st_size} {found.st_mtime_ns}" if found is not None else "no arrays"
        return f"{hashlib.sha256(json_path.read_bytes()).hexdigest()[:32]} {stamp}"

    # ---- the inside ---------------------------------------------------------------------------------------------

    def _path(self, key: Key, ending: str) -> Path:
        return self.folder / f"{key.path}.{ending}"

    def _say_damaged(self, path: Path) -> None:
        self.notices.append(f"{path.relative_to(self.folder)} is missing or damaged: that cell is computed again.")

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_atomically(path, data)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written ({error.strerror}); cells that are finished are kept: make room or choose "
                "another folder with --out, and run again."
            ) from error

    def _salvaged(self, key: Key, cell: Cell, data: bytes) -> Cell | None:
        """The explanation and those records whose scores are still the ones the JSON speaks of."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                arrays = {name: found[name] for name in ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self._say_damaged(self._path(key, "npz"))
            return None
        if any(array_hash(arrays[name]) != getattr(cell.fingerprints, name) for name in ("attribution", "lengths")):
            self._say_damaged(self._path(key, "npz"))
            return None
        records = tuple(record for record in cell.records if _agrees(record, arrays["scores"]))
        measured = tuple(record for record in cell.measured.records if _agrees(record, arrays["measured"]))
        changed = cell.measured.model_copy(update={"records": measured})
        return cell.model_copy(update={"records": records, "measured": changed})


def array_hash(array: np.ndarray[Any, Any]) -> str:
    """Sha256 of an array: its type, shape and bytes."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _agrees(record: Record, rows: np.ndarray[Any, Any]) -> bool:
    if record.row is None:
        return True
    end = record.row + 1 + record.profile
    return end <= len(rows) and scores_hash(rows[record.row : end]) == record.scores


def _packed(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _no_folder(out: Path, folder: Path, error: OSError) -> str:
    blocking = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocking is not None:
        return f"Results cannot go into {out}: {blocking} is a file, not a folder; choose another with --out."
    return f"Results cannot go into {out} ({error.strerror}); choose another folder with --out."
