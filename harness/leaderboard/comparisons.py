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
    from collections.abc import Iterator, Mapping, Sequence

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


def make_comparisons(
    axes: Axes, cells: Sequence[CellsByMethod], means: Sequence[MeansByMetric]
) -> tuple[list[Comparisons], Comparisons]:
    """Compare methods and metrics.

    Args:
        axes: of the grid.
        cells: of each task.
        means: for each task, by spec of the metric, the means float64[M] of the methods, more being better; NaN where
            there is none.

    Returns:
        the comparisons of each task, and those over the tasks.
    """
    specs = [method.spec for method in axes.methods]
    by_intervention = RankCorrelations(intervention_pairs(axes.metrics))
    with_truth = RankCorrelations(truth_pairs(axes.metrics))
    tasks, all_means = [], []
    for stream, (of_task, by_metric) in enumerate(zip(cells, means, strict=True)):
        method_means = MethodMeans(by_metric, of_task, axes.methods, stream)
        all_means.append(method_means)
        agreement = agreements(specs, _maps(axes, of_task))
        tasks.append(Comparisons(agreement, by_intervention.of_task(method_means), with_truth.of_task(method_means)))
    return tasks, Comparisons(
        mean_agreements(specs, [task.methods for task in tasks]),
        by_intervention.over_tasks(),
        with_truth.over_tasks(),
        mean_rank_correlations(axes.metrics, all_means),
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
