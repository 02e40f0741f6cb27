"""Heat maps of pairs: agreement of methods, and rank correlation of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..comparison_sections import format_correlation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...leaderboard.leaderboard import Leaderboard
    from .css_classes import CssClasses


@dataclass(frozen=True)
class MatrixCell:
    """The cell of a pair in a heat map.

    Attributes:
        css_class: the CSS class of the column.
        text: the number, or empty on the diagonal.
        share: the strength of its colour, in percent.
        sign: ``"up"``, ``"down"``, or ``"self"`` on the diagonal.
    """

    css_class: str
    text: str
    share: int
    sign: str


@dataclass(frozen=True)
class Matrix:
    """A heat map whose rows and columns are the same methods, or the same metrics.

    Attributes:
        title: its title.
        labels: the labels of the rows with their CSS classes; columns have the number of the row.
        rows: the cells.
        ends: the meaning of the lowest and of the highest colour.
    """

    title: str
    labels: tuple[tuple[str, str], ...]
    rows: tuple[tuple[MatrixCell, ...], ...]
    ends: tuple[str, str]


def methods_matrix(board: Leaderboard, classes: CssClasses) -> Matrix | None:
    """Return the rank correlation of every two methods, mean over tasks; None if none were compared."""
    values = {(pair.first, pair.second): pair.ranks for pair in board.comparisons.methods}
    specs = [method.spec for method in board.methods if any(method.spec in pair for pair in values)]
    labels = [(spec, classes.method(spec)) for spec in specs]
    return _matrix("Do methods agree? Rank correlation of the attributions of every two methods", labels, values)


def signs_and_tops_matrix(board: Leaderboard, classes: CssClasses) -> Matrix | None:
    """Return the share of equal signs below the diagonal, and of the same most relevant tenth above it."""
    specs = [method.spec for method in board.methods]
    row_of = {spec: row for row, spec in enumerate(specs)}
    values: dict[tuple[str, str], float | None] = {}
    for agreement in board.comparisons.methods:
        upper, lower = sorted((agreement.first, agreement.second), key=lambda spec: row_of[spec])
        values[upper, lower], values[lower, upper] = agreement.tops, agreement.signs
    labels = [(spec, classes.method(spec)) for spec in specs if any(spec in pair for pair in values)]
    title = "Same signs (below the diagonal) and same top tenths (above it)"
    return _matrix(title, labels, values, ("0, none", "1, all"))


def metrics_matrix(board: Leaderboard, classes: CssClasses) -> Matrix | None:
    """Return Kendall's τ-b between the orders of the methods under every two metrics, mean over tasks."""
    values = {(pair.first, pair.second): pair.tau for pair in board.comparisons.metrics}
    specs = [
        metric.spec
        for family in board.families
        for metric in board.of_family(family)
        if any(metric.spec in pair for pair in values)
    ]
    labels = [(spec, classes.metric(spec)) for spec in specs]
    return _matrix("Do metrics agree? Kendall's τ-b between the orders of the methods", labels, values)


def _matrix(
    title: str,
    labels: Sequence[tuple[str, str]],
    values: Mapping[tuple[str, str], float | None],
    ends: tuple[str, str] = ("−1, the reverse order", "1, the same order"),
) -> Matrix | None:
    """Return the heat map of values by pairs of labels, in either order; None if there are no labels."""
    if not labels:
        return None

    def cell(row: str, column: tuple[str, str]) -> MatrixCell:
        spec, css_class = column
        if spec == row:
            return MatrixCell(css_class, "", 0, "self")
        value = values.get((row, spec), values.get((spec, row)))
        sign = "down" if (value or 0) < 0 else "up"
        return MatrixCell(css_class, format_correlation(value), round(100 * abs(value or 0)), sign)

    rows = tuple(tuple(cell(row, column) for column in labels) for row, _ in labels)
    return Matrix(title, tuple(labels), rows, ends)
