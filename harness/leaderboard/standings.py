"""The order of the methods over several tasks: by mean rank, by corrected mean, beside what they cost, and how firm."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from ..results.cells import Source
from ..results.scored_cells import better, control, of_method
from ..statistics.estimates import Column, Estimate, estimates_over
from .task_means import applications

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Key
    from ..results.scored_cells import Judged
    from ..statistics.variance_components import Values
    from .task_means import Columns, OfTask

    Cells = Mapping[Key, Judged]
    Means = Mapping[str, float]

RANDOM = "random"
ALPHA = 0.05


@dataclass(frozen=True)
class Standing:
    """How the methods stand over some tasks, by the headline; only methods scored on each of them take part.

    Attributes:
        scope: ``""`` for all tasks, or the application they are of.
        tasks: their specs.
        methods: best mean rank first; controls are ranked like others.
        ranks: the mean over tasks of each method's rank, 1 the best, by its spec; tied methods share their mean rank.
        friedman: Friedman's χ² of the ranks and its p-value; None with fewer than two tasks or three methods.
        critical: Nemenyi's critical difference of mean ranks at 5 %; None as above.
        cliques: the largest sets of neighbours whose mean ranks differ by less than that, each with its best first.
        corrected: the mean over tasks of (score − random) / (best known − random), by spec; empty where chance is not
            known.
        cost: forward passes plus twice the backward passes for one sequence, mean over tasks, by spec.
        front: the methods no other beats in the corrected mean, or the mean rank, without costing more; no controls.
        without: for each task, the order of the methods over all others.
        firmness: for each task, Kendall's τ-b between the mean ranks without it and those of all.
    """

    scope: str
    tasks: tuple[str, ...]
    methods: tuple[Source, ...]
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
    methods: Sequence[Source],
    headline: Source,
    tables: Sequence[OfTask],
    columns: Sequence[Columns],
    cells: Sequence[Cells],
) -> tuple[Standing, ...]:
    """The standing over all tasks, and that over the tasks of each application that has more than one.

    Args:
        methods: of the board.
        headline: the metric they are ordered by; without a better direction there is no order.
        tables: of each task.
        columns: of each task.
        cells: of each task.
    """
    if not better(headline):
        return ()
    scopes = {"": list(range(len(tables))), **applications(tables)}
    found = [_standing(scope, chosen, methods, headline, tables, columns, cells) for scope, chosen in scopes.items()]
    return tuple(each for each in found if each is not None)


def _standing(
    scope: str,
    chosen: Sequence[int],
    methods: Sequence[Source],
    headline: Source,
    tables: Sequence[OfTask],
    columns: Sequence[Columns],
    cells: Sequence[Cells],
) -> Standing | None:
    """None if there are not even two methods to order."""
    tasks = [tables[place] for place in chosen]
    ranked = [method for method in methods if all(_mean(table, method, headline) is not None for table in tasks)]
    if len(ranked) < 2:  # an order is of two
        return None
    means = np.array([[_mean(table, method, headline) or 0.0 for table in tasks] for method in ranked])
    ranks = _ranks(better(headline) * means)
    order = sorted(range(len(ranked)), key=lambda row: (ranks[row].mean(), ranked[row].spec))
    ranked, ranks = [ranked[row] for row in order], ranks[order]
    specs = [method.spec for method in ranked]
    by_spec = dict(zip(specs, ranks.mean(1).tolist(), strict=True))
    critical = critical_difference(len(specs), len(tasks))
    corrected = _corrected(specs, headline, chosen, tables, columns)
    cost = _cost(ranked, [cells[place] for place in chosen])
    quality = {spec: value.mean for spec, value in corrected.items()} or {spec: -by_spec[spec] for spec in specs}
    competing = {method.spec: quality[method.spec] for method in ranked if not control(method)}
    several = enumerate(tasks if len(tasks) > 1 else ())
    left_out = {table.task.spec: np.delete(ranks, place, axis=1).mean(1) for place, table in several}
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


def critical_difference(methods: int, tasks: int) -> float | None:
    """Nemenyi's critical difference of mean ranks at 5 % (Demšar 2006, jmlr.org/papers/v7/demsar06a.html, §3.2.2).

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
    """Friedman's χ² and p-value of ranks float64[methods, tasks]; None where it says nothing."""
    if ranks.shape[0] < 3 or ranks.shape[1] < 2 or (ranks == ranks[:1]).all():  # as above
        return None
    found = stats.friedmanchisquare(*ranks)
    return float(found.statistic), float(found.pvalue)


def cliques(ranks: Means, critical: float | None) -> tuple[tuple[str, ...], ...]:
    """The largest sets of neighbours in rank that are not told apart, of two methods and more.

    >>> cliques({"a": 1.0, "b": 1.5, "c": 2.2, "d": 4.0}, 1.0)
    (('a', 'b'), ('b', 'c'))
    """
    if critical is None:
        return ()
    order = sorted(ranks, key=lambda spec: ranks[spec])
    found: list[tuple[str, ...]] = []
    for start, first in enumerate(order):
        members = tuple(spec for spec in order[start:] if ranks[spec] - ranks[first] <= critical)
        if len(members) > 1 and not (found and set(members) <= set(found[-1])):
            found.append(members)
    return tuple(found)


def front(quality: Means, cost: Means) -> frozenset[str]:
    """The methods that no other beats: none is as good for less, or better for as much (Pareto).

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
    """Scores of which the mean is (mean − random's) / (best's − random's), and the spread is that of this ratio.

    The ratio of means c is written as a mean of one value for each sequence, c + (xᵢ − rᵢ − c (bᵢ − rᵢ)) / (b − r): its
    expansion to the first order (delta method).

    Args:
        scores: float64[n] for each model, by spec.
        random: spec of the one that gets 0.
        best: spec of the one that gets 1.
    """
    low, high = (_mean_of_all(scores[spec]) for spec in (random, best))
    span = high - low
    found = {}
    for spec, rows in scores.items():
        ratio = (_mean_of_all(rows) - low) / span
        found[spec] = [
            ratio + (row - chance - ratio * (known - chance)) / span
            for row, chance, known in zip(rows, scores[random], scores[best], strict=True)
        ]
    return found


def _mean_of_all(rows: Sequence[Values]) -> float:
    values = np.concatenate([*rows])
    return float(values[~np.isnan(values)].mean())


def _corrected(
    specs: Sequence[str], headline: Source, chosen: Sequence[int], tables: Sequence[OfTask], columns: Sequence[Columns]
) -> dict[str, Estimate]:
    """Empty where random was not scored, or is the best on a task: nothing can be measured against chance there."""
    random = next((spec for spec in specs if spec.partition(":")[0] == RANDOM), None)
    if random is None:
        return {}
    corrected = []
    for place in chosen:
        entries, column = tables[place].entries, columns[place][headline.spec]
        # by name, for which is the best of equals must not hang on the order of the cells
        means = {
            spec: better(headline) * entry.value.mean
            for spec in sorted(column.clusters)
            if (entry := entries[spec, headline.spec]).value.n
        }
        best = max(means, key=lambda spec: means[spec])
        sizes = {len(column.clusters[spec]) for spec in (*specs, best)}
        if means[best] <= means[random] or len(sizes) > 1:
            return {}
        found = corrected_scores({spec: column.clusters[spec] for spec in {*specs, best}}, random, best)
        corrected.append(Column({spec: found[spec] for spec in specs}, column.stream))
    return dict(zip(specs, estimates_over(corrected, specs), strict=True))


def _mean(table: OfTask, method: Source, headline: Source) -> float | None:
    entry = table.entries[method.spec, headline.spec]
    return entry.value.mean if entry.status == "scored" and entry.value.n else None


def _ranks(means: Values) -> Values:
    """float64[M, N]: the rank of each method on each task, 1 for the highest mean, from means float64[M, N]."""
    # means that agree to 12 digits are tied: which is larger is decided by the last bits of a sum
    size = np.abs(means).max(0, initial=0.0)
    rounded = np.round(means / np.where(size > 0, size, 1.0), 12)
    found: Values = stats.rankdata(-rounded, axis=0) if len(means) else means
    return found


def _cost(methods: Sequence[Source], cells: Sequence[Cells]) -> dict[str, float]:
    found = {}
    for method in methods:
        tasks = []
        for of_task in cells:
            kept = [judged.cell for _, judged in of_method(of_task, method) if judged.cell is not None]
            sizes = [judged.scores.shape[1] for _, judged in of_method(of_task, method) if judged.cell is not None]
            costs = [
                (cell.passes.forward + 2 * cell.passes.backward) / size
                for cell, size in zip(kept, sizes, strict=True)
                if cell.explained and size
            ]
            tasks.append(float(np.mean(costs)) if costs else math.nan)
        found[method.spec] = float(np.mean(tasks))
    return found


def _tau(one: Values, other: Values) -> float:
    return float(stats.kendalltau(np.round(one, 12), np.round(other, 12)).statistic)
