"""Reference rows: stored results of suite methods that a run did not compute, because others were chosen with -m.

They are the methods ``skipped`` of a suite, and ``beside`` in run files.
They come from the run's own folder, or else from an archive or another run. A stored cell becomes a reference row only
if it is about the same models and data as the cells of the run, by their fingerprints, and has a record of every
metric.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ...errors import UsageError
from ..results.cells import PluginInfo
from ..results.run_file import ReferenceRows
from ..results.run_file import find as find_run_file
from ..results.scored_cells import ScoredCell
from ..results.stored_cells import UnreadCell
from . import archive
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..results.cells import Cell, Key
    from ..results.scored_cells import Results
    from ..results.store import Store
    from ..suites.suite import Suite
    from .missing_work import TaskCells

_MISSING = ScoredCell(None, np.empty((0, 0)), np.empty((0, 0)))


class RunWithReferences(Run):
    """A run with its reference rows."""

    @cached_property
    def scored_cells(self) -> dict[Key, ScoredCell]:
        """Every cell of the grid with its scores, also those of the reference rows.

        Raises:
            UsageError: the archive or run with some of the reference rows is missing, damaged or changed.
        """
        cells = super().scored_cells
        if (rows := self.content.get("beside")) is None:
            return cells
        for key in self.keys_of(reference_cells(self.content)):
            cells[key] = UnreadCell.of(key, self._scored)
        if rows["taken"]:
            cells |= self._taken(ReferenceRows.model_validate(rows))
        return cells

    def _reference_state(self) -> str:
        """State of the archive or run from which reference rows are taken; "" if none are."""
        rows = self.content.get("beside")
        return state_of(os.path.normpath(self.folder / rows["results"])) if rows and rows["taken"] else ""

    def _taken(self, rows: ReferenceRows) -> dict[Key, ScoredCell]:
        """Reference cells that are taken from an archive or another run."""
        path = os.path.normpath(self.folder / rows.results)
        if state_of(path) != rows.state:
            raise UsageError(
                f"{path}, from which reference rows of {self.store.run_file.name} are taken, is gone or has changed: "
                "run the same command again."
            )
        others = archive.read_results(path).scored_cells
        return {key: others.get(key, _MISSING) for key in self.keys_of(rows.taken)}


def reference_cells(content: Mapping[str, Any]) -> dict[str, str]:
    """Reference cells in the run's own folder with their state, from the content of its run file."""
    return dict((content.get("beside") or {}).get("cells", {}))


@dataclass(frozen=True)
class FoundRows:
    """Reference rows that were found for a run.

    Attributes:
        rows: the places of their cells.
        methods: methods with at least one cell.
        sentences: messages about missing rows, with the reason.
    """

    rows: ReferenceRows
    methods: tuple[PluginInfo, ...]
    sentences: tuple[str, ...]


def reference_source(suite: Suite, out: str | os.PathLike[str], chosen: str | os.PathLike[str] | None) -> str:
    """Archive or run from which reference rows may be taken: the chosen one, or the suite's published archive.

    Args:
        suite: the suite as it is run.
        out: the output folder; published archives are in ``<out>/archives/<suite>``.
        chosen: an archive or a run, or None.

    Returns:
        its path; "" if there is none, or if every method of the suite is run.

    Raises:
        UsageError: there are no results at the chosen path, or every method is run.
    """
    if chosen is not None and not suite.skipped:
        raise UsageError(
            f"Every method of the suite is run, so no reference rows are taken from {str(chosen)!r}: leave out "
            "--reference-rows, or name the methods to run with -m."
        )
    if chosen is not None:
        if not state_of(str(chosen)):
            archive.read_results(chosen)  # raises the error with the reason
        return str(chosen)
    path = Path(out) / "archives" / suite.name
    return str(path) if suite.skipped and (path / archive.NAME).is_file() else ""


def state_of(path: str) -> str:
    """Sha256 of the JSON of an archive or a run; "" if there is none."""
    if not path:
        return ""
    folder = Path(path)
    file = folder if folder.name == archive.NAME else find_run_file(folder) or folder / archive.NAME
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def find_reference_rows(
    tasks: Sequence[TaskCells], own: Mapping[Key, Cell | None], store: Store, results: str, seeds: Mapping[str, Any]
) -> FoundRows:
    """Find the stored results of the methods that are not run.

    Args:
        tasks: the stored cells of each task with the grid of the skipped methods.
        own: the cells of the methods that were run.
        store: the folder of the run.
        results: an archive or a run, or "".
        seeds: ``seeds`` and ``explainer_seeds`` of the run.

    Raises:
        UsageError: there are no results in that folder, or they are damaged.
    """
    others = archive.read_results(results) if results else None
    sentences = []
    if others is not None and (sentence := _other_seeds_message(others, seeds, results)):
        sentences.append(sentence)
        others = None
    search = _Search(others.scored_cells if others is not None else {}, _models(own))
    places = {key: search.place(task, key) for task in tasks for key in task.cells}
    methods = {key.method.spec: key.method for key, place in places.items() if place}
    if search.mismatches:
        models = "; ".join(sorted(search.mismatches))
        sentences.append(
            f"No reference rows are taken from {results} for {models}: it has results of other models or data there."
        )
    if not (results and others is None):
        sentences += _missing_rows_messages(places, others, results)
    taken = tuple(key.path for key, place in places.items() if place == "taken")
    here = [key for key, place in places.items() if key.method.spec in methods and place != "taken"]
    states = store.states(key.path for key in here if places[key])
    cells = {key.path: states.get(key.path, "") for key in here}
    # from the run's folder on, so that both may be moved and no path of the machine is kept
    place, state = (os.path.relpath(results, store.folder), state_of(results)) if taken else ("", "")
    rows = ReferenceRows(cells=cells, results=place, state=state, taken=taken)
    return FoundRows(rows, tuple(methods.values()), tuple(sentences))


def _other_seeds_message(others: Results, seeds: Mapping[str, Any], results: str) -> str:
    """Message about results that were made with other seeds; empty if the seeds are the same."""
    stored = {axis: list(others.content["suite"][axis]) for axis in seeds}
    if all(stored[axis] == list(seeds[axis]) for axis in seeds):
        return ""
    seed_lists = " and ".join(f"{axis} {', '.join(map(str, values))}" for axis, values in stored.items())
    return (
        f"No reference rows are taken from {results}: it was made with {seed_lists.replace('_', ' ')}; run with these."
    )


def _missing_rows_messages(places: Mapping[Key, str], others: Results | None, results: str) -> list[str]:
    """Messages about tasks and methods without stored results, with the way to get them.

    If the results have a task with other parameters, the message names the spec that they have.
    """
    all_tasks = {key.task.spec: key.task for key in places}
    found_tasks = {key.task.spec for key, place in places.items() if place}
    all_methods = {key.method.spec for key in places}
    found_methods = {key.method.spec for key, place in places.items() if place}
    if others is None:
        missing = sorted(all_methods - found_methods)
        which = ", ".join(missing) if found_methods else f"the suite's {len(all_methods)} other methods"
        way_out = "--reference-rows names an archive or a run that has them"
        return [f"No stored results for {which}: {way_out}."] if missing else []
    messages = []
    for spec, task in sorted(all_tasks.items()):
        if spec not in found_tasks:
            messages.append(
                f"No stored results for the other methods on {spec!r}: {_why_missing(task, others, results)}."
            )
    if found_tasks and (missing := sorted(all_methods - found_methods)):
        messages.append(f"No stored results for {', '.join(missing)}.")
    return messages


def _why_missing(task: PluginInfo, others: Results, results: str) -> str:
    """Reason why results have no reference row of a task."""
    same_name = [other for other in others.axes.tasks if other.identity["name"] == task.identity["name"]]
    if not same_name:
        return f"there are none in {results}"
    if any(other.identity == task.identity for other in same_name):
        return f"{results} has it with other models or without these metrics"
    specs = " and ".join(repr(other.spec) for other in same_name)
    return f"{results} has it as {specs}, run that to see them"


class _Search:
    """Search for the stored cells of methods that were not run.

    Attributes:
        mismatches: models for which the other results have cells of another model or other data.
    """

    def __init__(
        self, others: Mapping[Key, ScoredCell], models: Mapping[tuple[str, int], set[tuple[str, str]]]
    ) -> None:
        self._others, self._models = others, models
        self.mismatches: set[str] = set()

    def place(self, task: TaskCells, key: Key) -> Literal["kept", "taken", ""]:
        """Place of a cell: in the run's folder (kept), in the other results (taken), or none ("")."""
        if self._fits(key, task.cells[key]) and task.scored(key):
            return "kept"
        other = self._others.get(key)
        if other is None or other.cell is None or not task.has_all_records(other.cell):
            return ""
        if self._fits(key, other.cell):
            return "taken"
        self.mismatches.add(f"{key.task.spec}, seed {key.model_seed}")
        return ""

    def _fits(self, key: Key, cell: Cell | None) -> bool:
        """Whether a cell of the run has the same model and data as this cell."""
        return cell is not None and _model(cell) in self._models.get((key.task.folder, key.model_seed), ())


def _models(cells: Mapping[Key, Cell | None]) -> dict[tuple[str, int], set[tuple[str, str]]]:
    """Fingerprints of models and data by task and model seed."""
    models: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for key, cell in cells.items():
        if cell is not None and cell.fingerprints.model:
            models.setdefault((key.task.folder, key.model_seed), set()).add(_model(cell))
    return models


def _model(cell: Cell) -> tuple[str, str]:
    """Fingerprints of a cell's model and data."""
    return cell.fingerprints.model, cell.fingerprints.data
