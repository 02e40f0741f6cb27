"""Means over tasks: of the headline, for each application, and of every metric, for each family of metrics.

Each task counts alike, and nothing partial is averaged: a method has a mean only if it is scored on every task of the
scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from ..results.cells import Source
from ..results.scored_cells import better, bounds
from ..statistics.estimates import Estimate, estimates_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Axes
    from ..statistics.estimates import Column

    # The scores on a task, by spec of the metric.
    Columns = Mapping[str, Column]


class Scored(Protocol):
    """What is read of an entry of a board."""

    @property
    def status(self) -> str:
        """``"scored"``, ``"not applicable"``, or what went wrong."""

    @property
    def value(self) -> Estimate:
        """Its mean and how many values it rests on."""


class OfTask(Protocol):
    """What is read of a board's table of one task."""

    @property
    def task(self) -> Source:
        """The task."""

    @property
    def entries(self) -> Mapping[tuple[str, str], Scored]:
        """By spec of the method and spec of the metric."""


@dataclass(frozen=True)
class Overview:
    """Means over the tasks of one application, or over all tasks for the metrics of one family.

    Attributes:
        scope: ``"application"`` or ``"family"``.
        name: of the application or the family.
        methods: of the board; for an application best first, methods without a mean last.
        metrics: the headline, or those of the family that apply on any task.
        tasks: by spec of the metric, the specs of the tasks averaged over: of the application, or those on which the
            metric applies to any method.
        means: by spec of the method and spec of the metric; only of methods that are scored on all of these tasks.
    """

    scope: Literal["application", "family"]
    name: str
    methods: tuple[Source, ...]
    metrics: tuple[Source, ...]
    tasks: Mapping[str, tuple[str, ...]]
    means: Mapping[tuple[str, str], Estimate] = field(default_factory=dict)


def overviews(
    axes: Axes, methods: tuple[Source, ...], headline: Source, tables: Sequence[OfTask], columns: Sequence[Columns]
) -> tuple[Overview, ...]:
    """Of each application that has more than one task, but not all of them, then of each family.

    None if there is but one task: its table says it all. An application of all tasks is the overview of the board.

    Args:
        axes: of the grid.
        methods: in the order of the board.
        headline: the metric of the applications.
        tables: of each task.
        columns: of each task.
    """
    if len(tables) < 2:  # one task is its own mean
        return ()
    families = dict.fromkeys(metric.facts.get("family", "") for metric in axes.metrics)
    chosen = applications(tables)
    return (
        *(_of_application(name, places, methods, headline, tables, columns) for name, places in chosen.items()),
        *(each for name in families if (each := _of_family(name, axes, methods, tables, columns)).metrics),
    )


def applications(tables: Sequence[OfTask]) -> dict[str, list[int]]:
    """The places of each application's tasks, of applications that have more than one task, but not all of them."""
    names = [table.task.facts.get("application", "") for table in tables]
    chosen = [name for name in dict.fromkeys(names) if name and 1 < names.count(name) < len(names)]
    return {name: [place for place, each in enumerate(names) if each == name] for name in chosen}


def means_over(
    methods: Sequence[Source],
    metric: Source,
    places: Sequence[int],
    tables: Sequence[OfTask],
    columns: Sequence[Columns],
) -> dict[str, Estimate]:
    """The mean over some tasks of one metric, by spec of the method, of those that are scored on all of them.

    Args:
        methods: asked for.
        metric: the metric.
        places: which of the tasks.
        tables: of all tasks.
        columns: of all tasks.
    """
    entries = {method.spec: [tables[place].entries[method.spec, metric.spec] for place in places] for method in methods}
    everywhere = [
        method.spec
        for method in methods
        if all(entry.status == "scored" and entry.value.n for entry in entries[method.spec])
    ]
    if not everywhere or not places:
        return {}
    found = estimates_over([columns[place][metric.spec] for place in places], everywhere, bounds(metric))
    return dict(zip(everywhere, found, strict=True))


def _of_application(
    name: str,
    places: Sequence[int],
    methods: tuple[Source, ...],
    headline: Source,
    tables: Sequence[OfTask],
    columns: Sequence[Columns],
) -> Overview:
    found = means_over(methods, headline, places, tables, columns)
    sign = better(headline) or 1
    known = sorted(
        (method for method in methods if method.spec in found), key=lambda each: -sign * found[each.spec].mean
    )
    order = (*known, *(method for method in methods if method.spec not in found))
    tasks = tuple(tables[place].task.spec for place in places)
    means = {(spec, headline.spec): value for spec, value in found.items()}
    return Overview("application", name, order, (headline,), {headline.spec: tasks}, means)


def _of_family(
    name: str, axes: Axes, methods: tuple[Source, ...], tables: Sequence[OfTask], columns: Sequence[Columns]
) -> Overview:
    metrics = [metric for metric in axes.metrics if metric.facts.get("family", "") == name]
    places = {metric.spec: _applied(metric, methods, tables) for metric in metrics}
    metrics = [metric for metric in metrics if places[metric.spec]]
    means = {
        (spec, metric.spec): value
        for metric in metrics
        for spec, value in means_over(methods, metric, places[metric.spec], tables, columns).items()
    }
    tasks = {metric.spec: tuple(tables[place].task.spec for place in places[metric.spec]) for metric in metrics}
    return Overview("family", name, methods, tuple(metrics), tasks, means)


def _applied(metric: Source, methods: Sequence[Source], tables: Sequence[OfTask]) -> list[int]:
    """The tasks on which a metric applies to any method, whether it could be scored or not."""
    return [
        place
        for place, table in enumerate(tables)
        if any(table.entries[method.spec, metric.spec].status != "not applicable" for method in methods)
    ]
