"""Deletion curves: a panel for each task with the curve of every method and its band, some of them in colour."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ...results.scored_cells import is_control
from ..blocks import TableBlock, TableCell, TableRow
from ..number_format import format_number
from .axes import linear_axis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...leaderboard.exhibits import Curve, Gallery
    from ...leaderboard.leaderboard import Leaderboard
    from ...results.cells import PluginInfo
    from .axes import Axis
    from .css_classes import CssClasses

# Units of the SVG: the size of a panel and its margins.
_WIDTH, _HEIGHT = 300.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 36.0, 8.0, 8.0, 30.0
# The largest number of curves in colour: the style has so many distinct colours.
MOST = 6
# The shares of the features removed that the tables list.
_SHARES = (0, 0.05, 0.1, 0.2, 0.5, 1)


@dataclass(frozen=True)
class CurvePath:
    """The curve of one method as SVG paths.

    Attributes:
        method: the number of the method.
        label: the spec of the method.
        line, band: the SVG paths of the curve and of its band.
    """

    method: int
    label: str
    line: str
    band: str


@dataclass(frozen=True)
class CurvePanel:
    """The deletion curves of one task.

    Attributes:
        title: the spec of the task.
        css_class: the CSS class of the task.
        paths: the curves of the methods, the best last, so that it is drawn on top.
        x_ticks, y_ticks: the coordinates and texts of the ticks.
        table: the curves as numbers.
    """

    title: str
    css_class: str
    paths: tuple[CurvePath, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    table: TableBlock
    width = _WIDTH
    height = _HEIGHT
    edges = (_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM)


def curve_panels(board: Leaderboard, gallery: Gallery, classes: CssClasses) -> tuple[CurvePanel, ...]:
    """Return a panel for each task that has curves."""
    panels = []
    for table in board.tables:
        curves = gallery.curves.get(table.task.spec)
        if curves:
            shown = [method for method in table.methods if method.spec in curves]
            panels.append(_panel(table.task.spec, shown, curves, classes))
    return tuple(panels)


def methods_in_colour(board: Leaderboard, gallery: Gallery) -> tuple[str, ...]:
    """Return the specs of the methods that are in colour at first: random, and the best by the headline metric."""
    known = {spec for curves in gallery.curves.values() for spec in curves}
    random = [method.spec for method in board.methods if method.identity["name"] == "random"][:1]
    best = [method.spec for method in board.methods if not is_control(method) and method.spec in known]
    return (*best[: MOST - 2], *(spec for spec in random if spec in known))


def _panel(task: str, methods: Sequence[PluginInfo], curves: Mapping[str, Curve], classes: CssClasses) -> CurvePanel:
    """Return the panel of one task."""
    y_axis = linear_axis([end for method in methods for end in (*curves[method.spec].low, *curves[method.spec].high)])
    paths = [
        _path(classes.methods[method.spec], method.spec, curves[method.spec], y_axis) for method in reversed(methods)
    ]
    return CurvePanel(
        title=task,
        css_class=classes.task(task),
        paths=tuple(paths),
        x_ticks=tuple((_x(share), f"{share:.0%}".replace("%", " %")) for share in (0, 0.25, 0.5, 0.75, 1)),
        y_ticks=tuple((_y(tick.position), tick.text) for tick in y_axis.ticks),
        table=_table(task, methods, curves),
    )


def _path(method: int, label: str, curve: Curve, y_axis: Axis) -> CurvePath:
    """Return the SVG paths of a curve and its band."""
    xs = _x_coordinates(len(curve.mean))
    line, low, high = (
        [f"{x} {_y(y_axis.position(value))}" for x, value in zip(xs, values, strict=True)]
        for values in (curve.mean, curve.low, curve.high)
    )
    return CurvePath(method, label, f"M{'L'.join(line)}", f"M{'L'.join([*high, *reversed(low)])}Z")


@cache
def _x_coordinates(points: int) -> tuple[float, ...]:
    """Return the x coordinates of the points of a curve, from left to right."""
    return tuple(_x(index / (points - 1)) for index in range(points))


def _table(task: str, methods: Sequence[PluginInfo], curves: Mapping[str, Curve]) -> TableBlock:
    """Return the curves of one task as numbers, at a few shares of the features removed."""

    def row(method: PluginInfo) -> TableRow:
        curve = curves[method.spec]
        points = [round(share * (len(curve.mean) - 1)) for share in _SHARES]
        cells = []
        for point in points:
            interval = f"[{format_number(curve.low[point])}, {format_number(curve.high[point])}]"
            cells.append(TableCell(format_number(curve.mean[point]), interval, value=curve.mean[point]))
        return TableRow(method.spec, tuple(cells), is_control(method))

    heads = ("method", *(f"{share:.0%} removed".replace("%", " %") for share in _SHARES))
    return TableBlock(f"{task}: score as features are removed", heads, tuple(map(row, methods)))


def _x(share: float) -> float:
    """Return the x coordinate of a share of the features removed."""
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    """Return the y coordinate of a position on the vertical axis."""
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)
