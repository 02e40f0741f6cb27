"""Which methods a metric tells apart: paired tests of every two, corrected for their number, and the places left open.

Two methods are compared by the differences of their scores on the same sequences of the same models, so that what makes
a sequence or a model hard for both drops out. Whether the mean difference may be 0 is asked as in
:mod:`xrnnbench.harness.statistics.variance_components`, what models bring to a pair being taken to be no less than what
they bring to most. All pairs of a table's column are tested together; Holm's correction (1979,
jstor.org/stable/4615733) keeps the chance of a single false claim among them below 5 %.

A place is what such a column leaves open: of k methods, one that b are surely better than and w surely worse has a
place between 1 + b and k − w. Controls are not counted: they are there to be compared with, not to win.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .variance_components import Components, Values, joined

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Places = np.ndarray[Any, np.dtype[np.intp]]
    Flags = np.ndarray[Any, np.dtype[np.bool_]]

ALPHA = 0.05
# Differences held at once.
_VALUES = 2**22


@dataclass(frozen=True, eq=False)
class Separation:
    """What paired tests say of every two methods of one column.

    Attributes:
        specs: of the methods that were compared.
        difference: float64[M, M], the mean of the row's scores less the column's, on what both are scored on.
        p: float64[M, M], Holm's p-values, two-sided; 1 on the diagonal, and where nothing can be told.
    """

    specs: tuple[str, ...]
    difference: Values
    p: Values

    def surely(self, sign: int) -> Flags:
        """bool[M, M]: whether the row is better than the column, if a higher score (1) or a lower one (−1) is."""
        found: Flags = (self.p < ALPHA) & (sign * self.difference > 0)
        return found

    def separable(self, one: str, other: str) -> bool:
        """Whether the two are told apart."""
        return bool(self.p[self.specs.index(one), self.specs.index(other)] < ALPHA)

    def places(self, sign: int, among: Sequence[str]) -> dict[str, tuple[int, int]]:
        """The first and the last place that is left to each method.

        Args:
            sign: as in :meth:`surely`.
            among: specs of the methods that count.
        """
        chosen = [place for place, spec in enumerate(self.specs) if spec in among]
        ahead = self.surely(sign)[np.ix_(chosen, chosen)]
        first, last = 1 + ahead.sum(0), len(chosen) - ahead.sum(1)
        return {self.specs[place]: (int(first[row]), int(last[row])) for row, place in enumerate(chosen)}


def separate(scores: Mapping[str, Mapping[int, Values]]) -> Separation:
    """Test every two methods.

    Args:
        scores: by spec of the method, float64[n] for each model seed; NaN is undefined. All methods of a seed were
            asked about the same sequences.
    """
    specs = tuple(scores)
    values = _aligned(list(scores.values()))
    one, other = _pairs(len(specs))
    size = max(1, _VALUES // max(1, values[0].size)) if specs else 1
    starts = range(0, max(1, len(one)), size)
    parts = [Components.of(values[one[start : start + size]] - values[other[start : start + size]]) for start in starts]
    found = joined(parts).of_pairs(len(specs))
    difference, p = np.zeros((len(specs),) * 2), np.ones((len(specs),) * 2)
    difference[one, other], difference[other, one] = found.mean, -found.mean
    p[one, other] = p[other, one] = holm(found.p)
    return Separation(specs, difference, p)


def holm(p: Values) -> Values:
    """Holm's p-values of p-values float64[K]: the smallest level at which each is rejected among all."""
    order = p.argsort(kind="stable")
    found = np.empty(len(p))
    found[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return found


@lru_cache(maxsize=64)
def _pairs(count: int) -> tuple[Places, Places]:
    """Of every two of so many, where the one is and where the other."""
    one, other = np.triu_indices(count, 1)
    return one, other


def _aligned(scores: Sequence[Mapping[int, Values]]) -> Values:
    """float64[M, S, n]: methods by models by sequences; NaN where a method has none."""
    sizes = {seed: len(row) for found in scores for seed, row in found.items()}
    seeds = {seed: place for place, seed in enumerate(sorted(sizes))}
    values = np.full((len(scores), len(seeds), max(sizes.values(), default=0)), np.nan)
    for method, found in enumerate(scores):
        for seed, row in found.items():
            values[method, seeds[seed], : len(row)] = row
    return values
