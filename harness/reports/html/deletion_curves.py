"""Deletion curves: for each task, every method's with its band; some are in colour, the others stay behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from ...results.scored_cells import control
from ..blocks import Datum, Grid, Row
from ..number_format import number
from .axes import linear

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...leaderboard.exhibits import Curve, Gallery
    from ...leaderboard.leaderboard import Leaderboard
    from ...results.cells import Source
    from .axes import Scale
    from .css_classes import Names

_WIDTH, _HEIGHT = 300.0, 190.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 36.0, 8.0, 8.0, 30.0
# As many as there are colours that are told apart.
MOST = 6
_SHARES = (0, 0.05, 0.1, 0.2, 0.5, 1)


@dataclass(frozen=True)
class Path:
    """One method's curve.

    Attributes:
        method: its number.
        label: its spec.
        line, band: SVG paths.
    """

    method: int
    label: str
    line: str
    band: str


@dataclass(frozen=True)
class Panel:
    """One task.

    Attributes:
        title: the task.
        kind: its class.
        paths: the methods, the best last, so that it is on top.
        across, up: ticks with their places.
        sheet: the same as numbers.
    """

    title: str
    kind: str
    paths: tuple[Path, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]
    sheet: Grid
    width = _WIDTH
    height = _HEIGHT
    edges = (_LEFT, _TOP, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM)


def panels(board: Leaderboard, gallery: Gallery, names: Names) -> tuple[Panel, ...]:
    """One picture for each task that has curves."""
    found = []
    for table in board.tables:
        curves = gallery.curves.get(table.task.spec)
        if curves:
            shown = [method for method in table.methods if method.spec in curves]
            found.append(_panel(table.task.spec, shown, curves, names))
    return tuple(found)


def chosen(board: Leaderboard, gallery: Gallery) -> tuple[str, ...]:
    """Specs of the methods that are in colour at first: random, and the best by the headline."""
    known = {spec for curves in gallery.curves.values() for spec in curves}
    random = [method.spec for method in board.methods if method.identity["name"] == "random"][:1]
    best = [method.spec for method in board.methods if not control(method) and method.spec in known]
    return (*best[: MOST - 2], *(spec for spec in random if spec in known))


def _panel(task: str, methods: Sequence[Source], curves: Mapping[str, Curve], names: Names) -> Panel:
    up = linear([end for method in methods for end in (*curves[method.spec].low, *curves[method.spec].high)], 5)
    paths = [_path(names.methods[method.spec], method.spec, curves[method.spec], up) for method in reversed(methods)]
    return Panel(
        title=task,
        kind=names.task(task),
        paths=tuple(paths),
        across=tuple((_x(share), f"{share:.0%}".replace("%", " %")) for share in (0, 0.25, 0.5, 0.75, 1)),
        up=tuple((_y(tick.at), tick.text) for tick in up.ticks),
        sheet=_numbers(task, methods, curves),
    )


def _path(method: int, label: str, curve: Curve, up: Scale) -> Path:
    across = _shares(len(curve.mean))
    line, low, high = (
        [f"{x} {_y(up.at(value))}" for x, value in zip(across, values, strict=True)]
        for values in (curve.mean, curve.low, curve.high)
    )
    return Path(method, label, f"M{'L'.join(line)}", f"M{'L'.join([*high, *reversed(low)])}Z")


@cache
def _shares(points: int) -> tuple[float, ...]:
    """Where so many points of a curve lie, from left to right."""
    return tuple(_x(place / (points - 1)) for place in range(points))


def _numbers(task: str, methods: Sequence[Source], curves: Mapping[str, Curve]) -> Grid:
    def row(method: Source) -> Row:
        curve = curves[method.spec]
        places = [round(share * (len(curve.mean) - 1)) for share in _SHARES]
        cells = [
            Datum(number(curve.mean[at]), f"[{number(curve.low[at])}, {number(curve.high[at])}]", value=curve.mean[at])
            for at in places
        ]
        return Row(method.spec, tuple(cells), control(method))

    heads = ("method", *(f"{share:.0%} removed".replace("%", " %") for share in _SHARES))
    return Grid(f"{task}: score as features are removed", heads, tuple(map(row, methods)))


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)
