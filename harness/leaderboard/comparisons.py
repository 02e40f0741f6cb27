"""Comparisons of a leaderboard: agreement of methods, and rank correlation of interventions and of metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.scored_cells import cells_of_method
from ..statistics.method_agreement import Agreement, agreements, mean_agreements
from ..statistics.rank_correlation import (
    DrawnCorrelation,
    MeanCorrelations,
    MethodMeans,
    RankCorrelation,
    intervention_pairs,
    mean_rank_correlations,
    rank_correlations,
    truth_pairs,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

    from ..results.cells import Axes
    from ..results.scored_cells import CellsByMethod, StoredAttribution

    MeansByMetric = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparisons:
    """Comparisons of methods and of metrics on one task, or their means over the tasks; undefined ones are left out.

    Attributes:
        methods: the agreement of every two methods.
        interventions: the rank correlation of one metric under two interventions.
        truth: the rank correlation of a metric that does not know the truth with one that does.
        metrics: the rank correlation of every two metrics; over the tasks only, without intervals.
    """

    methods: tuple[Agreement, ...] = ()
    interventions: tuple[RankCorrelation, ...] = ()
    truth: tuple[RankCorrelation, ...] = ()
    metrics: tuple[RankCorrelation, ...] = ()


@dataclass(frozen=True)
class TaskComparisons:
    """Comparisons on one task, with what their means over tasks are computed from.

    Attributes:
        shown: the comparisons.
        means: means of the methods.
        interventions, truth: the draws of the rank correlations.
    """

    shown: Comparisons
    means: MethodMeans
    interventions: Sequence[DrawnCorrelation]
    truth: Sequence[DrawnCorrelation]


def compare_on_task(axes: Axes, cells: CellsByMethod, means: MeansByMetric, stream: int) -> TaskComparisons:
    """Compare methods and metrics on one task.

    Args:
        axes: of the grid.
        cells: of the task.
        means: by spec of the metric, the means float64[M] of the methods, more being better; NaN where there is none.
        stream: of random numbers.
    """
    of_methods = MethodMeans(means, cells, axes.methods, stream)
    agreement = agreements([method.spec for method in axes.methods], _maps(axes, cells))
    interventions = rank_correlations(intervention_pairs(axes.metrics), of_methods)
    truth = rank_correlations(truth_pairs(axes.metrics), of_methods)
    shown = Comparisons(
        agreement, tuple(each.correlation for each in interventions), tuple(each.correlation for each in truth)
    )
    return TaskComparisons(shown, of_methods.condensed(), interventions, truth)


class ComparisonsOverTasks:
    """Means of the comparisons over tasks, which are added one after another; no draws of a single task are kept.

    Args:
        axes: of the grid.
    """

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._by_intervention, self._with_truth = MeanCorrelations(), MeanCorrelations()
        self._agreements: list[tuple[Agreement, ...]] = []
        self._means: list[MethodMeans] = []

    def add(self, on_task: TaskComparisons) -> None:
        """Add the comparisons on one more task."""
        self._agreements.append(on_task.shown.methods)
        self._means.append(on_task.means)
        self._by_intervention.add(on_task.interventions)
        self._with_truth.add(on_task.truth)

    def means(self) -> Comparisons:
        """Return the means over the tasks so far."""
        return Comparisons(
            mean_agreements([method.spec for method in self._axes.methods], self._agreements),
            self._by_intervention.means(),
            self._with_truth.means(),
            mean_rank_correlations(self._axes.metrics, self._means),
        )


def _maps(axes: Axes, cells: CellsByMethod) -> Iterator[dict[str, list[StoredAttribution]]]:
    """Yield the maps of each fit model, by spec of the method; a method that lacks one of its maps is left out."""
    complete = {}
    for method in axes.methods:
        fit = [
            (seed, scored) for seed, scored in cells_of_method(cells, method) if scored.cell is None or scored.cell.fit
        ]
        if all(scored.read is not None for _, scored in fit):
            complete[method.spec] = fit
    for seed in sorted({seed for fit in complete.values() for seed, _ in fit}):
        yield {
            spec: [scored.read() for model, scored in fit if model == seed and scored.read is not None]
            for spec, fit in complete.items()
        }
