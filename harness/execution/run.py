"""A run on disk: its cells as a board or as a table of records. Reading one needs neither torch nor a plug-in."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError
from ..results.cells import Axes, Key, Source
from ..results.run_file import CELL, RUN_FILE
from ..results.samples import read_samples
from ..results.scored_cells import Judged, Map
from ..results.store import ENDINGS, Store

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import pandas as pd

    from ..leaderboard.exhibits import Gallery
    from ..leaderboard.leaderboard import Leaderboard
    from ..results.cells import Cell

_NO_SCORES = np.empty((0, 0))


class Run:
    """What a benchmark left in its folder.

    Attributes:
        store: the folder.
        content: of its ``run.json``.
        nothing_to_do: whether the call that gave this run found everything done.
    """

    def __init__(self, store: Store, content: dict[str, Any], *, nothing_to_do: bool = False) -> None:
        self.store = store
        self.content = content
        self.nothing_to_do = nothing_to_do

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """The run of a folder ``<out>/runs/<name>``, or of a ``run.json`` or ``run-<variant>.json`` in it.

        Raises:
            UsageError: there is no run, or its ``run.json`` is damaged.
        """
        given = Path(path)
        named = RUN_FILE.fullmatch(given.name)
        folder = (given.parent if named else given).absolute()
        # kept as it was written, so that a board made again names no more of the machine than before
        out = folder.parents[1] if len(folder.parents) > 1 else folder
        store = Store(out, folder.name, (named and named["variant"]) or "")
        store.folder = folder
        if folder.parent.name != "runs":
            store.out = folder
        content = store.read_run()
        if content is None and not named and (changed := sorted(each.name for each in folder.glob("run-*.json"))):
            raise UsageError(f"Only changed suites were run in {str(path)!r}: name one of {', '.join(changed)} in it.")
        if content is None:
            raise UsageError(f"There is no run in {str(path)!r}: give a folder such as results/runs/quick.")
        return cls(store, content)

    @property
    def folder(self) -> Path:
        """Where it is kept."""
        return self.store.folder

    @property
    def name(self) -> str:
        """The name of its suite."""
        return str(self.content["suite"]["name"])

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""
        return bool(self.content["complete"])

    @property
    def times(self) -> dict[str, float]:
        """Seconds the last call spent training, explaining, scoring, on the rest, and in total."""
        return dict(self.content.get("times", {}))

    @property
    def boards(self) -> dict[str, Path]:
        """The paths of the boards, by ending."""
        return self.store.boards

    @cached_property
    def axes(self) -> Axes:
        """The plug-ins of its grid."""
        return Axes(self._sources("tasks"), self._sources("methods"), self._sources("metrics"))

    @cached_property
    def cells(self) -> dict[Key, Cell | None]:
        """Every cell of its grid; None where there is nothing good."""
        return {key: self.store.load(key) for key in self.keys_of(self.content["cells"])}

    @cached_property
    def judged(self) -> dict[Key, Judged]:
        """Every cell of its grid with its scores."""
        return {key: self._judged(key, cell) for key, cell in self.cells.items()}

    @property
    def failed(self) -> int:
        """How many cells failed, or have a record that failed."""
        return sum(bool(cell.failures(self.axes.metrics)) for cell in self.cells.values() if cell is not None)

    def leaderboard(self) -> Leaderboard:
        """The board of the cells as they are now."""
        # late: a run with nothing to do makes no board, and statistics take longer to load than all it does
        from ..leaderboard.leaderboard import make_leaderboard  # noqa: PLC0415

        return make_leaderboard(self.name, self.axes, self.judged, self.content["provenance"])

    def gallery(self, headline: Source) -> Gallery:
        """What a page shows beside the board of this headline: single explanations, and curves."""
        from ..leaderboard.exhibits import make_gallery  # noqa: PLC0415  # late: as above

        return make_gallery(self.axes, headline, self.judged, lambda task: read_samples(self.folder, task))

    def publish(self, endings: tuple[str, ...] = ENDINGS) -> list[Path]:
        """Write the boards and return their paths."""
        from ..reports.render import render  # noqa: PLC0415  # late: as above

        board = self.leaderboard()
        gallery = self.gallery(board.headline) if "html" in endings else None
        return [self.store.write_board(ending, render(board, ending, gallery)) for ending in endings]

    def records(self) -> pd.DataFrame:
        """One row for each cell and metric: what was scored, how it came out, and what it cost.

        Returns:
            columns task, method, group, model_seed, explainer_seed, metric, family, direction, unit, status, mean, n,
            undefined, note, fit, forward, backward, executed, seconds, peak_bytes.
        """
        import pandas as pd  # noqa: PLC0415  # half a second, which a run with nothing to do does not have

        cells = [(key, cell) for key, cell in self.cells.items() if cell is not None]
        return pd.DataFrame([_row(key, cell, metric) for key, cell in cells for metric in self.axes.metrics])

    def _sources(self, kind: str) -> tuple[Source, ...]:
        return tuple(Source.model_validate(value) for value in self.content["grid"][kind])

    def keys_of(self, paths: Iterable[str]) -> list[Key]:
        """The places in the grid that paths of cells speak of."""
        tasks = {source.folder: source for source in self.axes.tasks}
        methods = {source.folder: source for source in self.axes.methods}
        found = filter(None, map(CELL.fullmatch, paths))
        return [
            Key(tasks[match["task"]], methods[match["method"]], int(match["model"]), int(match["explainer"]))
            for match in found
        ]

    def _judged(self, key: Key, cell: Cell | None) -> Judged:
        if cell is None or not cell.explained:
            return Judged(cell, _NO_SCORES, _NO_SCORES)
        arrays = self.store.arrays(key, "scores", "measured")

        def read() -> Map:
            found = self.store.arrays(key, "attribution", "lengths", "target")
            return Map(found["attribution"], found["lengths"], cell.signed, found["target"])

        return Judged(cell, arrays["scores"], arrays["measured"], read)


def _row(key: Key, cell: Cell, metric: Source) -> dict[str, Any]:
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
