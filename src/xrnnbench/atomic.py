"""Files that are either there and whole, or not there: written beside their place, synced, then moved into it.

The bytes go to a file of a random name in the same folder, so that the move is a rename within one file system and two
writers never share a half-written file; the last to finish wins. The file is synced before the rename, for otherwise a
crash could leave the name without the bytes. The folder is synced after it where the system allows that, so that
what one file promises about another (arrays first, then the JSON that says they are there) survives a crash too.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write the bytes so that a reader finds the old file or the new one, never a part; folders are made.

    Raises:
        OSError: the folder cannot be made or written; nothing is left behind.
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
    """What open() would have given: mkstemp makes files only their owner can read, and results are for sharing."""
    mask = os.umask(0o022)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; systems that cannot open a folder have no need or no way to."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
