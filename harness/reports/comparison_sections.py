"""What a page says of comparisons: do methods agree, do interventions, do metrics agree with the truth?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import control
from .blocks import Datum, Grid, Heading, Row, said
from .number_format import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from ..statistics.rank_correlation import Concordance
    from .blocks import Block

_RANKS = (
    "Rank correlation (Spearman's ρ) of the relevance of valid features, mean over sequences, models, and the tasks on "
    "which two methods can be compared: 1 the same order, 0 unrelated, −1 the reverse. Relevance is |Φ| of signed "
    "methods and Φ of others; where one of two tells only steps apart, the other's cells are summed to steps. – where "
    "one of the two is constant, or they meet on no task."
)
_TOPS = (
    "Below the diagonal, of the features among the most relevant tenth of either method, the share to which both give "
    "the same sign (signed methods only). Above it, the share of the most relevant tenth that both have in common; "
    "random orders have .10, and more in short sequences. Features tied at the edge count by their probability."
)
_ORDERS = (
    "Kendall's τ-b between the orders of all methods, controls included, with its 95 % bootstrap interval (models and "
    "sequences are drawn, the methods stay). – where a metric does not order two methods."
)


def findings(board: Leaderboard) -> Iterator[Block]:
    """The parts of the page; a comparison of which there is nothing to show is left out."""
    if board.comparisons.methods:
        yield Heading(2, "Do methods agree?")
        yield from _methods(board)
    if board.comparisons.interventions:
        yield Heading(2, "Do interventions agree?")
        yield said("Whether one metric by two interventions gives the same order: ", _ORDERS)
        yield _interventions(board)
    if board.comparisons.truth:
        judge = board.comparisons.truth[0].second
        yield Heading(2, "Do metrics agree with the truth?")
        yield said(f"Whether a metric that does not know the truth gives the order that {judge} gives: ", _ORDERS)
        yield _truth(board)


def _methods(board: Leaderboard) -> Iterator[Block]:
    found = {frozenset((each.first, each.second)): each for each in board.comparisons.methods}
    shown = [method for method in board.methods if any(method.spec in pair for pair in found)]

    def cell(row: int, column: int, measure: str) -> Datum:
        each = found.get(frozenset((shown[row].spec, shown[column].spec)))
        return Datum(NOTHING if each is None else short(getattr(each, measure)))

    def matrix(title: str, below: str, above: str) -> Grid:
        """A square table; its columns have the numbers of its rows."""
        places = range(len(shown))
        rows = [tuple(cell(row, column, below if row > column else above) for column in places) for row in places]
        named = zip(places, shown, rows, strict=True)
        heads = ("method", *(str(place + 1) for place in places))
        return Grid(
            title, heads, tuple(Row(f"{place + 1}. {each.spec}", row, control(each)) for place, each, row in named)
        )

    yield said(_RANKS)
    yield matrix("Rank correlation of methods", "ranks", "ranks")
    yield said(_TOPS)
    yield matrix("Same signs (below the diagonal) and same top tenths (above it)", "signs", "tops")


def _interventions(board: Leaderboard) -> Grid:
    by = {metric.spec: metric.identity.get("parameters", {}).get("by", "") for metric in board.metrics}

    def title(each: Concordance) -> str:
        return f"{each.first} and {each.second} ({by[each.first]}, {by[each.second]})"

    tasks = [table.comparisons.interventions for table in board.tables]
    caption = "Kendall's τ-b of one metric by two interventions"
    return _concordances(board, (caption, "metrics"), title, board.comparisons.interventions, tasks)


def _truth(board: Leaderboard) -> Grid:
    tasks = [table.comparisons.truth for table in board.tables]
    order = sorted(board.comparisons.truth, key=lambda each: -each.tau)
    caption = f"Kendall's τ-b of each metric with {order[0].second}"
    return _concordances(board, (caption, "metric"), lambda each: each.first, order, tasks)


def _concordances(
    board: Leaderboard,
    titles: tuple[str, str],
    title: Callable[[Concordance], str],
    overall: Sequence[Concordance],
    tasks: Sequence[Sequence[Concordance]],
) -> Grid:
    """One row for each pair of metrics: the mean over tasks, and each task on which any pair has a τ.

    Args:
        board: the board.
        titles: of the table and of its first column.
        title: of a row.
        overall: the means over tasks, in the order of the rows.
        tasks: those of each task.
    """
    columns = [
        (table.task.spec, {(each.first, each.second): each for each in found})
        for table, found in zip(board.tables, tasks, strict=True)
        if found
    ]
    rows = [
        Row(title(each), (_datum(each), *(_datum(found.get((each.first, each.second))) for _, found in columns)))
        for each in overall
    ]
    return Grid(titles[0], (titles[1], "mean over tasks", *(spec for spec, _ in columns)), tuple(rows))


def _datum(each: Concordance | None) -> Datum:
    if each is None:
        return Datum(NOTHING)
    if each.low is None or each.high is None or each.low == each.tau == each.high:
        return Datum(short(each.tau), value=each.tau)
    return Datum(short(each.tau), f"[{short(each.low)}, {short(each.high)}]", value=each.tau)


def short(value: float | None) -> str:
    """Two decimals without the 0 before the point.

    >>> [short(value) for value in (0.304, -0.996, -0.001, None)]
    ['.30', '-1.00', '.00', '–']
    """
    if value is None:
        return NOTHING
    # + 0.0: what rounds to −0 is 0
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)
