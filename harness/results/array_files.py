"""Reading of array files (``.npz``) of known structure, several times as fast as :func:`numpy.load`.

An array file that :func:`numpy.savez` has written is a zip archive of uncompressed members, one behind the other, each
an ``.npy`` file. Opening it as any zip archive takes longer than reading its bytes. Here the members are walked through
from the start, and the checksum of each that is wanted is compared. A file of another structure is left to numpy.
"""

from __future__ import annotations

import ast
import io
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    Array = np.ndarray[Any, Any]

# The header of a member of a zip archive (APPNOTE.TXT, 4.3.7), up to its name.
_HEADER = struct.Struct("<4s5H3L2H")
# The extra field with the sizes of a member that may be large (4.5.3), which savez writes for each.
_SIZES = struct.Struct("<2H2Q")
_MEMBER, _END = b"PK\x03\x04", b"PK\x01\x02"
_MAGIC = b"\x93NUMPY\x01\x00"


class _OtherStructureError(Exception):
    """The file is not as savez writes it."""


def read_arrays(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Arrays of a file by their names.

    Raises:
        KeyError: there is no array of this name.
        OSError, ValueError, EOFError, zipfile.BadZipFile: as of :func:`numpy.load`.
    """
    data = path.read_bytes()
    try:
        found = {name: _array(data, *place) for name, place in _members(data) if name in names}
        return {name: found[name] for name in names}
    except (_OtherStructureError, KeyError, struct.error, IndexError):
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return {name: file[name] for name in names}


def _members(data: bytes) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Names of the arrays, each with its start, its end and its checksum."""
    start = 0
    while data[start : start + 4] == _MEMBER:
        _, _, flags, method, _, _, checksum, size, full, name_size, extra_size = _HEADER.unpack_from(data, start)
        name_start = start + _HEADER.size
        begin = name_start + name_size + extra_size
        if extra_size == _SIZES.size:
            kind, _, full, size = _SIZES.unpack_from(data, name_start + name_size)
            extra_size = 0 if kind == 1 else extra_size
        if flags & ~0x800 or method or extra_size or size != full:
            raise _OtherStructureError
        yield (
            data[name_start : name_start + name_size].decode("ascii", "replace").removesuffix(".npy"),
            (
                begin,
                begin + size,
                checksum,
            ),
        )
        start = begin + size
    if data[start : start + 4] != _END:
        raise _OtherStructureError


def _array(data: bytes, begin: int, end: int, checksum: int) -> Array:
    """Array of the bytes of an ``.npy`` file."""
    content = memoryview(data)[begin:end]
    if bytes(content[:8]) != _MAGIC or len(content) != end - begin or zlib.crc32(content) != checksum:
        raise _OtherStructureError
    header_end = 10 + int.from_bytes(content[8:10], "little")
    dtype, shape, in_order = _described(bytes(content[10:header_end]))
    if not in_order:
        raise _OtherStructureError
    # a copy, so that an array neither keeps the whole file nor is read-only
    return np.frombuffer(content[header_end:], dtype).reshape(shape).copy()


@lru_cache(maxsize=1024)
def _described(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type and shape of an array from the header of its file, and whether its elements are in the order of C."""
    try:
        fields = ast.literal_eval(header.decode("latin1"))
        dtype, shape = np.dtype(fields["descr"]), tuple(fields["shape"])
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise _OtherStructureError from error
    if dtype.hasobject:
        raise _OtherStructureError
    return dtype, shape, not fields["fortran_order"]
