"""Plot of quality against cost, with a logarithmic axis of cost and names where there is room for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..number_format import format_number
from .axes import linear_axis, logarithmic_axis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...leaderboard.standings import Standing
    from .css_classes import CssClasses

# Units of the SVG: the margins of the plot.
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 6.0, 4.0, 40.0
# The distance of the outermost points from the edge.
_INSET = 12.0
# The mean width of a letter, the height of a line, and the radius of a point.
_LETTER, _LINE, _RADIUS = 6.4, 14.0, 5.0


@dataclass(frozen=True)
class Point:
    """A method in the plot.

    Attributes:
        classes: the CSS classes of the method and of its group.
        label: the spec of the method.
        control: whether it is a control.
        x, y: its coordinates.
        above, below: the y coordinates of the ends of its interval.
        front: whether it is on the Pareto front.
        description: its name and its numbers.
        anchor: the text anchor of its name: ``"start"``, ``"middle"`` or ``"end"``; empty if there is no room for it.
        text_x, text_y: the coordinates of its name.
    """

    classes: str
    label: str
    control: bool
    x: float
    y: float
    above: float
    below: float
    front: bool
    description: str
    anchor: str = ""
    text_x: float = 0.0
    text_y: float = 0.0


@dataclass(frozen=True)
class CostPlot:
    """A plot of quality against cost.

    Attributes:
        title: its title.
        quality: the name of the vertical axis.
        width, height: its size.
        points: the methods.
        x_ticks, y_ticks: the coordinates and texts of the ticks.
        front: the SVG path along the Pareto front.
        groups: the groups of methods with their CSS classes.
    """

    title: str
    quality: str
    width: float
    height: float
    points: tuple[Point, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    front: str
    groups: tuple[tuple[str, str], ...]

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plotting area."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM

    @property
    def summary(self) -> str:
        """A description of the figure for screen readers."""
        return f"{self.title}. " + "; ".join(point.description for point in self.points) + "."


def cost_plot(standing: Standing, classes: CssClasses, width: float, height: float) -> CostPlot | None:
    """Return the plot of quality against cost over the tasks of a standing; None if no cost is known."""
    quality, title = _quality(standing)
    specs = [spec for spec in quality if math.isfinite(standing.cost.get(spec, math.nan))]
    if not specs:
        return None
    x_axis = logarithmic_axis(standing.cost[spec] for spec in specs)
    y_axis = linear_axis([end for spec in specs for end in quality[spec]])
    right, bottom = width - _RIGHT, height - _BOTTOM

    def x(position: float) -> float:
        return round(_LEFT + _INSET + position * (right - _LEFT - 2 * _INSET), 1)

    def y(position: float) -> float:
        # the best is at the top, and the best rank is the lowest
        share = position if standing.corrected else 1 - position
        return round(bottom - _INSET - share * (bottom - _TOP - 2 * _INSET), 1)

    points = []
    for spec in specs:
        mean, low, high = quality[spec]
        cost = standing.cost[spec]
        front = spec in standing.front
        description = f"{spec}: {title} {mean:.2f}, cost {format_number(cost)}" + (", on the front" if front else "")
        ends = (y(y_axis.position(mean)), y(y_axis.position(high)), y(y_axis.position(low)))
        names = f"{classes.method(spec)} {classes.group(spec)}"
        control = spec in classes.controls
        points.append(Point(names, spec, control, x(x_axis.position(cost)), *ends, front, description))
    return CostPlot(
        title=f"{title[0].upper()}{title[1:]} against cost over {standing.scope or 'all tasks'}",
        quality=title,
        width=width,
        height=height,
        points=tuple(_labelled(points, width, height)),
        x_ticks=tuple((x(tick.position), tick.text) for tick in x_axis.ticks),
        y_ticks=tuple((y(tick.position), tick.text) for tick in y_axis.ticks),
        front=_step_path([point for point in points if point.front]),
        groups=classes.groups_of(specs),
    )


def _quality(standing: Standing) -> tuple[Mapping[str, tuple[float, float, float]], str]:
    """Return mean, low and high of each method, and the name of this quality."""
    if standing.corrected:
        corrected = {spec: (value.mean, value.low, value.high) for spec, value in standing.corrected.items()}
        return corrected, "corrected mean"
    return {spec: (rank, rank, rank) for spec, rank in standing.ranks.items()}, "mean rank"


def _step_path(points: Sequence[Point]) -> str:
    """Return the SVG path of a step function through the points; empty for fewer than two."""
    ordered = sorted(points, key=lambda point: (point.x, -point.y))
    if len(ordered) < 2:
        return ""
    return f"M{ordered[0].x} {ordered[0].y}" + "".join(f"H{point.x}V{point.y}" for point in ordered[1:])


def _labelled(points: Sequence[Point], width: float, height: float) -> Iterator[Point]:
    """Return the points, each with the place of its name if there is room; those on the front choose first."""
    taken = [(p.x - _RADIUS, p.y - _RADIUS, p.x + _RADIUS, p.y + _RADIUS) for p in points]
    labelled: dict[str, Point] = {}
    for point in sorted(points, key=lambda point: (not point.front, point.control, point.y)):
        labelled[point.label] = point
        for anchor, x, y in _candidates(point):
            start = {"start": x, "middle": x - _label_width(point) / 2, "end": x - _label_width(point)}[anchor]
            box = (start, y - _LINE + 3, start + _label_width(point), y + 3)
            inside = box[0] >= _LEFT and box[2] <= width - 2 and box[1] >= 0 and box[3] <= height - _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labelled[point.label] = replace(point, anchor=anchor, text_x=round(x, 1), text_y=round(y, 1))
                break
    return (labelled[point.label] for point in points)


def _candidates(point: Point) -> Iterator[tuple[str, float, float]]:
    """Yield anchor and coordinates of each possible place for the name of a point, the preferred first."""
    yield "start", point.x + 9, point.y + 4
    yield "end", point.x - 9, point.y + 4
    for distance in (12.0, 24.0):
        yield "start", point.x + 6, point.y - distance + 3
        yield "start", point.x + 6, point.y + distance + 5
        yield "end", point.x - 6, point.y - distance + 3
        yield "end", point.x - 6, point.y + distance + 5


def _label_width(point: Point) -> float:
    """Return the approximate width of the name of a point."""
    return _LETTER * len(point.label)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes (left, top, right, bottom) overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
