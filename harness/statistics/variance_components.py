"""Variance of a mean over models and sequences, from variance components, for few models and few sequences.

Every model of a task explains the same sequences, so scores are crossed: score = mean + model + sequence + residual,
each a random effect (Searle, Casella & McCulloch, Variance Components, 1992, §4.7). A mean over S models and n
sequences has the variance (MS_model + MS_sequence − MS_residual) / Sn, estimated from the mean squares. Few models make
this estimate uncertain, and its degrees of freedom express that. They are the smaller of two numbers: Satterthwaite's
(doi:10.2307/3002019), and those that give, at 95 %, the width of a modified large-sample interval (Graybill & Wang,
doi:10.1080/01621459.1980.10477565), which applies Student's t to each component separately. The first alone covers too
little where models and sequences matter alike, the second alone where neither matters much.

Models that explain sequences of their own are a special case: the same index in two models then has nothing in common.
The mean squares reflect that, and the formula holds. Undefined values leave gaps. Sums of squares are then the usual
ones of unbalanced tables, which agree with the above where nothing is missing.
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
# With more degrees of freedom, Student's t equals the normal distribution to four digits.
_MANY = 1e6
# A mean so many times its standard error comes from equal values; the rest of the variance is rounding.
_SAME = 1e10
# With fewer methods there are too few pairs for a median over pairs.
_FEW = 4


@dataclass(frozen=True, eq=False)
class VarianceEstimate:
    """K means with the variance of each.

    Attributes:
        mean: float64[K]; NaN where no value is defined.
        variance: float64[K], of the mean; NaN where a single value is defined, which has no variance.
        df: float64[K], the degrees of freedom of the variance.
        sequences: float64[K], the number of sequences that have a value.
    """

    mean: Values
    variance: Values
    df: Values
    sequences: Values

    def select(self, rows: Sequence[int]) -> VarianceEstimate:
        """Return the estimates of some of the means."""
        return VarianceEstimate(*(array[rows] for array in (self.mean, self.variance, self.df, self.sequences)))

    @property
    def half_width(self) -> Values:
        """Half the width float64[K] of the 95 % interval by Student's t."""
        half: Values = special.stdtrit(self.df, (1 + LEVEL) / 2) * np.sqrt(self.variance)
        return half

    @property
    def p(self) -> Values:
        """Two-sided p-values float64[K] of the hypothesis that a mean is 0; 1 where it cannot be tested.

        Values that are all equal have no variance for a t-test. Then the sign test of the sequences decides: it gives
        the probability that all of them have the same sign by chance.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(self.mean == 0, 0.0, np.abs(self.mean) / np.sqrt(self.variance))
        p: Values = np.where(np.isnan(t), 1.0, 2 * special.stdtr(self.df, -np.where(np.isnan(t), 0.0, t)))
        return np.where(np.isinf(t), np.exp2(1 - np.maximum(self.sequences, 1)), p)


@dataclass(frozen=True, eq=False)
class VarianceComponents:
    """Variance components of K means, each float64[K].

    Attributes:
        mean: the means.
        model, sequence, residual: the components of a mean's variance, by mean squares; NaN where there is one model,
            or one sequence.
        df: float64[3, K], the degrees of freedom of each component.
        sequences: the number of sequences that have a value.
    """

    mean: Values
    model: Values
    sequence: Values
    residual: Values
    df: Values
    sequences: Values

    @classmethod
    def from_scores(cls, values: Values) -> VarianceComponents:
        """Compute the components of scores float64[K, S, n]; see :func:`variance_estimate`."""
        defined = ~np.isnan(values)
        whole = bool(defined.all())  # the usual case: nothing to leave out, and nothing to count

        def zero_undefined(numbers: Values) -> Values:
            return numbers if whole else np.where(defined, numbers, 0.0)

        def count_along(axis: int) -> Values:
            shape = len(values), values.shape[3 - axis]
            counts: Values = np.full(shape, values.shape[axis]) if whole else defined.sum(axis)
            return counts

        count = count_along(2).sum(1).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = zero_undefined(values).sum((1, 2)) / count
            rest = zero_undefined(values - mean[:, None, None])
            models = _effect(rest.sum(2), count_along(2))
            sequences = _effect(rest.sum(1), count_along(1))
            df = count - models.levels - sequences.levels + 1
            squares = np.maximum(np.square(rest).sum((1, 2)) - models.squares - sequences.squares, 0.0)
            residual = np.where(df > 0, squares / df / count, 0.0)
            dfs = np.array([models.levels - 1, sequences.levels - 1, df])
            return cls(mean, models.total / count**2, sequences.total / count**2, residual, dfs, sequences.levels)

    def variance_estimate(self) -> VarianceEstimate:
        """Return the means with their variances, each from its own components."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variance, parts = _mean_variance(self.model, self.sequence, self.residual)
            df = _degrees_of_freedom(variance, parts, self.df)
        variance = np.where(np.sqrt(variance) * _SAME < np.abs(self.mean), 0.0, variance)
        return VarianceEstimate(self.mean, variance, df, self.sequences)

    def moderated(self, methods: int) -> VarianceEstimate:
        """Return the means as differences of every two of ``methods`` methods, small model components raised.

        Among many pairs on few models, some have models that agree by chance, and would come out as significant for
        it. So the model component of a pair is raised to that of pairs in general: the median over all pairs of the
        component divided by the median of χ²/df, which a few unruly methods do not move. The median of the dependent
        pairs is worth about half of the M − 1 differences that are independent: its degrees of freedom are half as
        many, times those of a pair.

        This is a relative of the moderated t-test of limma (Smyth 2004, doi:10.2202/1544-6115.1027), which shrinks
        every variance towards a value estimated from all of them. Here a variance is only raised, never lowered, since
        too small ones are the cause of false claims; docs/statistics.md lists how often claims are false in simulated
        studies.
        """
        df = self.df[0]
        known = np.isfinite(self.model) & (df > 0)
        if methods < _FEW or not known.any():
            return self.variance_estimate()
        scaled = self.model[known] * df[known] / _at_distinct(lambda df: special.chdtri(df, 0.5), df[known])
        usual = float(np.median(scaled))
        raised = known & (self.model < usual)
        dfs = np.array([np.where(raised, df * (methods - 1) / 2, df), *self.df[1:]])
        return replace(self, model=np.where(raised, usual, self.model), df=dfs).variance_estimate()


def concatenated(parts: Sequence[VarianceComponents]) -> VarianceComponents:
    """Return the components of several groups of means as those of one group."""
    return VarianceComponents(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=-1)
            for field in fields(VarianceComponents)
        }
    )


def variance_estimate(values: Values) -> VarianceEstimate:
    """Return the mean of each method with its variance.

    Args:
        values: float64[K, S, n], the scores of n sequences on each of S models; NaN is undefined.
    """
    return VarianceComponents.from_scores(values).variance_estimate()


def average_over_tasks(estimates: Sequence[VarianceEstimate]) -> VarianceEstimate:
    """Return the means over independent tasks with their variances; each task has the same weight.

    Args:
        estimates: of the same K methods on each task.
    """
    if len(estimates) == 1:
        return estimates[0]
    variances = np.array([estimate.variance for estimate in estimates])
    uncertainty = (np.square(variances) / np.array([estimate.df for estimate in estimates])).sum(0)
    total = variances.sum(0)
    known = uncertainty > 0
    df = np.where(known, np.square(total) / np.where(known, uncertainty, 1.0), _MANY)
    mean = np.mean([estimate.mean for estimate in estimates], axis=0)
    sequences = np.sum([estimate.sequences for estimate in estimates], axis=0)
    return VarianceEstimate(mean, total / len(estimates) ** 2, np.clip(df, 1.0, _MANY), sequences)


@dataclass(frozen=True, eq=False)
class _Effect:
    """Sums of squares of a random effect, of the models or of the sequences, each float64[K].

    Attributes:
        levels: the number of models, or of sequences, that have a value.
        squares: the sum of squares.
        total: the sum of squares that the variance of the mean is made of.
    """

    levels: Values
    squares: Values
    total: Values


def _effect(sums: Values, counts: Values) -> _Effect:
    """Return the sums of squares of an effect.

    Args:
        sums: float64[K, L], the sum of the deviations from the mean at each of L levels.
        counts: float64[K, L], the number of values at each level.
    """
    levels = (counts > 0).sum(1).astype(np.float64)
    squares = np.divide(np.square(sums), counts, out=np.zeros(sums.shape), where=counts > 0).sum(1)
    return _Effect(levels, squares, np.square(sums).sum(1) * levels / (levels - 1))


def _mean_variance(model: Values, sequence: Values, residual: Values) -> tuple[Values, tuple[Values, Values, Values]]:
    """Return the variance of the mean, and its components with 0 for unknown ones.

    Where there is one model, or one sequence, the other component is the whole variance.
    """
    alone = ~np.isfinite(model) | ~np.isfinite(sequence)
    residual = np.where(alone, 0.0, residual)
    both = np.maximum.reduce([model + sequence - residual, model, sequence])
    single = np.where(np.isfinite(model), model, np.where(np.isfinite(sequence), sequence, np.nan))
    parts = tuple(np.where(np.isfinite(part), part, 0.0) for part in (model, sequence))
    return np.where(alone, single, both), (parts[0], parts[1], residual)


def _degrees_of_freedom(variance: Values, parts: tuple[Values, Values, Values], dfs: Values) -> Values:
    """Return the degrees of freedom float64[K] of a variance; see the description of this module.

    Args:
        variance: float64[K], of the mean.
        parts: its components of models, sequences and residual, float64[K] each.
        dfs: float64[3, K], their degrees of freedom.
    """
    model, sequence, residual = parts
    uncertainty = sum(
        np.where(part > 0, np.square(part) / np.maximum(df, 1), 0.0) for part, df in zip(parts, dfs, strict=True)
    )
    satterthwaite = np.square(variance) / uncertainty
    squared_width = np.square(_student(dfs[0])) * np.maximum(model - residual, 0.0)
    squared_width = squared_width + np.square(_student(dfs[1])) * sequence
    smaller = np.fmin(satterthwaite, np.interp(-np.sqrt(squared_width / variance), *_student_table()))
    return np.clip(np.where(np.isnan(smaller), 1.0, smaller), 1.0, _MANY)


def _student(df: Values) -> Values:
    """Return Student's t at 95 %, two-sided, for at least one degree of freedom."""
    return _at_distinct(lambda df: special.stdtrit(df, (1 + LEVEL) / 2), np.maximum(df, 1.0))


def _at_distinct(function: Callable[[Values], Values], values: Values) -> Values:
    """Return a function of float64[K], evaluated once for each distinct value: few differ, and it is slow."""
    distinct, index = np.unique(values, return_inverse=True)
    return function(distinct)[index]


@lru_cache(maxsize=1)
def _student_table() -> tuple[Values, Values]:
    """Return −t at 95 % and the degrees of freedom that have it, both in rising order."""
    df = np.geomspace(1.0, _MANY, 4000)
    return -_student(df), df
