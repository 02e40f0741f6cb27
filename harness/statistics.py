"""Means with honest intervals: what would another set of models, judged on other sequences, have given?

Sequences explained on one model are not independent of each other, so whole models are drawn first and sequences
within each drawn model after that (Davison & Hinkley, Bootstrap Methods and their Application, 1997, §3.8, strategy 1
followed by resampling within). With a single model only sequences can be drawn, and the number of models says so.

A drawn mean is a weighted sum, and the weights do not depend on the values: they are made once for each number of
sequences, from a fixed seed, and every entry of a table uses them again. The same cells therefore give the same
interval on every run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
    Counts: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]

RESAMPLES = 2000
LEVEL = 0.95
QUANTILES = {"median": 0.5, "p95": 0.95}


@dataclass(frozen=True)
class Estimate:
    """A mean, or another statistic, with its interval.

    Attributes:
        mean: the statistic of all defined values; NaN if there are none.
        low, high: 95 % percentile bootstrap interval.
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


def estimate(clusters: Sequence[Values], stream: int = 0, statistic: str = "mean") -> Estimate:
    """A statistic of values that come in clusters, with its clustered bootstrap interval.

    Args:
        clusters: float64[n] for each model; NaN marks an undefined value.
        stream: which stream of random numbers; estimates of one stream are drawn together, those of two apart.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
    """
    defined = _defined(clusters)
    n = sum(map(len, defined))
    undefined = sum(map(len, clusters)) - n
    if not defined:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, undefined, 0)
    low, high = interval(resampled(clusters, stream, statistic))
    values = np.concatenate(defined)
    found = values.mean() if statistic == "mean" else np.quantile(values, QUANTILES[statistic], method="inverted_cdf")
    return Estimate(float(found), low, high, n, undefined, len(defined))


def resampled(clusters: Sequence[Values], stream: int = 0, statistic: str = "mean") -> Values:
    """float64[RESAMPLES]: the statistic in each of the bootstrap's draws of models, and of sequences within them.

    Raises:
        ValueError: no value is defined.
    """
    return resampled_means(clusters, stream) if statistic == "mean" else _quantiles(clusters, stream, statistic)


def interval(means: Values) -> tuple[float, float]:
    """The 95 % percentile interval of resampled means float64[R]."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled_means(clusters: Sequence[Values], stream: int = 0) -> Values:
    """float64[RESAMPLES]: the mean in each of the bootstrap's draws of models, and of sequences within them.

    Raises:
        ValueError: no value is defined.
    """
    defined = _defined(clusters)
    if not defined:
        raise ValueError("there is no defined value to resample")
    if all((values == defined[0][0]).all() for values in defined):
        return np.full(RESAMPLES, defined[0][0])
    weights, totals = _draws(tuple(map(len, defined)), stream)
    means: Values = weights @ np.concatenate(defined) / totals
    return means


def resampled_together(rows: Values, sizes: tuple[int, ...], stream: int = 0, statistic: str = "mean") -> Values:
    """The statistic of each of several rows, all of them over the same sequences in every draw.

    :func:`resampled` draws from the defined values alone; where all are defined the two draw the same. Here a
    sequence is drawn for every row at once, whether the row is defined there or not, so that rows can be compared
    within a draw.

    Args:
        rows: float64[K, N], the values of all models' sequences one model after another; NaN is undefined.
        sizes: how many sequences each model has, N in all.
        stream: as in :func:`estimate`.
        statistic: as in :func:`estimate`.

    Returns:
        float64[K, RESAMPLES]; NaN where nothing drawn is defined.
    """
    weights, _ = _draws(sizes, stream)
    defined = ~np.isnan(rows)
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


def _quantiles(clusters: Sequence[Values], stream: int, statistic: str) -> Values:
    """The quantile in each draw: where the draws' weights, cumulated over the sorted values, pass its share."""
    defined = _defined(clusters)
    if not defined:
        raise ValueError("there is no defined value to resample")
    drawn = _counts(tuple(map(len, defined)), stream)
    return _weighted_quantile(np.concatenate(defined), drawn, QUANTILES[statistic])


def _weighted_quantile(values: Values, drawn: Counts, share: float) -> Values:
    """float64[R]: the quantile of values float64[n], each as often as the draws uint16[R, n] say."""
    order = values.argsort(kind="stable")
    reached = drawn[:, order].cumsum(axis=1, dtype=np.int32)
    found: Values = values[order][(reached >= share * reached[:, -1:]).argmax(axis=1)]
    return found


@lru_cache(maxsize=4)
def _draws(sizes: tuple[int, ...], stream: int) -> tuple[Values, Values]:
    """The same as :func:`_counts` in float64, of which products are made, and float64[RESAMPLES], its sums."""
    weights = _counts(sizes, stream).astype(np.float64)
    return weights, weights.sum(1)


@lru_cache(maxsize=4)
def _counts(sizes: tuple[int, ...], stream: int) -> Counts:
    """uint16[RESAMPLES, Σ sizes]: how often each value of each model is drawn, in each draw."""
    count = len(sizes)
    chosen = np.random.default_rng((stream, count)).integers(0, count, size=(count, RESAMPLES))
    counts = np.zeros((RESAMPLES, sum(sizes)), dtype=np.uint16)
    parts = np.split(counts, np.cumsum(sizes)[:-1], axis=1)
    for slot in range(count):
        for place, (part, size) in enumerate(zip(parts, sizes, strict=True)):
            # a model drawn in two slots has its sequences drawn anew in each
            rows = np.flatnonzero(chosen[slot] == place)
            part[rows] += _weights(stream, slot, size)[rows]
    return counts


@lru_cache(maxsize=32)
def _weights(stream: int, slot: int, size: int) -> Counts:
    """uint16[RESAMPLES, size]: how often each of the values is drawn, in each draw."""
    drawn = np.random.default_rng((stream, slot, size)).integers(0, size, size=(RESAMPLES, size))
    drawn += np.arange(RESAMPLES)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.uint16)


def _defined(clusters: Sequence[Values]) -> list[Values]:
    found = [np.asarray(values, dtype=np.float64) for values in clusters]
    found = [values[~np.isnan(values)] for values in found]
    return [values for values in found if len(values)]
