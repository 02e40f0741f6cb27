"""How far a mean over models and sequences may be off, for few models and few sequences.

Every model of a task explains the same sequences, so scores are crossed: score = mean + model + sequence + rest, each a
random effect (Searle, Casella & McCulloch, Variance Components, 1992, §4.7). A mean over S models and n sequences has
the variance (MS_model + MS_sequence − MS_rest) / Sn, estimated from the mean squares. Three models say little of
others, and the estimate is as unsure as that: its degrees of freedom are the smaller of Satterthwaite's
(doi:10.2307/3002019) and of those that give, at 95 %, the width of a modified large-sample interval (Graybill & Wang,
doi:10.1080/01621459.1980.10477565), which takes Student's t of each component by itself. The first alone covers too
little where models and sequences matter alike, the second alone where both hardly do.

Models that explain sequences of their own are the case in which the same place in two models has nothing in common:
the mean squares see that, and the formula holds. Undefined values leave gaps; sums of squares are then the usual ones
of unbalanced tables, which agree with the above where nothing is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

LEVEL = 0.95
# Beyond so many, Student's t is the normal distribution to four digits.
_MANY = 1e6
# A mean so many times its standard error is one of equal values, but for rounding.
_SAME = 1e10
# Of fewer methods nothing is said of pairs in general.
_FEW = 4


@dataclass(frozen=True, eq=False)
class Spread:
    """What is known of K means.

    Attributes:
        mean: float64[K]; NaN where nothing is defined.
        variance: float64[K], of the mean; NaN where a single value is defined, of which none can be told.
        freedom: float64[K], the degrees of freedom of the variance.
        sequences: float64[K], how many sequences have a value.
    """

    mean: Values
    variance: Values
    freedom: Values
    sequences: Values

    def of(self, places: Sequence[int]) -> Spread:
        """Of some of the means."""
        return Spread(*(each[places] for each in (self.mean, self.variance, self.freedom, self.sequences)))

    @property
    def halfwidth(self) -> Values:
        """float64[K]: half the width of the 95 % interval by Student's t."""
        found: Values = special.stdtrit(self.freedom, (1 + LEVEL) / 2) * np.sqrt(self.variance)
        return found

    @property
    def p(self) -> Values:
        """float64[K]: two-sided p-value of a mean of 0; 1 where nothing can be told.

        Values that are all the same have no variance to test with; that they have one sign is then all there is, and
        the sign test of the sequences says how likely that is by chance.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.mean == 0, 0.0, np.abs(self.mean) / np.sqrt(self.variance))
        found: Values = np.where(np.isnan(t), 1.0, 2 * special.stdtr(self.freedom, -np.where(np.isnan(t), 0.0, t)))
        return np.where(np.isinf(t), np.exp2(1 - np.maximum(self.sequences, 1)), found)


@dataclass(frozen=True, eq=False)
class Components:
    """What the variances of K means are made of, each float64[K].

    Attributes:
        mean: the means.
        models, sequences, noise: parts of a mean's variance, by mean squares; NaN where there is one model, or one
            sequence.
        freedoms: float64[3, K], the degrees of freedom of each.
        levels: how many sequences have a value.
    """

    mean: Values
    models: Values
    sequences: Values
    noise: Values
    freedoms: Values
    levels: Values

    @classmethod
    def of(cls, values: Values) -> Components:
        """Of scores float64[K, S, n]; see :func:`spread`."""
        there = ~np.isnan(values)
        whole = bool(there.all())  # mostly; then nothing has to be left out, and nothing to be counted

        def kept(numbers: Values) -> Values:
            return numbers if whole else np.where(there, numbers, 0.0)

        def counted(axis: int) -> Values:
            shape = len(values), values.shape[3 - axis]
            found: Values = np.full(shape, values.shape[axis]) if whole else there.sum(axis)
            return found

        count = counted(2).sum(1).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = kept(values).sum((1, 2)) / count
            rest = kept(values - mean[:, None, None])
            models = _component(rest.sum(2), counted(2))
            sequences = _component(rest.sum(1), counted(1))
            freedom = count - models.levels - sequences.levels + 1
            squares = np.maximum(np.square(rest).sum((1, 2)) - models.squares - sequences.squares, 0.0)
            noise = np.where(freedom > 0, squares / freedom / count, 0.0)
            freedoms = np.array([models.levels - 1, sequences.levels - 1, freedom])
            return cls(mean, models.total / count**2, sequences.total / count**2, noise, freedoms, sequences.levels)

    def spread(self) -> Spread:
        """Each by itself."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variance, known = _combined(self.models, self.sequences, self.noise)
            found = _freedom(variance, known, self.freedoms)
        variance = np.where(np.sqrt(variance) * _SAME < np.abs(self.mean), 0.0, variance)
        return Spread(self.mean, variance, found, self.levels)

    def of_pairs(self, methods: int) -> Spread:
        """As differences of every two of so many methods: what models bring is taken to be no less than usual.

        Of many pairs on few models, some have models that agree by chance, and would be told apart for it. So what the
        models bring to a pair is raised to what they bring to pairs in general, the median of all over that of χ²/df,
        which a few unruly methods do not move. The median of the dependent pairs is worth about half of the M − 1
        differences that are independent: its degrees of freedom are half as many, times those of a pair.
        """
        free = self.freedoms[0]
        known = np.isfinite(self.models) & (free > 0)
        if methods < _FEW or not known.any():
            return self.spread()
        scaled = self.models[known] * free[known] / _of_each(lambda free: special.chdtri(free, 0.5), free[known])
        usual = float(np.median(scaled))
        raised = known & (self.models < usual)
        freedoms = np.array([np.where(raised, free * (methods - 1) / 2, free), *self.freedoms[1:]])
        return replace(self, models=np.where(raised, usual, self.models), freedoms=freedoms).spread()


def joined(parts: Sequence[Components]) -> Components:
    """Those of several calls as those of one."""
    return Components(
        **{
            each.name: np.concatenate([getattr(part, each.name) for part in parts], axis=-1)
            for each in fields(Components)
        }
    )


def spread(values: Values) -> Spread:
    """How far means may be off.

    Args:
        values: float64[K, S, n], the scores of n sequences on each of S models; NaN is undefined.
    """
    return Components.of(values).spread()


def combined(spreads: Sequence[Spread]) -> Spread:
    """The means over tasks that have nothing in common, each counting alike.

    Args:
        spreads: of the same K means on each task.
    """
    if len(spreads) == 1:
        return spreads[0]
    variances = np.array([each.variance for each in spreads])
    unsure = (np.square(variances) / np.array([each.freedom for each in spreads])).sum(0)
    total = variances.sum(0)
    known = unsure > 0
    freedom = np.where(known, np.square(total) / np.where(known, unsure, 1.0), _MANY)
    mean = np.mean([each.mean for each in spreads], axis=0)
    sequences = np.sum([each.sequences for each in spreads], axis=0)
    return Spread(mean, total / len(spreads) ** 2, np.clip(freedom, 1.0, _MANY), sequences)


@dataclass(frozen=True, eq=False)
class _Component:
    """Of the models or of the sequences: float64[K] how many, their sum of squares, and it for the mean's variance."""

    levels: Values
    squares: Values
    total: Values


def _component(sums: Values, counts: Values) -> _Component:
    """Of deviations summed for each level float64[K, L], of so many values each."""
    levels = (counts > 0).sum(1).astype(np.float64)
    squares = np.divide(np.square(sums), counts, out=np.zeros(sums.shape), where=counts > 0).sum(1)
    return _Component(levels, squares, np.square(sums).sum(1) * levels / (levels - 1))


def _combined(models: Values, sequences: Values, noise: Values) -> tuple[Values, tuple[Values, Values, Values]]:
    """The variance of the mean from its parts; where there is one model or one sequence, the other part is all."""
    alone = ~np.isfinite(models) | ~np.isfinite(sequences)
    noise = np.where(alone, 0.0, noise)
    both = np.maximum.reduce([models + sequences - noise, models, sequences])
    single = np.where(np.isfinite(models), models, np.where(np.isfinite(sequences), sequences, np.nan))
    parts = tuple(np.where(np.isfinite(part), part, 0.0) for part in (models, sequences))
    return np.where(alone, single, both), (parts[0], parts[1], noise)


def _freedom(variance: Values, parts: tuple[Values, Values, Values], freedoms: Values) -> Values:
    models, sequences, noise = parts
    unsure = sum(
        np.where(part > 0, np.square(part) / np.maximum(free, 1), 0.0)
        for part, free in zip(parts, freedoms, strict=True)
    )
    satterthwaite = np.square(variance) / unsure
    wide = np.square(_student(freedoms[0])) * np.maximum(models - noise, 0.0)
    wide = wide + np.square(_student(freedoms[1])) * sequences
    found = np.fmin(satterthwaite, np.interp(-np.sqrt(wide / variance), *_table()))
    return np.clip(np.where(np.isnan(found), 1.0, found), 1.0, _MANY)


def _student(freedom: Values) -> Values:
    return _of_each(lambda free: special.stdtrit(free, (1 + LEVEL) / 2), np.maximum(freedom, 1.0))


def _of_each(function: Callable[[Values], Values], values: Values) -> Values:
    """What a dear function says of float64[K] among which few differ."""
    different, place = np.unique(values, return_inverse=True)
    return function(different)[place]


@lru_cache(maxsize=1)
def _table() -> tuple[Values, Values]:
    """−t at 95 % and the degrees of freedom that have it, both rising."""
    freedom = np.geomspace(1.0, _MANY, 4000)
    return -_student(freedom), freedom
