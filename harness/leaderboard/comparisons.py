"""Comparisons of a leaderboard: agreement of methods, and rank correlation of interventions and of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.scored_cells import cells_of_method
from ..statistics.method_agreement import Agreement, agreements, mean_agreements
from ..statistics.rank_correlation import (
    MethodMeans,
    RankCorrelation,
    RankCorrelations,
    intervention_pairs,
    mean_rank_correlations,
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


class ComparisonMaker:
    """Maker of the comparisons of a board, one task after another; it keeps no cell of a task that is done.

    Args:
        axes: of the grid.
    """

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._specs = [method.spec for method in axes.methods]
        self._by_intervention = RankCorrelations(intervention_pairs(axes.metrics))
        self._with_truth = RankCorrelations(truth_pairs(axes.metrics))
        self._agreements: list[tuple[Agreement, ...]] = []
        self._means: list[MethodMeans] = []

    def of_task(self, cells: CellsByMethod, means: MeansByMetric) -> Comparisons:
        """Compare methods and metrics on one more task.

        Args:
            cells: of the task.
            means: by spec of the metric, the means float64[M] of the methods, more being better; NaN where there is
                none.
        """
        method_means = MethodMeans(means, cells, self._axes.methods, len(self._means))
        agreement = agreements(self._specs, _maps(self._axes, cells))
        self._means.append(method_means.condensed())
        self._agreements.append(agreement)
        return Comparisons(
            agreement, self._by_intervention.of_task(method_means), self._with_truth.of_task(method_means)
        )

    def over_tasks(self) -> Comparisons:
        """Return the means of the comparisons over the tasks."""
        return Comparisons(
            mean_agreements(self._specs, self._agreements),
            self._by_intervention.over_tasks(),
            self._with_truth.over_tasks(),
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
