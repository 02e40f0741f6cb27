"""An archive: a run without its attributions, small enough to be committed, and read wherever a run is read.

It is a folder of two files, ``scores.npz`` and then ``archive.json``, which holds the hash of the other: a writer that
is killed in between leaves an archive that is said to be damaged, never one that is half old. Reading one needs
neither torch nor a plug-in.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from ...atomic import write_atomically
from ...errors import DataError, UsageError
from ..results.archive_format import ArchiveFile, ModelEntry, Packing, unpacked
from ..results.cells import Axes
from ..results.run_file import where
from .run import Run

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ..leaderboard.leaderboard import Leaderboard
    from ..results.cells import Key
    from ..results.scored_cells import Judged, Results

NAME = "archive.json"
SCORES = "scores.npz"


class Archive:
    """A run as it was kept.

    Attributes:
        folder: where it is.
        content: of its JSON, as plain values.
        judged: every cell of its grid; ``read`` is None, for attributions are not kept, and records have no hashes.
    """

    def __init__(self, folder: Path, file: ArchiveFile, judged: Mapping[Key, Judged]) -> None:
        self.folder = folder
        self.judged = judged
        self._file = file

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Archive:
        """The archive in a folder.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        given = Path(path)
        folder = given.parent if given.name == NAME else given
        file = _read(folder / NAME)
        axes = Axes(file.grid.tasks, file.grid.methods, file.grid.metrics)
        arrays = _arrays(folder / SCORES, file.scores)
        try:
            pairs = list(unpacked(file, axes, arrays))
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(_damaged(folder / NAME, f"a cell speaks of what is not there: {error}")) from error
        judged = dict(pairs)
        if len(judged) < len(pairs):
            raise DataError(_damaged(folder / NAME, "a cell is there twice"))
        return cls(folder, file, judged)

    @property
    def name(self) -> str:
        """The name of its suite."""
        return self._file.suite.name

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""
        return self._file.complete

    @cached_property
    def content(self) -> dict[str, Any]:
        """Suite and provenance as the run had them, plain values."""
        return {
            "suite": self._file.suite.model_dump(mode="json"),
            "provenance": self._file.provenance.model_dump(mode="json", by_alias=True),
        }

    @cached_property
    def axes(self) -> Axes:
        """The plug-ins of its grid."""
        grid = self._file.grid
        return Axes(grid.tasks, grid.methods, grid.metrics)

    def leaderboard(self) -> Leaderboard:
        """The board of its cells, without the comparisons of attributions."""
        # late: a run with nothing to do makes no board, and statistics take longer to load than all it does
        from ..leaderboard.leaderboard import make_leaderboard  # noqa: PLC0415

        return make_leaderboard(self.name, self.axes, self.judged, self.content["provenance"])


def write_archive(run: Results, folder: str | os.PathLike[str]) -> list[Path]:
    """Keep a run, or another archive, without its attributions and tracebacks.

    The same cells give the same two files to the byte.

    Returns:
        the paths of the files.

    Raises:
        UsageError: the folder cannot be written.
    """
    packing = Packing(run.axes)
    entries = [packing.entry(key, judged) for key, judged in run.judged.items()]
    scores = packing.arrays()
    file = ArchiveFile.model_validate(
        {
            "suite": run.content["suite"],
            "complete": run.complete,
            "provenance": run.content["provenance"],
            "scores": hashlib.sha256(scores).hexdigest(),
            "grid": {"tasks": run.axes.tasks, "methods": run.axes.methods, "metrics": run.axes.metrics},
            "models": tuple(ModelEntry.model_validate_json(text) for text in packing.models.things),
            "origins": tuple(packing.origins.things),
            "reasons": tuple(packing.reasons.things),
            "cells": tuple(entries),
        }
    )
    paths = [Path(folder) / SCORES, Path(folder) / NAME]
    try:
        for path, data in zip(paths, (scores, _laid_out(file)), strict=True):
            write_atomically(path, data)
    except OSError as error:
        raise UsageError(f"The archive cannot be written to {str(folder)!r}: {error.strerror}.") from error
    return paths


def read_results(path: str | os.PathLike[str]) -> Run | Archive:
    """The run or the archive in a folder.

    Raises:
        UsageError: there is neither, or it is damaged.
    """
    given = Path(path)
    folder = given.parent if given.name in {NAME, "run.json"} else given
    if (folder / "run.json").is_file():
        return Run.load(folder)
    if (folder / NAME).is_file():
        return Archive.load(folder)
    raise UsageError(
        f"There is neither a run nor an archive of one in {str(path)!r}: give a folder such as results/runs/quick, or "
        "one that 'xrnnbench bless' has written."
    )


def _read(path: Path) -> ArchiveFile:
    try:
        return ArchiveFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UsageError(f"There is no archive in {str(path.parent)!r}: 'xrnnbench bless' writes one.") from error
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or type(error).__name__)) from error
    except ValidationError as error:
        raise DataError(_damaged(path, where(error.errors()[0]))) from error


def _arrays(path: Path, digest: str) -> dict[str, np.ndarray[Any, Any]]:
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError(_damaged(path, f"it is not the file {NAME} speaks of"))
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or "it cannot be read")) from error
    except (ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(_damaged(path, "it holds no arrays")) from error


def _damaged(path: Path, reason: str) -> str:
    return f"{path} is damaged ({' '.join(reason.split())}): take both files of the archive from where they were kept."


def _laid_out(file: ArchiveFile) -> bytes:
    """JSON, lists one item a line; what is as it would be without being said is left out of cells."""
    content = file.model_dump(mode="json", by_alias=True)
    content["cells"] = [entry.model_dump(mode="json", exclude_defaults=True) for entry in file.cells]
    parts = [f'"{key}": {_lines(value)}' for key, value in content.items()]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _lines(value: object) -> str:
    if not isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return "[" + ",".join(f"\n {json.dumps(item, ensure_ascii=False, separators=(',', ':'))}" for item in value) + "\n]"
