"""Independent units of the significance tests: one value per sequence, or per explainer seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..statistics.estimates import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Scores
    from .match_cells import CellPair

    # Scores of the sequences of each cell.
    Rows: TypeAlias = Scores | Sequence[Scores]


def mean_by_sequence(pairs: Sequence[CellPair], rows: Rows) -> Scores:
    """Mean of each sequence's values over all seeds, float64[n]; sequences without a defined value are left out.

    The models of run and baseline are the same, so the tests generalise over sequences. Models with the same data share
    their sequences; models with other data add sequences.

    Args:
        pairs: the cells.
        rows: float64[B] of each cell, as one array if all have the same length; NaN is left out.
    """
    if isinstance(rows, np.ndarray) and len({pair.cells[0].fingerprints.data for pair in pairs}) == 1:
        return _column_means(rows)
    groups: dict[tuple[str, int], list[Scores]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        groups.setdefault((pair.cells[0].fingerprints.data, len(row)), []).append(row)
    return np.concatenate([_column_means(np.stack(group)) for group in groups.values()])


def mean_by_unit(pairs: Sequence[CellPair], rows: Rows) -> Scores:
    """Mean of the values of each independent unit, float64[n]: of a sequence, or of an explainer seed.

    The unit is the explainer seed for a method that draws random numbers and does not explain each sequence on its own.
    One draw then serves all sequences and their scores rise and fall together, so they count as one unit.

    Args:
        pairs: the cells.
        rows: float64[B] of each cell; NaN is left out.
    """
    if not draws_for_all(pairs):
        return mean_by_sequence(pairs, rows)
    seeds: dict[int, list[Scores]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        seeds.setdefault(pair.key.explainer_seed, []).append(row)
    return _column_means(np.array([[mean_of_defined(np.concatenate(values)) for values in seeds.values()]]))


def draws_for_all(pairs: Sequence[CellPair]) -> bool:
    """Whether the method of the cells draws random numbers that serve all sequences together."""
    facts = pairs[0].key.method.facts
    return (facts.get("stochastic"), facts.get("local")) == ("True", "False")


def board_statistic(pairs: Sequence[CellPair], rows: Rows, statistic: str) -> float:
    """Statistic that a board shows for a metric: the mean over sequences, or a quantile of all values."""
    if statistic == "mean":
        return float(mean_by_sequence(pairs, rows).mean())
    values = np.concatenate([row[~np.isnan(row)] for row in rows])
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def rows_together(rows: Sequence[Scores]) -> Rows:
    """Rows as one array float64[S, B] if all have the same length, which is faster; else as they are."""
    return np.array(rows) if len({len(row) for row in rows}) == 1 else rows


def mean_of_defined(values: Scores) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan


def single_precision(values: Scores) -> Scores:
    """Values rounded to single precision; values too large for it are unchanged.

    Archives store single precision, so that a run does not differ from its own archive.
    """
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32).astype(np.float64)
    result: Scores = np.where(np.isinf(rounded), values, rounded)
    return result


def _column_means(rows: Scores) -> Scores:
    """Means float64[≤ n] of the columns that have a value that is not NaN."""
    defined = ~np.isnan(rows)
    columns = defined.any(0)
    means: Scores = np.where(defined, rows, 0.0).sum(0)[columns] / defined.sum(0)[columns]
    return means
