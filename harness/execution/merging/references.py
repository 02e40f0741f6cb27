"""Reference rows of a merged run: stored results of methods that none of its parts has run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ...results.run_file import ReferenceRows
from .. import archive
from ..reference_rows import state_of
from .cells import MergedCells, write_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...results.cells import Key, PluginInfo
    from ...results.scored_cells import ScoredCell
    from ...results.store import Store
    from .grid import MergedGrid
    from .parts import Part


class MergedReferences:
    """Reference rows of a merged run.

    Those of a part fit its own models and data, and so those of the other parts, which are the same. A row is shown
    only if it has a score of every metric of the merged run.

    Attributes:
        notices: sentences about rows that are left out.
    """

    def __init__(self, grid: MergedGrid, parts: Sequence[Part]) -> None:
        known = {info.spec: info for part in parts for info in part.run.axes.methods}
        self._methods = [known[spec] for spec in grid.suite.skipped if spec in known]
        self._grid, self._parts = grid, parts
        self._places: dict[Key, str] = {}
        self._taken: dict[Key, None] = {}
        self.notices: list[str] = []
        self._source, self._state, self._offered = self._archive()
        self._stored: Mapping[Key, ScoredCell] = archive.read_results(self._source).scored_cells if self._source else {}

    def add(self, store: Store, task: PluginInfo) -> None:
        """Add the rows of a task; cells that a part has in its own folder are written to that of the merged run."""
        keys = list(self._grid.keys(task, self._methods))
        metrics = self._grid.axes.metrics
        for key, cell in MergedCells(keys, metrics, self._parts).taken.items():
            stored = self._stored.get(key)
            self._places[key] = ""
            if cell is not None and not cell.lacks_scores(metrics):
                write_cell(store, key, cell)
                self._places[key] = store.state(key.path)
            elif key.path in self._offered and stored is not None and stored.cell is not None:
                explained = stored.cell.explained
                if not explained or all(stored.cell.record(metric) is not None for metric in metrics):
                    self._taken[key] = None

    @property
    def methods(self) -> tuple[PluginInfo, ...]:
        """Methods with at least one row."""
        specs = {key.method.spec for key, place in self._places.items() if place or key in self._taken}
        return tuple(info for info in self._methods if info.spec in specs)

    def rows(self, folder: Path) -> ReferenceRows:
        """The rows, as the run file of a folder has them."""
        specs = {info.spec for info in self.methods}
        cells = {
            key.path: place
            for key, place in self._places.items()
            if key.method.spec in specs and key not in self._taken
        }
        source, state = (os.path.relpath(self._source, folder), self._state) if self._taken else ("", "")
        return ReferenceRows(cells=cells, results=source, state=state, taken=tuple(key.path for key in self._taken))

    def _archive(self) -> tuple[str, str, set[str]]:
        """The results from which rows are taken: their path, their state, and the paths of the rows; "" without any."""
        source, state, offered = "", "", set[str]()
        for part in self._parts:
            rows = ReferenceRows.model_validate(part.run.content.get("beside") or {})
            if not rows.taken:
                continue
            path = os.path.normpath(part.run.folder / rows.results)
            if not source and state_of(path) == rows.state:
                source, state = path, rows.state
            if state == rows.state:
                offered |= set(rows.taken)
            else:
                why = "gone or changed" if not source else "not that of the other runs"
                self.notices.append(
                    f"{part.name}: its reference rows from {Path(path).name} are left out, because it is {why}; "
                    "'xrnnbench run' with --reference-rows finds them again."
                )
        return source, state, offered
