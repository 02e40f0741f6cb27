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
    count = len(defined)
    chosen = np.random.default_rng((stream, count)).integers(0, count, size=(count, RESAMPLES))
    sizes = np.array([len(values) for values in defined])
    totals = np.zeros(RESAMPLES)
    for slot in range(count):
        # a model drawn in two slots has its sequences drawn anew in each
        sums = np.stack([_weights(stream, slot, len(values)) @ values for values in defined])
        totals += np.take_along_axis(sums, chosen[None, slot], axis=0)[0]
    means: Values = totals / sizes[chosen].sum(0)
    return means


def _quantiles(clusters: Sequence[Values], stream: int, statistic: str) -> Values:
    """The quantile in each draw: where the draws' weights, cumulated over the sorted values, pass its share."""
    defined = _defined(clusters)
    if not defined:
        raise ValueError("there is no defined value to resample")
    count = len(defined)
    chosen = np.random.default_rng((stream, count)).integers(0, count, size=(count, RESAMPLES))
    weights = np.concatenate(
        [
            sum(_weights(stream, slot, len(values)) * (chosen[slot] == place)[:, None] for slot in range(count))
            for place, values in enumerate(defined)
        ],
        axis=1,
    )
    values = np.concatenate(defined)
    order = values.argsort(kind="stable")
    reached = weights[:, order].cumsum(axis=1)
    found: Values = values[order][(reached >= QUANTILES[statistic] * reached[:, -1:]).argmax(axis=1)]
    return found


@lru_cache(maxsize=32)
def _weights(stream: int, slot: int, size: int) -> Values:
    """float64[RESAMPLES, size]: how often each of the values is drawn, in each draw."""
    drawn = np.random.default_rng((stream, slot, size)).integers(0, size, size=(RESAMPLES, size))
    drawn += np.arange(RESAMPLES)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * size).reshape(RESAMPLES, size).astype(np.float64)


def _defined(clusters: Sequence[Values]) -> list[Values]:
    found = [np.asarray(values, dtype=np.float64) for values in clusters]
    found = [values[~np.isnan(values)] for values in found]
    return [values for values in found if len(values)]
