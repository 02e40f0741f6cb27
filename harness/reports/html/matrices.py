"""Tables of pairs, coloured: how much methods agree, and whether metrics order methods alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..comparison_sections import short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...leaderboard.leaderboard import Leaderboard
    from .css_classes import Names


@dataclass(frozen=True)
class Square:
    """One pair.

    Attributes:
        kind: the class of the column.
        text: the number, or empty on the diagonal.
        share: how strong its colour is, in percent.
        sign: ``"up"``, ``"down"``, or ``"self"`` on the diagonal.
    """

    kind: str
    text: str
    share: int
    sign: str


@dataclass(frozen=True)
class Matrix:
    """Pairs of the same things.

    Attributes:
        title: what it shows.
        labels: of the rows, and of the columns by their number, with their classes.
        rows: the pairs.
        ends: what the lowest and the highest colour mean.
    """

    title: str
    labels: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Square, ...], ...]
    ends: tuple[str, str]


def methods_matrix(board: Leaderboard, names: Names) -> Matrix | None:
    """Rank correlation of every two methods, mean over tasks; None if none were compared."""
    found = {(each.first, each.second): each.ranks for each in board.comparisons.methods}
    specs = [method.spec for method in board.methods if any(method.spec in pair for pair in found)]
    labels = [(spec, names.method(spec)) for spec in specs]
    return _matrix("Do methods agree? Rank correlation of what every two of them say", labels, found)


def shared_matrix(board: Leaderboard, names: Names) -> Matrix | None:
    """Below the diagonal, the share of equal signs; above it, the share of the most relevant tenth in common."""
    specs = [method.spec for method in board.methods]
    place = {spec: row for row, spec in enumerate(specs)}
    found: dict[tuple[str, str], float | None] = {}
    for each in board.comparisons.methods:
        upper, lower = sorted((each.first, each.second), key=lambda spec: place[spec])
        found[upper, lower], found[lower, upper] = each.tops, each.signs
    known = [(spec, names.method(spec)) for spec in specs if any(spec in pair for pair in found)]
    title = "Same signs (below the diagonal) and same top tenths (above it)"
    return _matrix(title, known, found, ("0, none", "1, all"))


def metrics_matrix(board: Leaderboard, names: Names) -> Matrix | None:
    """Kendall's τ-b between the orders of the methods by every two metrics, mean over tasks."""
    found = {(each.first, each.second): each.tau for each in board.comparisons.metrics}
    specs = [
        metric.spec
        for family in board.families
        for metric in board.of_family(family)
        if any(metric.spec in pair for pair in found)
    ]
    labels = [(spec, names.metric(spec)) for spec in specs]
    return _matrix("Do metrics agree? Kendall's τ-b between the orders of the methods", labels, found)


def _matrix(
    title: str,
    labels: Sequence[tuple[str, str]],
    found: Mapping[tuple[str, str], float | None],
    ends: tuple[str, str] = ("−1, the reverse", "1, the same"),
) -> Matrix | None:
    if not labels:
        return None

    def square(row: str, column: tuple[str, str]) -> Square:
        spec, kind = column
        if spec == row:
            return Square(kind, "", 0, "self")
        value = found.get((row, spec), found.get((spec, row)))
        return Square(kind, short(value), round(100 * abs(value or 0)), "down" if (value or 0) < 0 else "up")

    rows = tuple(tuple(square(row, column) for column in labels) for row, _ in labels)
    return Matrix(title, tuple(labels), rows, ends)
