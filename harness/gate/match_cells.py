"""Matching of the cells of a run with the cells of its baseline, with a reason for each cell that has no match.

Two cells are a pair if task, model, data and seeds are the same. Of the method only the spec must be the same, because
the method is what may have changed. Cells whose model is under the gate of its task are not compared. A cell that the
baseline has explained and that is not in the grid of the run is gone, which counts as worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...plugins import nearest
from ..results.cells import Key, PluginInfo
from ..results.scored_cells import ScoredCell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results.cells import Cell
    from ..results.scored_cells import Results

    Place = tuple[str, str, int, int]


@dataclass(frozen=True)
class Selection:
    """Selection of comparisons by specs, or by names for all specs of that name; an empty tuple selects all."""

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class CellPair:
    """A computed cell of the run and the computed cell of the baseline that it is compared with."""

    key: Key
    run: ScoredCell
    baseline: ScoredCell

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """Cell of the run and cell of the baseline."""
        assert self.run.cell is not None  # noqa: S101  # a pair is made of computed cells only
        assert self.baseline.cell is not None  # noqa: S101  # as above
        return self.run.cell, self.baseline.cell


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
        pairs: by specs of task and method.
        metrics: metrics of both, with the facts of the run; the baseline may have other facts.
        apart: in both, but not comparable.
        gone: in the baseline only.
        new: in the run only.
    """

    pairs: Mapping[tuple[str, str], Sequence[CellPair]]
    metrics: tuple[PluginInfo, ...]
    apart: tuple[Unmatched, ...]
    gone: tuple[Unmatched, ...]
    new: tuple[Unmatched, ...]


def match(run: Results, baseline: Results, only: Selection) -> Matching:
    """Match the cells of a run with those of its baseline.

    Args:
        run: results that are compared.
        baseline: results they are compared with.
        only: selects tasks, methods and metrics.

    Raises:
        UsageError: neither has a task, method or metric that was selected.
    """
    _check(run, baseline, only)
    ours, theirs = _selected_cells(run, only), _selected_cells(baseline, only)
    pairs: dict[tuple[str, str], list[CellPair]] = {}
    apart: Counter[tuple[str, str, str]] = Counter()
    gone: Counter[tuple[str, str, str]] = Counter()
    for place, (key, old) in theirs.items():
        new_cell = ours.get(place)
        if new_cell is None:
            # a cell without an attribution cannot be lost
            gone[(*place[:2], _absence(run, key))] += old.cell is not None and old.cell.explained
        elif reason := _difference(new_cell, (key, old)):
            apart[(*place[:2], reason)] += 1
        else:
            pairs.setdefault(place[:2], []).append(CellPair(new_cell[0], new_cell[1], old))
    new = Counter((*place[:2], "") for place in ours.keys() - theirs.keys())
    metrics, other, lost, fresh = _metrics(run, baseline, only)
    return Matching(pairs, metrics, (*_counted(apart), *other), (*_counted(gone), *lost), (*_counted(new), *fresh))


def selected(info: PluginInfo, names: Iterable[str]) -> bool:
    """Whether a selection has a plug-in, by its spec or its name; an empty selection has all."""
    names = tuple(names)
    return not names or info.spec in names or info.identity["name"] in names


def _difference(ours: tuple[Key, ScoredCell], theirs: tuple[Key, ScoredCell]) -> str:
    """Reason why two cells of the same place in the grid cannot be compared; empty if they can."""
    if ours[0].task.identity != theirs[0].task.identity:
        return "the task has another version or other defaults"
    (new, old), (now, then) = (ours[1].cell, theirs[1].cell), (ours[1], theirs[1])
    if new is None or old is None:
        return "the baseline has not computed it" if old is None else "the run has not computed it"
    if not (new.fit and old.fit):
        return "the model is under its gate"
    for reason, one, other in (
        ("the models differ", new.fingerprints.model, old.fingerprints.model),
        ("the data differ", new.fingerprints.data, old.fingerprints.data),
    ):
        # a model that could not be built has no fingerprint: this is a failure, not another model
        if one and other and one != other:
            return reason
    widths = {scored.scores.shape[1] for scored in (now, then) if scored.scores.size}
    return "the sequences differ" if len(widths) > 1 else ""


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
