"""What a board says beside its scores: methods beside methods, interventions, and metrics as judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..results.scored_cells import of_method
from ..statistics.method_agreement import Agreement, agreements, mean_agreements
from ..statistics.rank_correlation import (
    Concordance,
    Concordances,
    Orders,
    against_truth,
    all_beside_all,
    interventions,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np

    from ..results.cells import Axes
    from ..results.scored_cells import Grouped, Map

    Means = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparisons:
    """What was compared on one task, or the means over the tasks. What is not defined is not there.

    Attributes:
        methods: how much every two methods agree.
        interventions: whether one metric by two interventions orders the methods alike.
        truth: whether a metric that does not know the truth orders the methods as one that does.
        metrics: whether every two metrics order the methods alike; over the tasks only, without intervals.
    """

    methods: tuple[Agreement, ...] = ()
    interventions: tuple[Concordance, ...] = ()
    truth: tuple[Concordance, ...] = ()
    metrics: tuple[Concordance, ...] = ()


def compare(axes: Axes, cells: Sequence[Grouped], means: Sequence[Means]) -> tuple[list[Comparisons], Comparisons]:
    """Compare methods and metrics.

    Args:
        axes: of the grid.
        cells: of each task.
        means: for each task, by spec of the metric, float64[M] of the methods, more being better; NaN where there is
            none.

    Returns:
        the comparisons of each task, and those over the tasks.
    """
    specs = [method.spec for method in axes.methods]
    by, truth = Concordances(interventions(axes.metrics)), Concordances(against_truth(axes.metrics))
    tasks, orders = [], []
    for stream, (found, known) in enumerate(zip(cells, means, strict=True)):
        orders.append(Orders(known, found, axes.methods, stream))
        agreeing = agreements(specs, _maps(axes, found))
        tasks.append(Comparisons(agreeing, by.of_task(orders[-1]), truth.of_task(orders[-1])))
    return tasks, Comparisons(
        mean_agreements(specs, [task.methods for task in tasks]),
        by.over_tasks(),
        truth.over_tasks(),
        all_beside_all(axes.metrics, orders),
    )


def _maps(axes: Axes, cells: Grouped) -> Iterator[dict[str, list[Map]]]:
    """The maps of each fit model, by spec of the method; a method that lacks one of its maps is left out."""
    kept = {}
    for method in axes.methods:
        found = [(seed, judged) for seed, judged in of_method(cells, method) if judged.cell is None or judged.cell.fit]
        if all(judged.read is not None for _, judged in found):
            kept[method.spec] = found
    for seed in sorted({seed for found in kept.values() for seed, _ in found}):
        yield {
            spec: [judged.read() for model, judged in found if model == seed and judged.read is not None]
            for spec, found in kept.items()
        }
