"""Reading of array files (``.npz``) of known structure, several times as fast as :func:`numpy.load`.

An array file that :func:`numpy.savez` has written is a zip archive of uncompressed members, one behind the other, each
an ``.npy`` file. Opening it as any zip archive takes longer than reading its bytes. Here the members are walked through
from the start, and the checksum of each that is wanted is compared. A file of another structure is unpacked as
any zip archive, but never to more than its size allows.
"""

from __future__ import annotations

import ast
import io
import math
import struct
import zipfile
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ordinary_files import read_ordinary

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
# Ways of packing, and how much larger a packed file may be once unpacked; the files of cells are not packed at all.
_KINDS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_RATIO, _LARGEST = 8, 64 << 20
# Bytes of a header of an array; numpy has the same limit, because a longer one may exhaust the parser.
_LONGEST = 10_000


class _OtherStructureError(Exception):
    """The file is not as savez writes it."""


def read_arrays(path: Path, names: Collection[str]) -> dict[str, Array]:
    """Arrays of a file by their names; see :func:`arrays_of`.

    Raises:
        OSError: the file cannot be read.
    """
    return arrays_of(read_ordinary(path), names)


def arrays_of(data: bytes, names: Collection[str], *, known: bool = False) -> dict[str, Array]:
    """Arrays by their names, of the bytes of a file.

    Args:
        data: the bytes of the file.
        names: the names of the arrays.
        known: whether the bytes are known to be those that were written, so that their checksums need not be compared.

    Raises:
        KeyError: there is no array of this name.
        ValueError: the file is damaged, holds something else, or claims to be much larger than its bytes.
    """
    try:
        found = {name: _array(data, *place, known=known) for name, place in _members(data) if name in names}
        return {name: found[name] for name in names}
    except (_OtherStructureError, KeyError, struct.error, IndexError):
        found = unpacked(data, names, max(_LARGEST, _RATIO * len(data)))
        return {name: found[name] for name in names}


def unpacked(data: bytes, names: Collection[str] | None, limit: int) -> dict[str, Array]:
    """Arrays of a file of any structure that :func:`numpy.savez_compressed` or another program may give it.

    Nothing is unpacked before the sizes that the file declares were added up, and no array is made that is not as large
    as the bytes that it is made of.

    Args:
        data: the bytes of the file.
        names: the names of the arrays; None for all.
        limit: the largest number of bytes that they may unpack to.

    Raises:
        ValueError: the file is damaged, holds something else, or unpacks to more.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            members = {info.filename.removesuffix(".npy"): info for info in file.infolist()}
            if len(members) < len(file.infolist()):
                raise ValueError("it has an array twice")
            wanted = {name: info for name, info in members.items() if names is None or name in names}
            if (total := sum(info.file_size for info in wanted.values())) > limit:
                raise ValueError(f"it claims to hold {total:,} bytes, and {limit:,} are the most that its size allows")
            if any(info.compress_type not in _KINDS or info.flag_bits & 1 for info in wanted.values()):
                raise ValueError("it is packed in another way")
            return {name: _unpacked_array(file.read(info)) for name, info in wanted.items()}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, OverflowError) as error:
        raise ValueError(str(error) or "it holds no arrays") from error


def _unpacked_array(content: bytes) -> Array:
    """Array of the bytes of an ``.npy`` file, in whatever order its elements are.

    Raises:
        ValueError: it is none.
    """
    if content[:6] != _MAGIC[:6] or len(content) < 12:
        raise ValueError("it holds something else than arrays")
    size = 2 if content[6] == 1 else 4
    end = 8 + size + int.from_bytes(content[8 : 8 + size], "little")
    try:
        dtype, shape, in_order = _described(content[8 + size : end])
        array = np.frombuffer(content, dtype, offset=end).reshape(shape, order="C" if in_order else "F")
    except (_OtherStructureError, TypeError, OverflowError) as error:
        raise ValueError("it holds something else than arrays") from error
    return array.copy(order="K")


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


def _array(data: bytes, begin: int, end: int, checksum: int, *, known: bool) -> Array:
    """Array of the bytes of an ``.npy`` file."""
    content = memoryview(data)[begin:end]
    if bytes(content[:8]) != _MAGIC or len(content) != end - begin or not (known or zlib.crc32(content) == checksum):
        raise _OtherStructureError
    header_end = 10 + int.from_bytes(content[8:10], "little")
    dtype, shape, in_order = _described(bytes(content[10:header_end]))
    if not in_order or math.prod(shape) * dtype.itemsize != len(content) - header_end:
        raise _OtherStructureError
    # a copy, so that an array neither keeps the whole file nor is read-only
    return np.frombuffer(content[header_end:], dtype).reshape(shape).copy()


@lru_cache(maxsize=1024)
def _described(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Type and shape of an array from the header of its file, and whether its elements are in the order of C."""
    if len(header) > _LONGEST:
        raise _OtherStructureError
    try:
        fields = ast.literal_eval(header.decode("latin1"))
        dtype, shape, turned = np.dtype(fields["descr"]), tuple(fields["shape"]), bool(fields["fortran_order"])
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise _OtherStructureError from error
    if not all(isinstance(size, int) and size >= 0 for size in shape):
        raise _OtherStructureError
    if dtype.hasobject:
        raise _OtherStructureError
    return dtype, shape, not turned
