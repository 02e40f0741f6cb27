"""Quality against cost: a picture with a logarithmic axis, and names where there is room for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..number_format import number
from .axes import linear, logarithmic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...leaderboard.standings import Standing
    from .css_classes import Names

# The plot in units of its own: margins, then the size of a letter and the radius of a point.
_LEFT, _RIGHT, _TOP, _BOTTOM = 40.0, 6.0, 4.0, 40.0
# So that no point lies on the edge.
_INSET = 12.0
_LETTER, _LINE, _RADIUS = 6.4, 14.0, 5.0


@dataclass(frozen=True)
class Point:
    """One method.

    Attributes:
        kinds: the classes of the method and of its group.
        label: its spec.
        control: whether it is one.
        x, y: where it lies.
        above, below: where its interval ends.
        front: whether no other method beats it.
        said: what it is, in words.
        anchor: how its name lies at its place: ``"start"``, ``"middle"`` or ``"end"``; empty if it has no room.
        text_x, text_y: where its name is.
    """

    kinds: str
    label: str
    control: bool
    x: float
    y: float
    above: float
    below: float
    front: bool
    said: str
    anchor: str = ""
    text_x: float = 0.0
    text_y: float = 0.0


@dataclass(frozen=True)
class Plot:
    """Quality against cost.

    Attributes:
        title: what it shows.
        quality: what is upwards.
        width, height: its size.
        points: the methods.
        across, up: ticks with their places.
        front: the path along the methods nothing beats.
        groups: the groups of methods with their classes.
    """

    title: str
    quality: str
    width: float
    height: float
    points: tuple[Point, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    front: str
    groups: tuple[tuple[str, str], ...]

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of where points may lie."""
        return _LEFT, _TOP, self.width - _RIGHT, self.height - _BOTTOM

    @property
    def summary(self) -> str:
        """The picture in words."""
        return f"{self.title}. " + "; ".join(point.said for point in self.points) + "."


def pareto(standing: Standing, names: Names, width: float, height: float) -> Plot | None:
    """Quality against cost over the tasks of a standing; None if what they cost is not known."""
    quality, title = _quality(standing)
    specs = [spec for spec in quality if math.isfinite(standing.cost.get(spec, math.nan))]
    if not specs:
        return None
    across = logarithmic(standing.cost[spec] for spec in specs)
    up = linear([end for spec in specs for end in quality[spec]])
    right, bottom = width - _RIGHT, height - _BOTTOM

    def x(place: float) -> float:
        return round(_LEFT + _INSET + place * (right - _LEFT - 2 * _INSET), 1)

    def y(place: float) -> float:
        # the best rank is the lowest, and the best is up
        share = place if standing.corrected else 1 - place
        return round(bottom - _INSET - share * (bottom - _TOP - 2 * _INSET), 1)

    points = []
    for spec in specs:
        mean, low, high = quality[spec]
        cost = standing.cost[spec]
        front = spec in standing.front
        said = f"{spec}: {title} {mean:.2f}, cost {number(cost)}" + (", on the front" if front else "")
        ends = (y(up.at(mean)), y(up.at(high)), y(up.at(low)))
        kinds = f"{names.method(spec)} {names.group(spec)}"
        points.append(Point(kinds, spec, spec in names.controls, x(across.at(cost)), *ends, front, said))
    return Plot(
        title=f"{title[0].upper()}{title[1:]} against cost over {standing.scope or 'all tasks'}",
        quality=title,
        width=width,
        height=height,
        points=tuple(_labelled(points, width, height)),
        across=tuple((x(tick.at), tick.text) for tick in across.ticks),
        up=tuple((y(tick.at), tick.text) for tick in up.ticks),
        front=_steps([point for point in points if point.front]),
        groups=names.groups_of(specs),
    )


def _quality(standing: Standing) -> tuple[Mapping[str, tuple[float, float, float]], str]:
    """Mean, low and high of each method, and what they are."""
    if standing.corrected:
        return {spec: (each.mean, each.low, each.high) for spec, each in standing.corrected.items()}, "corrected mean"
    return {spec: (rank, rank, rank) for spec, rank in standing.ranks.items()}, "mean rank"


def _steps(points: Sequence[Point]) -> str:
    """A path that rises only where a method costs more."""
    ordered = sorted(points, key=lambda point: (point.x, -point.y))
    if len(ordered) < 2:
        return ""
    return f"M{ordered[0].x} {ordered[0].y}" + "".join(f"H{point.x}V{point.y}" for point in ordered[1:])


def _labelled(points: Sequence[Point], width: float, height: float) -> Iterator[Point]:
    """The points, each with its name where there is room; those on the front choose first."""
    taken = [(p.x - _RADIUS, p.y - _RADIUS, p.x + _RADIUS, p.y + _RADIUS) for p in points]
    found: dict[str, Point] = {}
    for point in sorted(points, key=lambda point: (not point.front, point.control, point.y)):
        found[point.label] = point
        for anchor, x, y in _places(point):
            start = {"start": x, "middle": x - _wide(point) / 2, "end": x - _wide(point)}[anchor]
            box = (start, y - _LINE + 3, start + _wide(point), y + 3)
            inside = box[0] >= _LEFT and box[2] <= width - 2 and box[1] >= 0 and box[3] <= height - _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                found[point.label] = replace(point, anchor=anchor, text_x=round(x, 1), text_y=round(y, 1))
                break
    return (found[point.label] for point in points)


def _places(point: Point) -> Iterator[tuple[str, float, float]]:
    yield "start", point.x + 9, point.y + 4
    yield "end", point.x - 9, point.y + 4
    for away in (12.0, 24.0):
        yield "start", point.x + 6, point.y - away + 3
        yield "start", point.x + 6, point.y + away + 5
        yield "end", point.x - 6, point.y - away + 3
        yield "end", point.x - 6, point.y + away + 5


def _wide(point: Point) -> float:
    return _LETTER * len(point.label)


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
