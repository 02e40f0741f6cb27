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
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        with open(descriptor, "rb", buffering=0, closefd=False) as file:  # a descriptor, no path
            return file.readall()
    finally:
        os.close(descriptor)
