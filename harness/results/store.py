"""Store of a run: the folder with its cells, its run file, its samples and its boards.

One process at a time works in a folder.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import DataError, UsageError
from . import run_file
from .cell_store import CellStore
from .folder_lock import FolderLock
from .samples import read_samples, samples_path, samples_text
from .seals import json_text, sealed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Self

    from .cells import Key, PluginInfo
    from .samples import Samples

ENDINGS = ("md", "csv", "json", "tex", "html")


class Store(CellStore):
    """The folder of a run, ``<out>/runs/<name>``; a context manager that locks it for one process.

    Attributes:
        out: the folder of the suite's boards.
        folder: the folder of the run, and of the boards of a changed suite.
        variant: see :class:`xrnnbench.harness.suites.suite.Suite`; a changed suite shares the cells of its suite, but
            has a run file and boards of its own.
    """

    def __init__(self, out: str | os.PathLike[str], name: str, variant: str = "") -> None:
        self.out = Path(out)
        super().__init__(self.out / "runs" / name)
        self.variant = variant
        self._lock: FolderLock | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The folder alone, for another process that reads it."""
        return {"out": self.out, "folder": self.folder, "variant": self.variant}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["out"], "", state["variant"])  # type: ignore[misc]
        self.folder = state["folder"]

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
            UsageError: the folder cannot be made or written, another process works in it, or its lock is a link.
        """
        lock = FolderLock(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.take()
        except OSError as error:
            raise UsageError(_no_folder(self.out, self.folder, error)) from error
        self._lock, self.locked = lock, True
        for leftover in self.folder.rglob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.write_index()
        if self._lock is not None:
            self._lock.release()
        self._lock, self.locked = None, False

    def held(self) -> AbstractContextManager[None]:
        """Context in which no other process works in the folder, and nothing in it is changed.

        Raises:
            UsageError: another process works in it, or its lock is a link.
        """
        return FolderLock(self.folder).held()

    def _had_seal(self, key: Key) -> bool:
        """Whether the run file says that the cell of a place has been sealed."""
        return key.path in self._sealed

    @cached_property
    def _sealed(self) -> frozenset[str]:
        """Paths of the cells that had a seal when the run file was written."""
        try:
            content = self.read_run() or {}
        except DataError:  # which is reported by whoever needs the run file
            content = {}
        return frozenset(content["cells"]) if content.get("sealed_cells") else frozenset()

    # ---- the run's own file and the boards ----------------------------------------------------------------------

    def read_run(self) -> dict[str, Any] | None:
        """Read the content of the run file; None if there is none.

        Raises:
            DataError: the file is damaged.
        """
        return run_file.read(self.run_file)

    def write_run(self, content: Mapping[str, Any]) -> None:
        """Write the run file."""
        self.write_file(self.run_file, sealed(json_text(content)))

    def read_samples(self, task: PluginInfo) -> Samples | None:
        """Read the samples of a task; None if there are none, or the file is damaged, which is reported."""
        path = samples_path(self.folder, task)
        samples = read_samples(self.folder, task)
        if samples is None and os.path.lexists(path) and str(path) not in self._said:
            self._said.add(str(path))
            self.notices.append(f"{path.relative_to(self.folder)} is damaged: the next run writes it again.")
        return samples

    def write_samples(self, task: PluginInfo, samples: Samples) -> None:
        """Write the samples of a task."""
        self.write_file(samples_path(self.folder, task), samples_text(samples))

    def discard_samples(self, task: PluginInfo) -> None:
        """Delete the samples of a task, if there are any."""
        samples_path(self.folder, task).unlink(missing_ok=True)

    def write_board(self, ending: str, text: str) -> Path:
        """Write the board with this ending and return its path."""
        path = self.boards[ending]
        self.write_file(path, text.encode())
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

    def kept_board(self, ending: str, origin: str) -> str | None:
        """Text of a board that was made from this origin before; None if it was not kept."""
        return self._index.board(self.boards[ending].name, origin)

    def keep_board(self, ending: str, origin: str, text: str) -> None:
        """Keep the text of a board, which is read again instead of being made again."""
        self._index.keep_board(self.boards[ending].name, origin, text)


def _no_folder(out: Path, folder: Path, error: OSError) -> str:
    """Message about a folder that cannot be made."""
    blocking = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocking is not None:
        return f"Results cannot go into {out}: {blocking} is a file, not a folder; choose another with --out."
    return f"Results cannot go into {out} ({error.strerror}); choose another folder with --out."
