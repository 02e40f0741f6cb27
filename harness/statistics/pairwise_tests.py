"""Paired tests of every two methods under one metric, corrected for their number, and the ranks they do not exclude.

Two methods are compared by the differences of their scores on the same sequences of the same models, so that what makes
a sequence or a model hard for both drops out. The hypothesis that the mean difference is 0 is tested as in
:mod:`xrnnbench.harness.statistics.variance_components`. Few models underestimate the variance between models of some
pairs, so a pair whose variance is below the median of all pairs gets the median. All pairs of one metric on one task
are tested together. Holm's correction (1979, jstor.org/stable/4615733) keeps the probability of a single false claim
among them below 5 %.

A rank range is the set of ranks that these tests do not rule out: of k methods, one that is significantly worse than b
others and significantly better than w others has a rank between 1 + b and k − w. Controls are not counted: they are
there to be compared with, not to win.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .variance_components import Values, VarianceComponents, concatenated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Indices = np.ndarray[Any, np.dtype[np.intp]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

ALPHA = 0.05
# The number of differences held in memory at once.
_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class PairwiseTests:
    """Paired tests of every two methods under one metric on one task.

    Attributes:
        specs: specs of the M methods that were compared.
        difference: float64[M, M], the mean of the row's scores minus the column's, over the scores both have.
        p: float64[M, M], two-sided p-values with Holm's correction; 1 on the diagonal, and where nothing can be tested.
    """

    specs: tuple[str, ...]
    difference: Values
    p: Values

    def significant(self, sign: int) -> Flags:
        """Whether the method of the row is significantly better than that of the column, bool[M, M].

        Args:
            sign: 1 if a higher score is better, −1 if a lower one is.
        """
        better: Flags = (self.p < ALPHA) & (sign * self.difference > 0)
        return better

    def differ(self, one: str, other: str) -> bool:
        """Whether two methods differ significantly."""
        return bool(self.p[self.specs.index(one), self.specs.index(other)] < ALPHA)

    def rank_ranges(self, sign: int, among: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the first and the last rank that the tests do not rule out, by spec of the method.

        Args:
            sign: as in :meth:`significant`.
            among: specs of the methods that are ranked.
        """
        ranked = [index for index, spec in enumerate(self.specs) if spec in among]
        better = self.significant(sign)[np.ix_(ranked, ranked)]
        first, last = 1 + better.sum(0), len(ranked) - better.sum(1)
        return {self.specs[index]: (int(first[row]), int(last[row])) for row, index in enumerate(ranked)}


def pairwise_tests(scores: Mapping[str, Mapping[int, Values]]) -> PairwiseTests:
    """Test every two methods for a mean difference.

    Args:
        scores: by spec of the method, float64[n] for each model seed; NaN is undefined. All methods of a seed have
            the same sequences in the same order.
    """
    specs = tuple(scores)
    values = _aligned(list(scores.values()))
    one, other = _pairs(len(specs))
    size = max(1, _VALUES // max(1, values[0].size)) if specs else 1
    starts = range(0, max(1, len(one)), size)
    parts = [
        VarianceComponents.from_scores(values[one[start : start + size]] - values[other[start : start + size]])
        for start in starts
    ]
    estimate = concatenated(parts).moderated(len(specs))
    difference, p = np.zeros((len(specs),) * 2), np.ones((len(specs),) * 2)
    difference[one, other], difference[other, one] = estimate.mean, -estimate.mean
    p[one, other] = p[other, one] = holm(estimate.p)
    return PairwiseTests(specs, difference, p)


def holm(p: Values) -> Values:
    """Return Holm's adjusted p-values of float64[K]: the smallest level at which each of the K tests is rejected."""
    order = p.argsort(kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple[Indices, Indices]:
    """Return the indices of the first and of the second of every two of ``count`` methods."""
    one, other = np.triu_indices(count, 1)
    return one, other


def _aligned(scores: Sequence[Mapping[int, Values]]) -> Values:
    """Return the scores float64[M, S, n], methods by models by sequences; NaN where a method has none."""
    sizes = {seed: len(row) for by_seed in scores for seed, row in by_seed.items()}
    columns = {seed: column for column, seed in enumerate(sorted(sizes))}
    values = np.full((len(scores), len(columns), max(sizes.values(), default=0)), np.nan)
    for method, by_seed in enumerate(scores):
        for seed, row in by_seed.items():
            values[method, columns[seed], : len(row)] = row
    return values
