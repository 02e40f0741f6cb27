"""Safe extraction of untrusted archives: no path traversal, no overwriting, bounded size.

Nothing in an archive is trusted. Paths that leave the folder are refused, and so are links and devices, as no data set
needs them. Each path may occur once. Written bytes are counted, whatever the headers state, and extraction stops at a
bound. The end marker of a tar archive is checked, because an archive cut off between two members otherwise reads like a
complete one. Files added by macOS (``._name``, ``__MACOSX``) are skipped. The caller provides a temporary
folder and removes it after an error: this module does not clean up.
"""

from __future__ import annotations

import errno
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

# Upper bounds on the members, the unpacked bytes and the expansion factor of an archive (texts expand about tenfold).
MEMBERS: Final = 500_000
BYTES: Final = 8 << 30
EXPANSION: Final = 100
# Unpacked bytes that are allowed whatever the expansion factor, for small archives.
ALWAYS_ALLOWED: Final = 64 << 20

_CHUNK: Final = 1 << 20
# Most characters of a member's name that a message shows.
_SHOWN: Final = 80
_BLOCK: Final = 512
_MAX_HEADER: Final = 16 << 20
# Exceptions of the standard library's readers on damaged or truncated files.
_DAMAGE_ERRORS: Final = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    gzip.BadGzipFile,
    # invalid headers
    ValueError,
)


# Numbers of system errors by places in a file that cannot be, and by names that no file can have.
_IMPOSSIBLE: Final = frozenset({errno.EINVAL, errno.ENAMETOOLONG, errno.EILSEQ, errno.EOVERFLOW})


class _Readable(Protocol):
    """Interface shared by files and decompressed streams."""

    def read(self, size: int, /) -> bytes: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


class Bounds:
    """Remaining budget of bytes and members while an archive is unpacked.

    Args:
        size: size of the archive in bytes.
        limit: the largest number of unpacked bytes; by default it follows from the size.
        members: the largest number of members.
    """

    def __init__(self, size: int, limit: int | None = None, members: int = MEMBERS) -> None:
        self.limit = min(BYTES, max(ALWAYS_ALLOWED, EXPANSION * size)) if limit is None else limit
        self.left, self.members_left, self.members = self.limit, members, members

    def member(self) -> None:
        """Count one more member.

        Raises:
            DataError: the archive has too many members.
        """
        self.members_left -= 1
        if self.members_left < 0:
            raise DataError(f"it has more than {self.members:,} members")

    def written(self, count: int) -> None:
        """Count ``count`` more written bytes.

        Raises:
            DataError: the archive unpacks to too many bytes.
        """
        self.left -= count
        if self.left < 0:
            raise DataError(f"it unpacks to more than {self.limit:,} bytes")


def is_archive(name: str) -> bool:
    """Whether the name has the ending of an archive that can be unpacked."""
    return _unpacker(name) is not None


def unpack(archive: Path, folder: Path, bounds: Bounds | None = None) -> None:
    """Unpack an archive into a folder; the members keep their paths.

    Args:
        archive: a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz`` archive, or a single file packed as ``.gz``.
        folder: existing folder; it may hold files of other archives, but none under the same paths.
        bounds: limits on bytes and members; by default those of this module.

    Raises:
        DataError: the archive is empty, damaged, truncated or encrypted, exceeds the bounds, or holds a forbidden
            member. The folder may then hold a part of it.
        OSError: the folder cannot be written.
    """
    unpacker = _unpacker(archive.name)
    if unpacker is None:
        raise DataError(f"{archive} is no archive: .zip, .tar, .tar.gz, .tgz and .gz can be unpacked.")
    status = archive.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"The archive {archive} cannot be unpacked: it is no ordinary file.")
    size = status.st_size
    target = _Target(folder, bounds or Bounds(size))
    try:
        if not size:
            # gzip would read an empty file as empty content
            raise DataError("it is empty")  # noqa: TRY301  # the handler below completes the message
        unpacker(archive, target)
    except DataError as error:
        raise DataError(f"The archive {archive} cannot be unpacked: {error}.") from error
    except (*_DAMAGE_ERRORS, RuntimeError) as error:
        why = "it is encrypted" if _encrypted(error) else f"it is damaged or truncated ({_reason(error)})"
        raise DataError(f"The archive {archive} cannot be unpacked: {why}.") from error
    except OSError as error:
        if error.errno not in _IMPOSSIBLE:
            raise
        raise DataError(f"The archive {archive} cannot be unpacked: it is damaged ({error.strerror}).") from error
    if not target.files:
        raise DataError(f"The archive {archive} cannot be unpacked: it holds no files.")


class _Target:
    """Destination folder of an archive, with a count of the files written."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder, self.bounds = folder, bounds
        self.files = 0

    def place(self, name: str) -> Path | None:
        """Destination of a member; None if the member is skipped."""
        self.bounds.member()
        # parsed as a Windows path, which recognises drives and both slashes
        path = PureWindowsPath(name)
        if path.anchor or ".." in path.parts or "\0" in name:
            raise DataError(f"the member {name[:_SHOWN]!r} would leave the folder")
        if not path.parts or path.name.startswith("._") or "__MACOSX" in path.parts:
            return None
        return self.folder.joinpath(*path.parts)

    def folder_at(self, path: Path, name: str) -> None:
        """Create the folder of a member."""
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise DataError(f"the member {name[:_SHOWN]!r} is there twice") from error

    def file_at(self, path: Path, name: str, content: _Readable) -> None:
        """Write a file and count its bytes."""
        self.folder_at(path.parent, name)
        try:
            file = path.open("xb")
        except (FileExistsError, IsADirectoryError) as error:
            raise DataError(f"the member {name[:_SHOWN]!r} is there twice") from error
        with file:
            while chunk := content.read(_CHUNK):
                self.bounds.written(len(chunk))
                file.write(chunk)
        self.files += 1


def _unpacker(name: str) -> Callable[[Path, _Target], None] | None:
    """Extraction function for the ending of a file name; None if it is no archive."""
    name = name.lower()
    if name.endswith(".zip"):
        return _zip
    if name.endswith((".tar.gz", ".tgz")):
        return _tar_gz
    if name.endswith(".tar"):
        return _tar
    return _gz if name.endswith(".gz") else None


def _zip(archive: Path, target: _Target) -> None:
    """Unpack a ``.zip`` archive."""
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            # the original name, because zipfile truncates names at a NUL
            path = target.place(member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
                raise DataError(f"the member {member.filename[:_SHOWN]!r} is a link or a device")
            if path is None:
                continue
            if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise DataError(f"the member {member.filename[:_SHOWN]!r} is compressed in an unusual way")
            if member.is_dir():
                target.folder_at(path, member.filename)
                continue
            with file.open(member) as content:
                target.file_at(path, member.filename, content)


def _tar_gz(archive: Path, target: _Target) -> None:
    """Unpack a ``.tar.gz`` archive."""
    with gzip.open(archive) as stream:
        _tar_stream(stream, target)
        # read to the end of the file, where gzip verifies the checksum
        while rest := stream.read(_CHUNK):
            target.bounds.written(len(rest))


def _tar(archive: Path, target: _Target) -> None:
    """Unpack a ``.tar`` archive."""
    with archive.open("rb") as stream:
        _tar_stream(stream, target)


def _tar_stream(stream: _Readable, target: _Target) -> None:
    """Unpack an uncompressed tar stream, up to its end marker."""
    checked = _CheckedStream(stream)
    with tarfile.open(fileobj=checked, mode="r:") as file:  # type: ignore[call-overload]  # has the three methods that tarfile calls
        for member in file:
            if not (member.isfile() or member.isdir()):
                raise DataError(f"the member {member.name[:_SHOWN]!r} is a link or a device")
            path = target.place(member.name)
            if path is None:
                continue
            tarfile.data_filter(member, str(target.folder))
            if member.isdir():
                target.folder_at(path, member.name)
                continue
            content = file.extractfile(member)
            if content is None:
                raise DataError(f"the member {member.name[:_SHOWN]!r} has no content")
            with content:
                target.file_at(path, member.name, content)
    # an archive ends with blocks of zeros; tarfile also stops at a damaged or missing header
    if checked.last != bytes(_BLOCK):
        raise DataError("it is damaged or truncated (it stops before its end)")


class _CheckedStream:
    """Stream that keeps the last block read, and refuses headers so large that they would fill the memory."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise DataError(f"it has a header of more than {_MAX_HEADER:,} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _gz(archive: Path, target: _Target) -> None:
    """Unpack a single ``.gz`` file."""
    name = archive.name[: -len(".gz")]
    path = target.place(name)
    if path is None:
        return
    with gzip.open(archive) as content:
        target.file_at(path, name, content)


def _encrypted(error: BaseException) -> bool:
    """Whether an error means an encrypted archive; zipfile raises a plain RuntimeError for it."""
    return isinstance(error, RuntimeError) and "encrypted" in str(error)


def _reason(error: BaseException) -> str:
    """Message of a reader's error, as a clause for an error message."""
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
