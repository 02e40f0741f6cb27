"""Record of a data set's files at their first download, stored next to the set; later downloads are verified by it."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pooch

from ...atomic import write_atomically
from ...errors import DataError
from ...ordinary_files import open_ordinary
from ...outside_files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .catalogue import File, Source


def record_path(data_set: Source, base: Path) -> Path:
    """Path of the record: next to the set's folder, with the same name and the ending ``.json``."""
    return base / f"{data_set.folder}.json"


def read(data_set: Source, base: Path) -> dict[str, dict[str, Any]]:
    """Recorded facts of a set's files, by file name, as made by :func:`description`; empty without a record.

    Raises:
        DataError: the record cannot be read.
    """
    path = record_path(data_set, base)
    if not path.exists():
        return {}
    try:
        files = json.loads(read_bytes(path))["files"]
        return {str(name): dict(facts) for name, facts in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"The record {path} of the data set {data_set.name!r} cannot be read: remove it, and the next download "
            "writes a new one."
        ) from error


def write(data_set: Source, base: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the record of a set's files.

    Raises:
        OSError: the folder cannot be written.
    """
    record = {"set": data_set.name, "files": files}
    write_atomically(record_path(data_set, base), f"{json.dumps(record, indent=1)}\n".encode())


def description(file: File, path: Path) -> dict[str, Any]:
    """Facts of a file for the record: published URL and checksum, actual size and SHA-256, and today's date."""
    return {
        "url": file.url,
        "checksum": file.checksum,
        "size": path.stat().st_size,
        "sha256": pooch.file_hash(path, alg="sha256"),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }


def recorded_checksum(data_set: Source, file: File, base: Path) -> str | None:
    """Checksum of a file at its first download, as ``sha256:…``; None if it was never downloaded.

    Raises:
        DataError: the record cannot be read.
    """
    sha256 = read(data_set, base).get(file.name, {}).get("sha256")
    return None if sha256 is None else f"sha256:{sha256}"


def checksum_of(path: Path, like: str) -> str:
    """Checksum of a file, with the algorithm and in the format of a given checksum.

    Raises:
        OSError: the file cannot be read.
    """
    open_ordinary(path).close()  # pooch would wait for a pipe
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(path, alg=algorithm)}"
