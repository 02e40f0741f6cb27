"""Forest plot of means with intervals, and critical-difference diagrams of mean ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...results.scored_cells import is_control
from ..number_format import format_estimate
from .axes import Tick, integer_axis, linear_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...leaderboard.leaderboard import Leaderboard
    from ...leaderboard.standings import Standing
    from ...statistics.estimates import Estimate
    from .axes import Axis
    from .css_classes import CssClasses


@dataclass(frozen=True)
class MethodRow:
    """A method on a line of its own; positions are shares of the axis, 0 to 1.

    Attributes:
        css_class: the CSS class of the method.
        label: the spec of the method.
        control: whether it is a control.
        position: the position of its mean.
        low, high: the positions of the ends of its interval.
        text: the mean as text.
        interval: ``"[low, high]"``, or empty.
    """

    css_class: str
    label: str
    control: bool
    position: float
    low: float
    high: float
    text: str
    interval: str = ""


@dataclass(frozen=True)
class ForestPlot:
    """A forest plot: the means of the methods with their intervals, one below the other."""

    title: str
    rows: tuple[MethodRow, ...]
    ticks: tuple[Tick, ...]

    @property
    def summary(self) -> str:
        """A description of the figure for screen readers."""
        methods = (" ".join(filter(None, [row.label, row.text, row.interval])) for row in self.rows)
        return f"{self.title}. " + "; ".join(methods)


@dataclass(frozen=True)
class CliqueBar:
    """The bar of methods that do not differ significantly.

    Attributes:
        first, last: the rows of its first and last method, counted from 1.
        lane: the column of the bar, counted from 1.
    """

    first: int
    last: int
    lane: int


@dataclass(frozen=True)
class RankDiagram:
    """A critical-difference diagram with one line for each method, so that names have room on any screen.

    Attributes:
        title: its title.
        rows: the methods, best first.
        ticks: of the mean rank.
        cliques: the bars of methods that do not differ significantly.
        lanes: the number of columns of bars.
        critical: the critical difference as a share of the axis, and as text; None where there is none.
        summary: a description of the figure for screen readers.
    """

    title: str
    rows: tuple[MethodRow, ...]
    ticks: tuple[Tick, ...]
    cliques: tuple[CliqueBar, ...]
    lanes: int
    critical: tuple[float, str] | None
    summary: str


def forest_plot(board: Leaderboard, classes: CssClasses) -> ForestPlot | None:
    """Return the forest plot of the headline metric over all tasks; None if no method has a mean."""
    values = dict(board.overall)
    if not values:
        return None
    axis = linear_axis([end for value in values.values() for end in _ends(value)])
    rows = [_row(method.spec, values[method.spec], axis, classes) for method in board.methods if method.spec in values]
    over = f"mean over {len(board.tables)} tasks" if len(board.tables) > 1 else "mean"
    return ForestPlot(f"{board.headline.spec}, {over}, with 95 % interval", tuple(rows), axis.ticks)


def _row(spec: str, value: Estimate, axis: Axis, classes: CssClasses) -> MethodRow:
    """Return the row of a method in the forest plot."""
    text, interval = format_estimate(value)
    position, low, high = (axis.position(number) for number in (value.mean, *_ends(value)))
    return MethodRow(classes.method(spec), spec, spec in classes.controls, position, low, high, text, interval)


def rank_diagram(standing: Standing, classes: CssClasses) -> RankDiagram:
    """Return the critical-difference diagram of a standing."""
    specs = [method.spec for method in standing.methods]
    axis = integer_axis(1, max(2, len(specs)))
    rows = []
    for method in standing.methods:
        spec, rank = method.spec, standing.ranks[method.spec]
        position = axis.position(rank)
        css_class, text = classes.method(spec), f"{rank:.2f}"
        rows.append(MethodRow(css_class, spec, is_control(method), position, position, position, text))
    cliques, lanes = _in_lanes(
        [(specs.index(clique[0]) + 1, specs.index(clique[-1]) + 1) for clique in standing.cliques]
    )
    critical = None
    if standing.critical is not None:
        share = standing.critical / (axis.high - axis.low)
        critical = (share, f"{standing.critical:.2f}")
    title = f"Mean ranks over {standing.scope or 'all tasks'}"
    return RankDiagram(title, tuple(rows), axis.ticks, cliques, lanes, critical, _summary(standing, title))


def _summary(standing: Standing, title: str) -> str:
    """Return the description of a critical-difference diagram for screen readers."""
    ranked = ", ".join(f"{method.spec} {standing.ranks[method.spec]:.2f}" for method in standing.methods)
    summary = f"{title}, best first: {ranked}."
    if standing.critical is not None:
        summary += f" Critical difference {standing.critical:.2f}."
    if standing.cliques:
        cliques = "; ".join(", ".join(clique) for clique in standing.cliques)
        summary += f" No significant difference within: {cliques}."
    return summary


def _in_lanes(spans: Sequence[tuple[int, int]]) -> tuple[tuple[CliqueBar, ...], int]:
    """Return a bar for each span, in the first lane that is free at its start, and the number of lanes."""
    ends: list[int] = []
    bars = []
    for first, last in spans:
        lane = next((index for index, end in enumerate(ends) if end < first), len(ends))
        ends[lane:] = [last] if lane == len(ends) else [last, *ends[lane + 1 :]]
        bars.append(CliqueBar(first, last, lane + 1))
    return tuple(bars), len(ends)


def _ends(value: Estimate) -> tuple[float, float]:
    """Return the ends of an interval; the mean twice where there is none."""
    return (value.mean, value.mean) if math.isnan(value.low) else (value.low, value.high)
