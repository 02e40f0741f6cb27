"""Lookup and download of data sets; only :func:`download` uses the network.

A set is looked up in the data folder, named by ``XRNNBENCH_DATA`` or ``--data-dir``, and then in the cache, where
downloads are stored. Both have a sub-folder for each set, named like the set with ``-`` for ``:``. All archives of a
set are unpacked into this one folder, and their files keep their paths. Files that are not archives keep their names:
``sst-trees/trees/train.txt``, ``physionet2012/set-a/132539.txt``, ``trec/TREC_10.label``. A single folder at the top of
an archive is kept like any other.

Files are downloaded and unpacked in the neighbouring folder ``.incoming``, verified, and moved into place as a whole.
``<set>.json``, next to the set's folder, records the files. Where no checksums are published, later downloads are
verified against this record.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

import filelock

from ... import cache_folder as folders
from ...bounded_files import user_path
from ...errors import DataError
from . import checksums as records
from .catalogue import Source, folder_name, source
from .http import TIMEOUT, fetch
from .unpacking import is_archive, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .catalogue import File
    from .http import Progress

VARIABLE: Final = "XRNNBENCH_DATA"
MIRROR: Final = "XRNNBENCH_MIRROR"

_INCOMING: Final = ".incoming"
_READY: Final = ".unpacked"
# Seconds that one run waits for another that is unpacking the same set.
_PATIENCE: Final = 600.0
# Names of files that may accompany the archives of a set and are not data.
_DOCUMENTS: Final = frozenset(
    {"source.txt", "readme", "readme.txt", "readme.md", "license", "license.txt", "sha256sums"}
)
_log = logging.getLogger(__name__)


def located(name: str) -> Path:
    """Folder of a data set; its files lie there unpacked, under the paths they have in the set's archives.

    Nothing is fetched. If the data folder holds the packed archives, they are verified and unpacked into the cache,
    once. Unpacked files in the data folder are used without verification. One exception: a file that is published
    unpacked and with a checksum is compared with it, and a mismatch is logged.

    Args:
        name: name of the data set; see :data:`xrnnbench.tasks.downloads.catalogue.SOURCES`.

    Raises:
        UnknownNameError: no data set has this name.
        DataError: the set is missing, incomplete, not the published one, or in a folder that cannot be read.
    """
    data_set = source(name)
    try:
        place = _present(name, data_set)
    except OSError as error:
        raise DataError(
            f"The data set {data_set.name!r} cannot be looked up ({error.strerror}: {error.filename}): make its folder "
            "readable, or name another by --data-dir."
        ) from error
    if place is not None:
        return place
    raise DataError(
        f"The data set {data_set.name!r} is not here ({data_set.extent}; licence: {data_set.licence}): fetch it with "
        f"'xrnnbench download {data_set.name}', or name the folder that has it by --data-dir."
    )


def _present(name: str, data_set: Source) -> Path | None:
    """Folder of a data set in the data folder, under either name, or in the cache; None if it is in neither."""
    data = data_folder()
    if data is not None:
        for folder in dict.fromkeys((folder_name(name), data_set.folder)):
            if (place := _from_data_folder(data_set, data / folder)) is not None:
                return place
    return downloaded_folder(data_set, cache_folder())


def find(folder: Path, name: str) -> Path:
    """Find a file or folder of a data set by its name, at any depth.

    Args:
        folder: the set's folder, as returned by :func:`located`.
        name: name such as ``"train.txt"``, or end of the path such as ``"trees/train.txt"``. A match directly below the
            folder is preferred.

    Raises:
        DataError: no path matches, or several do.
    """
    if (folder / name).exists():
        return folder / name
    end = PurePosixPath(name).parts
    paths = sorted(path for path in _paths_below(folder) if path.parts[-len(end) :] == end)
    if len(paths) == 1:
        return paths[0]
    if not paths:
        raise DataError(f"There is no {name!r} in {folder}: the data set is incomplete, or it is not the right one.")
    raise DataError(f"There are several {name!r} in {folder}, such as {paths[0]} and {paths[1]}: leave one of them.")


def data_folder() -> Path | None:
    """The user's data folder, set by ``--data-dir`` or ``XRNNBENCH_DATA``; None if neither is set.

    Raises:
        DataError: the folder does not exist.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    folder = user_path(value)
    if not folder.is_dir():
        raise DataError(f"The data folder {str(folder)!r} (--data-dir or {VARIABLE}) is not a folder.")
    return folder


def cache_folder() -> Path:
    """Folder where downloads are stored if no data folder is set."""
    return folders.folder() / "data"


def downloaded_folder(data_set: Source, base: Path) -> Path | None:
    """Folder of a downloaded set below a base folder; None if it is missing or its published checksums have changed.

    Raises:
        DataError: only some of the set's archives are there, or the record of the download cannot be read.
    """
    place = base / data_set.folder
    if not _is_filled(place):
        return None
    holds_archives(data_set, place)
    recorded = records.read(data_set, base)
    stale = any(
        file.checksum is not None and recorded.get(file.name, {}).get("checksum", file.checksum) != file.checksum
        for file in data_set.files
    )
    return None if stale else place


def download(data_set: Source, base: Path, progress: Progress | None = None) -> Path:
    """Download a set, verify it, and unpack it into its folder; a set that is already there is left unchanged.

    Args:
        data_set: the set.
        base: folder in which the set's folder is made.
        progress: receiver of progress reports.

    Returns:
        The set's folder, as :func:`located` would return it.

    Raises:
        DataError: a file cannot be fetched, does not match its published or recorded checksum, or cannot be unpacked;
            the folder cannot be written, or the disk is full. Existing files are then unchanged.
    """
    with _system_errors(data_set, base), _locked(data_set, base) as incoming:
        if (present := downloaded_folder(data_set, base)) is not None:
            return present
        incoming.mkdir(parents=True, exist_ok=True)
        files = {}
        for file in data_set.files:
            checksum, mismatch_hint = _expected_checksum(data_set, file, base)
            url = address(data_set, file)
            failure_hint = (
                f"if you have it from elsewhere, put it into {data_set.folder}/ of the folder named by --data-dir"
            )
            files[file.name] = fetch(
                file, url, incoming, checksum, progress, TIMEOUT, mismatch_hint=mismatch_hint, failure_hint=failure_hint
            )
        try:
            place = _install(data_set, base, files, moving=True)
        except DataError:
            # a broken archive must not be found and reused by the next download
            shutil.rmtree(incoming)
            raise
        shutil.rmtree(incoming)
        return place


def address(data_set: Source, file: File) -> str:
    """URL from which a file is fetched: the publisher's, or the mirror's if ``XRNNBENCH_MIRROR`` is set.

    Raises:
        DataError: the mirror is not an HTTP or HTTPS URL.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return file.url
    if not mirror.startswith(("http://", "https://")):
        raise DataError(f"{MIRROR}={mirror} is not the address of a mirror: it begins with http:// or https://.")
    return f"{mirror.rstrip('/')}/{data_set.folder}/{file.name}"


# ---- the user's files -----------------------------------------------------------------------------------------------


def _from_data_folder(data_set: Source, place: Path) -> Path | None:
    """Folder of a set that the user put into the data folder; None if there are no files.

    Packed archives are verified and unpacked into the cache, whose folder is then returned.
    """
    if not _is_filled(place):
        return None
    if not holds_archives(data_set, place):
        _warn_if_modified(data_set, place)
        return place
    base = cache_folder()
    if (unpacked := downloaded_folder(data_set, base)) is not None:
        return unpacked
    with _system_errors(data_set, base), _locked(data_set, base, _PATIENCE):
        if (unpacked := downloaded_folder(data_set, base)) is not None:
            return unpacked
        files = {file.name: place / file.name for file in data_set.files}
        for file in data_set.files:
            _verify(data_set, file, files[file.name], base)
        return _install(data_set, base, files, moving=False)


def holds_archives(data_set: Source, place: Path) -> bool:
    """Whether a set's folder holds the set's packed archives, not their contents.

    Raises:
        DataError: the folder holds only some of the archives and nothing else.
    """
    present = {path.name for path in place.iterdir()}
    archives = {file.name for file in data_set.files if is_archive(file.name)}
    if not archives & present:
        return False
    missing = [file.name for file in data_set.files if file.name not in present]
    if not missing:
        return True
    unexpected = [name for name in present - {file.name for file in data_set.files} if not _is_document(name)]
    if not unexpected:
        raise DataError(
            f"The data set {data_set.name!r} in {place} lacks {', '.join(missing)}: add the missing files, "
            "or unpack there those you have."
        )
    return False


def _is_document(name: str) -> bool:
    """Whether a file accompanies the data, such as a read-me or a licence."""
    return name.startswith(".") or name.lower() in _DOCUMENTS


def _warn_if_modified(data_set: Source, place: Path) -> None:
    """Log a warning for each file that differs from the published one; only files published unpacked are comparable."""
    for file in data_set.files:
        path = place / file.name
        if file.checksum is None or is_archive(file.name) or not path.is_file():
            continue
        if records.checksum_of(path, file.checksum) != file.checksum:
            _log.warning("%s is not the file that was published: results will not be comparable with others.", path)


def _verify(data_set: Source, file: File, path: Path, base: Path) -> None:
    """Refuse a user's file whose checksum is not the published or recorded one."""
    expected, otherwise = _expected_checksum(data_set, file, base)
    if expected is not None and records.checksum_of(path, expected) != expected:
        raise DataError(f"{path} is not the file that was expected (its checksum is not {expected}); {otherwise}.")


# ---- fetching and unpacking -----------------------------------------------------------------------------------------


def _expected_checksum(data_set: Source, file: File, base: Path) -> tuple[str | None, str]:
    """Published or recorded checksum that a file must have, and advice for the message if it has another."""
    if file.checksum is not None:
        return file.checksum, (
            "it was damaged in transfer, or the publisher has changed it: get it again, or put a copy that you trust, "
            f"unpacked, into {data_set.folder}/ of the folder named by --data-dir"
        )
    return records.recorded_checksum(data_set, file, base), (
        f"this checksum is from the first download, as none is published: if the publisher has changed the file, "
        f"remove {records.record_path(data_set, base)} and {base / data_set.folder}, and the next checksum is recorded"
    )


def _install(data_set: Source, base: Path, files: Mapping[str, Path], *, moving: bool) -> Path:
    """Unpack verified files in a temporary folder, then move the folder into place as a whole."""
    facts = {file.name: records.description(file, files[file.name]) for file in data_set.files}
    ready = Path(tempfile.mkdtemp(prefix=f"{data_set.folder}.", suffix=_READY, dir=base / _INCOMING))
    try:
        for path in files.values():
            if is_archive(path.name):
                unpack(path, ready)
            elif moving:
                shutil.move(path, ready / path.name)
            else:
                shutil.copyfile(path, ready / path.name)
        ready.chmod(0o777 & ~_umask())
        # after a power cut, a folder that is in place must not lack its contents
        if hasattr(os, "sync"):
            os.sync()
        records.write(data_set, base, facts)
        return _move_into_place(ready, base / data_set.folder)
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def _move_into_place(ready: Path, place: Path) -> Path:
    """Move a folder into place; an older folder there is replaced."""
    previous = ready.with_suffix(f"{_READY}.older")
    if place.exists():
        place.rename(previous)
    ready.rename(place)
    shutil.rmtree(previous, ignore_errors=True)
    return place


@contextlib.contextmanager
def _locked(data_set: Source, base: Path, timeout: float = 0.0) -> Iterator[Path]:
    """Hold the lock of a set and yield its folder for incoming files.

    Unpacked files that a killed process left behind are removed.

    Args:
        data_set: the set.
        base: folder that holds the set's folder.
        timeout: seconds to wait for another process that holds the lock.
    """
    incoming = base / _INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(incoming / f"{data_set.folder}.lock", timeout=timeout):
            for leftover in incoming.glob(f"{data_set.folder}.*{_READY}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield incoming / data_set.folder
    except filelock.Timeout as error:
        raise DataError(
            f"The data set {data_set.name!r} is being fetched or unpacked by another process: wait for it."
        ) from error


@contextlib.contextmanager
def _system_errors(data_set: Source, base: Path) -> Iterator[None]:
    """Turn an OSError of the block into a DataError that names the reason and the way out."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        where = f": {error.filename}" if error.filename else ""
        why = "the disk is full" if full else f"{error.strerror or error}{where}"
        out = "make room" if full else "choose another folder"
        raise DataError(
            f"The data set {data_set.name!r} cannot be kept in {base} ({why}): {out}, with --data-dir, {VARIABLE} or "
            f"{folders.VARIABLE}."
        ) from error


# ---- folders --------------------------------------------------------------------------------------------------------


def _is_filled(place: Path) -> bool:
    """Whether a path is a folder that is not empty."""
    return place.is_dir() and any(place.iterdir())


def _paths_below(folder: Path) -> Iterator[Path]:
    """All files and folders below a folder, except the ``._`` files that macOS adds."""
    for parent, deeper, files in os.walk(folder):
        for name in (*deeper, *files):
            if not name.startswith("._"):
                yield Path(parent, name)


def _umask() -> int:
    """The process's umask; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
