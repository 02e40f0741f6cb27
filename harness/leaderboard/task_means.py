"""Means over tasks: of the headline metric for each application, and of every metric for each family of metrics.

Each task has the same weight, and incomplete data are not averaged: a method has a mean only if it is scored on every
task of the scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from ..results.cells import PluginInfo
from ..results.scored_cells import direction_sign, value_range
from ..statistics.estimates import DrawSums, Estimate, estimates_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Axes
    from ..statistics.estimates import Draws, MetricScores

    # The scores on a task, by spec of the metric.
    TaskScores = Mapping[str, MetricScores]


class EntryLike(Protocol):
    """The parts of a leaderboard's entry that means over tasks need."""

    @property
    def status(self) -> str:
        """``"scored"``, ``"not applicable"``, or the reason why there is no mean."""

    @property
    def value(self) -> Estimate:
        """The mean and the number of values it is computed from."""


class TaskTableLike(Protocol):
    """The parts of a leaderboard's table of one task that means over tasks need."""

    @property
    def task(self) -> PluginInfo:
        """The task."""

    @property
    def entries(self) -> Mapping[tuple[str, str], EntryLike]:
        """The entries by spec of the method and spec of the metric."""


@dataclass(frozen=True)
class Overview:
    """Means over the tasks of one application, or over all tasks for the metrics of one family.

    Attributes:
        scope: ``"application"`` or ``"family"``.
        name: of the application or the family.
        methods: of the board; for an application best first, methods without a mean last.
        metrics: the headline metric, or those of the family that apply to any task.
        tasks: by spec of the metric, the specs of the tasks it is averaged over: those of the application, or those on
            which the metric applies to at least one method.
        means: by spec of the method and spec of the metric; only of methods that are scored on all of these tasks.
    """

    scope: Literal["application", "family"]
    name: str
    methods: tuple[PluginInfo, ...]
    metrics: tuple[PluginInfo, ...]
    tasks: Mapping[str, tuple[str, ...]]
    means: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)


class SumsOverTasks:
    """Sums of the bootstrap draws of quantiles: over all tasks, and over those of each application for the headline.

    Args:
        headline: the metric of the applications.
    """

    def __init__(self, headline: PluginInfo) -> None:
        self._headline = headline
        self._sums: dict[tuple[str, str], DrawSums] = {}

    def add(self, task: PluginInfo, draws: Mapping[str, Draws]) -> None:
        """Add the draws on one more task, by spec of the metric."""
        for spec, by_method in draws.items():
            scopes = {"", task.facts.get("application", "")} if spec == self._headline.spec else {""}
            for scope in scopes:
                self._sums.setdefault((spec, scope), DrawSums()).add(by_method)

    def of(self, metric: PluginInfo, application: str = "") -> DrawSums | None:
        """Return the sums of a metric over the tasks of an application, or over all; None if it shows means."""
        return self._sums.get((metric.spec, application))


def overviews(
    axes: Axes,
    methods: tuple[PluginInfo, ...],
    headline: PluginInfo,
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    sums: SumsOverTasks,
) -> tuple[Overview, ...]:
    """Return the means of each application that has more than one task, but not all of them, then of each family.

    There are none if there is only one task. An application that has all tasks is left out, because its means are those
    of the whole leaderboard.

    Args:
        axes: of the grid.
        methods: in the order of the board.
        headline: the metric of the applications.
        tables: of each task.
        scores: of each task.
        sums: of the draws on all of the tasks.
    """
    if len(tables) < 2:  # one task is its own mean
        return ()
    families = dict.fromkeys(metric.facts.get("family", "") for metric in axes.metrics)
    chosen = applications(tables)
    return (
        *(_of_application(name, indices, methods, headline, tables, scores, sums) for name, indices in chosen.items()),
        *(overview for name in families if (overview := _of_family(name, axes, methods, tables, scores, sums)).metrics),
    )


def applications(tables: Sequence[TaskTableLike]) -> dict[str, list[int]]:
    """Return the indices of the tasks of each application that has more than one task, but not all of them."""
    names = [table.task.facts.get("application", "") for table in tables]
    chosen = [name for name in dict.fromkeys(names) if name and 1 < names.count(name) < len(names)]
    return {name: [index for index, other in enumerate(names) if other == name] for name in chosen}


def means_over(
    methods: Sequence[PluginInfo],
    metric: PluginInfo,
    indices: Sequence[int],
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    sums: SumsOverTasks,
    application: str = "",
) -> dict[str, Estimate]:
    """Return the mean of one metric over some tasks, by spec of the method.

    Args:
        methods: the methods to average; those that are not scored on each of the tasks are left out.
        metric: the metric.
        indices: of the tasks to average over.
        tables: of all tasks.
        scores: of all tasks.
        sums: of the draws on all tasks.
        application: whose tasks they are; empty for all tasks on which the metric applies.
    """
    entries = {
        method.spec: [tables[index].entries[method.spec, metric.spec] for index in indices] for method in methods
    }
    everywhere = [
        method.spec
        for method in methods
        if all(entry.status == "scored" and entry.value.n for entry in entries[method.spec])
    ]
    if not everywhere or not indices:
        return {}
    chosen = [scores[index][metric.spec] for index in indices]
    means = estimates_over(chosen, everywhere, value_range(metric), sums.of(metric, application))
    return dict(zip(everywhere, means, strict=True))


def _of_application(
    name: str,
    indices: Sequence[int],
    methods: tuple[PluginInfo, ...],
    headline: PluginInfo,
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    sums: SumsOverTasks,
) -> Overview:
    """Return the means of the headline metric over the tasks of one application."""
    estimates = means_over(methods, headline, indices, tables, scores, sums, name)
    sign = direction_sign(headline) or 1
    with_mean = sorted(
        (method for method in methods if method.spec in estimates),
        key=lambda method: -sign * estimates[method.spec].mean,
    )
    order = (*with_mean, *(method for method in methods if method.spec not in estimates))
    tasks = tuple(tables[index].task.spec for index in indices)
    means = {(spec, headline.spec): value for spec, value in estimates.items()}
    return Overview("application", name, order, (headline,), {headline.spec: tasks}, means)


def _of_family(
    name: str,
    axes: Axes,
    methods: tuple[PluginInfo, ...],
    tables: Sequence[TaskTableLike],
    scores: Sequence[TaskScores],
    sums: SumsOverTasks,
) -> Overview:
    """Return the means of the metrics of one family, each over the tasks it applies to."""
    metrics = [metric for metric in axes.metrics if metric.facts.get("family", "") == name]
    indices = {metric.spec: _applicable_tasks(metric, methods, tables) for metric in metrics}
    metrics = [metric for metric in metrics if indices[metric.spec]]
    means = {
        (spec, metric.spec): value
        for metric in metrics
        for spec, value in means_over(methods, metric, indices[metric.spec], tables, scores, sums).items()
    }
    tasks = {metric.spec: tuple(tables[index].task.spec for index in indices[metric.spec]) for metric in metrics}
    return Overview("family", name, methods, tuple(metrics), tasks, means)


def _applicable_tasks(metric: PluginInfo, methods: Sequence[PluginInfo], tables: Sequence[TaskTableLike]) -> list[int]:
    """Return the indices of the tasks on which a metric applies to at least one method, whether scored or not."""
    return [
        index
        for index, table in enumerate(tables)
        if any(table.entries[method.spec, metric.spec].status != "not applicable" for method in methods)
    ]
