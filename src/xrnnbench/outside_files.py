"""Files from outside: what a file claims is compared with what it is, before memory is taken for it.

A file is opened only if it is an ordinary one: a pipe or a device could be read without end. It is read as a whole only
if that much memory is free. An ``.npz`` file states the sizes of its arrays, which may be far larger than the file:
they are added up from its directory, and compared with the file and with the free memory, before the first is read. No
array is unpickled.
"""

from __future__ import annotations

import errno
import math
import os
import zipfile
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import psutil
from rich.filesize import decimal

from .errors import DataError
from .ordinary_files import open_ordinary

if TYPE_CHECKING:
    from pathlib import Path

    Array = np.ndarray[Any, Any]

# What takes no more memory is read in any case; larger arrays may take so many times the size of their file.
ALWAYS_ALLOWED: Final = 256 << 20
EXPANSION: Final = 50

_HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_NOT_ARRAYS: Final = "is not a .npz file of plain arrays: write it with numpy.savez"


def free_memory() -> int:
    """Bytes of memory that are free on this machine, with those that the system can make free."""
    return int(psutil.virtual_memory().available)


def read_bytes(path: Path) -> bytes:
    """Read an ordinary file as a whole.

    Raises:
        OSError: it cannot be read, is no ordinary file, or is larger than 256 MiB and the free memory; ``strerror`` is
            the reason.
    """
    with open_ordinary(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > ALWAYS_ALLOWED and size > (free := free_memory()):
            reason = f"it has {decimal(size)}, and {decimal(free)} of memory are free"
            raise OSError(errno.EFBIG, reason, str(path))
        return file.read()


def read_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of an ``.npz`` file by name; arrays of Python objects are refused.

    Raises:
        DataError: the file cannot be read, is damaged, holds something other than arrays, or takes too much memory
            (see :func:`arrays_of`).
    """
    name = repr(str(path))
    try:
        with open_ordinary(path) as file:
            return arrays_of(file, os.fstat(file.fileno()).st_size, name)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name}.") from error
    except OSError as error:
        raise DataError(f"{name} {_NOT_ARRAYS} ({error.strerror or type(error).__name__}).") from error


def arrays_of(file: IO[bytes], size: int, name: str) -> dict[str, Array]:
    """Arrays of an open ``.npz`` file by name.

    Args:
        file: the open file; it can be rewound.
        size: its size in bytes.
        name: what messages call it.

    Raises:
        DataError: the file is damaged or holds something other than arrays of numbers and texts; or its arrays would
            take more than 256 MiB and either fifty times the size of the file, or the free memory.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, name)
            _check_memory(sum(member.file_size for member in members), size, name)
            for member in members:
                _check_header(archive, member, name)
            return {_name_of(member): _array(archive, member) for member in members}
    except DataError:
        raise
    except Exception as error:  # zipfile and numpy raise nearly anything on damaged files
        raise DataError(f"{name} {_NOT_ARRAYS}.") from error


def _check_members(members: list[zipfile.ZipInfo], name: str) -> None:
    """Refuse what :func:`numpy.savez` does not write: other files, other compressions, two arrays of one name."""
    counts = Counter(member.filename for member in members)
    for member in members:
        if not member.filename.endswith(".npy") or counts[member.filename] > 1:
            raise DataError(
                f"{name} {_NOT_ARRAYS} (it holds {member.filename[:40]!r}, which is no array, or is twice)."
            )
        if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise DataError(f"{name} {_NOT_ARRAYS} ({member.filename[:40]!r} is compressed in an unusual way).")


def _check_memory(declared: int, size: int, name: str) -> None:
    """Refuse arrays that would take too much memory, by the sizes that the file declares."""
    if declared > max(ALWAYS_ALLOWED, EXPANSION * size):
        raise DataError(
            f"{name} has {decimal(size)}, and its arrays would take {decimal(declared)} of memory, over {EXPANSION} "
            "times as much: if you trust it, write them without compression, by numpy.savez(path, **numpy.load(path))."
        )
    if declared > ALWAYS_ALLOWED and declared > (free := free_memory()):
        raise DataError(
            f"The arrays of {name} take {decimal(declared)} of memory, and {decimal(free)} are free: give fewer "
            "sequences, or use a machine with more memory."
        )


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> None:
    """Refuse an array of Python objects, and one whose shape does not fit the bytes that are there."""
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        shape, _, dtype = _HEADERS[version](content)
        begin = content.tell()
    if dtype.hasobject:
        raise DataError(
            f"The array {_name_of(member)!r} of {name} holds Python objects, which could run code when they are read: "
            "write it as an array of numbers or texts."
        )
    fits = dtype.itemsize and min(shape, default=0) >= 0
    if not fits or math.prod(shape) * dtype.itemsize != member.file_size - begin:
        raise DataError(
            f"The array {_name_of(member)!r} of {name} is damaged: it claims the shape {str(shape)[:40]} of "
            f"{str(dtype)[:40]}, and its bytes are of another size."
        )


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    """The array of a member."""
    with archive.open(member) as content:
        array: Array = np.lib.format.read_array(content, allow_pickle=False)
        return array


def _name_of(member: zipfile.ZipInfo) -> str:
    """Name of the array of a member."""
    return member.filename.removesuffix(".npy")
