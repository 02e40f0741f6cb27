"""Exhibits of an HTML page besides its tables: attributions of sample sequences with the truth, and removal curves.

Their number is bounded. Of each task there are the attributions of every method for the few sample sequences that a run
keeps (:mod:`xrnnbench.harness.results.samples`) and one model. Of each method there is one curve for each task.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results.cells import PluginInfo, Scores
from ..results.samples import Samples, name_of
from ..results.scored_cells import cells_by_task, cells_of_method, scores_by_seed
from ..statistics.variance_components import variance_estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.cells import Axes, Key
    from ..results.scored_cells import ScoredCell

    Cells = Mapping[Key, ScoredCell]
    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Curve:
    """Removal curve: the mean score over models and sequences at equally spaced shares of the features removed.

    Attributes:
        mean: from no feature removed to all.
        low, high: 95 % interval by Student's t, for each share separately.
    """

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Exhibit:
    """Attributions of the sample sequences of one task by every method.

    Attributes:
        samples: the sequences.
        seed: of the explained model, the first that passes the gate.
        targets: the name of the explained output of each sequence.
        truth: float[T, D or 1] for each sequence, with the sign that the explained output gives it, as the attributions
            have; None if unknown.
        maps: by spec of the method, float[T, D or 1] for each sequence; methods without attributions are left out.
        signed: specs of the methods whose signs have a meaning.
        scores: by spec of the method, the headline metric's score of each sequence; NaN is undefined.
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
    """Removal curves and sample attributions of all tasks.

    Attributes:
        metric: the metric whose curves are shown; None if no metric keeps any.
        curves: by spec of the task, and then by spec of the method.
        exhibits: sample attributions, by spec of the task.
        left_out: whether sample attributions are left out on request, because they show sequences of the data.
    """

    metric: PluginInfo | None = None
    curves: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)
    left_out: bool = False


def make_gallery(
    axes: Axes, headline: PluginInfo, cells: Cells, samples: Callable[[PluginInfo], Samples | None] | None
) -> Gallery:
    """Choose the removal curves and the sample attributions that a page shows.

    Args:
        axes: of the grid.
        headline: the headline metric of the board; its curves are shown if it keeps any.
        cells: every cell of the grid.
        samples: returns the samples of a task, None where none are kept; None to leave all sequences out.
    """
    of_task = cells_by_task(cells, axes.tasks)
    metric = _curve_metric(axes.metrics, headline, cells)
    curves = {}
    if metric is not None:
        by_spec = {spec: _curves(metric, axes.methods, task_cells) for spec, task_cells in of_task.items()}
        curves = {spec: task_curves for spec, task_curves in by_spec.items() if task_curves}
    if samples is None:
        return Gallery(metric, curves, left_out=True)
    exhibits = {}
    for task in axes.tasks:
        kept = samples(task)
        exhibit = None if kept is None else _exhibit(kept, axes.methods, headline, of_task[task.spec])
        if exhibit is not None:
            exhibits[task.spec] = exhibit
    return Gallery(metric, curves, exhibits)


def _curve_metric(metrics: Sequence[PluginInfo], headline: PluginInfo, cells: Cells) -> PluginInfo | None:
    """Return the headline metric if its records keep curves, else the first metric whose records do."""
    records = (record for scored in cells.values() if scored.cell is not None for record in scored.cell.records)
    with_curves = {record.metric.spec for record in records if record.profile}
    return next((metric for metric in (headline, *metrics) if metric.spec in with_curves), None)


def _curves(metric: PluginInfo, methods: Sequence[PluginInfo], cells: Cells) -> dict[str, Curve]:
    """Return the mean removal curve of each method that has one, by its spec."""
    profiles = {method.spec: _profiles(metric, cells_of_method(cells, method)) for method in methods}
    # curves of one shape are computed at once, which is faster
    same_shape: dict[tuple[int, ...], dict[str, Scores]] = {}
    for spec, rows in profiles.items():
        if rows is not None:
            same_shape.setdefault(rows.shape, {})[spec] = rows
    curves: dict[str, list[list[float]]] = {}
    for (points, *_), by_spec in same_shape.items():
        estimate = variance_estimate(np.concatenate(list(by_spec.values())))
        # a single value has no known variance: its band has no width
        half = np.nan_to_num(estimate.half_width)
        lines = np.array([estimate.mean, estimate.mean - half, estimate.mean + half])
        lines = lines.reshape(3, len(by_spec), points)
        curves |= dict(zip(by_spec, lines.swapaxes(0, 1).tolist(), strict=True))
    return {spec: Curve(*map(tuple, curves[spec])) for spec in profiles if spec in curves}


def _profiles(metric: PluginInfo, cells: list[tuple[int, ScoredCell]]) -> Scores | None:
    """Return the curves of all models, float64[P, S, n]; None unless every cell of a fit model has one."""
    fit = [(seed, scored) for seed, scored in cells if scored.cell is None or scored.cell.fit]
    by_seed: dict[int, list[Scores]] = {}
    for seed, scored in fit:
        record = scored.cell.record(metric) if scored.cell is not None else None
        if record is None or not record.profile:
            return None
        by_seed.setdefault(seed, []).append(scored.profile(record))
    if not by_seed:
        return None
    means = [np.mean(profiles, axis=0) for profiles in by_seed.values()]
    rows = np.full((len(means[0]), len(means), max(mean.shape[1] for mean in means)), np.nan)
    for model, mean in enumerate(means):
        rows[:, model, : mean.shape[1]] = mean
    return rows


def _exhibit(samples: Samples, methods: Sequence[PluginInfo], headline: PluginInfo, cells: Cells) -> Exhibit | None:
    """Return the attributions of the first fit model whose data are those of the samples; None if there is none."""
    explained = [
        (key, scored)
        for key, scored in cells.items()
        if scored.read is not None
        and scored.cell is not None
        and scored.cell.fit
        and scored.cell.fingerprints.data == samples.data
    ]
    if not explained:
        return None
    seed = min(key.model_seed for key, _ in explained)
    # of several explainer seeds the first: it is last in this order, and replaces the others
    first = {
        key.method.spec: scored for key, scored in sorted(explained, key=_seeds, reverse=True) if key.model_seed == seed
    }
    chosen = [method.spec for method in methods if method.spec in first]
    maps = {spec: read() for spec in chosen if (read := first[spec].read) is not None}
    target = next(iter(maps.values())).target
    if target is None:
        return None
    indices = [sample.place for sample in samples.sequences]
    scores = {
        spec: scores_by_seed(headline, [(seed, first[spec])]).get(seed, np.full(len(target), np.nan)) for spec in chosen
    }
    return Exhibit(
        samples=samples,
        seed=seed,
        targets=tuple(name_of(samples.outputs, int(target[index]), "output ") for index in indices),
        truth=_truth(samples, target),
        maps={spec: _sample_values(samples, one.values) for spec, one in maps.items()},
        signed=frozenset(spec for spec, one in maps.items() if one.signed),
        scores={spec: tuple(float(row[index]) for index in indices) for spec, row in scores.items()},
    )


def _seeds(pair: tuple[Key, ScoredCell]) -> tuple[int, int]:
    """Return the model seed and the explainer seed of a cell, to sort by."""
    return pair[0].model_seed, pair[0].explainer_seed


def _sample_values(samples: Samples, values: Array) -> tuple[Array, ...]:
    """Return the attributions float[T, D or 1] of each sample, from float[B, T] or float[B, T, D] of all sequences."""
    if samples.layout is not None:
        return tuple(samples.layout.arranged(values[sample.place]) for sample in samples.sequences)
    values = values[:, :, None] if values.ndim == 2 else values
    return tuple(values[sample.place, : len(sample.steps)] for sample in samples.sequences)


def _truth(samples: Samples, target: Array) -> tuple[Array, ...] | None:
    """Return the truth of each sample, turned as :meth:`xrnnbench.tasks.data.batch.Truth.turned` does."""
    reading = samples.reading
    if reading is None:
        return None
    signs = [1 if reading.toward in {None, int(target[sample.place])} else -1 for sample in samples.sequences]
    return tuple(
        sign * np.array(sample.truth, dtype=np.float64) for sign, sample in zip(signs, samples.sequences, strict=True)
    )
