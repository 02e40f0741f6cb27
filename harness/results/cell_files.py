"""Sizes and times of the files of cells, by which a file that has not changed is known without reading it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Stamp(NamedTuple):
    """Sizes in bytes and times of modification in nanoseconds of the two files of a cell; −1 for a file that is not."""

    json_size: int = -1
    json_time: int = -1
    arrays_size: int = -1
    arrays_time: int = -1

    @property
    def newest(self) -> int:
        """Time of the file that was modified last, in nanoseconds."""
        return max(self.json_time, self.arrays_time)

    @property
    def arrays(self) -> str:
        """Size and time of the arrays, as the run file has them."""
        return "no arrays" if self.arrays_size < 0 else f"{self.arrays_size} {self.arrays_time}"


def stamp_of(path: str) -> Stamp:
    """Stamp of the cell whose files have this path without the ending."""
    return Stamp(*_size_and_time(f"{path}.json"), *_size_and_time(f"{path}.npz"))


def stamps_of(folder: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """Stamps of all cells in the folders in which these cells are; each of these folders is listed once.

    Args:
        folder: the folder of the run.
        paths: paths of cells in it, without the ending.

    Returns:
        stamps by path; cells without any file are left out, and other cells of the same folders are there too.
    """
    root, stamps = str(folder), {}
    for place in dict.fromkeys(path.rpartition("/")[0] for path in paths):
        files = _listed(f"{root}/{place}")
        for name in {name.rpartition(".")[0] for name in files}:
            known = files.get(f"{name}.json", (-1, -1)), files.get(f"{name}.npz", (-1, -1))
            stamps[f"{place}/{name}"] = Stamp(*known[0], *known[1])
    return stamps


def _listed(folder: str) -> dict[str, tuple[int, int]]:
    """Size and time of each file of a folder by its name; empty if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: (-1, -1) if entry.is_dir() else _measured(entry.stat()) for entry in entries}
    except OSError:
        return {}


def _size_and_time(path: str) -> tuple[int, int]:
    """Size and time of a file; −1 and −1 if there is none."""
    try:
        return _measured(os.stat(path))  # noqa: PTH116  # several times as fast as by pathlib, and there are many
    except OSError:
        return -1, -1


def _measured(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
