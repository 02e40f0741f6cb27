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

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ...fingerprints import fingerprint
from ..results.cells import PluginInfo
from ..results.scored_cells import CellsByMethod, direction_sign
from .estimates import bootstrap_draws, percentile_interval

if TYPE_CHECKING:
    Array: TypeAlias = np.ndarray[Any, Any]
    Pairs: TypeAlias = Sequence[tuple[PluginInfo, PluginInfo]]

# The metric with which metrics that do not know the truth are compared, if the suite has it.
TRUTH_METRIC = "average-precision"


@dataclass(frozen=True, slots=True)
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
        orders = PairOrders.from_means(np.stack(list(self.means.values()), axis=1))
        taus = orders.with_axis(2).kendall(orders.with_axis(1))
        defined = [(int(one), int(other)) for one, other in np.argwhere(~np.isnan(taus))]
        return {(specs[one], specs[other]): float(taus[one, other]) for one, other in defined}

    def methods_in_common(self, one: str, other: str) -> int:
        """Return the number of methods that two metrics both score."""
        return int((~np.isnan(self.means[one] + self.means[other])).sum())

    def orders(self, metrics: Sequence[PluginInfo]) -> dict[str, PairOrders]:
        """Return the order of every two methods in each bootstrap draw of their means, by spec of the metric."""
        rows, sizes = self._score_rows(metrics)
        for metric, values in rows:
            if (metric.spec, sizes) not in self._orders:
                self._orders[metric.spec, sizes] = PairOrders.from_means(self._draws(metric, values, sizes))
        return {metric.spec: self._orders[metric.spec, sizes] for metric in metrics}

    @cached_property
    def _orders(self) -> dict[tuple[str, tuple[int, ...]], PairOrders]:
        # of several sets of metrics, which overlap
        return {}

    def condensed(self) -> MethodMeans:
        """Return the means without cells and draws, for means over tasks."""
        condensed = MethodMeans(self.means, CellsByMethod(), self.methods, self.stream)
        # the value of the cached property
        condensed.__dict__["kendall_taus"] = self.kendall_taus
        return condensed

    def _draws(self, metric: PluginInfo, values: Array, sizes: tuple[int, ...]) -> Array:
        """Return the means float64[M, RESAMPLES] of a metric in each bootstrap draw; NaN where undefined."""
        known = ~np.isnan(self.means[metric.spec])
        drawn = bootstrap_draws(values[known], sizes, self.stream, metric.facts.get("statistic", "mean"))
        draws = np.full((len(known), drawn.shape[1]), np.nan)
        draws[known] = (direction_sign(metric) or 1) * drawn
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


class DrawnCorrelation(NamedTuple):
    """The rank correlation of two metrics on one task, and its draws.

    Attributes:
        correlation: the correlation.
        draws: float64[R], Kendall's τ-b in each bootstrap draw.
    """

    correlation: RankCorrelation
    draws: Array


def rank_correlations(pairs: Pairs, means: MethodMeans) -> list[DrawnCorrelation]:
    """Return the rank correlations of pairs of metrics on one task, with intervals; pairs without a τ are left out.

    Args:
        pairs: the metrics to compare.
        means: of the methods on the task.
    """
    known = [(one, other) for one, other in pairs if (one.spec, other.spec) in means.kendall_taus]
    orders = means.orders(list({metric.spec: metric for pair in known for metric in pair}.values()))
    drawn = []
    for one, other in known:
        specs, values = (one.spec, other.spec), orders[one.spec].kendall(orders[other.spec])
        correlation = RankCorrelation(
            *specs, means.kendall_taus[specs], *_interval(values), methods=means.methods_in_common(*specs)
        )
        drawn.append(DrawnCorrelation(correlation, values))
    return drawn


class MeanCorrelations:
    """Means of rank correlations over tasks, which are added one after another."""

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str], _TauSum] = {}

    def add(self, on_task: Iterable[DrawnCorrelation]) -> None:
        """Add the correlations on one more task."""
        for correlation, draws in on_task:
            pair = (correlation.first, correlation.second)
            self._by_pair.setdefault(pair, _TauSum()).add(correlation, draws)

    def means(self) -> tuple[RankCorrelation, ...]:
        """Return the means over the tasks so far on which a pair has a τ; each task has the same weight."""
        return tuple(
            RankCorrelation(
                *specs,
                float(np.mean(total.taus)),
                *_interval(np.asarray(total.draws / len(total.taus))),
                methods=total.methods,
                tasks=len(total.taus),
            )
            for specs, total in self._by_pair.items()
        )


@dataclass
class _TauSum:
    """Sum of a rank correlation over tasks.

    Attributes:
        taus: τ on each task.
        draws: the sum float64[R] of the draws; they are added task by task, so that those of a single task are kept.
        methods: the smallest number of methods.
    """

    taus: list[float] = field(default_factory=list)
    draws: Array | float = 0.0
    methods: int = sys.maxsize

    def add(self, correlation: RankCorrelation, draws: Array) -> None:
        """Add the correlation on one more task with its draws float64[R]."""
        self.taus.append(correlation.tau)
        self.draws = self.draws + draws
        self.methods = min(self.methods, correlation.methods)


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


@dataclass(frozen=True, eq=False)
class PairOrders:
    """The order of every two methods in each of R rankings, one bit for each of P pairs, packed into N = ⌈P/8⌉ bytes.

    Attributes:
        better: uint8[N, R], pairs whose first method is better.
        worse: uint8[N, R], pairs whose first method is worse.
        known: uint8[N, R or 1], pairs whose methods both have a value.
    """

    better: Array
    worse: Array
    known: Array

    @classmethod
    def from_means(cls, values: Array) -> PairOrders:
        """Compare every two methods by means float64[M, R]; NaN is better than nothing and worse than nothing."""
        defined = ~np.isnan(values)
        size = np.max(np.abs(values), axis=0, initial=0.0, where=defined)
        rounded = np.round(values / np.where(size > 0, size, 1.0), 12)
        known = defined[:, :1] if defined.all() else defined
        better, worse = _compare_pairs(np.greater, rounded), _compare_pairs(np.less, rounded)
        return cls(better, worse, _compare_pairs(np.logical_and, known))

    def kendall(self, other: PairOrders) -> Array:
        """Return Kendall's τ-b float64[R]; pairs with a missing value do not count."""
        alike = _count((self.better & other.better) | (self.worse & other.worse))
        reverse = _count((self.better & other.worse) | (self.worse & other.better))
        ordered = _count((self.better | self.worse) & other.known)
        ordered_by_other = _count((other.better | other.worse) & self.known)
        size = np.sqrt(ordered * ordered_by_other)
        taus: Array = np.divide(alike - reverse, size, out=np.full(size.shape, np.nan), where=size > 0)
        return taus

    def with_axis(self, axis: int) -> PairOrders:
        """Return the orders with an axis inserted, along which those of another can be broadcast."""
        return PairOrders(*(np.expand_dims(array, axis) for array in (self.better, self.worse, self.known)))


def _compare_pairs(compare: np.ufunc, values: Array) -> Array:
    """Compare every two rows of values [M, R], uint8[N, R]; one row at a time, since rows lie together in memory."""
    pairs = len(values) * (len(values) - 1) // 2
    compared = np.zeros((-(-pairs // 8) * 8, values.shape[1]), dtype=bool)
    start = 0
    for row in range(len(values) - 1):
        end = start + len(values) - row - 1
        compare(values[row], values[row + 1 :], out=compared[start:end])
        start = end
    # packbits does this in ten times as long along the first axis
    bits = compared.view(np.uint8).reshape(-1, 8, values.shape[1])
    packed = bits[:, 0].copy()
    for place in range(1, 8):
        packed |= bits[:, place] << place
    return packed


def _count(bits: Array) -> Array:
    """Return the number of set bits float64[…] of uint8[N, …]."""
    counts, total = np.bitwise_count(bits), np.zeros(bits.shape[1:])
    # each is 8 at most, so that the sum of 31 fits into a byte, and bytes are added many at once
    for start in range(0, len(counts), 31):
        total += counts[start : start + 31].sum(axis=0, dtype=np.uint8)
    return total


def _interval(draws: Array) -> tuple[float | None, float | None]:
    """Return the 95 % percentile interval of draws float64[R], those without a τ left out; None if none has one."""
    known = draws[~np.isnan(draws)]
    return percentile_interval(known) if len(known) else (None, None)
