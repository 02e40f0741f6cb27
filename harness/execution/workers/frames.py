"""Messages between a worker and its cell process: pickled values with their length in front."""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any, Final

_LENGTH: Final = struct.Struct(">Q")


def write_frame(stream: IO[bytes], message: tuple[Any, ...]) -> None:
    """Write a message of plain values and bytes.

    Raises:
        OSError: the other side is gone.
    """
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """Read a message; None if the other side has closed the stream, even in the middle of a message."""
    head = _read(stream, _LENGTH.size)
    data = None if head is None else _read(stream, _LENGTH.unpack(head)[0])
    # what comes from the cell process is bytes of its own making; the worker makes nothing of them but this tuple
    return None if data is None else tuple(pickle.loads(data))  # noqa: S301  # both ends are processes of one run


def _read(stream: IO[bytes], count: int) -> bytes | None:
    """Exactly so many bytes; None if the stream ends before."""
    parts, missing = [], count
    while missing:
        part = stream.read(min(missing, 1 << 24))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)
