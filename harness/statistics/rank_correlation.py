"""Rank correlation of metrics: whether two metrics order the methods alike, by Kendall's τ-b.

Three sets of pairs are compared: one metric under two interventions, every metric with agreement with the known truth
(``average-precision``), and all metrics with each other. τ-b (Kendall 1945, doi:10.1093/biomet/33.3.239) is computed
from the means of the methods, turned so that more is better under both metrics, over the methods that both metrics
score. Controls are methods like others here. Means that agree to 12 digits are tied, because the last bits of a sum
decide which of two equal means is larger.

Intervals are percentile bootstraps from :mod:`xrnnbench.harness.statistics.estimates`, not widened for few models. Each
draw resamples the same models and sequences for all methods and both metrics, and τ is computed anew. The intervals
hold for other models and sequences, not for other methods. Noise in the means pulls τ towards 0: where the methods
hardly differ, τ and its interval are nearer to 0 than the τ of means without noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...fingerprints import fingerprint
from ..results.cells import PluginInfo
from ..results.scored_cells import CellsByMethod, direction_sign
from .estimates import bootstrap_draws, percentile_interval

if TYPE_CHECKING:
    from collections.abc import Iterable

    Array: TypeAlias = np.ndarray[Any, Any]
    Pairs: TypeAlias = Sequence[tuple[PluginInfo, PluginInfo]]

# The metric with which metrics that do not know the truth are compared, if the suite has it.
TRUTH_METRIC = "average-precision"


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's τ-b between the orders of the methods under two metrics, on one task or as the mean over tasks.

    Attributes:
        first, second: specs of the metrics.
        tau: Kendall's τ-b, 1 the same order, −1 the reverse.
        low, high: 95 % percentile bootstrap interval; None where it was not computed.
        methods: the number of methods that were ordered; over tasks, the smallest number.
        tasks: the number of tasks it is the mean over.
    """

    first: str
    second: str
    tau: float
    low: float | None
    high: float | None
    methods: int
    tasks: int = 1


@dataclass(frozen=True, eq=False)
class MethodMeans:
    """Means of the methods on one task under every metric, turned so that more is better.

    Attributes:
        means: float64[M] by spec of the metric; NaN where a method has none.
        cells: of the task.
        methods: in the order of the means.
        stream: of the random numbers; see :func:`xrnnbench.harness.statistics.estimates.estimate`.
    """

    means: Mapping[str, Array]
    cells: CellsByMethod
    methods: Sequence[PluginInfo]
    stream: int

    @cached_property
    def kendall_taus(self) -> dict[tuple[str, str], float]:
        """Kendall's τ-b by the specs of two metrics; pairs for which it is not defined are left out."""
        specs = list(self.means)
        orders = _PairOrders.from_means(np.stack(list(self.means.values()), axis=1))
        taus = orders.with_axis(2).kendall(orders.with_axis(1))
        defined = [(int(one), int(other)) for one, other in np.argwhere(~np.isnan(taus))]
        return {(specs[one], specs[other]): float(taus[one, other]) for one, other in defined}

    def methods_in_common(self, one: str, other: str) -> int:
        """Return the number of methods that two metrics both score."""
        return int((~np.isnan(self.means[one] + self.means[other])).sum())

    def draws(self, metrics: Iterable[PluginInfo]) -> dict[str, Array]:
        """Return the means float64[M, RESAMPLES] in each bootstrap draw, by spec of the metric; NaN where undefined."""
        rows, sizes = self._score_rows(list(metrics))
        draws = {}
        for metric, values in rows:
            known = ~np.isnan(self.means[metric.spec])
            drawn = bootstrap_draws(values[known], sizes, self.stream, metric.facts.get("statistic", "mean"))
            draws[metric.spec] = np.full((len(known), drawn.shape[1]), np.nan)
            draws[metric.spec][known] = (direction_sign(metric) or 1) * drawn
        return draws

    def _score_rows(self, metrics: Sequence[PluginInfo]) -> tuple[list[tuple[PluginInfo, Array]], tuple[int, ...]]:
        """Return each metric's scores float64[M, N] over the sequences of all models, and the sizes of the models."""
        scores = {
            metric.spec: [self.cells.scores(metric).get(method.spec, {}) for method in self.methods]
            for metric in metrics
        }
        sizes = {seed: len(row) for methods in scores.values() for by_seed in methods for seed, row in by_seed.items()}
        seeds = sorted(sizes)

        def row(by_seed: Mapping[int, Array]) -> Array:
            return np.concatenate([by_seed.get(seed, np.full(sizes[seed], np.nan)) for seed in seeds])

        rows = [(metric, np.stack([row(by_seed) for by_seed in scores[metric.spec]])) for metric in metrics]
        return rows, tuple(sizes[seed] for seed in seeds)


def intervention_pairs(metrics: Sequence[PluginInfo]) -> list[tuple[PluginInfo, PluginInfo]]:
    """Return every two metrics that differ in their intervention only, that is, in their parameter ``by``."""
    groups: dict[str, list[PluginInfo]] = {}
    for metric in metrics:
        parameters = dict(metric.identity.get("parameters", {}))
        if "by" in parameters:
            del parameters["by"]
            groups.setdefault(fingerprint({**metric.identity, "parameters": parameters}), []).append(metric)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


def truth_pairs(metrics: Sequence[PluginInfo]) -> list[tuple[PluginInfo, PluginInfo]]:
    """Return every metric that does not know the truth, paired with one that does; metrics of cost are left out."""
    by_truth = [metric for metric in metrics if metric.facts.get("family") == "truth" and direction_sign(metric)]
    by_truth.sort(key=lambda metric: (metric.spec != TRUTH_METRIC, metric.identity["name"] != TRUTH_METRIC))
    others = [
        metric for metric in metrics if direction_sign(metric) and metric.facts.get("family") not in {"truth", "cost"}
    ]
    return [(metric, truth) for truth in by_truth[:1] for metric in others]


class RankCorrelations:
    """Rank correlations of given pairs of metrics, task by task, and their means over the tasks.

    Args:
        pairs: the metrics to compare.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._by_pair: dict[tuple[str, str], list[tuple[RankCorrelation, Array]]] = {}

    def of_task(self, means: MethodMeans) -> tuple[RankCorrelation, ...]:
        """Return the correlations on one more task, with intervals; pairs without a τ on this task are left out."""
        known = [(one, other) for one, other in self._pairs if (one.spec, other.spec) in means.kendall_taus]
        draws = means.draws({metric.spec: metric for pair in known for metric in pair}.values())
        taus = kendall_of_draws(draws, [(one.spec, other.spec) for one, other in known])
        correlations = []
        for specs, values in taus.items():
            correlation = RankCorrelation(
                *specs, means.kendall_taus[specs], *_interval(values), methods=means.methods_in_common(*specs)
            )
            self._by_pair.setdefault(specs, []).append((correlation, values))
            correlations.append(correlation)
        return tuple(correlations)

    def over_tasks(self) -> tuple[RankCorrelation, ...]:
        """Return the means over the tasks so far on which a pair has a τ; each task has the same weight."""
        return tuple(
            RankCorrelation(
                *specs,
                float(np.mean([correlation.tau for correlation, _ in tasks])),
                *_interval(np.mean([values for _, values in tasks], axis=0)),
                methods=min(correlation.methods for correlation, _ in tasks),
                tasks=len(tasks),
            )
            for specs, tasks in self._by_pair.items()
        )


def mean_rank_correlations(metrics: Sequence[PluginInfo], tasks: Sequence[MethodMeans]) -> tuple[RankCorrelation, ...]:
    """Return the mean τ over tasks of every two metrics that have a better direction, without intervals."""
    correlations = []
    for pair in combinations([metric.spec for metric in metrics if direction_sign(metric)], 2):
        known = [means for means in tasks if pair in means.kendall_taus]
        if known:
            tau = float(np.mean([means.kendall_taus[pair] for means in known]))
            methods = min(means.methods_in_common(*pair) for means in known)
            correlations.append(RankCorrelation(*pair, tau, None, None, methods, len(known)))
    return tuple(correlations)


def kendall_of_draws(draws: Mapping[str, Array], pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Array]:
    """Return Kendall's τ-b of each pair of metrics in every draw.

    Args:
        draws: the means float64[M, R] of M methods in R draws, by metric; NaN where a method has no value.
        pairs: pairs of the keys of ``draws``.

    Returns:
        float64[R] by pair; NaN where one of the two metrics orders no methods.
    """
    orders = {name: _PairOrders.from_means(draws[name]) for name in {name for pair in pairs for name in pair}}
    return {(one, other): orders[one].kendall(orders[other]) for one, other in pairs}


@dataclass(frozen=True, eq=False)
class _PairOrders:
    """The order of every two methods in each of R rankings.

    Attributes:
        signs: int8[P, R], for each of the P pairs 1 if its first method is better, −1 if its second is, else 0.
        known: bool[P, R or 1], whether both methods have a value.
    """

    signs: Array
    known: Array

    @classmethod
    def from_means(cls, values: Array) -> _PairOrders:
        """Compare every two methods by means float64[M, R]; NaN is better than nothing and worse than nothing."""
        defined = ~np.isnan(values)
        size = np.max(np.abs(values), axis=0, initial=0.0, where=defined)
        rounded = np.round(values / np.where(size > 0, size, 1.0), 12)
        known = defined[:, :1] if defined.all() else defined
        greater, less = _compare_pairs(np.greater, rounded), _compare_pairs(np.less, rounded)
        return cls(greater.view(np.int8) - less.view(np.int8), _compare_pairs(np.logical_and, known))

    def kendall(self, other: _PairOrders) -> Array:
        """Return Kendall's τ-b float64[R]; pairs with a missing value do not count."""
        difference = _count(self.signs * other.signs)
        ordered = _count((self.signs != 0) & other.known)
        ordered_by_other = _count((other.signs != 0) & self.known)
        size = np.sqrt(ordered * ordered_by_other)
        taus: Array = np.divide(difference, size, out=np.full(size.shape, np.nan), where=size > 0)
        return taus

    def with_axis(self, axis: int) -> _PairOrders:
        """Return the orders with an axis inserted, along which those of another can be broadcast."""
        return _PairOrders(*(np.expand_dims(array, axis) for array in (self.signs, self.known)))


def _compare_pairs(compare: np.ufunc, values: Array) -> Array:
    """Compare every two rows of values [M, R], bool[P, R]; one row at a time, since rows lie together in memory."""
    pairs = [compare(values[row], values[row + 1 :]) for row in range(len(values))]
    return np.concatenate(pairs)


def _count(pairs: Array) -> Array:
    """Return the sum float64[…] over the pairs int8 or bool[P, …]."""
    total: Array = pairs.sum(axis=0, dtype=np.int32).astype(np.float64)
    return total


def _interval(draws: Array) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of draws float64[R], those without a τ left out; None if none has one."""
    known = draws[~np.isnan(draws)]
    return percentile_interval(known) if len(known) else (None, None)
