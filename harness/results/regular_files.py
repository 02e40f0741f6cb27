"""Reading of regular files alone: a pipe would be waited for, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_regular(path: str | Path) -> bytes:
    """Content of a file.

    Raises:
        OSError: it cannot be read, or is no regular file.
    """
    # not to wait for a pipe
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        # a byte more than there are: if fewer come, the file has ended
        data = os.read(descriptor, status.st_size + 1)
        if len(data) == status.st_size:
            return data
        parts = [data]
        while parts[-1]:
            parts.append(os.read(descriptor, status.st_size + 1))
        return b"".join(parts)
    finally:
        os.close(descriptor)
