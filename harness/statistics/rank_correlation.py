"""Do metrics order methods alike? One intervention beside another, every metric beside the truth, all beside all.

The order of the methods under one metric is compared with that under another by Kendall's τ-b (Kendall 1945,
doi:10.1093/biomet/33.3.239) on their means, turned so that better is better for both, over the methods that both
metrics score; controls are methods like others here. Means that agree to 12 digits are tied: which of two equal means
is larger is decided by the last bits of a sum.

Intervals come from the draws of :mod:`xrnnbench.harness.statistics.estimates`: in each, the same models and sequences
are drawn for all methods and both metrics, and τ is computed anew. They tell what other models and sequences would have
given, not other methods. Noise in the means pulls τ towards 0: where the methods are hardly told apart, τ and its
interval are nearer to 0 than the τ of means without noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ...fingerprints import fingerprint
from ..results.cells import Source
from ..results.scored_cells import Grouped, better
from .estimates import interval, resampled_together

if TYPE_CHECKING:
    from collections.abc import Iterable

    Array: TypeAlias = np.ndarray[Any, Any]
    Pairs: TypeAlias = Sequence[tuple[Source, Source]]

TRUTH = "average-precision"


@dataclass(frozen=True)
class Concordance:
    """How alike two metrics order the methods, on one task or as the mean over tasks.

    Attributes:
        first, second: specs of the metrics.
        tau: Kendall's τ-b, 1 the same order, −1 the reverse.
        low, high: 95 % percentile bootstrap interval; None where it was not asked for.
        methods: how many methods were ordered; over tasks, the fewest.
        tasks: over how many tasks it is the mean.
    """

    first: str
    second: str
    tau: float
    low: float | None
    high: float | None
    methods: int
    tasks: int = 1


@dataclass(frozen=True, eq=False)
class Orders:
    """The means of the methods of one task under every metric, turned so that more is better.

    Attributes:
        means: float64[M] by spec of the metric; NaN where a method has none.
        cells: of the task.
        methods: in the order of the means.
        stream: of the random numbers; see :func:`xrnnbench.harness.statistics.estimates.estimate`.
    """

    means: Mapping[str, Array]
    cells: Grouped
    methods: Sequence[Source]
    stream: int

    @cached_property
    def taus(self) -> dict[tuple[str, str], float]:
        """Kendall's τ-b between the means, by the specs of two metrics; pairs that have none are not there."""
        specs = list(self.means)
        ahead = _Ahead.of(np.stack(list(self.means.values()), axis=1))
        found = ahead.along(1).kendall(ahead.along(0))
        places = [(int(one), int(other)) for one, other in np.argwhere(~np.isnan(found))]
        return {(specs[one], specs[other]): float(found[one, other]) for one, other in places}

    def shared(self, one: str, other: str) -> int:
        """How many methods two metrics both score."""
        return int((~np.isnan(self.means[one] + self.means[other])).sum())

    def drawn(self, metrics: Iterable[Source]) -> dict[str, Array]:
        """The means float64[M, RESAMPLES] in each draw, by spec of the metric; NaN where there is none."""
        rows, sizes = self._scores(list(metrics))
        found = {}
        for metric, values in rows:
            known = ~np.isnan(self.means[metric.spec])
            drawn = resampled_together(values[known], sizes, self.stream, metric.facts.get("statistic", "mean"))
            found[metric.spec] = np.full((len(known), drawn.shape[1]), np.nan)
            found[metric.spec][known] = (better(metric) or 1) * drawn
        return found

    def _scores(self, metrics: Sequence[Source]) -> tuple[list[tuple[Source, Array]], tuple[int, ...]]:
        """Each metric's scores float64[M, N] over the sequences of all models, and how many each model has."""
        scores = {
            metric.spec: [self.cells.scores(metric).get(method.spec, {}) for method in self.methods]
            for metric in metrics
        }
        sizes = {seed: len(row) for each in scores.values() for found in each for seed, row in found.items()}
        seeds = sorted(sizes)

        def row(found: Mapping[int, Array]) -> Array:
            return np.concatenate([found.get(seed, np.full(sizes[seed], np.nan)) for seed in seeds])

        rows = [(metric, np.stack([row(found) for found in scores[metric.spec]])) for metric in metrics]
        return rows, tuple(sizes[seed] for seed in seeds)


def interventions(metrics: Sequence[Source]) -> list[tuple[Source, Source]]:
    """Every two metrics that ask the same by different interventions: they differ in their parameter ``by`` alone."""
    groups: dict[str, list[Source]] = {}
    for metric in metrics:
        parameters = dict(metric.identity.get("parameters", {}))
        if "by" in parameters:
            del parameters["by"]
            groups.setdefault(fingerprint({**metric.identity, "parameters": parameters}), []).append(metric)
    return [pair for group in groups.values() for pair in combinations(group, 2)]


def against_truth(metrics: Sequence[Source]) -> list[tuple[Source, Source]]:
    """Every metric that judges without the truth beside the one that judges by it; cost is no judgement."""
    by_truth = [metric for metric in metrics if metric.facts.get("family") == "truth" and better(metric)]
    by_truth.sort(key=lambda metric: (metric.spec != TRUTH, metric.identity["name"] != TRUTH))
    judging = [metric for metric in metrics if better(metric) and metric.facts.get("family") not in {"truth", "cost"}]
    return [(metric, truth) for truth in by_truth[:1] for metric in judging]


class Concordances:
    """Pairs of metrics on one task after another, and their means over the tasks.

    Args:
        pairs: the metrics to compare.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._found: dict[tuple[str, str], list[tuple[Concordance, Array]]] = {}

    def of_task(self, orders: Orders) -> tuple[Concordance, ...]:
        """Those of a task, with intervals; pairs that have no τ there are left out."""
        known = [(one, other) for one, other in self._pairs if (one.spec, other.spec) in orders.taus]
        drawn = orders.drawn({metric.spec: metric for pair in known for metric in pair}.values())
        draws = kendall_of_draws(drawn, [(one.spec, other.spec) for one, other in known])
        found = []
        for names, values in draws.items():
            each = Concordance(*names, orders.taus[names], *_bounds(values), methods=orders.shared(*names))
            self._found.setdefault(names, []).append((each, values))
            found.append(each)
        return tuple(found)

    def over_tasks(self) -> tuple[Concordance, ...]:
        """The means over the tasks seen so far on which a pair has a τ, each task counting alike."""
        return tuple(
            Concordance(
                *names,
                float(np.mean([each.tau for each, _ in found])),
                *_bounds(np.mean([values for _, values in found], axis=0)),
                methods=min(each.methods for each, _ in found),
                tasks=len(found),
            )
            for names, found in self._found.items()
        )


def all_beside_all(metrics: Sequence[Source], tasks: Sequence[Orders]) -> tuple[Concordance, ...]:
    """The mean over tasks of τ between every two metrics that have a better direction, without intervals."""
    found = []
    for one, other in combinations([metric.spec for metric in metrics if better(metric)], 2):
        known = [orders for orders in tasks if (one, other) in orders.taus]
        if known:
            tau = float(np.mean([orders.taus[one, other] for orders in known]))
            methods = min(orders.shared(one, other) for orders in known)
            found.append(Concordance(one, other, tau, None, None, methods, len(known)))
    return tuple(found)


def kendall_of_draws(drawn: Mapping[str, Array], pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Array]:
    """Kendall's τ-b of each pair of metrics in every draw.

    Args:
        drawn: float64[M, R] by metric; NaN where a method has no value.
        pairs: keys of it.

    Returns:
        float64[R] by pair; NaN where one of the two orders no methods.
    """
    ahead = {name: _Ahead.of(drawn[name]) for name in {name for pair in pairs for name in pair}}
    return {(one, other): ahead[one].kendall(ahead[other]) for one, other in pairs}


@dataclass(frozen=True, eq=False)
class _Ahead:
    """Which of every two methods is ahead in each of R orders, a bit for each of the P pairs.

    Attributes:
        first, second: uint8[R, ⌈P / 8⌉], whether the first of the two is, or the second.
        known: uint8[R or 1, ⌈P / 8⌉], whether both have a value.
    """

    first: Array
    second: Array
    known: Array

    @classmethod
    def of(cls, values: Array) -> _Ahead:
        """Of means float64[M, R]; NaN where a method has none, which is ahead of nothing."""
        there = ~np.isnan(values)
        size = np.max(np.abs(values), axis=0, initial=0.0, where=there)
        rounded = np.round(values / np.where(size > 0, size, 1.0), 12)
        known = there[:, :1] if there.all() else there
        return cls(_packed(np.greater, rounded), _packed(np.less, rounded), _packed(np.logical_and, known))

    def kendall(self, other: _Ahead) -> Array:
        """τ-b float64[R]; pairs of which a value is missing do not count."""
        alike = _count(self.first & other.first) + _count(self.second & other.second)
        opposite = _count(self.first & other.second) + _count(self.second & other.first)
        ordered = _count((self.first | self.second) & other.known)
        in_other = _count((other.first | other.second) & self.known)
        size = np.sqrt(ordered * in_other)
        found: Array = np.divide(alike - opposite, size, out=np.full(size.shape, np.nan), where=size > 0)
        return found

    def along(self, axis: int) -> _Ahead:
        """With an axis before or after the orders', along which those of another can stand."""
        return _Ahead(*(np.expand_dims(each, axis) for each in (self.first, self.second, self.known)))


def _packed(compare: np.ufunc, values: Array) -> Array:
    """uint8[R, ⌈P / 8⌉]: what a comparison says of every two rows of [M, R]; the bits of a byte as in np.packbits."""
    count, orders = values.shape
    pairs = count * (count - 1) // 2
    found = np.zeros((-(-pairs // 8) * 8, -(-orders // 8) * 8), dtype=np.bool_)
    start = 0
    for row in range(count - 1):  # by rows, which lie together in memory
        stop = start + count - 1 - row
        compare(values[row], values[row + 1 :], out=found[start:stop, :orders])
        start = stop
    # eight rows into one at a time, of eight orders in one number: at least twice as fast as np.packbits
    bits = found.view(np.uint64).reshape(-1, 8, found.shape[1] // 8)
    packed = bits[:, 0] << 7
    for place in range(1, 8):
        packed |= bits[:, place] << (7 - place)
    return np.ascontiguousarray(packed.view(np.uint8)[:, :orders].T)


def _count(bits: Array) -> Array:
    """float64[...]: how many bits of uint8[..., N] are set."""
    found: Array = np.bitwise_count(bits).sum(axis=-1, dtype=np.float64)
    return found


def _bounds(draws: Array) -> tuple[float | None, float | None]:
    """The interval of draws float64[R], those without a τ left out."""
    known = draws[~np.isnan(draws)]
    return interval(known) if len(known) else (None, None)
