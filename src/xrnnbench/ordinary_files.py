"""Opening of ordinary files alone: a pipe would be waited for, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# Opening a pipe without a writer waits for ever without O_NONBLOCK; Windows has no such flag and no such pipes.
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_ordinary(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file for reading; a pipe is neither waited for nor read.

    Raises:
        OSError: it cannot be opened, or is no ordinary file; ``strerror`` is the reason.
    """
    return os.fdopen(_opened(path)[0], "rb")


def read_ordinary(path: str | Path) -> bytes:
    """Content of a file, read in one go.

    Raises:
        OSError: it cannot be read, or is no ordinary file; ``strerror`` is the reason.
    """
    descriptor, size = _opened(path)
    try:
        # a byte more than there are: if fewer come, the file has ended
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        parts = [data]
        while parts[-1]:
            parts.append(os.read(descriptor, size + 1))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _opened(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Descriptor and size of an ordinary file."""
    try:
        descriptor = os.open(path, _FLAGS)
    except ValueError as error:
        raise OSError(errno.EINVAL, "its name holds characters that no file name has", repr(str(path))) from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)
    kind = stat.S_IFMT(status.st_mode)
    number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
    raise OSError(number, f"it is {_KINDS.get(kind, 'something else')}, not a file", str(path))
