"""Unpacking what strangers packed: nothing leaves the folder, nothing is written twice, nothing grows without bound.

An archive is believed in nothing. Names may not climb out of the folder; links and devices are refused, for no data set
needs them; a name may come once; what is written is counted byte by byte, whatever the headers promise, and stops at a
bound. The end of an archive is looked for as well, since one cut off between two members reads like a whole one. What
a Macintosh adds (``._name``, ``__MACOSX``) is left out. The caller gives a folder of its own and throws it away if an
error is raised: nothing here cleans up after itself.
"""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Final, Protocol

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

# What an archive may hold at most: files, bytes, and bytes for each byte of its own (texts shrink to a tenth or so).
MEMBERS: Final = 500_000
BYTES: Final = 8 << 30
EXPANSION: Final = 100
# Small archives may grow more than that.
ALWAYS: Final = 64 << 20

_CHUNK: Final = 1 << 20
_BLOCK: Final = 512
_HEADER: Final = 16 << 20
# What the readers of the standard library raise on damaged or truncated files.
_DAMAGE: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    gzip.BadGzipFile,
    # headers that make no sense
    ValueError,
)


class _Readable(Protocol):
    """What files and unpacked streams have in common."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


class Bounds:
    """How much an archive may still write.

    Args:
        size: of the archive, in bytes.
        limit: how many bytes it may hold, at most; by default what its size allows.
        members: how many members, at most.
    """

    def __init__(self, size: int, limit: int | None = None, members: int = MEMBERS) -> None:
        self.limit = min(BYTES, max(ALWAYS, EXPANSION * size)) if limit is None else limit
        self.left, self.members_left, self.members = self.limit, members, members

    def member(self) -> None:
        """One more member.

        Raises:
            DataError: there are too many.
        """
        self.members_left -= 1
        if self.members_left < 0:
            raise DataError(f"it has more than {self.members:,} members")

    def written(self, count: int) -> None:
        """So many more bytes.

        Raises:
            DataError: there are too many.
        """
        self.left -= count
        if self.left < 0:
            raise DataError(f"it unpacks to more than {self.limit:,} bytes")


def is_archive(name: str) -> bool:
    """Whether a file of that name is unpacked."""
    return _unpacker(name) is not None


def unpack(archive: Path, folder: Path, bounds: Bounds | None = None) -> None:
    """Put the members of an archive under their paths into a folder.

    Args:
        archive: a ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz`` or, of one file, ``.gz``.
        folder: which is there; it may hold what other archives left, but nothing under the same paths.
        bounds: on what is written; by default those of this module.

    Raises:
        DataError: the archive is empty, damaged, truncated or encrypted, or holds what it should not. The folder may
            then hold a part of it.
        OSError: the folder cannot be written.
    """
    unpacker = _unpacker(archive.name)
    if unpacker is None:
        raise DataError(f"{archive} is no archive: .zip, .tar, .tar.gz, .tgz and .gz can be unpacked.")
    size = archive.stat().st_size
    target = _Target(folder, bounds or Bounds(size))
    try:
        if not size:
            # gzip would take no bytes at all for no content
            raise DataError("it is empty")  # noqa: TRY301  # said like whatever else an archive is
        unpacker(archive, target)
    except DataError as error:
        raise DataError(f"The archive {archive} cannot be unpacked: {error}.") from error
    except (*_DAMAGE, RuntimeError) as error:
        why = "it is encrypted" if _encrypted(error) else f"it is damaged or truncated ({_words(error)})"
        raise DataError(f"The archive {archive} cannot be unpacked: {why}.") from error
    if not target.files:
        raise DataError(f"The archive {archive} cannot be unpacked: it holds no files.")


class _Target:
    """The folder that is filled, and what it has got."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder, self.bounds = folder, bounds
        self.files = 0

    def place(self, name: str) -> Path | None:
        """Where a member goes; None if it is left out."""
        self.bounds.member()
        # read as Windows would: that knows drives, and takes either slash for one
        path = PureWindowsPath(name)
        if path.anchor or ".." in path.parts or "\0" in name:
            raise DataError(f"the member {name!r} would leave the folder")
        if not path.parts or path.name.startswith("._") or "__MACOSX" in path.parts:
            return None
        return self.folder.joinpath(*path.parts)

    def folder_at(self, path: Path, name: str) -> None:
        """Make a folder."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise DataError(f"the member {name!r} is there twice") from error

    def file_at(self, path: Path, name: str, content: _Readable) -> None:
        """Write a file, counting what comes."""
        self.folder_at(path.parent, name)
        try:
            file = path.open("xb")
        except (FileExistsError, IsADirectoryError) as error:
            raise DataError(f"the member {name!r} is there twice") from error
        with file:
            while chunk := content.read(_CHUNK):
                self.bounds.written(len(chunk))
                file.write(chunk)
        self.files += 1


def _unpacker(name: str) -> Callable[[Path, _Target], None] | None:
    name = name.lower()
    if name.endswith(".zip"):
        return _zip
    if name.endswith((".tar.gz", ".tgz")):
        return _tar_gz
    if name.endswith(".tar"):
        return _tar
    return _gz if name.endswith(".gz") else None


def _zip(archive: Path, target: _Target) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            # the name as it was written: zipfile cuts it at a NUL
            path = target.place(member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise DataError(f"the member {member.filename!r} is a link or a device")
            if path is None:
                continue
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise DataError(f"the member {member.filename!r} is compressed in an unusual way")
            if member.is_dir():
                target.folder_at(path, member.filename)
                continue
            with file.open(member) as content:
                target.file_at(path, member.filename, content)


def _tar_gz(archive: Path, target: _Target) -> None:
    with gzip.open(archive) as stream:
        _tar_stream(stream, target)
        # to the end of the file, where the checksum of the whole is
        while rest := stream.read(_CHUNK):
            target.bounds.written(len(rest))


def _tar(archive: Path, target: _Target) -> None:
    with archive.open("rb") as stream:
        _tar_stream(stream, target)


def _tar_stream(stream: _Readable, target: _Target) -> None:
    watched = _Watched(stream)
    with tarfile.open(fileobj=watched, mode="r:") as file:  # type: ignore[call-overload]  # has the three methods asked for
        for member in file:
            if not (member.isfile() or member.isdir()):
                raise DataError(f"the member {member.name!r} is a link or a device")
            path = target.place(member.name)
            if path is None:
                continue
            tarfile.data_filter(member, str(target.folder))
            if member.isdir():
                target.folder_at(path, member.name)
                continue
            content = file.extractfile(member)
            if content is None:
                raise DataError(f"the member {member.name!r} has no content")
            with content:
                target.file_at(path, member.name, content)
    # an archive ends with blocks of zeros; tarfile takes a damaged header, or none, for the end as well
    if watched.last != bytes(_BLOCK):
        raise DataError("it is damaged or truncated (it stops before its end)")


class _Watched:
    """A stream that remembers what was read last, and gives no header of a size that would fill the memory."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER:
            raise DataError(f"it has a header of more than {_HEADER:,} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _gz(archive: Path, target: _Target) -> None:
    name = archive.name[: -len(".gz")]
    path = target.place(name)
    if path is None:
        return
    with gzip.open(archive) as content:
        target.file_at(path, name, content)


def _encrypted(error: BaseException) -> bool:
    """Zipfile says so in a RuntimeError without a class of its own."""
    return isinstance(error, RuntimeError) and "encrypted" in str(error)


def _words(error: BaseException) -> str:
    """What a reader complains of, as a part of a sentence."""
    return str(error).strip().rstrip(".") or type(error).__name__
