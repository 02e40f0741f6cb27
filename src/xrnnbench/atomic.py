"""Atomic writes: a file is either complete or does not exist.

The bytes are written to a temporary file of a random name in the same folder, so that the final rename stays within one
file system and two writers never share a half-written file; the last to finish wins. The file is synced before the
rename, because otherwise a crash could leave the name without the bytes. The folder is synced after it where the system
allows that, so that the order of files (arrays first, then the JSON that refers to them) survives a crash too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

# Characters of a file's name that its temporary one has too; with the random ones, a name may be longer than allowed.
_LONGEST: Final = 60


def write_atomically(path: str | os.PathLike[str], data: bytes, *, make_folder: bool = True) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    Args:
        path: of the file.
        data: its content.
        make_folder: whether missing folders are created; a user who names a file may have mistyped its folder.

    Raises:
        OSError: the folder is missing, or cannot be created or written, or there is something of that name that is no
            ordinary file, such as a device; no temporary file is left behind.
    """
    if not (make_folder or Path(path).parent.is_dir()):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    write_all_atomically([(path, data)])


def write_all_atomically(files: Iterable[tuple[str | os.PathLike[str], bytes]]) -> None:
    """Write files that belong together: none is replaced before all of them are on the disk, which may be full.

    They take their places one after the other, in their order; a kill at that moment leaves some of them new.

    Args:
        files: paths, each with what is written there.

    Raises:
        OSError: as for :func:`write_atomically`, and no file has been replaced.
    """
    waiting: list[tuple[Path, Path]] = []
    try:
        for path, data in files:
            target = Path(path)
            _refuse_special(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:_LONGEST]}.", suffix=".tmp")
            waiting.append((Path(name), target))
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            waiting[-1][0].chmod(_ordinary_mode())
        for temporary, target in waiting:
            temporary.replace(target)
    except BaseException:
        for temporary, _ in waiting:
            with contextlib.suppress(OSError):
                temporary.unlink()
        raise
    for folder in {target.parent: None for _, target in waiting}:
        _sync_folder(folder)


def write_note(path: Path, text: str) -> None:
    """Write a small file in place, which a crash may leave empty; a link of that name is not followed.

    Raises:
        OSError: it cannot be written, or is a link, or a pipe that nobody reads.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(text.encode())


def _refuse_special(target: Path) -> None:
    """Refuse to put a file into the place of a device, a pipe or a folder.

    Raises:
        OSError: there is one of that name.
    """
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "It is a device or a pipe, not a file", str(target))


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
