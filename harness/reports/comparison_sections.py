"""Blocks of the comparisons: agreement of methods, of interventions, and of metrics with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import is_control
from .blocks import Heading, TableBlock, TableCell, TableRow, paragraph
from .number_format import DASH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..leaderboard.leaderboard import Leaderboard
    from ..statistics.rank_correlation import RankCorrelation
    from .blocks import Block

_RANKS = (
    "Rank correlation (Spearman's ρ) of the relevance of valid features, mean over sequences, models, and the tasks on "
    "which two methods can be compared. 1: the same order; 0: unrelated; −1: the reverse order. Relevance is |Φ| of "
    "signed methods and Φ of unsigned ones. Where one of two methods has one value for each step, the features of the "
    "other are summed to steps. –: one of the two is constant, or no task has both."
)
_TOPS = (
    "Below the diagonal: among the features in the most relevant tenth of either method, the share with the same sign "
    "(signed methods only). Above the diagonal: the share of the most relevant tenth that both have in common; random "
    "orders have .10, and more in short sequences. Features tied at the edge of the tenth count with the probability "
    "that they belong to it."
)
_TAUS = (
    "Kendall's τ-b between the orders of all methods, controls included, with its 95 % percentile bootstrap interval "
    "(uncorrected; models and sequences are resampled, methods are not). –: a metric does not order two methods."
)


def comparison_blocks(board: Leaderboard) -> Iterator[Block]:
    """Yield the blocks of each comparison; one without results is left out."""
    if board.comparisons.methods:
        yield Heading(2, "Do methods agree?")
        yield from _methods(board)
    if board.comparisons.interventions:
        yield Heading(2, "Do interventions agree?")
        yield paragraph("Whether one metric orders the methods alike under two interventions. ", _TAUS)
        yield _interventions(board)
    if board.comparisons.truth:
        truth = board.comparisons.truth[0].second
        yield Heading(2, "Do metrics agree with the truth?")
        yield paragraph(f"Whether a metric that does not know the truth orders the methods as {truth} does. ", _TAUS)
        yield _truth(board)


def _methods(board: Leaderboard) -> Iterator[Block]:
    """Yield the matrices of the agreement of every two methods, each after its explanation."""
    agreements = {frozenset((pair.first, pair.second)): pair for pair in board.comparisons.methods}
    methods = [method for method in board.methods if any(method.spec in pair for pair in agreements)]

    def cell(row: int, column: int, measure: str) -> TableCell:
        agreement = agreements.get(frozenset((methods[row].spec, methods[column].spec)))
        return TableCell(DASH if agreement is None else format_correlation(getattr(agreement, measure)))

    def matrix(title: str, below: str, above: str) -> TableBlock:
        """Return a square table whose columns have the numbers of its rows."""
        indices = range(len(methods))
        rows = [tuple(cell(row, column, below if row > column else above) for column in indices) for row in indices]
        numbered = zip(indices, methods, rows, strict=True)
        heads = ("method", *(str(index + 1) for index in indices))
        return TableBlock(
            title,
            heads,
            tuple(TableRow(f"{index + 1}. {method.spec}", row, is_control(method)) for index, method, row in numbered),
        )

    yield paragraph(_RANKS)
    yield matrix("Rank correlation of methods", "ranks", "ranks")
    yield paragraph(_TOPS)
    yield matrix("Same signs (below the diagonal) and same top tenths (above it)", "signs", "tops")


def _interventions(board: Leaderboard) -> TableBlock:
    """Return the table of the rank correlations of one metric under two interventions."""
    by = {metric.spec: metric.identity.get("parameters", {}).get("by", "") for metric in board.metrics}

    def label(pair: RankCorrelation) -> str:
        return f"{pair.first} and {pair.second} ({by[pair.first]}, {by[pair.second]})"

    tasks = [table.comparisons.interventions for table in board.tables]
    caption = "Kendall's τ-b of one metric under two interventions"
    return _correlation_table(board, (caption, "metrics"), label, board.comparisons.interventions, tasks)


def _truth(board: Leaderboard) -> TableBlock:
    """Return the table of the rank correlations of each metric with one that knows the truth, highest first."""
    tasks = [table.comparisons.truth for table in board.tables]
    order = sorted(board.comparisons.truth, key=lambda pair: -pair.tau)
    caption = f"Kendall's τ-b of each metric with {order[0].second}"
    return _correlation_table(board, (caption, "metric"), lambda pair: pair.first, order, tasks)


def _correlation_table(
    board: Leaderboard,
    titles: tuple[str, str],
    label: Callable[[RankCorrelation], str],
    overall: Sequence[RankCorrelation],
    tasks: Sequence[Sequence[RankCorrelation]],
) -> TableBlock:
    """Return a row for each pair of metrics: the mean over tasks, and each task on which any pair has a τ.

    Args:
        board: the board.
        titles: of the table and of its first column.
        label: returns the label of a row.
        overall: the means over tasks, in the order of the rows.
        tasks: the correlations on each task.
    """
    columns = [
        (table.task.spec, {(pair.first, pair.second): pair for pair in pairs})
        for table, pairs in zip(board.tables, tasks, strict=True)
        if pairs
    ]
    rows = [
        TableRow(
            label(pair),
            (_correlation_cell(pair), *(_correlation_cell(task.get((pair.first, pair.second))) for _, task in columns)),
        )
        for pair in overall
    ]
    return TableBlock(titles[0], (titles[1], "mean over tasks", *(spec for spec, _ in columns)), tuple(rows))


def _correlation_cell(pair: RankCorrelation | None) -> TableCell:
    """Return the cell of a rank correlation; a dash for None, and no interval if it has no width."""
    if pair is None:
        return TableCell(DASH)
    text = format_correlation(pair.tau)
    if pair.low is None or pair.high is None or pair.low == pair.tau == pair.high:
        return TableCell(text, value=pair.tau)
    return TableCell(text, f"[{format_correlation(pair.low)}, {format_correlation(pair.high)}]", value=pair.tau)


def format_correlation(value: float | None) -> str:
    """Return a correlation with two decimals and without the 0 before the point; a dash for None.

    >>> [format_correlation(value) for value in (0.304, -0.996, -0.001, None)]
    ['.30', '-1.00', '.00', '–']
    """
    if value is None:
        return DASH
    # + 0.0 turns −0 into 0
    return f"{round(value, 2) + 0.0:.2f}".replace("0.", ".", 1)
