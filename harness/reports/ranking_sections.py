"""Blocks of the standings: the order of the methods, methods that do not differ significantly, and firmness."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import is_control
from .blocks import Heading, TableBlock, TableCell, TableRow, paragraph
from .comparison_sections import format_correlation
from .number_format import DASH, format_number, mean_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.standings import Standing
    from ..results.cells import PluginInfo
    from .blocks import Block

_LEGEND = (
    "The order of the methods by {headline}. Mean rank: the mean over the tasks, 1 is the best; tied methods share the "
    "mean of their ranks. Corrected mean: the mean over the tasks of (score − random) / (best known − random). Cost: "
    "passes for one explanation, in forward passes of one sequence, mean over the tasks. Front: the Pareto front, no "
    "other method is better without costing more. Only methods that are scored on each of the tasks are ranked."
)
_FIRMNESS = "Firmness: Kendall's τ-b between the order over all tasks and the order without one task"


def ranking_blocks(board: Leaderboard) -> Iterator[Block]:
    """Yield the blocks of the standings over all tasks and over those of each application; none without standings."""
    if not board.standings:
        return
    yield Heading(2, "Standings")
    yield paragraph(_LEGEND.format(headline=board.headline.spec))
    for standing in board.standings:
        yield _order(standing)
        if standing.firmness:
            yield _firmness(standing)


def _order(standing: Standing) -> TableBlock:
    """Return the table of a standing: mean rank, corrected mean, cost and front of each method."""
    heads = ["method", "mean rank ↓"]
    heads += ["corrected mean ↑"] if standing.corrected else []
    heads += ["cost ↓", "front"] if standing.cost else []
    competing = [method.spec for method in standing.methods if not is_control(method)]
    best_rank = min((standing.ranks[spec] for spec in competing), default=None)
    best_mean = max((standing.corrected[spec].mean for spec in competing if spec in standing.corrected), default=None)

    def row(method: PluginInfo) -> TableRow:
        rank, corrected = standing.ranks[method.spec], standing.corrected.get(method.spec)
        cells = [TableCell(f"{rank:.2f}", best=rank == best_rank and method.spec in competing, value=rank)]
        if standing.corrected:
            best = corrected is not None and corrected.mean == best_mean and method.spec in competing
            cells.append(mean_cell(corrected, best=best))
        if standing.cost:
            cost = standing.cost.get(method.spec)
            front = "yes" if method.spec in standing.front else ""
            cells.append(TableCell(DASH) if cost is None else TableCell(format_number(cost), value=cost))
            cells.append(TableCell(front))
        return TableRow(method.spec, tuple(cells), is_control(method))

    title = f"Standing over {standing.scope or 'all tasks'}"
    rows = tuple(map(row, standing.methods))
    return TableBlock(title, tuple(heads), rows, level=3, remarks=tuple(_rank_tests(standing)))


def _rank_tests(standing: Standing) -> Iterator[str]:
    """Yield the remarks about Friedman's and Nemenyi's tests, and the methods that do not differ significantly."""
    tasks = len(standing.tasks)
    tests = f"Over {tasks} task{'s' if tasks != 1 else ''}."
    if standing.friedman is not None:
        chi, p = standing.friedman
        tests += f" Friedman's χ² {format_number(chi)}, p = {format_number(p)}."
    if standing.critical is not None:
        tests += f" Critical difference of mean ranks (Nemenyi, 5 %): {standing.critical:.2f}."
    yield tests
    if standing.cliques:
        cliques = "; ".join(", ".join(clique) for clique in standing.cliques)
        yield f"No significant difference in mean rank within: {cliques}."


def _firmness(standing: Standing) -> TableBlock:
    """Return a table with a row for each task that is left out, the one that changes the order most first."""
    count = max((len(order) for order in standing.without.values()), default=0)
    shown = min(count, 3)

    def row(task: str) -> TableRow:
        order = standing.without.get(task, ())
        methods = (TableCell(order[index] if index < len(order) else DASH) for index in range(shown))
        firmness = standing.firmness[task]
        return TableRow(task, (TableCell(format_correlation(firmness), value=firmness), *methods))

    tasks = sorted(standing.firmness, key=lambda task: (standing.firmness[task], standing.tasks.index(task)))
    heads = ("without", "τ-b", *(f"rank {index + 1}" for index in range(shown)))
    title = _FIRMNESS if not standing.scope else f"{_FIRMNESS} ({standing.scope})"
    return TableBlock(title, heads, tuple(map(row, tasks)), level=4)
