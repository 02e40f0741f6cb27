"""What chance has a say in: sequences, each by itself, unless a method draws once for all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..statistics.estimates import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Scores
    from .match_cells import Pair


def by_sequence(pairs: Sequence[Pair], rows: Sequence[Scores]) -> Scores:
    """float64[n]: the mean of each sequence's values over all seeds; where models have other data, each has its own.

    Models are the same in run and baseline, so it is sequences the inference is over, and those of several models are
    one sequence if their data are the same.

    Args:
        pairs: the cells.
        rows: float64[B] of each; NaN is left out.
    """
    groups: dict[tuple[str, int], list[Scores]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        groups.setdefault((pair.cells[0].fingerprints.data, len(row)), []).append(row)
    return np.concatenate([_mean_of_defined(np.stack(group)) for group in groups.values()])


def by_draw(pairs: Sequence[Pair], rows: Sequence[Scores]) -> Scores:
    """float64[n]: one value for each thing chance has a say in by itself: a sequence, or an explainer seed.

    A method that draws random numbers and does not explain each sequence on its own has drawn once for all of them:
    its scores rise and fall together, and a hundred sequences say no more than one.
    """
    facts = pairs[0].key.method.facts
    if (facts.get("stochastic"), facts.get("local")) != ("True", "False"):
        return by_sequence(pairs, rows)
    seeds: dict[int, list[Scores]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        seeds.setdefault(pair.key.explainer_seed, []).append(row)
    return _mean_of_defined(np.array([[mean(np.concatenate(found)) for found in seeds.values()]]))


def summary(pairs: Sequence[Pair], rows: Sequence[Scores], statistic: str) -> float:
    """What a board shows of a metric: the mean over sequences, or a quantile of all values."""
    if statistic == "mean":
        return float(by_sequence(pairs, rows).mean())
    values = np.concatenate([row[~np.isnan(row)] for row in rows])
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def mean(values: Scores) -> float:
    """Of what is defined; NaN if nothing is."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def single(values: Scores) -> Scores:
    """As an archive keeps them, so that a run and its own archive do not differ; what is too large for it as it is."""
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    found: Scores = np.where(np.isinf(rounded), values, rounded)
    return found


def _mean_of_defined(rows: Scores) -> Scores:
    """float64[≤ n]: the mean of every column that has one."""
    defined = ~np.isnan(rows)
    there = defined.any(0)
    found: Scores = np.where(defined, rows, 0.0).sum(0)[there] / defined.sum(0)[there]
    return found
