"""Standings: the order of the methods over several tasks by mean rank and corrected mean, with cost and firmness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..results.cells import PluginInfo
from ..results.scored_cells import cells_of_method, direction_sign, is_control
from ..statistics.estimates import Estimate, MetricScores, estimates_over
from .task_means import applications

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.scored_cells import CellsByMethod
    from ..statistics.variance_components import Values
    from .task_means import TaskScores, TaskTableLike

    Means = Mapping[str, float]

RANDOM = "random"
ALPHA = 0.05


@dataclass(frozen=True)
class Standing:
    """The order of the methods over some tasks by the headline metric; only methods scored on each task are ranked.

    Attributes:
        scope: ``""`` for all tasks, or the name of the application.
        tasks: specs of the tasks.
        methods: best mean rank first; controls are ranked like others.
        ranks: the mean over tasks of each method's rank, 1 the best, by its spec; tied methods share their mean rank.
        friedman: Friedman's χ² of the ranks and its p-value; None with fewer than two tasks or three methods.
        critical: Nemenyi's critical difference of mean ranks at 5 %; None as above.
        cliques: the largest sets of methods next to each other in rank whose mean ranks do not differ by more than the
            critical difference, each set best first.
        corrected: the mean over tasks of (score − random) / (best known − random), by spec; empty where ``random`` was
            not scored.
        cost: forward passes plus twice the backward passes for one sequence, mean over tasks, by spec.
        front: the Pareto front: methods for which no other has a better corrected mean, or mean rank, without costing
            more; no controls.
        without: for each task, the order of the methods over all other tasks.
        firmness: for each task, Kendall's τ-b between the mean ranks over all other tasks and those over all tasks.
    """

    scope: str
    tasks: tuple[str, ...]
    methods: tuple[PluginInfo, ...]
    ranks: Mapping[str, float]
    friedman: tuple[float, float] | None = None
    critical: float | None = None
    cliques: tuple[tuple[str, ...], ...] = ()
    corrected: Mapping[str, Estimate] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    front: frozenset[str] = frozenset()
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    firmness: Mapping[str, float] = field(default_factory=dict)


def make_standings(
    methods: Sequence[PluginInfo],
    headline: PluginInfo,
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    costs: Sequence[Means],
) -> tuple[Standing, ...]:
    """Return the standing over all tasks, and that over the tasks of each application that has more than one.

    Args:
        methods: of the board.
        headline: the metric methods are ordered by; if it has no better direction there are no standings.
        tables: of each task.
        scores: of each task.
        costs: of each task; see :func:`passes_by_method`.
    """
    if not direction_sign(headline):
        return ()
    scopes = {"": list(range(len(tables))), **applications(tables)}
    standings = [_standing(scope, chosen, methods, headline, tables, scores, costs) for scope, chosen in scopes.items()]
    return tuple(standing for standing in standings if standing is not None)


def _standing(
    scope: str,
    chosen: Sequence[int],
    methods: Sequence[PluginInfo],
    headline: PluginInfo,
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    costs: Sequence[Means],
) -> Standing | None:
    """Return the standing over the chosen tasks; None if fewer than two methods are scored on each of them."""
    tasks = [tables[index] for index in chosen]
    ranked = [method for method in methods if all(_mean(table, method, headline) is not None for table in tasks)]
    if len(ranked) < 2:  # an order needs two
        return None
    means = np.array([[_mean(table, method, headline) or 0.0 for table in tasks] for method in ranked])
    ranks = _ranks(direction_sign(headline) * means)
    order = sorted(range(len(ranked)), key=lambda row: (ranks[row].mean(), ranked[row].spec))
    ranked, ranks = [ranked[row] for row in order], ranks[order]
    specs = [method.spec for method in ranked]
    by_spec = dict(zip(specs, ranks.mean(1).tolist(), strict=True))
    critical = critical_difference(len(specs), len(tasks))
    corrected = _corrected(specs, headline, chosen, tables, scores)
    cost = {spec: float(np.mean([costs[index][spec] for index in chosen])) for spec in specs}
    quality = {spec: value.mean for spec, value in corrected.items()} or {spec: -by_spec[spec] for spec in specs}
    competing = {method.spec: quality[method.spec] for method in ranked if not is_control(method)}
    left_out = {
        table.task.spec: np.delete(ranks, index, axis=1).mean(1)
        for index, table in enumerate(tasks if len(tasks) > 1 else ())
    }
    return Standing(
        scope=scope,
        tasks=tuple(table.task.spec for table in tasks),
        methods=tuple(ranked),
        ranks=by_spec,
        friedman=friedman(ranks),
        critical=critical,
        cliques=cliques(by_spec, critical),
        corrected=corrected,
        cost=cost,
        front=front(competing, cost),
        without={task: tuple(specs[row] for row in np.argsort(mean, kind="stable")) for task, mean in left_out.items()},
        firmness={task: _tau(mean, ranks.mean(1)) for task, mean in left_out.items()},
    )


def passes_by_method(methods: Sequence[PluginInfo], cells: CellsByMethod) -> dict[str, float]:
    """Return the passes for one explanation on a task, by spec of the method; NaN if there is no attribution.

    They are the forward passes plus twice the backward passes for one sequence, the mean over the cells of the method.
    """
    costs = {}
    for method in methods:
        computed = [scored for _, scored in cells_of_method(cells, method) if scored.cell is not None]
        passes = [
            (scored.cell.passes.forward + 2 * scored.cell.passes.backward) / scored.scores.shape[1]
            for scored in computed
            if scored.cell is not None and scored.cell.explained and scored.scores.shape[1]
        ]
        costs[method.spec] = float(np.mean(passes)) if passes else math.nan
    return costs


def critical_difference(methods: int, tasks: int) -> float | None:
    """Return Nemenyi's critical difference of mean ranks at 5 %; None with fewer than three methods or two tasks.

    Source: Demšar 2006, jmlr.org/papers/v7/demsar06a.html, §3.2.2.
    Two methods differ if their mean ranks over the tasks differ by more than q √(k (k + 1) / 6 N), where q is the 95 %
    quantile of the studentised range of k methods, over √2.

    >>> round(critical_difference(5, 30), 3)  # q = 2.728, Demšar's table 5a
    1.114
    """
    if methods < 3 or tasks < 2:  # two methods are compared by the paired test
        return None
    q = stats.studentized_range.ppf(1 - ALPHA, methods, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * tasks)))


def friedman(ranks: Values) -> tuple[float, float] | None:
    """Return Friedman's χ² and p-value of ranks float64[methods, tasks].

    None with fewer than three methods or two tasks, and where all methods have the same ranks.
    """
    if ranks.shape[0] < 3 or ranks.shape[1] < 2 or (ranks == ranks[:1]).all():  # as above
        return None
    test = stats.friedmanchisquare(*ranks)
    return float(test.statistic), float(test.pvalue)


def cliques(ranks: Means, critical: float | None) -> tuple[tuple[str, ...], ...]:
    """Return the largest sets of two or more methods, next to each other in rank, that do not differ significantly.

    >>> cliques({"a": 1.0, "b": 1.5, "c": 2.2, "d": 4.0}, 1.0)
    (('a', 'b'), ('b', 'c'))
    """
    if critical is None:
        return ()
    order = sorted(ranks, key=lambda spec: ranks[spec])
    sets: list[tuple[str, ...]] = []
    for start, first in enumerate(order):
        members = tuple(spec for spec in order[start:] if ranks[spec] - ranks[first] <= critical)
        if len(members) > 1 and not (sets and set(members) <= set(sets[-1])):
            sets.append(members)
    return tuple(sets)


def front(quality: Means, cost: Means) -> frozenset[str]:
    """Return the Pareto front: the methods for which no other is as good at a lower cost, or better at the same cost.

    >>> sorted(front({"a": 1.0, "b": 0.9, "c": 0.5}, {"a": 9.0, "b": 2.0, "c": 3.0}))
    ['a', 'b']
    """
    beaten = {
        one if (quality[one], -cost[one]) < (quality[other], -cost[other]) else other
        for one, other in combinations(quality, 2)
        if (quality[one] - quality[other]) * (cost[one] - cost[other]) <= 0
        and (quality[one], cost[one]) != (quality[other], cost[other])
    }
    return frozenset(quality) - beaten


def corrected_scores(scores: Mapping[str, Sequence[Values]], random: str, best: str) -> dict[str, list[Values]]:
    """Return scores whose mean is (mean − random's) / (best's − random's), with the variance of this ratio.

    The ratio of means c is written as a mean of one value for each sequence, c + (xᵢ − rᵢ − c (bᵢ − rᵢ)) / (b − r): its
    expansion to the first order (delta method).

    Args:
        scores: float64[n] for each model, by spec of the method.
        random: spec of the method whose corrected mean is 0.
        best: spec of the method whose corrected mean is 1.
    """
    low, high = (_mean_of_defined(scores[spec]) for spec in (random, best))
    span = high - low
    corrected = {}
    for spec, rows in scores.items():
        ratio = (_mean_of_defined(rows) - low) / span
        corrected[spec] = [
            ratio + (row - of_random - ratio * (of_best - of_random)) / span
            for row, of_random, of_best in zip(rows, scores[random], scores[best], strict=True)
        ]
    return corrected


def _mean_of_defined(rows: Sequence[Values]) -> float:
    """Return the mean of all values that are not NaN."""
    values = np.concatenate([*rows])
    return float(values[~np.isnan(values)].mean())


def _corrected(
    specs: Sequence[str],
    headline: PluginInfo,
    chosen: Sequence[int],
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
) -> dict[str, Estimate]:
    """Return the corrected mean over the chosen tasks, by spec of the method.

    It is empty where ``random`` was not scored, or is the best on a task: there is then no scale from random to best.
    """
    random = next((spec for spec in specs if spec.partition(":")[0] == RANDOM), None)
    if random is None:
        return {}
    corrected = []
    for index in chosen:
        entries, task = tables[index].entries, scores[index][headline.spec]
        # sorted by name: which of equal methods is the best must not depend on the order of the cells
        means = {
            spec: direction_sign(headline) * entry.value.mean
            for spec in sorted(task.scores)
            if (entry := entries[spec, headline.spec]).value.n
        }
        best = max(means, key=lambda spec: means[spec])
        sizes = {len(task.scores[spec]) for spec in (*specs, best)}
        if means[best] <= means[random] or len(sizes) > 1:
            return {}
        on_task = corrected_scores({spec: task.scores[spec] for spec in {*specs, best}}, random, best)
        corrected.append(MetricScores({spec: on_task[spec] for spec in specs}, task.stream))
    return dict(zip(specs, estimates_over(corrected, specs), strict=True))


def _mean(table: TaskTableLike, method: PluginInfo, headline: PluginInfo) -> float | None:
    """Return the mean of a method on a task; None if it has none."""
    entry = table.entries[method.spec, headline.spec]
    return entry.value.mean if entry.status == "scored" and entry.value.n else None


def _ranks(means: Values) -> Values:
    """Return the rank of each method on each task, 1 for the highest mean, float64[M, N], from means float64[M, N]."""
    # means that agree to 12 digits are tied: the last bits of a sum decide which of them is larger
    size = np.abs(means).max(0, initial=0.0)
    rounded = np.round(means / np.where(size > 0, size, 1.0), 12)
    ranks: Values = stats.rankdata(-rounded, axis=0) if len(means) else means
    return ranks


def _tau(one: Values, other: Values) -> float:
    """Return Kendall's τ-b of two rows of mean ranks; ranks that agree to 12 decimals are tied."""
    return float(stats.kendalltau(np.round(one, 12), np.round(other, 12)).statistic)
