"""Atomic writes: a file is either complete or does not exist.

The bytes are written to a temporary file of a random name in the same folder, so that the final rename stays within one
file system and two writers never share a half-written file; the last to finish wins. The file is synced before the
rename, because otherwise a crash could leave the name without the bytes. The folder is synced after it where the system
allows that, so that the order of files (arrays first, then the JSON that refers to them) survives a crash too.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part; missing folders are created.

    Raises:
        OSError: the folder cannot be created or written; no temporary file is left behind.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_ordinary_mode())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _ordinary_mode() -> int:
    """File mode that ``open`` would have given; ``mkstemp`` lets only the owner read, and results are to be shared."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Sync a folder, so that a rename in it is durable; on systems that cannot open folders, do nothing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
