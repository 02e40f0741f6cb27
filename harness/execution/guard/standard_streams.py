"""Standard streams and file descriptors of this process, watched over one call of a plug-in."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Final, TextIO

try:
    import fcntl
except ImportError:  # Windows has no such module
    fcntl = None  # type: ignore[assignment]

_NAMES: Final = ("stdin", "stdout", "stderr")
# Copies of descriptors have high numbers, which code that closes "all" descriptors mostly does not reach.
_HIGH: Final = 200


class StandardStreams:
    """Standard streams as they are when this is made: ``sys.stdin``, ``stdout``, ``stderr``, and descriptors 0 to 2.

    Copies of the descriptors are kept open until :meth:`restore` is called, which must be called once.
    """

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {name: getattr(sys, name) for name in _NAMES}
        self._closed = {name: _is_closed(stream) for name, stream in self._streams.items()}
        self._files = [_file_behind(number) for number in range(3)]
        self._copies = [_copy(number) if file else None for number, file in enumerate(self._files)]
        # descriptors that nobody knows, so that only code that closes those of others closes them
        self._unknown = _pipe()
        self._unknown_files = [_file_behind(number) for number in self._unknown]

    def restore(self) -> list[str]:
        """Open again what was closed, and put back what was replaced.

        Returns:
            sentences' ends about what was done to the streams, such as ``"closed sys.stdout"``.
        """
        done = [f"{did} file descriptor {number}" for number in range(3) if (did := self._restore_descriptor(number))]
        done += [f"{did} sys.{name}" for name in _NAMES if (did := self._restore_stream(name))]
        if any(map(self._is_lost, range(len(self._unknown)))):
            done.append("closed file descriptors that it had not opened")
        self._release()
        return done

    def _is_lost(self, index: int) -> bool:
        """Whether a descriptor that nobody knows was closed."""
        return _file_behind(self._unknown[index]) != self._unknown_files[index]

    def _restore_descriptor(self, number: int) -> str:
        """Restore a descriptor from its copy; returns what was done to it, empty if nothing."""
        before, after, copy = self._files[number], _file_behind(number), self._copies[number]
        if before is None or copy is None or after == before:
            return ""
        if _file_behind(copy) == before:
            os.dup2(copy, number)
        return "closed" if after is None else "replaced"

    def _restore_stream(self, name: str) -> str:
        """Restore a stream of :mod:`sys`; returns what was done to it, empty if nothing."""
        stream, current = self._streams[name], getattr(sys, name, None)
        if _is_closed(stream) and not self._closed[name]:
            setattr(sys, name, _opened(name, stream))
            return "closed"
        setattr(sys, name, stream)
        return "" if current is stream else "replaced"

    def _release(self) -> None:
        """Close the copies, unless they have become files of others."""
        for copy, file in zip((*self._copies, *self._unknown), (*self._files, *self._unknown_files), strict=True):
            if copy is not None and _file_behind(copy) == file:
                os.close(copy)


def _is_closed(stream: Any) -> bool:  # noqa: ANN401  # anything can stand in for a stream
    return bool(getattr(stream, "closed", False))


def _file_behind(number: int) -> tuple[int, int] | None:
    """Device and number of the file behind a descriptor; None if it is closed."""
    try:
        status = os.fstat(number)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _copy(number: int) -> int | None:
    """A copy of a descriptor that no program inherits; None if there are no more descriptors."""
    with contextlib.suppress(OSError):
        return os.dup(number) if fcntl is None else fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    with contextlib.suppress(OSError):
        return os.dup(number)
    return None


def _pipe() -> tuple[int, ...]:
    """The two ends of a pipe that is not used; nothing if there are no more descriptors."""
    try:
        return os.pipe()
    except OSError:
        return ()


def _opened(name: str, closed: Any) -> TextIO:  # noqa: ANN401  # anything can stand in for a stream
    """A new stream for the standard descriptor of a name, which writes as the closed one did."""
    encoding, errors = getattr(closed, "encoding", None), getattr(closed, "errors", None)
    number = _NAMES.index(name)
    file = number if _file_behind(number) is not None else os.devnull
    return open(  # it stays open, and is a descriptor
        file, "w" if number else "r", buffering=1, encoding=encoding or "utf-8", errors=errors, closefd=file != number
    )
