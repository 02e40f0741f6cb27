"""What the files of a data set were when they came: kept beside the set, and what later ones are held to."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pooch

from ...atomic import write_atomically
from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .catalogue import File, Source


def place(wanted: Source, base: Path) -> Path:
    """The file of the record: beside the folder of the set, and named like it."""
    return base / f"{wanted.folder}.json"


def read(wanted: Source, base: Path) -> dict[str, dict[str, Any]]:
    """What is kept of the files of a set, by their names, as :func:`described`; empty if it was never there.

    Raises:
        DataError: the record cannot be read.
    """
    path = place(wanted, base)
    if not path.is_file():
        return {}
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {str(name): dict(known) for name, known in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"The record {path} of the data set {wanted.name!r} cannot be read: remove it, and the next download is "
            "recorded anew."
        ) from error


def write(wanted: Source, base: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what the files of a set are.

    Raises:
        OSError: the folder cannot be written.
    """
    record = {"set": wanted.name, "files": files}
    write_atomically(place(wanted, base), f"{json.dumps(record, indent=1)}\n".encode())


def described(file: File, path: Path) -> dict[str, Any]:
    """What is kept of a file: its publisher's URL and checksum, its own size and SHA-256, and today's date."""
    return {
        "url": file.url,
        "checksum": file.checksum,
        "size": path.stat().st_size,
        "sha256": pooch.file_hash(path, alg="sha256"),
        "date": dt.datetime.now(tz=dt.UTC).date().isoformat(),
    }


def checksum(wanted: Source, file: File, base: Path) -> str | None:
    """What a file had when it came first, as ``sha256:…``; None if it never came.

    Raises:
        DataError: the record cannot be read.
    """
    sha256 = read(wanted, base).get(file.name, {}).get("sha256")
    return None if sha256 is None else f"sha256:{sha256}"


def measured(path: Path, like: str) -> str:
    """The checksum of a file, by the algorithm of another and written like it.

    Raises:
        OSError: the file cannot be read.
    """
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{pooch.file_hash(path, alg=algorithm)}"
