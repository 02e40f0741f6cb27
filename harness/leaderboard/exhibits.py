"""What a page shows of a run beside its board: single explanations beside the truth, and the curves behind scores.

Both are bounded: of each task the few sequences that are kept (:mod:`xrnnbench.harness.results.samples`), said of one
model by every method, and for each method one curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results.cells import Scores, Source
from ..results.samples import Samples
from ..results.scored_cells import by_task, of_method, scores_of
from ..statistics.variance_components import spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.cells import Axes, Key
    from ..results.scored_cells import Judged

    Cells = Mapping[Key, Judged]
    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Curve:
    """The mean over models and sequences of a curve, at equally spaced shares of the features removed.

    Attributes:
        mean: from none removed to all.
        low, high: 95 % interval by Student's t, at each share by itself.
    """

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What the methods said of the samples of one task.

    Attributes:
        samples: the sequences.
        seed: of the model that was explained, the first that passes its gate.
        targets: the explained output of each sequence, in words.
        truth: float[T, D or 1] for each, turned towards the explained output as the attributions are; None if unknown.
        maps: by spec of the method, float[T, D or 1] for each; methods that said nothing are not there.
        signed: specs of the methods whose sign has a meaning.
        scores: by spec of the method, the headline's score of each; NaN is undefined.
    """

    samples: Samples
    seed: int
    targets: tuple[str, ...]
    truth: tuple[Array, ...] | None
    maps: Mapping[str, tuple[Array, ...]]
    signed: frozenset[str]
    scores: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Gallery:
    """What there is to be shown; by spec of the task.

    Attributes:
        metric: the one whose curves are shown; None if none are kept.
        curves: by spec of the method.
        exhibits: single explanations.
    """

    metric: Source | None = None
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)


def make_gallery(axes: Axes, headline: Source, cells: Cells, samples: Callable[[Source], Samples | None]) -> Gallery:
    """Choose what is shown.

    Args:
        axes: of the grid.
        headline: of the board; its curves are shown if it keeps any.
        cells: every cell of the grid.
        samples: gives those of a task; None where none are kept.
    """
    of_task = by_task(cells, axes.tasks)
    metric = _profiled(axes.metrics, headline, cells)
    curves = {}
    if metric is not None:
        drawn = {spec: _curves(metric, axes.methods, found) for spec, found in of_task.items()}
        curves = {spec: found for spec, found in drawn.items() if found}
    exhibits = {}
    for task in axes.tasks:
        kept = samples(task)
        found = None if kept is None else _exhibit(kept, axes.methods, headline, of_task[task.spec])
        if found is not None:
            exhibits[task.spec] = found
    return Gallery(metric, curves, exhibits)


def _profiled(metrics: Sequence[Source], headline: Source, cells: Cells) -> Source | None:
    records = (record for judged in cells.values() if judged.cell is not None for record in judged.cell.records)
    found = {record.metric.spec for record in records if record.profile}
    return next((metric for metric in (headline, *metrics) if metric.spec in found), None)


def _curves(metric: Source, methods: Sequence[Source], cells: Cells) -> dict[str, Curve]:
    profiles = {method.spec: _profiles(metric, of_method(cells, method)) for method in methods}
    # those of one shape at once, which is faster
    alike: dict[tuple[int, ...], dict[str, Scores]] = {}
    for spec, rows in profiles.items():
        if rows is not None:
            alike.setdefault(rows.shape, {})[spec] = rows
    found: dict[str, list[list[float]]] = {}
    for (points, *_), several in alike.items():
        each = spread(np.concatenate(list(several.values())))
        # a single value says nothing of others: its band has no width
        half = np.nan_to_num(each.halfwidth)
        drawn = np.array([each.mean, each.mean - half, each.mean + half]).reshape(3, len(several), points)
        found |= dict(zip(several, drawn.swapaxes(0, 1).tolist(), strict=True))
    return {spec: Curve(*map(tuple, found[spec])) for spec in profiles if spec in found}


def _profiles(metric: Source, cells: list[tuple[int, Judged]]) -> Scores | None:
    """float64[P, S, n]: the curves of all models; None unless every cell of a fit model has one."""
    fit = [(seed, judged) for seed, judged in cells if judged.cell is None or judged.cell.fit]
    by_seed: dict[int, list[Scores]] = {}
    for seed, judged in fit:
        record = judged.cell.record(metric) if judged.cell is not None else None
        if record is None or not record.profile:
            return None
        by_seed.setdefault(seed, []).append(judged.profile(record))
    if not by_seed:
        return None
    means = [np.mean(found, axis=0) for found in by_seed.values()]
    rows = np.full((len(means[0]), len(means), max(each.shape[1] for each in means)), np.nan)
    for place, each in enumerate(means):
        rows[:, place, : each.shape[1]] = each
    return rows


def _exhibit(samples: Samples, methods: Sequence[Source], headline: Source, cells: Cells) -> Exhibit | None:
    """What was said of the first fit model whose data are those of the samples; None if there is no such model."""
    told = [
        (key, judged)
        for key, judged in cells.items()
        if judged.read is not None
        and judged.cell is not None
        and judged.cell.fit
        and judged.cell.fingerprints.data == samples.data
    ]
    if not told:
        return None
    seed = min(key.model_seed for key, _ in told)
    # one explainer seed: the first
    first = {
        key.method.spec: judged for key, judged in sorted(told, key=_seeds, reverse=True) if key.model_seed == seed
    }
    chosen = [method.spec for method in methods if method.spec in first]
    maps = {spec: read() for spec in chosen if (read := first[spec].read) is not None}
    target = next(iter(maps.values())).target
    if target is None:
        return None
    places = [sample.place for sample in samples.sequences]
    scores = {
        spec: scores_of(headline, [(seed, first[spec])]).get(seed, np.full(len(target), np.nan)) for spec in chosen
    }
    return Exhibit(
        samples=samples,
        seed=seed,
        targets=tuple(_named(samples.outputs, int(target[place])) for place in places),
        truth=_truth(samples, target),
        maps={spec: _parts(samples, found.values) for spec, found in maps.items()},
        signed=frozenset(spec for spec, found in maps.items() if found.signed),
        scores={spec: tuple(float(row[place]) for place in places) for spec, row in scores.items()},
    )


def _seeds(pair: tuple[Key, Judged]) -> tuple[int, int]:
    return pair[0].model_seed, pair[0].explainer_seed


def _parts(samples: Samples, values: Array) -> tuple[Array, ...]:
    """float[T, D or 1] of each sample, from values float[B, T] or float[B, T, D]."""
    values = values[:, :, None] if values.ndim == 2 else values
    return tuple(values[each.place, : len(each.steps)] for each in samples.sequences)


def _truth(samples: Samples, target: Array) -> tuple[Array, ...] | None:
    """As :meth:`xrnnbench.tasks.data.batch.Truth.turned`."""
    reading = samples.reading
    if reading is None:
        return None
    signs = [1 if reading.toward in {None, int(target[each.place])} else -1 for each in samples.sequences]
    return tuple(sign * np.array(each.truth) for sign, each in zip(signs, samples.sequences, strict=True))


def _named(outputs: Sequence[str], number: int) -> str:
    return outputs[number] if number < len(outputs) else f"output {number}"
