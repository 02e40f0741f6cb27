"""The lock of a folder of results, and the name of the process that holds it.

The operating system releases the lock when that process ends, however it ends. Neither file is followed if it is a
link: a link in somebody else's folder may lead to any file.
"""

from __future__ import annotations

import contextlib
import os
import platform
from typing import TYPE_CHECKING

import filelock

from ...atomic import write_atomically
from ...errors import UsageError
from ...ordinary_files import read_ordinary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class FolderLock:
    """Lock of a folder for one process.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / ".lock"
        # not the lock itself, which whoever tries to lock it may empty
        self._holder_file = folder / ".lock-holder"
        self._lock = filelock.FileLock(self._file, timeout=0)

    def take(self) -> None:
        """Take the lock.

        Raises:
            UsageError: another process has it, or its file is a link.
            OSError: its file cannot be made or opened.
        """
        self._acquire("wait until it is done, or choose another folder with --out.")
        with contextlib.suppress(OSError):  # only names the holder to others
            write_atomically(self._holder_file, f"Process {os.getpid()} on {platform.node()}".encode())

    def is_taken(self) -> bool:
        """Whether another process has the lock now."""
        if self._file.is_symlink() or not self._file.exists():
            return False
        try:
            self._lock.acquire()
        except filelock.Timeout:
            return True
        except OSError:
            return False
        self.release()
        return False

    def release(self) -> None:
        """Release the lock; a plug-in may have closed its file, which is free then."""
        with contextlib.suppress(OSError):
            self._lock.release()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Context in which no other process works in the folder, and nothing in it is changed.

        Raises:
            UsageError: another process works in it, or the file of the lock is a link.
        """
        if os.path.lexists(self._file):
            # a folder that can only be read: no run is going on in it
            with contextlib.suppress(OSError):
                self._acquire("wait until it is done, or stop it.")
        try:
            yield
        finally:
            self.release()

    def _acquire(self, way_out: str) -> None:
        """Take the lock.

        Raises:
            UsageError: another process has it, or its file is a link.
            OSError: its file cannot be made or opened.
        """
        if self._file.is_symlink():
            raise UsageError(f"{self._file} is a link, which is not followed: delete it.")
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise UsageError(f"{self._holder()} is working in {self._folder}: {way_out}") from error

    def _holder(self) -> str:
        """Name of the process that holds the lock."""
        try:
            if self._holder_file.is_symlink():
                return "Another process"
            name = read_ordinary(self._holder_file)[:200].decode().strip()
        except (OSError, UnicodeDecodeError):
            return "Another process"
        return name if name and name.isprintable() else "Another process"
