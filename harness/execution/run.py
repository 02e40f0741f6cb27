"""Run on disk: its cells as a board or as a table of records. Reading a run needs neither torch nor a plug-in."""

from __future__ import annotations

import warnings
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError
from ..results import run_file
from ..results.cells import Axes, Key, PluginInfo
from ..results.run_file import CELL
from ..results.score_table import score_table
from ..results.scored_cells import ScoredCell, StoredAttribution
from ..results.store import ENDINGS, Store
from ..results.stored_cells import Recent, StoredCells, UnreadCell
from .board_processes import boards_of_tasks
from .kept_boards import board_texts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from ..leaderboard.exhibits import Gallery
    from ..leaderboard.leaderboard import Leaderboard
    from ..results.cells import Cell

_NO_SCORES = np.empty((0, 0))


class Run:
    """Run of a benchmark as it is stored in a folder.

    Attributes:
        store: the folder.
        content: content of its run file.
        nothing_to_do: whether the call of :meth:`Benchmark.run` that returned this run found everything computed.
        board: the board that :meth:`publish` made; None before, and if its texts were found in the index.
    """

    def __init__(self, store: Store, content: dict[str, Any], *, nothing_to_do: bool = False) -> None:
        self.store = store
        self.content = content
        self.nothing_to_do = nothing_to_do
        self.board: Leaderboard | None = None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Load the run of a folder or a run file.

        Args:
            path: the folder of a run such as ``results/runs/quick``, its ``run.json`` or ``run-<variant>.json``, or the
                ``--out`` folder of a single run.

        Raises:
            UsageError: there is no run, there are several, or the run file is damaged.
        """
        file = run_file.find(Path(path))
        if file is None:
            raise UsageError(f"There is no run in {str(path)!r}: give a folder such as results/runs/quick.")
        store = Store.of_run_file(file)
        content = store.read_run()
        if content is None:
            raise UsageError(f"There is no run in {str(path)!r}: give a folder such as results/runs/quick.")
        return cls(store, content)

    def __reduce__(self) -> tuple[type[Run], tuple[Store, dict[str, Any]]]:
        """Another process reads the cells itself; the content is sent, because the run file is written last of all."""
        return type(self), (self.store, self.content)

    def __repr__(self) -> str:
        """Name, number of cells and folder."""
        return f"<{type(self).__name__} {self.name!r}: {len(self.content['cells'])} cells in {self.folder}>"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.store.folder

    @property
    def name(self) -> str:
        """Name of its suite."""
        return str(self.content["suite"]["name"])

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""
        return bool(self.content["complete"])

    @property
    def examples(self) -> bool:
        """Whether its boards show a few sequences of the data."""
        return bool(self.content.get("examples", True))

    @property
    def times(self) -> dict[str, float]:
        """Seconds that the last call of :meth:`Benchmark.run` took: training, explaining, scoring, rest and total."""
        return dict(self.content.get("times", {}))

    @property
    def boards(self) -> dict[str, Path]:
        """Paths of the boards by ending."""
        return self.store.boards

    @cached_property
    def axes(self) -> Axes:
        """Plug-ins of its grid."""
        return Axes(self._plugins("tasks"), self._plugins("methods"), self._plugins("metrics"))

    @cached_property
    def cells(self) -> Mapping[Key, Cell | None]:
        """Every cell of its grid; None if a cell is missing or damaged. Cells are read when they are asked for."""
        return StoredCells(self.store, self.keys_of(self.content["cells"]))

    @cached_property
    def scored_cells(self) -> dict[Key, ScoredCell]:
        """Every cell of its grid with its scores, which are read when they are asked for."""
        return {key: UnreadCell.of(key, self._scored) for key in self.cells}

    @cached_property
    def _scored(self) -> Callable[[Key], ScoredCell]:
        """Reader of a cell with its scores; it keeps those that were read last."""
        return Recent(self._scored_cell)

    @property
    def judged(self) -> Mapping[Key, ScoredCell]:
        """The old name of ``scored_cells``, until version 0.3."""
        warnings.warn("judged is now scored_cells.", DeprecationWarning, stacklevel=2)
        return self.scored_cells

    @property
    def failed(self) -> int:
        """Number of cells that failed, or have a record that failed."""
        return sum(bool(cell.failures(self.axes.metrics)) for cell in self.cells.values() if cell is not None)

    def leaderboard(self, jobs: int = 1) -> Leaderboard:
        """Make the board of the cells as they are now.

        Args:
            jobs: number of processes that may make it, if it has so many cells that this is sooner done.
        """
        # late import: a run with nothing to do makes no board, and loading statistics takes longer than all its work
        from ..leaderboard.leaderboard import make_leaderboard  # noqa: PLC0415

        boards = boards_of_tasks(self, jobs)
        return make_leaderboard(self.name, self.axes, self.scored_cells, self.content["provenance"], boards)

    def gallery(self, headline: PluginInfo) -> Gallery:
        """Make the exhibits of the HTML page of a board with this headline metric: single attributions, and curves.

        Attributions of single sequences are left out if the run was made without examples of its data.
        """
        from ..leaderboard.exhibits import make_gallery  # noqa: PLC0415  # late import: as above

        samples = self.store.read_samples if self.examples else None
        return make_gallery(self.axes, headline, self.scored_cells, samples)

    def keep_examples(self, *, wanted: bool) -> None:
        """Keep in the run file whether its boards show a few sequences of the data.

        Args:
            wanted: whether they do.

        Raises:
            UsageError: a process works in the folder, or it cannot be written.
        """
        with self.store.held():
            self.content["examples"] = wanted
            self.store.write_run(self.content)

    def publish(self, endings: tuple[str, ...] = ENDINGS, jobs: int = 1) -> list[Path]:
        """Write the boards and return their paths.

        Args:
            endings: endings of the boards.
            jobs: see :meth:`leaderboard`.
        """
        make = partial(self._board_texts, jobs)
        texts = board_texts(self.store, self.content, endings, make, self._reference_state())
        return [self.store.write_board(ending, texts[ending]) for ending in endings]

    def _board_texts(self, jobs: int, endings: Sequence[str]) -> dict[str, str]:
        """Make the texts of boards by ending."""
        from ..reports.render import render  # noqa: PLC0415  # late import: as above

        self.board = board = self.leaderboard(jobs)
        gallery = self.gallery(board.headline) if "html" in endings else None
        return {ending: render(board, ending, gallery) for ending in endings}

    def _reference_state(self) -> str:
        """State of other results that some of its cells are taken from; "" if none are."""
        return ""

    def records(self) -> pd.DataFrame:
        """Table of records with one row for each cell and metric: the mean score, its status, and the cost.

        Returns:
            columns task, method, group, model_seed, explainer_seed, metric, family, direction, unit, status, mean, n,
            undefined, note, fit, forward, backward, executed, seconds, peak_bytes.
        """
        import pandas as pd  # noqa: PLC0415  # takes half a second, too long for a run with nothing to do

        cells = [(key, cell) for key, cell in self.cells.items() if cell is not None]
        return pd.DataFrame([_row(key, cell, metric) for key, cell in cells for metric in self.axes.metrics])

    def scores(self, task: str = "", method: str = "", metric: str = "") -> pd.DataFrame:
        """Table of the scores of every sequence; see :func:`xrnnbench.harness.results.score_table.score_table`.

        Args:
            task: spec or name of the task whose scores are wanted; all if empty.
            method: the same of the method.
            metric: the same of the metric.

        Returns:
            columns task, method, model_seed, explainer_seed, metric, sequence, id, score, fit.
        """
        return score_table(self, task, method, metric)

    def _plugins(self, kind: str) -> tuple[PluginInfo, ...]:
        """Plug-ins of one axis of the grid."""
        return tuple(PluginInfo.model_validate(value) for value in self.content["grid"][kind])

    def keys_of(self, paths: Iterable[str]) -> list[Key]:
        """Keys of the cells with these paths."""
        tasks = {info.folder: info for info in self.axes.tasks}
        methods = {info.folder: info for info in self.axes.methods}
        matches = filter(None, map(CELL.fullmatch, paths))
        return [
            Key(tasks[match["task"]], methods[match["method"]], int(match["model"]), int(match["explainer"]))
            for match in matches
        ]

    def _scored_cell(self, key: Key) -> ScoredCell:
        """Cell with its scores, which are loaded now; its attribution is loaded on demand."""
        cell = self.cells[key] if key in self.cells else self.store.load(key)
        if cell is None or not cell.explained:
            return ScoredCell(cell, _NO_SCORES, _NO_SCORES)
        # both of one moment, also where a run is going on
        now, arrays = self.store.with_arrays(key, cell, "scores", "measured")
        if now is None or not now.explained:
            return ScoredCell(now, _NO_SCORES, _NO_SCORES)

        def read() -> StoredAttribution:
            stored = self.store.attribution(key, now)
            return StoredAttribution(stored["attribution"], stored["lengths"], now.signed, stored["target"])

        return ScoredCell(now, arrays["scores"], arrays["measured"], read)


def _row(key: Key, cell: Cell, metric: PluginInfo) -> dict[str, Any]:
    """Row of the table of records."""
    record = cell.record(metric)
    failure = cell.failure or (record and record.failure)
    status = cell.status if record is None else record.status
    return {
        "task": key.task.spec,
        "method": key.method.spec,
        "group": key.method.facts.get("group", ""),
        "model_seed": key.model_seed,
        "explainer_seed": key.explainer_seed,
        "metric": metric.spec,
        **{fact: metric.facts.get(fact, "") for fact in ("family", "direction", "unit")},
        "status": "missing" if status == "explained" else status,
        "mean": float("nan") if record is None or record.mean is None else record.mean,
        "n": record.n if record else 0,
        "undefined": record.undefined if record else 0,
        "note": str(failure) if failure else cell.reason or (record.reason if record else ""),
        "fit": cell.fit,
        "forward": cell.passes.forward,
        "backward": cell.passes.backward,
        "executed": cell.passes.executed,
        "seconds": cell.measured.seconds,
        "peak_bytes": cell.measured.peak_bytes,
    }
