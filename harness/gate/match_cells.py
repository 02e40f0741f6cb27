"""Which cells of a run and of its baseline speak of the same thing, and why the others do not.

Two cells are a pair if task, model, data and seeds are the same; the method need only be of the same spec, for it is
the method that may have changed. Models under their task's gate are no ground to judge a method on. What the baseline
has explained and the run has not even asked for is gone, which is worse than before; it is no other thing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...plugins import nearest
from ..results.cells import Key, Source
from ..results.scored_cells import Judged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results.cells import Cell
    from ..results.scored_cells import Results

    Place = tuple[str, str, int, int]


@dataclass(frozen=True)
class Selection:
    """Which comparisons are asked for: by spec, or by name for all specs of that name; empty for all."""

    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A cell of the run and the cell of the baseline it is compared with; both are there."""

    key: Key
    run: Judged
    baseline: Judged

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """The run's and the baseline's."""
        assert self.run.cell is not None  # noqa: S101  # what the class says
        assert self.baseline.cell is not None  # noqa: S101  # as above
        return self.run.cell, self.baseline.cell


@dataclass(frozen=True)
class Apart:
    """What is in only one of the two, or in both and not the same thing.

    Attributes:
        task, method, metric: specs; empty where all of them are meant.
        reason: why, in a few words.
        cells: how many; 0 where a metric is meant.
    """

    task: str
    method: str
    metric: str
    reason: str
    cells: int = 1


@dataclass(frozen=True)
class Matching:
    """Two sets of results side by side.

    Attributes:
        pairs: by specs of task and method.
        metrics: those both have, as the run has them; as the baseline has them, the facts may differ.
        apart: in both, but not the same thing.
        gone: in the baseline only.
        new: in the run only.
    """

    pairs: Mapping[tuple[str, str], Sequence[Pair]]
    metrics: tuple[Source, ...]
    apart: tuple[Apart, ...]
    gone: tuple[Apart, ...]
    new: tuple[Apart, ...]


def match(run: Results, baseline: Results, only: Selection) -> Matching:
    """Put a run beside its baseline.

    Raises:
        UsageError: neither has what was selected.
    """
    _check(run, baseline, only)
    ours, theirs = _chosen(run, only), _chosen(baseline, only)
    pairs: dict[tuple[str, str], list[Pair]] = {}
    apart: Counter[tuple[str, str, str]] = Counter()
    gone: Counter[tuple[str, str, str]] = Counter()
    for place, (key, old) in theirs.items():
        found = ours.get(place)
        if found is None:
            # what was not explained cannot be lost
            gone[(*place[:2], _absence(run, key))] += old.cell is not None and old.cell.explained
        elif reason := _difference(found, (key, old)):
            apart[(*place[:2], reason)] += 1
        else:
            pairs.setdefault(place[:2], []).append(Pair(found[0], found[1], old))
    new = Counter((*place[:2], "") for place in ours.keys() - theirs.keys())
    metrics, other, lost, fresh = _metrics(run, baseline, only)
    return Matching(pairs, metrics, (*_listed(apart), *other), (*_listed(gone), *lost), (*_listed(new), *fresh))


def selected(source: Source, names: Iterable[str]) -> bool:
    """Whether a selection names a plug-in, by its spec or its name, or names none."""
    names = tuple(names)
    return not names or source.spec in names or source.identity["name"] in names


def _difference(ours: tuple[Key, Judged], theirs: tuple[Key, Judged]) -> str:
    """Why two cells of one place cannot be compared; empty if they can."""
    if ours[0].task.identity != theirs[0].task.identity:
        return "the task is of another version, or its defaults are others"
    (new, old), (now, then) = (ours[1].cell, theirs[1].cell), (ours[1], theirs[1])
    if new is None or old is None:
        return "the baseline has not computed it" if old is None else "the run has not computed it"
    if not (new.fit and old.fit):
        return "the model is under its gate"
    for reason, one, other in (
        ("the model is another one", new.fingerprints.model, old.fingerprints.model),
        ("the data are others", new.fingerprints.data, old.fingerprints.data),
    ):
        # a model that could not be made leaves no fingerprint: that is a failure, and no other model
        if one and other and one != other:
            return reason
    widths = {judged.scores.shape[1] for judged in (now, then) if judged.scores.size}
    return "the sequences are others" if len(widths) > 1 else ""


def _absence(run: Results, key: Key) -> str:
    if key.task.spec not in {source.spec for source in run.axes.tasks}:
        return "the run has no such task"
    if key.method.spec not in {source.spec for source in run.axes.methods}:
        return "the run has no such method"
    return "the run has no such seed"


def _metrics(
    run: Results, baseline: Results, only: Selection
) -> tuple[tuple[Source, ...], tuple[Apart, ...], tuple[Apart, ...], tuple[Apart, ...]]:
    """Metrics of both, of both in two versions, of the baseline alone, and of the run alone."""
    ours = {metric.spec: metric for metric in run.axes.metrics if selected(metric, only.metrics)}
    theirs = {metric.spec: metric for metric in baseline.axes.metrics if selected(metric, only.metrics)}
    both = [spec for spec in ours if spec in theirs]
    same = tuple(ours[spec] for spec in both if ours[spec].identity == theirs[spec].identity)
    other = [spec for spec in both if ours[spec].identity != theirs[spec].identity]
    return (
        same,
        tuple(Apart("", "", spec, "the metric is of another version", 0) for spec in other),
        tuple(Apart("", "", spec, "the run has no such metric", 0) for spec in theirs if spec not in ours),
        tuple(Apart("", "", spec, "", 0) for spec in ours if spec not in theirs),
    )


def _chosen(results: Results, only: Selection) -> dict[Place, tuple[Key, Judged]]:
    return {
        (key.task.spec, key.method.spec, key.model_seed, key.explainer_seed): (key, judged)
        for key, judged in results.judged.items()
        if selected(key.task, only.tasks) and selected(key.method, only.methods)
    }


def _listed(counted: Mapping[tuple[str, str, str], int]) -> tuple[Apart, ...]:
    found = sorted(counted.items())
    return tuple(Apart(task, method, "", reason, count) for (task, method, reason), count in found if count)


def _check(run: Results, baseline: Results, only: Selection) -> None:
    for kind in ("tasks", "methods", "metrics"):
        sources = (*getattr(run.axes, kind), *getattr(baseline.axes, kind))
        for name in getattr(only, kind):
            if not any(selected(source, [name]) for source in sources):
                known = sorted({source.spec for source in sources})
                raise UsageError(
                    f"Neither the run nor the baseline has a {kind[:-1]} {name!r}{nearest(name, known)}; there are "
                    f"{', '.join(known)}."
                )
