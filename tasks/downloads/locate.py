"""Where the files of a data set are, and how they get there: nothing is fetched unless asked.

A set is looked for in the data folder, named by ``XRNNBENCH_DATA`` or ``--data-dir``, and then in the cache, where
downloads are kept. Either has a sub-folder for each set, named as the set with ``-`` for ``:``. In it the files lie
under the paths they have in the set's archives, all archives unpacked into the one folder, files that are no archives
under their own names: ``sst-trees/trees/train.txt``, ``physionet2012/set-a/132539.txt``, ``trec/TREC_10.label``. A
single folder at the top of an archive is kept like any other.

What is downloaded or unpacked is got ready in ``.incoming`` beside, verified, and moved into place as a whole; beside
the folder, ``<set>.json`` keeps what its files were: it holds later downloads to the same checksums where none are
published.
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
# Seconds that one run waits for another to unpack what both need.
_PATIENCE: Final = 600.0
# What may lie beside archives without being data.
_NOTES: Final = frozenset({"source.txt", "readme", "readme.txt", "readme.md", "license", "license.txt", "sha256sums"})
_log = logging.getLogger(__name__)


def located(name: str) -> Path:
    """The folder in which the files of a data set lie, unpacked, under the paths they have in its archives.

    Nothing is fetched. Archives that lie in the data folder instead of their content are verified and unpacked into the
    cache, once. What lies in the data folder unpacked is taken as it is; of a file that is published as such, with a
    checksum, it is logged if it is another.

    Args:
        name: of the data set; see :data:`xrnnbench.tasks.downloads.catalogue.SOURCES`.

    Raises:
        UnknownNameError: there is no such set.
        DataError: it is not there, or not all of it, or not what was published.
    """
    wanted = source(name)
    data = data_folder()
    if data is not None:
        for folder in dict.fromkeys((folder_name(name), wanted.folder)):
            if (found := _given(wanted, data / folder)) is not None:
                return found
    if (found := kept(wanted, cache_folder())) is not None:
        return found
    raise DataError(
        f"The data set {wanted.name!r} is not here ({wanted.extent}; licence: {wanted.licence}): fetch it with "
        f"'xrnnbench download {wanted.name}', or name the folder that has it by --data-dir."
    )


def find(folder: Path, name: str) -> Path:
    """A file or folder within a set, wherever it lies.

    Args:
        folder: of the set, as :func:`located` gives it.
        name: ``"train.txt"``, or the end of its path, ``"trees/train.txt"``. What lies directly under that path is
            preferred.

    Raises:
        DataError: there is none of that name, or several.
    """
    if (folder / name).exists():
        return folder / name
    end = PurePosixPath(name).parts
    found = sorted(path for path in _below(folder) if path.parts[-len(end) :] == end)
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(f"There is no {name!r} in {folder}: the data set is incomplete, or another than it should be.")
    raise DataError(f"There are several {name!r} in {folder}, such as {found[0]} and {found[1]}: leave one of them.")


def data_folder() -> Path | None:
    """The folder that the user names, by ``--data-dir`` or ``XRNNBENCH_DATA``; None if there is none.

    Raises:
        DataError: there is no such folder.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataError(f"The data folder {str(folder)!r} (--data-dir or {VARIABLE}) is not a folder.")
    return folder


def cache_folder() -> Path:
    """Where downloads are kept if no data folder is named."""
    return folders.folder() / "data"


def kept(wanted: Source, base: Path) -> Path | None:
    """The folder of a set under a base where downloads are kept; None if it is not there as it is published now.

    Raises:
        DataError: only some of its archives lie there, or the record of what was downloaded is damaged.
    """
    place = base / wanted.folder
    if not _filled(place):
        return None
    packed(wanted, place)
    recorded = records.read(wanted, base)
    stale = any(
        file.checksum is not None and recorded.get(file.name, {}).get("checksum", file.checksum) != file.checksum
        for file in wanted.files
    )
    return None if stale else place


def download(wanted: Source, base: Path, progress: Progress | None = None) -> Path:
    """Fetch a set, verify it, and put it unpacked into its folder; a set that is there is left alone.

    Args:
        wanted: the set.
        base: where to: the set's folder is made in it.
        progress: told how it goes.

    Returns:
        The set's folder, as :func:`located` would give it.

    Raises:
        DataError: a file cannot be had, is not what was published or recorded, or cannot be unpacked; the folder
            cannot be written, or the disk is full. What was there before is untouched.
    """
    with _sentences(wanted, base), _locked(wanted, base) as incoming:
        if (found := kept(wanted, base)) is not None:
            return found
        incoming.mkdir(parents=True, exist_ok=True)
        files = {}
        for file in wanted.files:
            checksum, otherwise = _expected(wanted, file, base)
            url = address(wanted, file)
            way_out = f"had otherwise, it belongs into {wanted.folder}/ of the folder named by --data-dir"
            files[file.name] = fetch(
                file, url, incoming, checksum, progress, TIMEOUT, otherwise=otherwise, way_out=way_out
            )
        try:
            place = _installed(wanted, base, files, moving=True)
        except DataError:
            # what cannot be unpacked must not be found there, and taken, the next time
            shutil.rmtree(incoming)
            raise
        shutil.rmtree(incoming)
        return place


def address(wanted: Source, file: File) -> str:
    """Where a file is fetched from: its publisher, or the mirror in ``XRNNBENCH_MIRROR``.

    Raises:
        DataError: the mirror is not a web address.
    """
    mirror = os.environ.get(MIRROR)
    if not mirror:
        return file.url
    if not mirror.startswith(("http://", "https://")):
        raise DataError(f"{MIRROR}={mirror} is not the address of a mirror: it begins with http:// or https://.")
    return f"{mirror.rstrip('/')}/{wanted.folder}/{file.name}"


# ---- what the user put there ----------------------------------------------------------------------------------------


def _given(wanted: Source, place: Path) -> Path | None:
    """A set in the data folder: as it lies there, or unpacked into the cache; None if there is nothing."""
    if not _filled(place):
        return None
    if not packed(wanted, place):
        _say_if_others(wanted, place)
        return place
    base = cache_folder()
    if (found := kept(wanted, base)) is not None:
        return found
    with _sentences(wanted, base), _locked(wanted, base, _PATIENCE):
        if (found := kept(wanted, base)) is not None:
            return found
        files = {file.name: place / file.name for file in wanted.files}
        for file in wanted.files:
            _check(wanted, file, files[file.name], base)
        return _installed(wanted, base, files, moving=False)


def packed(wanted: Source, place: Path) -> bool:
    """Whether the archives of a set lie in its folder instead of what is in them.

    Raises:
        DataError: only some of them do, and nothing else.
    """
    there = {path.name for path in place.iterdir()}
    archives = {file.name for file in wanted.files if is_archive(file.name)}
    if not archives & there:
        return False
    missing = [file.name for file in wanted.files if file.name not in there]
    if not missing:
        return True
    others = [name for name in there - {file.name for file in wanted.files} if not _is_note(name)]
    if not others:
        raise DataError(
            f"The data set {wanted.name!r} in {place} lacks {', '.join(missing)}: put that there too, or unpack there "
            "what you have."
        )
    return False


def _is_note(name: str) -> bool:
    return name.startswith(".") or name.lower() in _NOTES


def _say_if_others(wanted: Source, place: Path) -> None:
    """Files that are published as such can be compared with what was published."""
    for file in wanted.files:
        path = place / file.name
        if file.checksum is None or is_archive(file.name) or not path.is_file():
            continue
        if records.measured(path, file.checksum) != file.checksum:
            _log.warning("%s is not the file that was published: results will not be comparable with others.", path)


def _check(wanted: Source, file: File, path: Path, base: Path) -> None:
    """See that a file the user put there is the one that was published, or was there before."""
    expected, otherwise = _expected(wanted, file, base)
    if expected is not None and records.measured(path, expected) != expected:
        raise DataError(f"{path} is not the file that was expected (its checksum is not {expected}); {otherwise}.")


# ---- fetching and unpacking -----------------------------------------------------------------------------------------


def _expected(wanted: Source, file: File, base: Path) -> tuple[str | None, str]:
    """The checksum a file must have, published or recorded, and what to do if it has not."""
    if file.checksum is not None:
        return file.checksum, (
            "it was damaged on the way, or its publisher has changed it: get it again, or put what you trust, "
            f"unpacked, into {wanted.folder}/ of the folder named by --data-dir"
        )
    return records.checksum(wanted, file, base), (
        f"that is what it had at first, and none is published: if its publisher has changed it, remove "
        f"{records.place(wanted, base)} and {base / wanted.folder}, and it is recorded anew"
    )


def _installed(wanted: Source, base: Path, files: Mapping[str, Path], *, moving: bool) -> Path:
    """Unpack verified files beside the place of their set, and put all there at once."""
    described = {file.name: records.described(file, files[file.name]) for file in wanted.files}
    ready = Path(tempfile.mkdtemp(prefix=f"{wanted.folder}.", suffix=_READY, dir=base / _INCOMING))
    try:
        for path in files.values():
            if is_archive(path.name):
                unpack(path, ready)
            elif moving:
                shutil.move(path, ready / path.name)
            else:
                shutil.copyfile(path, ready / path.name)
        ready.chmod(0o777 & ~_mask())
        # what is in place must not be lost to a power cut that its name survives
        if hasattr(os, "sync"):
            os.sync()
        records.write(wanted, base, described)
        return _put(ready, base / wanted.folder)
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def _put(ready: Path, place: Path) -> Path:
    """Move a folder into place; an older one that is there gives way."""
    older = ready.with_suffix(f"{_READY}.older")
    if place.exists():
        place.rename(older)
    ready.rename(place)
    shutil.rmtree(older, ignore_errors=True)
    return place


@contextlib.contextmanager
def _locked(wanted: Source, base: Path, patience: float = 0.0) -> Iterator[Path]:
    """Alone with a set: gives the folder where its files come in; what a killed process left unpacked is removed.

    Another process is waited for so many seconds.
    """
    incoming = base / _INCOMING
    incoming.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(incoming / f"{wanted.folder}.lock", timeout=patience):
            for left in incoming.glob(f"{wanted.folder}.*{_READY}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield incoming / wanted.folder
    except filelock.Timeout as error:
        raise DataError(
            f"The data set {wanted.name!r} is being fetched or unpacked by another process: wait for it."
        ) from error


@contextlib.contextmanager
def _sentences(wanted: Source, base: Path) -> Iterator[None]:
    """What the system refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
        where = f": {error.filename}" if error.filename else ""
        why = "the disk is full" if full else f"{error.strerror or error}{where}"
        out = "make room" if full else "choose another folder"
        raise DataError(
            f"The data set {wanted.name!r} cannot be kept in {base} ({why}): {out}, with --data-dir, {VARIABLE} or "
            f"{folders.VARIABLE}."
        ) from error


# ---- folders --------------------------------------------------------------------------------------------------------


def _filled(place: Path) -> bool:
    return place.is_dir() and any(place.iterdir())


def _below(folder: Path) -> Iterator[Path]:
    """All files and folders below, but what a Macintosh adds."""
    for parent, deeper, files in os.walk(folder):
        for name in (*deeper, *files):
            if not name.startswith("._"):
                yield Path(parent, name)


def _mask() -> int:
    """What the user does not allow others: it can only be asked for by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
