"""Rows beside: the methods of a suite that a run did not run, as far as they are known already.

They are known from the cells in the run's own folder, or else from an archive or another run; only cells that speak of
the very models and data that the run's own cells speak of, and that every metric has judged, stand beside them.
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
from ..results.cells import Source
from ..results.run_file import Beside
from ..results.scored_cells import Judged
from . import archive
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..results.cells import Cell, Key
    from ..results.store import Store
    from ..suites.suite import Suite
    from .task_run import TaskRun

_MISSING = Judged(None, np.empty((0, 0)), np.empty((0, 0)))


class RunBeside(Run):
    """A run that is shown with the rows of methods it did not run."""

    @cached_property
    def judged(self) -> dict[Key, Judged]:
        """Every cell of its grid with its scores, those of the methods beside it included.

        Raises:
            UsageError: the archive that some are from is gone, damaged or another by now.
        """
        found = super().judged
        if (beside := self.content.get("beside")) is None:
            return found
        for key in self.keys_of(shown_beside(self.content)):
            found[key] = self._judged(key, self.store.load(key))
        if beside["taken"]:
            found |= self._taken(Beside.model_validate(beside))
        return found

    def _taken(self, beside: Beside) -> dict[Key, Judged]:
        path = os.path.normpath(self.folder / beside.results)
        if state_of(path) != beside.state:
            raise UsageError(
                f"{path}, from which rows of {self.store.run_file.name} are taken, is gone or another by "
                "now: run the same command again."
            )
        others = archive.read_results(path).judged
        return {key: others.get(key, _MISSING) for key in self.keys_of(beside.taken)}


def shown_beside(content: Mapping[str, Any]) -> dict[str, str]:
    """The cells of a run's own folder that are shown beside its own, with their state; of the content of its file."""
    return dict((content.get("beside") or {}).get("cells", {}))


@dataclass(frozen=True)
class Known:
    """What is known of the methods that are not run.

    Attributes:
        beside: where their cells are.
        methods: those of which at least one cell is known.
        sentences: what is not shown, and why.
    """

    beside: Beside
    methods: tuple[Source, ...]
    sentences: tuple[str, ...]


def results_beside(suite: Suite, out: str | os.PathLike[str], given: str | os.PathLike[str] | None) -> str:
    """Where others' rows may be taken from: the one given, or the published archive of a suite if it is there.

    Args:
        suite: what is run.
        out: where results go; published archives are in ``<out>/archives/<suite>``.
        given: the folder of an archive or a run, or None.

    Returns:
        the path; "" if there is none, or every method of the suite is run.

    Raises:
        UsageError: there are no results in the folder given, or every method is run.
    """
    if given is not None and not suite.beside:
        raise UsageError(f"Every method is run, so there are no others to take from {str(given)!r}: say which with -m.")
    if given is not None:
        if not state_of(str(given)):
            archive.read_results(given)  # says what is missing
        return str(given)
    path = Path(out) / "archives" / suite.name
    return str(path) if suite.beside and (path / archive.NAME).is_file() else ""


def state_of(path: str) -> str:
    """Sha256 of the JSON of an archive or a run; "" if there is none."""
    given = Path(path)
    files = [given] if given.suffix == ".json" else [given / "run.json", given / archive.NAME]
    found = next((file for file in files if path and file.is_file()), None)
    return "" if found is None else hashlib.sha256(found.read_bytes()).hexdigest()


def known_beside(
    runs: Sequence[TaskRun], own: Mapping[Key, Cell | None], store: Store, results: str, seeds: Mapping[str, Any]
) -> Known:
    """What is known of the methods that are not run.

    Args:
        runs: the tasks with the grid of those methods; nothing is computed.
        own: the cells of the methods that were run.
        store: the folder.
        results: the folder of an archive or a run, or "".
        seeds: ``seeds`` and ``explainer_seeds`` of the run.

    Raises:
        UsageError: there are no results in that folder, or they are damaged.
    """
    others = archive.read_results(results) if results else None
    sentences = []
    if others is not None and any(list(others.content["suite"][axis]) != list(seeds[axis]) for axis in seeds):
        sentences.append(f"No rows are taken from {results}: it was made with other seeds.")
        others = None
    search = _Search(others.judged if others is not None else {}, _models(own))
    places = {key: search.place(run, key) for run in runs for key in run.cells}
    methods = {key.method.spec: key.method for key, place in places.items() if place}
    if search.strange:
        models = "; ".join(sorted(search.strange))
        sentences.append(f"The models of {models} are others than those of {results}: no row is taken from there.")
    unknown = sorted({key.method.spec for key in places} - set(methods))
    if unknown and (methods or results):
        sentences.append(f"Not shown, for not known here: {', '.join(unknown)}.")
    elif unknown:
        sentences.append(
            f"The suite's {len(unknown)} other methods are not shown, for none is known here: --beside names an "
            "archive or a run that has them."
        )
    taken = tuple(key.path for key, place in places.items() if place == "taken")
    here = [key for key, place in places.items() if key.method.spec in methods and place != "taken"]
    cells = {key.path: store.state(key.path) if places[key] else "" for key in here}
    # from the run's folder on, so that both may be moved and no path of the machine is kept
    place, state = (os.path.relpath(results, store.folder), state_of(results)) if taken else ("", "")
    beside = Beside(cells=cells, results=place, state=state, taken=taken)
    return Known(beside, tuple(methods.values()), tuple(sentences))


class _Search:
    """Looks for the cells of methods that were not run.

    Attributes:
        strange: models of which the other results speak, and which are others here.
    """

    def __init__(self, others: Mapping[Key, Judged], models: Mapping[tuple[str, int], set[tuple[str, str]]]) -> None:
        self._others, self._models = others, models
        self.strange: set[str] = set()

    def place(self, run: TaskRun, key: Key) -> Literal["kept", "taken", ""]:
        """Where the cell of a place is: in the run's folder, in the other results, or nowhere."""
        if self._fits(key, run.cells[key]) and run.judged(key):
            return "kept"
        other = self._others.get(key)
        if other is None or other.cell is None or not run.covered(other.cell):
            return ""
        if self._fits(key, other.cell):
            return "taken"
        self.strange.add(f"{key.task.spec}, seed {key.model_seed}")
        return ""

    def _fits(self, key: Key, cell: Cell | None) -> bool:
        """Whether a cell speaks of a model and data that a cell of the run speaks of."""
        return cell is not None and _model(cell) in self._models.get((key.task.folder, key.model_seed), ())


def _models(cells: Mapping[Key, Cell | None]) -> dict[tuple[str, int], set[tuple[str, str]]]:
    """Model and data by task and seed."""
    found: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for key, cell in cells.items():
        if cell is not None and cell.fingerprints.model:
            found.setdefault((key.task.folder, key.model_seed), set()).add(_model(cell))
    return found


def _model(cell: Cell) -> tuple[str, str]:
    return cell.fingerprints.model, cell.fingerprints.data
