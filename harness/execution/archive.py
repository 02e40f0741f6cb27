"""Archive: a run without its attributions, small enough to be committed; every command that reads runs accepts it.

It is a folder of two files. ``scores.npz`` is written first, then ``archive.json``, which has the hash of the other. If
the writer is killed in between, the archive is reported as damaged and never mixes old and new scores. Reading an
archive needs neither torch nor a plug-in.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ...atomic import write_all_atomically
from ...errors import DataError, UsageError
from ...ordinary_files import read_ordinary
from ..results import run_file
from ..results.archive_format import ArchiveFile, ArchiveWriter, ModelEntry, read_cells
from ..results.array_files import unpacked
from ..results.cells import Axes
from ..results.run_file import validation_problem
from ..results.score_table import score_table
from ..results.seals import SealError, opened, sealed
from .run import Run

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    import numpy as np
    import pandas as pd

    from ..leaderboard.leaderboard import Leaderboard
    from ..results.cells import Key
    from ..results.scored_cells import Results, ScoredCell

NAME = "archive.json"
SCORES = "scores.npz"
# How much larger scores may be than their file: rows of one number pack to almost nothing, but few rows are so.
_RATIO, _LARGEST = 8, 256 << 20


class Archive:
    """Archive of a run.

    Attributes:
        folder: its folder.
        scored_cells: every cell of its grid; ``read`` is None, because attributions are not stored, and records have no
            hashes.
    """

    def __init__(self, folder: Path, file: ArchiveFile, scored_cells: Mapping[Key, ScoredCell]) -> None:
        self.folder = folder
        self.scored_cells = scored_cells
        self._file = file

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Archive:
        """Load the archive of a folder.

        Args:
            path: the folder, or its ``archive.json``.

        Raises:
            UsageError: there is none, or it is damaged.
        """
        path = Path(path)
        folder = path.parent if path.name == NAME else path
        file = _read(folder / NAME)
        axes = Axes(file.grid.tasks, file.grid.methods, file.grid.metrics)
        arrays = _arrays(folder / SCORES, file.scores)
        try:
            pairs = list(read_cells(file, axes, arrays))
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(_damaged(folder / NAME, f"a cell refers to a missing entry: {error}")) from error
        scored_cells = dict(pairs)
        if len(scored_cells) < len(pairs):
            raise DataError(_damaged(folder / NAME, "a cell is there twice"))
        return cls(folder, file, scored_cells)

    def __reduce__(self) -> tuple[Callable[[Path], Archive], tuple[Path]]:
        """Another process reads the files itself."""
        return Archive.load, (self.folder,)

    @property
    def judged(self) -> Mapping[Key, ScoredCell]:
        """The old name of ``scored_cells``, until version 0.3."""
        warnings.warn("judged is now scored_cells.", DeprecationWarning, stacklevel=2)
        return self.scored_cells

    @property
    def name(self) -> str:
        """Name of its suite."""
        return self._file.suite.name

    @property
    def sealed(self) -> bool:
        """Whether its JSON has a checksum; those of earlier versions have none."""
        return self._file.format >= 2

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""
        return self._file.complete

    @cached_property
    def content(self) -> dict[str, Any]:
        """Suite and provenance of the run, as plain values."""
        return {
            "suite": self._file.suite.model_dump(mode="json"),
            "provenance": self._file.provenance.model_dump(mode="json", by_alias=True),
        }

    @cached_property
    def axes(self) -> Axes:
        """Plug-ins of its grid."""
        grid = self._file.grid
        return Axes(grid.tasks, grid.methods, grid.metrics)

    def scores(self, task: str = "", method: str = "", metric: str = "") -> pd.DataFrame:
        """Table of the scores of every sequence; see :meth:`Run.scores`."""
        return score_table(self, task, method, metric)

    def leaderboard(self) -> Leaderboard:
        """Make the board of its cells, without the comparisons of attributions."""
        # late import: a run with nothing to do makes no board, and loading statistics takes longer than all its work
        from ..leaderboard.leaderboard import make_leaderboard  # noqa: PLC0415

        return make_leaderboard(self.name, self.axes, self.scored_cells, self.content["provenance"])


def write_archive(run: Results, folder: str | os.PathLike[str]) -> list[Path]:
    """Write the archive of a run, or of another archive: its cells without attributions and tracebacks.

    The same cells give the same two files to the byte.

    Args:
        run: a run or an archive.
        folder: the folder to write to; an archive in it is replaced.

    Returns:
        the paths of the files.

    Raises:
        UsageError: the folder cannot be written.
    """
    writer = ArchiveWriter(run.axes)
    entries = [writer.entry(key, scored) for key, scored in run.scored_cells.items()]
    scores = writer.arrays()
    file = ArchiveFile.model_validate(
        {
            "suite": run.content["suite"],
            "complete": run.complete,
            "provenance": run.content["provenance"],
            "scores": hashlib.sha256(scores).hexdigest(),
            "grid": {"tasks": run.axes.tasks, "methods": run.axes.methods, "metrics": run.axes.metrics},
            "models": tuple(ModelEntry.model_validate_json(text) for text in writer.models.items),
            "origins": tuple(writer.origins.items),
            "reasons": tuple(writer.reasons.items),
            "cells": tuple(entries),
        }
    )
    paths = [Path(folder) / SCORES, Path(folder) / NAME]
    try:
        write_all_atomically(zip(paths, (scores, sealed(_json_text(file))), strict=True))
    except OSError as error:
        raise UsageError(f"The archive cannot be written to {str(folder)!r}: {error.strerror}.") from error
    return paths


def read_results(path: str | os.PathLike[str]) -> Run | Archive:
    """Load the run or the archive of a path.

    Args:
        path: a folder of a run or an archive, its run file or ``archive.json``, or the ``--out`` folder of a single
            run.

    Raises:
        UsageError: there is neither, there are several, or it is damaged.
    """
    folder = Path(path)
    if folder.name == NAME:
        return Archive.load(folder)
    if run_file.find(folder) is not None:
        return Run.load(folder)
    if (folder / NAME).is_file():
        return Archive.load(folder)
    raise UsageError(
        f"There is neither a run nor an archive of one in {str(path)!r}: give a folder such as results/runs/quick, or "
        "one that 'xrnnbench bless' has written."
    )


def _read(path: Path) -> ArchiveFile:
    """Content of ``archive.json``."""
    try:
        text, is_sealed = opened(
            read_ordinary(path), lambda content: _json_text(ArchiveFile.model_validate_json(json.dumps(content)))
        )
        file = ArchiveFile.model_validate_json(text)
        if is_sealed != (file.format >= 2):
            raise SealError("it was changed after it was written: it has lost its checksum")  # noqa: TRY301  # as damage
    except SealError as error:
        raise DataError(_damaged(path, str(error))) from error
    except FileNotFoundError as error:
        raise UsageError(f"There is no archive in {str(path.parent)!r}: 'xrnnbench bless' writes one.") from error
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or type(error).__name__)) from error
    except ValidationError as error:
        raise DataError(_damaged(path, validation_problem(error.errors()[0]))) from error
    except ValueError as error:
        raise DataError(_damaged(path, "it is no JSON")) from error
    return file


def _arrays(path: Path, digest: str) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of ``scores.npz``, whose sha256 must be the digest."""
    try:
        data = read_ordinary(path)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError(_damaged(path, f"{NAME} has the hash of another file"))
        return unpacked(data, None, max(_LARGEST, _RATIO * len(data)))
    except OSError as error:
        raise DataError(_damaged(path, error.strerror or "it cannot be read")) from error
    except ValueError as error:
        raise DataError(_damaged(path, f"it holds no arrays: {error}")) from error


def _damaged(path: Path, reason: str) -> str:
    """Message about a damaged archive."""
    return f"{path} is damaged ({' '.join(reason.split())}): restore both files of the archive from a copy."


def _json_text(file: ArchiveFile) -> bytes:
    """JSON of an archive with one item of each list on a line; default values are left out of cells."""
    content = file.model_dump(mode="json", by_alias=True, exclude={"models", "cells"})
    content["models"] = (entry.model_dump(mode="json", exclude_defaults=True) for entry in file.models)
    content["cells"] = (entry.model_dump(mode="json", exclude_defaults=True) for entry in file.cells)
    parts = [f'"{key}": {_lines(content[key])}' for key in ArchiveFile.model_fields]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _lines(value: object) -> str:
    """JSON of a value; a list has one item on each line."""
    if not isinstance(value, list | Generator):
        return json.dumps(value, ensure_ascii=False)
    return "[" + ",".join(f"\n {json.dumps(item, ensure_ascii=False, separators=(',', ':'))}" for item in value) + "\n]"
