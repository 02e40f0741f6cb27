"""Means with honest intervals: what would another set of models, judged on other sequences, have given?

Sequences explained on one model are not independent of each other, nor are the scores of one sequence on several
models. So models are drawn, and sequences, and every drawn sequence counts on every drawn model (Owen, The pigeonhole
bootstrap, 2007, doi:10.1214/07-AOAS122). With a single model only sequences can be drawn, and the number of models says
so.

The percentiles of a bootstrap of three models cover too little: three models cannot be drawn in many ways. So the
draws are spread about the mean until they are as wide at 95 % as Student's t of the variance of
:mod:`xrnnbench.harness.spread`; what remains of the bootstrap is the shape of the interval. Simulated with three models
and more, intervals of 95 % cover 94 to 99 % (``tests/harness/test_statistics.py``, docs/statistics.md).

A drawn mean is a weighted sum, and the weights do not depend on the values: they are made once for each number of
sequences, from a fixed seed, and every entry of a table uses them again. The same cells therefore give the same
interval on every run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .spread import LEVEL, spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
    Counts: TypeAlias = np.ndarray[Any, np.dtype[np.uint16]]

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


def estimate(
    clusters: Sequence[Values], stream: int = 0, statistic: str = "mean", bounds: tuple[float, float] = UNBOUNDED
) -> Estimate:
    """A statistic of the scores on several models, with its interval.

    Args:
        clusters: float64[n] for each model, the same sequences in the same order; NaN marks an undefined value.
        stream: which stream of random numbers; estimates of one stream are drawn together, those of two apart.
        statistic: ``"mean"``, ``"median"`` or ``"p95"``.
        bounds: between which the values can be; so are the ends of the interval.
    """
    defined = [values[~np.isnan(values)] for values in clusters]
    n = sum(map(len, defined))
    undefined = sum(map(len, clusters)) - n
    if not n:
        return Estimate(float("nan"), float("nan"), float("nan"), 0, undefined, 0)
    low, high = interval(resampled(clusters, stream, statistic, bounds))
    found = _statistic(np.concatenate(defined), statistic)
    return Estimate(found, min(low, found), max(high, found), n, undefined, sum(map(bool, map(len, defined))))


def resampled(
    clusters: Sequence[Values], stream: int = 0, statistic: str = "mean", bounds: tuple[float, float] = UNBOUNDED
) -> Values:
    """float64[RESAMPLES]: the statistic in each draw, spread as far as few models and few sequences ask for.

    Args:
        clusters: as in :func:`estimate`.
        stream: as in :func:`estimate`.
        statistic: as in :func:`estimate`.
        bounds: as in :func:`estimate`; a draw spread beyond them is drawn back.

    Raises:
        ValueError: no value is defined.
    """
    row = np.concatenate([np.empty(0), *clusters])
    known = row[~np.isnan(row)]
    if not len(known):
        raise ValueError("there is no defined value to resample")
    found = _statistic(known, statistic)
    if (known == known[0]).all():
        return np.full(RESAMPLES, found)
    sizes = tuple(map(len, clusters))
    drawn = resampled_together(row[None], sizes, stream, statistic)[0]
    # where nothing drawn is defined, nothing is said of another mean
    drawn = np.where(np.isnan(drawn), found, drawn)
    # of a quantile, the share of values up to it is a mean: what that lacks in width, the quantile lacks
    rated = row if statistic == "mean" else np.where(np.isnan(row), np.nan, row <= found)
    spread_out: Values = found + _widening(rated, sizes, stream) * (drawn - found)
    return spread_out.clip(*bounds)


def interval(draws: Values) -> tuple[float, float]:
    """The 95 % percentile interval of draws float64[R]; those that are not defined are left out."""
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resampled_together(rows: Values, sizes: tuple[int, ...], stream: int = 0, statistic: str = "mean") -> Values:
    """The statistic of each of several rows, all of them over the same models and sequences in every draw.

    A sequence is drawn for every row at once, whether the row is defined there or not, so that rows can be compared
    within a draw. These are the bare draws, which are not spread.

    Args:
        rows: float64[K, N], the values of all models' sequences one model after another; NaN is undefined.
        sizes: how many sequences each model has, N in all.
        stream: as in :func:`estimate`.
        statistic: as in :func:`estimate`.

    Returns:
        float64[K, RESAMPLES]; NaN where nothing drawn is defined.
    """
    weights = _weights(sizes, stream)
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


def _statistic(values: Values, statistic: str) -> float:
    if (values == values[0]).all():  # the mean of equal values may differ from them in the last bit
        return float(values[0])
    if statistic == "mean":
        return float(values.mean())
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def _widening(row: Values, sizes: tuple[int, ...], stream: int) -> float:
    """By how much the draws of a mean are to be spread; 1 where a single value says nothing of it.

    Args:
        row: float64[Σ sizes]; NaN is undefined.
        sizes: how many sequences each model has.
        stream: of random numbers.
    """
    padded = np.full((1, len(sizes), max(sizes)), np.nan)
    for place, part in enumerate(np.split(row, np.cumsum(sizes)[:-1])):
        padded[0, place, : len(part)] = part
    wanted = float(spread(padded).halfwidth[0])
    low, high = interval(resampled_together(row[None], sizes, stream)[0])
    return 2 * wanted / (high - low) if high > low and np.isfinite(wanted) else 1.0


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
