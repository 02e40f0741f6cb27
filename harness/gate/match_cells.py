"""Matching of the cells of a run with the cells of its baseline, with a reason for each cell that has no match.

Two cells are a pair if they explain the same sequences of the same task, with the same seeds. Sequences are the same if
the data are, or if they have the same ids; then their preprocessing may have changed. Of the method only the spec must
be the same, because the method is what may have changed. The model may have been trained again, which the pair says.
Cells whose model is under the gate of its task are not compared. A cell that the baseline has explained and that is not
in the grid of the run is gone, which counts as worse.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from ...errors import UsageError
from ...plugins import nearest
from ..results.cells import Key, PluginInfo
from ..results.scored_cells import ScoredCell
from ..results.stored_cells import read_now

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results.cells import Cell, Record, Scores
    from ..results.scored_cells import Results

    Place = tuple[str, str, int, int]

Places: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
# Parameters of tasks that decide what is asked of a model, and so what its explanations are about.
_MEANING: Final = frozenset(
    {"outputs", "granularity", "predict", "targets_are", "classes", "forecast", "horizon", "steps", "text"}
)
# Fingerprint of a model without weights, such as a plain function.
_NO_WEIGHTS: Final = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class Selection:
    """Selection of comparisons by specs, or by names for all specs of that name; an empty tuple selects all."""

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CellPair:
    """A computed cell of the run and the computed cell of the baseline that it is compared with.

    Attributes:
        key: place of the cell in the run.
        run, baseline: the two cells.
        retrained: whether the two explain different models.
        shared: places int64[N] of the shared sequences in the run and in the baseline; None if all are shared, in the
            same order.
    """

    key: Key
    run: ScoredCell
    baseline: ScoredCell
    retrained: bool = False
    shared: tuple[Places, Places] | None = None

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """Cell of the run and cell of the baseline."""
        assert self.run.cell is not None  # noqa: S101  # a pair is made of computed cells only
        assert self.baseline.cell is not None  # noqa: S101  # as above
        return self.run.cell, self.baseline.cell

    def scores(self, new: Record, old: Record) -> tuple[Scores, Scores]:
        """Scores float64[N] of the shared sequences by a metric, in the run and in the baseline."""
        ours, theirs = self.run.row(new), self.baseline.row(old)
        return (ours, theirs) if self.shared is None else (ours[self.shared[0]], theirs[self.shared[1]])


@dataclass(frozen=True)
class Unmatched:
    """Cells or a metric that are not compared: they are in the run or the baseline only, or differ in more than scores.

    Attributes:
        task, method, metric: specs; empty if all of them are meant.
        reason: why they are not compared, in a few words.
        cells: the number of cells; 0 for a metric.
    """

    task: str
    method: str
    metric: str
    reason: str
    cells: int = 1


@dataclass(frozen=True)
class Matching:
    """Pairs of cells of a run and its baseline, and what has no partner.

    Attributes:
        pairs: specs of task and method of the cells that have partners.
        metrics: metrics of both, with the facts of the run; the baseline may have other facts.
        apart: in both, but not comparable.
        gone: in the baseline only.
        new: in the run only.
    """

    pairs: tuple[tuple[str, str], ...]
    metrics: tuple[PluginInfo, ...]
    apart: tuple[Unmatched, ...]
    gone: tuple[Unmatched, ...]
    new: tuple[Unmatched, ...]


@dataclass(frozen=True)
class TaskMatching:
    """Pairs of cells on one task, and what has no partner.

    Attributes:
        cells: the selected cells of the run.
        pairs: by specs of task and method.
        apart, gone: numbers of cells by specs of task and method and by the reason; see :class:`Matching`.
    """

    cells: Sequence[ScoredCell]
    pairs: Mapping[tuple[str, str], Sequence[CellPair]]
    apart: Counter[tuple[str, str, str]]
    gone: Counter[tuple[str, str, str]]


class Matcher:
    """Matcher of the cells of a run with those of its baseline, one task after another.

    Args:
        run: results that are compared.
        baseline: results they are compared with.
        only: selects tasks, methods and metrics.

    Raises:
        UsageError: neither has a task, method or metric that was selected.
    """

    def __init__(self, run: Results, baseline: Results, only: Selection) -> None:
        _check(run, baseline, only)
        self._run, self._baseline, self._only = run, baseline, only

    def __getstate__(self) -> dict[str, Any]:
        # without the cells, which another process reads itself
        return {"_run": self._run, "_baseline": self._baseline, "_only": self._only}

    @cached_property
    def _ours(self) -> dict[Place, tuple[Key, ScoredCell]]:
        return _selected_cells(self._run, self._only)

    @cached_property
    def _theirs(self) -> dict[Place, tuple[Key, ScoredCell]]:
        return _selected_cells(self._baseline, self._only)

    @cached_property
    def _by_task(self) -> tuple[dict[str, dict[Place, tuple[Key, ScoredCell]]], ...]:
        return _by_task(self._ours), _by_task(self._theirs)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Specs of the tasks of both."""
        ours, theirs = self._by_task
        return tuple(dict.fromkeys((*theirs, *ours)))

    @property
    def cells(self) -> int:
        """Number of cells of both."""
        return len(self._ours) + len(self._theirs)

    def of_task(self, task: str) -> TaskMatching:
        """Match the cells of one task, which are read now."""
        ours, theirs = self._by_task
        pairs: dict[tuple[str, str], list[CellPair]] = {}
        apart: Counter[tuple[str, str, str]] = Counter()
        gone: Counter[tuple[str, str, str]] = Counter()
        read = {place: (key, read_now(scored)) for place, (key, scored) in ours.get(task, {}).items()}
        for place, (key, old) in theirs.get(task, {}).items():
            new_cell, old_cell = read.get(place), read_now(old)
            if new_cell is None:
                # a cell without an attribution cannot be lost
                gone[(*place[:2], _absence(self._run, key))] += old_cell.cell is not None and old_cell.cell.explained
                continue
            paired = _paired(new_cell, (key, old_cell))
            if isinstance(paired, str):
                apart[(*place[:2], paired)] += 1
            else:
                pairs.setdefault(place[:2], []).append(paired)
        return TaskMatching([scored for _, scored in read.values()], pairs, apart, gone)

    def matching(
        self,
        names: Iterable[tuple[str, str]],
        apart: Counter[tuple[str, str, str]],
        gone: Counter[tuple[str, str, str]],
    ) -> Matching:
        """Matching of all tasks.

        Args:
            names: specs of task and method of the pairs.
            apart: that of every task together, see :class:`TaskMatching`.
            gone: the same.
        """
        # in the order of the baseline, whose cells need not lie together by task
        found = set(names)
        ordered = tuple(name for name in dict.fromkeys(place[:2] for place in self._theirs) if name in found)
        new = Counter((*place[:2], "") for place in self._ours.keys() - self._theirs.keys())
        metrics, other, lost, fresh = _metrics(self._run, self._baseline, self._only)
        return Matching(
            ordered, metrics, (*_counted(apart), *other), (*_counted(gone), *lost), (*_counted(new), *fresh)
        )


def common_metrics(run: Results, baseline: Results, only: Selection) -> dict[str, PluginInfo]:
    """Selected metrics of both by spec, with the facts of both; where they differ, those of the run."""
    theirs = {metric.spec: metric for metric in baseline.axes.metrics}
    return {
        metric.spec: metric.model_copy(update={"facts": {**theirs[metric.spec].facts, **metric.facts}})
        for metric in _metrics(run, baseline, only)[0]
    }


def selected(info: PluginInfo, names: Iterable[str]) -> bool:
    """Whether a selection has a plug-in, by its spec or its name; an empty selection has all."""
    names = tuple(names)
    return not names or info.spec in names or info.identity["name"] in names


def _paired(ours: tuple[Key, ScoredCell], theirs: tuple[Key, ScoredCell]) -> CellPair | str:
    """Pair of two cells of the same place in the grid, or the reason why they cannot be compared."""
    (new, old), (now, then) = (ours[1].cell, theirs[1].cell), (ours[1], theirs[1])
    if new is None or old is None:
        return "the baseline has not computed it" if old is None else "the run has not computed it"
    if reason := _other_task(ours[0].task.identity, theirs[0].task.identity):
        return reason
    if not (new.fit and old.fit):
        return "the model is under its gate"
    pair = CellPair(ours[0], now, then, retrained=_retrained(ours, theirs))
    # a model that could not be built has no fingerprint: this is a failure, not other data
    if new.fingerprints.data != old.fingerprints.data and new.fingerprints.data and old.fingerprints.data:
        shared = _shared(new, old)
        if isinstance(shared, str):
            return shared
        pair = replace(pair, shared=shared)
    elif now.scores.size and then.scores.size and now.scores.shape[1] != then.scores.shape[1]:
        return "the sequences differ"
    return pair


def _other_task(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """Reason why two tasks of one name do not explain the same; empty if their models or data alone may differ."""
    if new.get("version") != old.get("version"):
        return f"the task has version {new.get('version')}, and had {old.get('version')}"
    ours, theirs = (task.get("parameters", {}) for task in (new, old))
    changed = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    meant = [name for name in changed if name in _MEANING]
    if meant:
        shown = ", ".join(f"{name}={ours.get(name)!r}, before {theirs.get(name)!r}" for name in meant)
        return f"the task asks for something else ({shown})"
    if new.get("target") != old.get("target"):
        return "other outputs are explained (target=…)"
    return ""


def _retrained(ours: tuple[Key, ScoredCell], theirs: tuple[Key, ScoredCell]) -> bool:
    """Whether two cells explain different models: other weights, or other outputs of other code or of a function."""
    (key, now), (before, then) = ours, theirs
    assert now.cell is not None  # noqa: S101  # cells that are compared are computed
    assert then.cell is not None  # noqa: S101  # as above
    weights = now.cell.fingerprints.model, then.cell.fingerprints.model
    if not all(weights):
        return False
    if weights[0] != weights[1]:
        return True
    new, old = (_model_facts(place.task.identity, place.model_seed) for place in (key, before))
    if new.get("behaviour") == old.get("behaviour"):
        return False
    return new.get("code") != old.get("code") or weights[0] == _NO_WEIGHTS


def _model_facts(identity: Mapping[str, Any], seed: int) -> Mapping[str, Any]:
    """Facts of the model of a seed in the identity of a user's own task."""
    further = identity.get("further") or []
    facts: Mapping[str, Any] = further[seed - 1] if 0 < seed <= len(further) else identity
    return facts


def _shared(new: Cell, old: Cell) -> tuple[Places, Places] | str:
    """Places of the sequences that two cells of different data share by their ids, or the reason why there are none."""
    if not (new.ids and old.ids):
        lacking = "the run has" if old.ids else "the baseline has" if new.ids else "both have"
        return (
            "the data differ (sequences, targets, reference or background), and "
            f"{lacking} no ids to find the same sequences by: give ids=… to both"
        )
    places = {name: place for place, name in enumerate(old.ids)}
    both = [(place, places[name]) for place, name in enumerate(new.ids) if name in places]
    if not both:
        return "no sequence of the run is one of the baseline, by their ids"
    ours, theirs = np.array(both, dtype=np.int64).T
    return ours, theirs


def _absence(run: Results, key: Key) -> str:
    """Reason why a run does not have a cell of the baseline."""
    if key.task.spec not in {info.spec for info in run.axes.tasks}:
        return "the run has no such task"
    if key.method.spec not in {info.spec for info in run.axes.methods}:
        return "the run has no such method"
    return "the run has no such seed"


def _metrics(
    run: Results, baseline: Results, only: Selection
) -> tuple[tuple[PluginInfo, ...], tuple[Unmatched, ...], tuple[Unmatched, ...], tuple[Unmatched, ...]]:
    """Metrics of both, of both in different versions, of the baseline only, and of the run only."""
    ours = {metric.spec: metric for metric in run.axes.metrics if selected(metric, only.metrics)}
    theirs = {metric.spec: metric for metric in baseline.axes.metrics if selected(metric, only.metrics)}
    both = [spec for spec in ours if spec in theirs]
    same = tuple(ours[spec] for spec in both if ours[spec].identity == theirs[spec].identity)
    other = [spec for spec in both if ours[spec].identity != theirs[spec].identity]
    return (
        same,
        tuple(Unmatched("", "", spec, "the metric has another version", 0) for spec in other),
        tuple(Unmatched("", "", spec, "the run has no such metric", 0) for spec in theirs if spec not in ours),
        tuple(Unmatched("", "", spec, "", 0) for spec in ours if spec not in theirs),
    )


def _selected_cells(results: Results, only: Selection) -> dict[Place, tuple[Key, ScoredCell]]:
    """Selected cells of the results by specs and seeds."""
    return {
        (key.task.spec, key.method.spec, key.model_seed, key.explainer_seed): (key, scored)
        for key, scored in results.scored_cells.items()
        if selected(key.task, only.tasks) and selected(key.method, only.methods)
    }


def _by_task(cells: Mapping[Place, tuple[Key, ScoredCell]]) -> dict[str, dict[Place, tuple[Key, ScoredCell]]]:
    """Cells by spec of the task."""
    by_task: dict[str, dict[Place, tuple[Key, ScoredCell]]] = {}
    for place, cell in cells.items():
        by_task.setdefault(place[0], {})[place] = cell
    return by_task


def _counted(counted: Mapping[tuple[str, str, str], int]) -> tuple[Unmatched, ...]:
    """One entry for each task, method and reason with its number of cells."""
    counts = sorted(counted.items())
    return tuple(Unmatched(task, method, "", reason, count) for (task, method, reason), count in counts if count)


def _check(run: Results, baseline: Results, only: Selection) -> None:
    """Raise if a selected name is that of no plug-in of the run or the baseline."""
    for kind in ("tasks", "methods", "metrics"):
        plugins = (*getattr(run.axes, kind), *getattr(baseline.axes, kind))
        for name in getattr(only, kind):
            if not any(selected(info, [name]) for info in plugins):
                known = sorted({info.spec for info in plugins})
                raise UsageError(
                    f"Neither the run nor the baseline has a {kind[:-1]} {name!r}{nearest(name, known)}; there are "
                    f"{', '.join(known)}."
                )
