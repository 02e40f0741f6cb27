"""Means and quantiles of scores with 95 % confidence intervals: Student's for means, bootstrapped for quantiles.

The intervals hold for other models and other sequences. That of a mean is Student's, with the variance of
:mod:`xrnnbench.harness.statistics.variance_components`. Quantiles, and Kendall's τ elsewhere, are bootstrapped.

Sequences explained on one model are not independent of each other, nor are the scores of one sequence on several
models. The bootstrap therefore resamples models and sequences, and every drawn sequence counts on every drawn model
(Owen, The pigeonhole bootstrap, 2007, doi:10.1214/07-AOAS122). With a single model only sequences can be resampled;
the number of models in an :class:`Estimate` shows this.

The percentiles of a bootstrap of three models are too narrow, because three models can be drawn in few ways only. So
the draws of a quantile are scaled up, by the ratio of two widths: that of Student's interval of the share of scores up
to the quantile, which is a mean, and that of the same share's bootstrap interval. docs/statistics.md lists the coverage
in simulated studies. A 95th percentile over several models has no interval: where models differ, it would cover the
truth in 65 to 76 % of studies.

The mean of a draw is a weighted sum whose weights do not depend on the scores. The weights are made once for each
number of sequences, from a fixed seed, and every entry of a table uses them. The same cells therefore give the same
interval on every run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .variance_components import LEVEL, Values, VarianceEstimate, average_over_tasks, variance_estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    Counts: TypeAlias = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]
    # The scores float64[n] of one method on each model.
    ModelScores: TypeAlias = Sequence[Values]

# The draws float64[RESAMPLES] of a quantile of each method, by its spec.
Draws: TypeAlias = Mapping[str, Values]

RESAMPLES = 2000
UNBOUNDED = (-math.inf, math.inf)
QUANTILES = {"median": 0.5, "p95": 0.95}
# Statistics whose interval covers too little where models differ, however many of a few there are.
NO_INTERVAL = frozenset({"p95"})


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean, or another statistic, with its confidence interval.

    Attributes:
        mean: the statistic of all defined values; NaN if there are none.
        low, high: 95 % interval; NaN where its coverage is known to be poor: for a 95th percentile over several models.
        n: the number of defined values.
        undefined: the number of undefined values; they are left out.
        seeds: the number of models the values come from; with one, the interval does not cover other models.
    """

    mean: float
    low: float
    high: float
    n: int
    undefined: int
    seeds: int


@dataclass(frozen=True, eq=False)
class MetricScores:
    """Scores of several methods under one metric on one task, with per-method statistics cached.

    Attributes:
        scores: for each method, by its spec, the scores float64[n] on each model, the same sequences in the same
            order; NaN marks an undefined value.
        stream: the stream of random numbers. Estimates of one stream use the same draws; those of two streams are
            drawn independently.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
    """

    scores: Mapping[str, ModelScores]
    stream: int = 0
    statistic: str = "mean"

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each method in :attr:`values` and in the lists and arrays below."""
        return {spec: row for row, spec in enumerate(self.scores)}

    @cached_property
    def values(self) -> Values:
        """The scores as float64[K, S, n], methods by models by sequences.

        They are NaN also where a method has fewer models or sequences than another.
        """
        return _padded(list(self.scores.values()))

    @cached_property
    def point_estimates(self) -> list[Estimate]:
        """The statistic of each method without an interval: both its ends are the statistic."""
        defined = ~np.isnan(self.values)
        rows, masks = (array.reshape(len(array), math.prod(array.shape[1:])) for array in (self.values, defined))
        some, whole = masks.any(1), masks.all(1) & (self.statistic == "mean")
        statistics = np.full(len(rows), np.nan)
        statistics[some & whole] = _row_means(rows[some & whole])
        for row in np.flatnonzero(some & ~whole):
            statistics[row] = _statistic(rows[row][masks[row]], self.statistic)
        counts, models = masks.sum(1).tolist(), defined.any(2).sum(1).tolist()
        sizes = [sum(map(len, scores)) for scores in self.scores.values()]
        columns = zip(statistics.tolist(), counts, sizes, models, strict=True)
        return [Estimate(value, value, value, n, size - n, seeds) for value, n, size, seeds in columns]

    @cached_property
    def variance_estimate(self) -> VarianceEstimate:
        """The mean of each method with its variance."""
        return variance_estimate(self.values)

    @cached_property
    def draws(self) -> dict[str, Values]:
        """The bootstrap draws float64[RESAMPLES] of each method's quantile, by its spec; none of a mean.

        A method without a defined value has none.
        """
        if self.statistic == "mean":
            return {}
        specs = [spec for spec, row in self.rows.items() if self.point_estimates[row].n]
        drawn = scaled_quantile_draws([self.scores[spec] for spec in specs], self.stream, self.statistic)
        return dict(zip(specs, drawn, strict=True))

    def condensed(self, *, with_scores: bool = False) -> MetricScores:
        """Return what means over tasks need of one task: the estimates, without scores and draws.

        Args:
            with_scores: whether the scores are needed for something else.
        """
        # copies, because a row is a view that would keep all scores of its cell
        kept = {spec: [row.copy() for row in rows] for spec, rows in self.scores.items()} if with_scores else {}
        condensed = MetricScores(kept, self.stream, self.statistic)
        # the values of cached properties
        for name in ("rows", "point_estimates", *(["variance_estimate"] if self.statistic == "mean" else [])):
            condensed.__dict__[name] = getattr(self, name)
        return condensed


class DrawSums:
    """Sums over tasks of the bootstrap draws of quantiles, which are too large to be kept for each task."""

    def __init__(self) -> None:
        self._sums: dict[str, Values] = {}

    def add(self, draws: Draws) -> None:
        """Add the draws on one more task."""
        for spec, row in draws.items():
            self._sums[spec] = self._sums[spec] + row if spec in self._sums else row

    def mean(self, specs: Sequence[str], tasks: int) -> Values:
        """Return the means float64[K, RESAMPLES] of methods that have draws on each of the tasks.

        Args:
            specs: specs of the methods.
            tasks: the number of tasks.
        """
        return np.stack([self._sums[spec] for spec in specs]) / tasks


def estimate(
    scores: ModelScores, stream: int = 0, statistic: str = "mean", bounds: tuple[float, float] = UNBOUNDED
) -> Estimate:
    """Return a statistic of the scores of one method on several models, with its interval; see :class:`MetricScores`.

    Args:
        scores: float64[n] for each model.
        stream: of random numbers.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
        bounds: the least and the largest possible value; the interval is clipped to them.
    """
    return estimates_over([MetricScores({"": scores}, stream, statistic)], [""], bounds)[0]


def estimates_over(
    tasks: Sequence[MetricScores],
    specs: Sequence[str],
    bounds: tuple[float, float] = UNBOUNDED,
    sums: DrawSums | None = None,
) -> list[Estimate]:
    """Return the mean over tasks of a statistic of each method, with its interval; each task has the same weight.

    The tasks' models and sequences are independent of each other, so variances of their means add up, with
    Satterthwaite's degrees of freedom (1946, doi:10.2307/3002019).

    Args:
        tasks: the scores on each task, of one statistic.
        specs: specs of the methods to estimate; each must be on all of the tasks.
        bounds: as in :func:`estimate`.
        sums: the draws of a quantile on these tasks; by default they are made now, from the scores.
    """
    estimates = [_mean_of([task.point_estimates[task.rows[spec]] for task in tasks]) for spec in specs]
    defined = [index for index, value in enumerate(estimates) if not math.isnan(value.mean)]
    centres = np.array([estimates[index].mean for index in defined])
    ends = _interval_bounds(tasks, [specs[index] for index in defined], centres, sums)
    for index, low, high in zip(defined, *ends.clip(*bounds).tolist(), strict=True):
        value = estimates[index]
        mean = value.mean
        several = any(task.point_estimates[task.rows[specs[index]]].seeds > 1 for task in tasks)
        if tasks[0].statistic in NO_INTERVAL and several:
            low, high = math.nan, math.nan  # noqa: PLW2901  # in the place of an interval that would mislead
        else:
            low, high = min(low, mean), max(high, mean)  # noqa: PLW2901  # the mean lies within
        estimates[index] = Estimate(mean, low, high, value.n, value.undefined, value.seeds)
    return estimates


def _mean_of(values: Sequence[Estimate]) -> Estimate:
    """Return the mean over tasks without an interval; it is NaN if one of the tasks has no value."""
    if len(values) == 1:
        return values[0]
    mean = float(np.mean([value.mean for value in values]))
    n, undefined = sum(value.n for value in values), sum(value.undefined for value in values)
    return Estimate(mean, mean, mean, n, undefined, min(value.seeds for value in values))


def _interval_bounds(
    tasks: Sequence[MetricScores], specs: Sequence[str], centres: Values, sums: DrawSums | None
) -> Values:
    """Return the ends float64[2, K] of the 95 % intervals about float64[K] centres; those of means need no draws."""
    if not specs:
        return np.empty((2, 0))
    if tasks[0].statistic != "mean":
        return _percentiles((_sum_of_draws(tasks) if sums is None else sums).mean(specs, len(tasks)))
    average = average_over_tasks([task.variance_estimate.select([task.rows[spec] for spec in specs]) for task in tasks])
    # a single value has no known variance: its interval is the value itself, and n shows how little it rests on
    half_width = np.nan_to_num(average.half_width, nan=0.0)
    return np.array([centres - half_width, centres + half_width])


def _sum_of_draws(tasks: Sequence[MetricScores]) -> DrawSums:
    """Return the sums of the draws on some tasks."""
    sums = DrawSums()
    for task in tasks:
        sums.add(task.draws)
    return sums


def scaled_quantile_draws(methods: Sequence[ModelScores], stream: int, statistic: str) -> Values:
    """Return bootstrap draws float64[K, RESAMPLES] of a quantile, scaled to the width of Student's interval.

    The share of values up to the quantile is a mean, so it has a Student's interval. The draws of the quantile are
    scaled by the ratio of that interval's width to the width of the share's own draws.

    Args:
        methods: the scores of each of K methods, as in :class:`MetricScores`.
        stream: as in :class:`MetricScores`.
        statistic: ``"median"`` or ``"p95"``; the interval of a mean needs no draws.

    Raises:
        ValueError: a method has no defined value.
    """
    draws = np.empty((len(methods), RESAMPLES))
    same_sizes: dict[tuple[int, ...], list[int]] = {}
    for index, scores in enumerate(methods):
        same_sizes.setdefault(tuple(map(len, scores)), []).append(index)
    for sizes, indices in same_sizes.items():
        rows = np.array([np.concatenate([np.empty(0), *methods[index]]) for index in indices])
        if np.isnan(rows).all(1).any():
            raise ValueError("there is no defined value to resample")
        draws[indices] = _scaled_draws(rows, sizes, stream, statistic)
    return draws


def _scaled_draws(rows: Values, sizes: tuple[int, ...], stream: int, statistic: str) -> Values:
    """Return the scaled draws float64[K, RESAMPLES] of rows float64[K, Σ sizes]."""
    quantiles = np.array([_statistic(row[~np.isnan(row)], statistic) for row in rows])[:, None]
    drawn = bootstrap_draws(rows, sizes, stream, statistic)
    # a draw without a defined value is replaced by the quantile itself
    deviations = np.where(np.isnan(drawn), 0.0, drawn - quantiles)
    below = np.where(np.isnan(rows), np.nan, rows <= quantiles)
    low, high = (end[:, None] for end in _percentiles(bootstrap_draws(below, sizes, stream)))
    parts = np.cumsum(sizes)[:-1]
    wanted = 2 * variance_estimate(_padded([np.split(row, parts) for row in below])).half_width[:, None]
    # 1 where the draws do not vary, or a single value has no known variance
    known = np.isfinite(wanted) & (high > low)
    factor: Values = np.where(known, wanted / np.where(known, high - low, 1.0), 1.0)
    return quantiles + factor * deviations


def _padded(methods: Sequence[ModelScores]) -> Values:
    """Return the scores float64[K, S, n] of K methods on S models; NaN where a method has fewer."""
    if len({tuple(map(len, scores)) for scores in methods}) == 1 and len(set(map(len, methods[0]))) == 1:
        models, rows = len(methods[0]), [values for scores in methods for values in scores]
        return np.concatenate(rows, dtype=np.float64).reshape(len(methods), models, len(rows[0]))
    models = max(map(len, methods), default=0)
    sequences = max((len(values) for scores in methods for values in scores), default=0)
    padded = np.full((len(methods), models, sequences), np.nan)
    for row, scores in zip(padded, methods, strict=True):
        for model, values in zip(row, scores, strict=False):
            model[: len(values)] = values
    return padded


def _percentiles(draws: Values) -> Values:
    """Return the ends float64[2, K] of the 95 % intervals of draws float64[K, R]; NaN draws are left out."""
    quantile = np.nanquantile if np.isnan(draws).any() else np.quantile
    ends: Values = quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return ends


def percentile_interval(draws: Values) -> tuple[float, float]:
    """Return the 95 % percentile interval of draws float64[R]; undefined draws are left out."""
    low, high = _percentiles(draws[None])[:, 0]
    return float(low), float(high)


def bootstrap_draws(rows: Values, sizes: tuple[int, ...], stream: int = 0, statistic: str = "mean") -> Values:
    """Return the statistic of each row in every bootstrap draw; all rows share the drawn models and sequences.

    A sequence is drawn for every row at once, whether the row is defined there or not, so that rows can be compared
    within a draw. The draws are not scaled; see :func:`scaled_quantile_draws`.

    Args:
        rows: float64[K, N], the values of all models' sequences one model after another; NaN is undefined.
        sizes: the number of sequences of each model, N in all.
        stream: as in :class:`MetricScores`.
        statistic: as in :class:`MetricScores`.

    Returns:
        float64[K, RESAMPLES]; NaN where no drawn value is defined.
    """
    weights = _resampling_weights(sizes, stream)
    defined = ~np.isnan(rows)
    if defined.all():
        totals_of_weights = np.broadcast_to(weights.sum(1), (len(rows), len(weights)))
    else:
        totals_of_weights = defined.astype(np.float64) @ weights.T
    if statistic == "mean":
        totals = np.where(defined, rows, 0.0) @ weights.T
        undefined = np.full(totals_of_weights.shape, np.nan)
        means: Values = np.divide(totals, totals_of_weights, out=undefined, where=totals_of_weights > 0)
        return means
    counts, share = _counts_by_sequence(sizes, stream), QUANTILES[statistic]
    draws = np.full(totals_of_weights.shape, np.nan)
    for row, mask, out in zip(rows, defined, draws, strict=True):
        if mask.any():
            out[:] = _weighted_quantile(row[mask], counts if mask.all() else counts[mask], share)
    draws[totals_of_weights == 0] = np.nan
    return draws


def _statistic(values: Values, statistic: str) -> float:
    """Return the mean or a quantile of values float64[n]."""
    if statistic == "mean":
        return float(_row_means(values[None])[0])
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def _row_means(rows: Values) -> Values:
    """Return the mean of each row; of equal values it is exactly that value, without an error in the last bit."""
    if not len(rows):
        return np.empty(0)
    same = (rows == rows[:, :1]).all(1)
    means: Values = np.where(same, rows[:, 0], rows.mean(1))
    return means


def _weighted_quantile(values: Values, counts: Counts, share: float) -> Values:
    """Return the quantile float64[R] of values float64[n], each repeated as often as the counts uint[n, R] give."""
    order = values.argsort(kind="stable")
    reached = counts[order]
    # added up row by row: the rows lie together in memory, and the counts have the smallest type that holds their sum
    for row, following in pairwise(reached):
        np.add(row, following, out=following)
    needed = np.ceil(share * reached[-1]).astype(reached.dtype)
    quantiles: Values = values[order][(reached < needed).sum(axis=0, dtype=np.uint32)]
    return quantiles


@lru_cache(maxsize=4)
def _counts_by_sequence(sizes: tuple[int, ...], stream: int) -> Counts:
    """Return :func:`_resampling_counts` with draws along the second axis, uint[Σ sizes, RESAMPLES]."""
    counts = _resampling_counts(sizes, stream).T
    # the sums over all sequences must fit
    largest = counts.sum(axis=0, dtype=np.int64).max(initial=0)
    return np.ascontiguousarray(counts, dtype=np.uint16 if largest < 2**16 else np.uint32)


@lru_cache(maxsize=4)
def _resampling_weights(sizes: tuple[int, ...], stream: int) -> Values:
    """Return :func:`_resampling_counts` as float64, for matrix products."""
    return _resampling_counts(sizes, stream).astype(np.float64)


@lru_cache(maxsize=4)
def _resampling_counts(sizes: tuple[int, ...], stream: int) -> Counts:
    """Return how often each sequence of each model occurs in each draw, uint16[RESAMPLES, Σ sizes]."""
    models = _draw_counts(stream, 0, len(sizes))
    sequences = _draw_counts(stream, 1, max(sizes))
    return np.concatenate([models[:, [index]] * sequences[:, :size] for index, size in enumerate(sizes)], axis=1)


def _draw_counts(stream: int, axis: int, size: int) -> Counts:
    """Return how often each of ``size`` items occurs in each draw with replacement, uint16[RESAMPLES, size]."""
    drawn = np.random.default_rng((stream, axis, size)).integers(0, size, size=(RESAMPLES, size))
    drawn += np.arange(RESAMPLES)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.uint16)
