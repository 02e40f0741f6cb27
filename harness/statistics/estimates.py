"""Means with honest intervals: what would another set of models, judged on other sequences, have given?

Sequences explained on one model are not independent of each other, nor are the scores of one sequence on several
models. So models are drawn, and sequences, and every drawn sequence counts on every drawn model (Owen, The pigeonhole
bootstrap, 2007, doi:10.1214/07-AOAS122). With a single model only sequences can be drawn, and the number of models says
so.

The percentiles of a bootstrap of three models cover too little: three models cannot be drawn in many ways. So the
interval of a mean is Student's, of the variance of :mod:`xrnnbench.harness.statistics.variance_components`. Quantiles
are drawn, and their draws are spread until they are as wide. What is covered in simulated studies is in
docs/statistics.md.

A drawn mean is a weighted sum, and the weights do not depend on the values: they are made once for each number of
sequences, from a fixed seed, and every entry of a table uses them again. The same cells therefore give the same
interval on every run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .variance_components import LEVEL, Spread, Values, combined, spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Counts: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]
    # The scores float64[n] of one method on each model.
    Clusters: TypeAlias = Sequence[Values]

RESAMPLES = 2000
UNBOUNDED = (-math.inf, math.inf)
QUANTILES = {"median": 0.5, "p95": 0.95}


@dataclass(frozen=True)
class Estimate:
    """A mean, or another statistic, with its interval.

    Attributes:
        mean: the statistic of all defined values; NaN if there are none.
        low, high: 95 % interval.
        n: how many values are defined.
        undefined: how many are not; they are left out.
        seeds: from how many models the values come; with one, the interval knows nothing of other models.
    """

    mean: float
    low: float
    high: float
    n: int
    undefined: int
    seeds: int


@dataclass(frozen=True, eq=False)
class Column:
    """The scores of several methods on one task, and what they say by themselves: that is worked out once.

    Attributes:
        clusters: for each method, by its spec, the scores float64[n] on each model, the same sequences in the same
            order; NaN marks an undefined value.
        stream: which stream of random numbers; estimates of one stream are drawn together, those of two apart.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
    """

    clusters: Mapping[str, Clusters]
    stream: int = 0
    statistic: str = "mean"

    @cached_property
    def rows(self) -> dict[str, int]:
        """Where each method is in what follows."""
        return {spec: row for row, spec in enumerate(self.clusters)}

    @cached_property
    def values(self) -> Values:
        """float64[K, S, n]; NaN also where a method has fewer models or sequences."""
        return _padded(list(self.clusters.values()))

    @cached_property
    def counted(self) -> list[Estimate]:
        """The statistic of each method, without an interval."""
        defined = ~np.isnan(self.values)
        rows, there = (each.reshape(len(each), math.prod(each.shape[1:])) for each in (self.values, defined))
        some, whole = there.any(1), there.all(1) & (self.statistic == "mean")
        found = np.full(len(rows), np.nan)
        found[some & whole] = _means(rows[some & whole])
        for row in np.flatnonzero(some & ~whole):
            found[row] = _statistic(rows[row][there[row]], self.statistic)
        counts, models = there.sum(1).tolist(), defined.any(2).sum(1).tolist()
        asked = [sum(map(len, each)) for each in self.clusters.values()]
        told = zip(found.tolist(), counts, asked, models, strict=True)
        return [Estimate(value, value, value, n, size - n, seeds) for value, n, size, seeds in told]

    @cached_property
    def spread(self) -> Spread:
        """What is known of the means."""
        return spread(self.values)


def estimate(
    clusters: Clusters, stream: int = 0, statistic: str = "mean", bounds: tuple[float, float] = UNBOUNDED
) -> Estimate:
    """A statistic of the scores of one method on several models, with its interval; see :class:`Column`.

    Args:
        clusters: float64[n] for each model.
        stream: of random numbers.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
        bounds: between which the values can be; so are the ends of the interval.
    """
    return estimates_over([Column({"": clusters}, stream, statistic)], [""], bounds)[0]


def estimates_over(
    tasks: Sequence[Column], specs: Sequence[str], bounds: tuple[float, float] = UNBOUNDED
) -> list[Estimate]:
    """The mean over tasks of a statistic of each of several methods, each task counting alike.

    The tasks' models and sequences are independent of each other, so variances of their means add up, with
    Satterthwaite's degrees of freedom (1946, doi:10.2307/3002019).

    Args:
        tasks: the scores on each task, of one statistic.
        specs: of the methods asked for, which all of the tasks have.
        bounds: as in :func:`estimate`.
    """
    found = [_mean_of([task.counted[task.rows[spec]] for task in tasks]) for spec in specs]
    known = [place for place, value in enumerate(found) if not math.isnan(value.mean)]
    ends = _ends_over(tasks, [specs[place] for place in known], np.array([found[place].mean for place in known]))
    for place, low, high in zip(known, *ends.clip(*bounds).tolist(), strict=True):
        value = found[place]
        mean = value.mean
        found[place] = Estimate(mean, min(low, mean), max(high, mean), value.n, value.undefined, value.seeds)
    return found


def _mean_of(values: Sequence[Estimate]) -> Estimate:
    """Over tasks, without an interval; NaN if one of them has nothing."""
    if len(values) == 1:
        return values[0]
    mean = float(np.mean([value.mean for value in values]))
    n, undefined = sum(value.n for value in values), sum(value.undefined for value in values)
    return Estimate(mean, mean, mean, n, undefined, min(value.seeds for value in values))


def _ends_over(tasks: Sequence[Column], specs: Sequence[str], centres: Values) -> Values:
    """float64[2, K]: the ends of the 95 % intervals about float64[K] centres; those of a mean need no draws."""
    if not specs:
        return np.empty((2, 0))
    if tasks[0].statistic != "mean":
        draws = [resampled([task.clusters[spec] for spec in specs], task.stream, task.statistic) for task in tasks]
        return _ends(np.mean(draws, axis=0))
    found = combined([task.spread.of([task.rows[spec] for spec in specs]) for task in tasks])
    # of a single value no spread is known: its interval is the value, and n says on how little it rests
    reach = np.nan_to_num(found.halfwidth, nan=0.0)
    return np.array([centres - reach, centres + reach])


def resampled(several: Sequence[Clusters], stream: int, statistic: str) -> Values:
    """float64[K, RESAMPLES]: a quantile in each draw, spread as far as few models and few sequences ask for.

    The share of values up to the quantile is a mean. What its draws lack in width, the quantile's lack.

    Args:
        several: the clusters of each of K methods, as in :class:`Column`.
        stream: as in :class:`Column`.
        statistic: as in :class:`Column`; of a mean the interval is known without draws.

    Raises:
        ValueError: no value of one of them is defined.
    """
    found = np.empty((len(several), RESAMPLES))
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, clusters in enumerate(several):
        alike.setdefault(tuple(map(len, clusters)), []).append(place)
    for sizes, places in alike.items():
        rows = np.array([np.concatenate([np.empty(0), *several[place]]) for place in places])
        if np.isnan(rows).all(1).any():
            raise ValueError("there is no defined value to resample")
        found[places] = _spread_out(rows, sizes, stream, statistic)
    return found


def _spread_out(rows: Values, sizes: tuple[int, ...], stream: int, statistic: str) -> Values:
    """float64[K, RESAMPLES]: the draws of rows float64[K, Σ sizes], spread."""
    found = np.array([_statistic(row[~np.isnan(row)], statistic) for row in rows])[:, None]
    drawn = resampled_together(rows, sizes, stream, statistic)
    # where nothing drawn is defined, nothing is said of another value
    apart = np.where(np.isnan(drawn), 0.0, drawn - found)
    rated = np.where(np.isnan(rows), np.nan, rows <= found)
    low, high = (end[:, None] for end in _ends(resampled_together(rated, sizes, stream)))
    parts = np.cumsum(sizes)[:-1]
    wanted = 2 * spread(_padded([np.split(row, parts) for row in rated])).halfwidth[:, None]
    # 1 where the draws do not vary, or a single value says nothing of others
    known = np.isfinite(wanted) & (high > low)
    wider: Values = np.where(known, wanted / np.where(known, high - low, 1.0), 1.0)
    return found + wider * apart


def _padded(several: Sequence[Clusters]) -> Values:
    """float64[K, S, n]: the scores of K methods on S models; NaN where there are fewer."""
    if len({tuple(map(len, clusters)) for clusters in several}) == 1 and len(set(map(len, several[0]))) == 1:
        models, rows = len(several[0]), [values for clusters in several for values in clusters]
        return np.concatenate(rows, dtype=np.float64).reshape(len(several), models, len(rows[0]))
    models = max(map(len, several), default=0)
    sequences = max((len(values) for clusters in several for values in clusters), default=0)
    found = np.full((len(several), models, sequences), np.nan)
    for row, clusters in zip(found, several, strict=True):
        for model, values in zip(row, clusters, strict=False):
            model[: len(values)] = values
    return found


def _ends(draws: Values) -> Values:
    """float64[2, K]: the ends of the 95 % intervals of draws float64[K, R], undefined ones left out."""
    quantile = np.nanquantile if np.isnan(draws).any() else np.quantile
    found: Values = quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    return found


def interval(draws: Values) -> tuple[float, float]:
    """The 95 % percentile interval of draws float64[R]; those that are not defined are left out."""
    low, high = _ends(draws[None])[:, 0]
    return float(low), float(high)


def resampled_together(rows: Values, sizes: tuple[int, ...], stream: int = 0, statistic: str = "mean") -> Values:
    """The statistic of each of several rows, all of them over the same models and sequences in every draw.

    A sequence is drawn for every row at once, whether the row is defined there or not, so that rows can be compared
    within a draw. These are the bare draws, which are not spread.

    Args:
        rows: float64[K, N], the values of all models' sequences one model after another; NaN is undefined.
        sizes: how many sequences each model has, N in all.
        stream: as in :class:`Column`.
        statistic: as in :class:`Column`.

    Returns:
        float64[K, RESAMPLES]; NaN where nothing drawn is defined.
    """
    weights = _weights(sizes, stream)
    defined = ~np.isnan(rows)
    if defined.all():
        counts = np.broadcast_to(weights.sum(1), (len(rows), len(weights)))
    else:
        counts = defined.astype(np.float64) @ weights.T
    if statistic == "mean":
        totals = np.where(defined, rows, 0.0) @ weights.T
        means: Values = np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
        return means
    drawn, share = _counts(sizes, stream), QUANTILES[statistic]
    found = np.full(counts.shape, np.nan)
    for row, there, out in zip(rows, defined, found, strict=True):
        if there.any():
            out[:] = _weighted_quantile(row[there], drawn[:, there], share)
    found[counts == 0] = np.nan
    return found


def _statistic(values: Values, statistic: str) -> float:
    if statistic == "mean":
        return float(_means(values[None])[0])
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def _means(rows: Values) -> Values:
    """Of each row; the mean of equal values may differ from them in the last bit."""
    if not len(rows):
        return np.empty(0)
    same = (rows == rows[:, :1]).all(1)
    found: Values = np.where(same, rows[:, 0], rows.mean(1))
    return found


def _weighted_quantile(values: Values, drawn: Counts, share: float) -> Values:
    """float64[R]: the quantile of values float64[n], each as often as the draws uint16[R, n] say."""
    order = values.argsort(kind="stable")
    reached = drawn[:, order].cumsum(axis=1, dtype=np.int32)
    found: Values = values[order][(reached >= share * reached[:, -1:]).argmax(axis=1)]
    return found


@lru_cache(maxsize=4)
def _weights(sizes: tuple[int, ...], stream: int) -> Values:
    """The same as :func:`_counts` in float64, of which products are made."""
    return _counts(sizes, stream).astype(np.float64)


@lru_cache(maxsize=4)
def _counts(sizes: tuple[int, ...], stream: int) -> Counts:
    """uint16[RESAMPLES, Σ sizes]: how often each sequence of each model is drawn, in each draw."""
    models = _drawn(stream, 0, len(sizes))
    sequences = _drawn(stream, 1, max(sizes))
    return np.concatenate([models[:, [place]] * sequences[:, :size] for place, size in enumerate(sizes)], axis=1)


def _drawn(stream: int, axis: int, size: int) -> Counts:
    """uint16[RESAMPLES, size]: how often each of so many is drawn, in each draw."""
    drawn = np.random.default_rng((stream, axis, size)).integers(0, size, size=(RESAMPLES, size))
    drawn += np.arange(RESAMPLES)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.uint16)
