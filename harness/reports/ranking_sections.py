"""What a page says of the order of the methods: how they stand, which are not told apart, and how firm the order is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import control
from .blocks import Datum, Grid, Heading, Row, said
from .comparison_sections import short
from .number_format import NOTHING, mean_datum, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..leaderboard.leaderboard import Leaderboard
    from ..leaderboard.standings import Standing
    from ..results.cells import Source
    from .blocks import Block

_LEGEND = (
    "The order by {headline}. Mean rank: over the tasks, 1 the best, tied methods sharing theirs. Corrected mean: over "
    "the tasks, of (score − random) / (best known − random). Cost: passes for one explanation, in forward passes of "
    "one sequence, mean over the tasks. Front: no other method is better without costing more. Only methods that are "
    "scored on each of the tasks take part."
)
_FIRM = "Firmness: Kendall's τ-b between the order of all tasks and the order without one"


def rankings(board: Leaderboard) -> Iterator[Block]:
    """How the methods stand over all tasks and over those of each application, as far as that is known."""
    if not board.standings:
        return
    yield Heading(2, "Standings")
    yield said(_LEGEND.format(headline=board.headline.spec))
    for standing in board.standings:
        yield _order(standing)
        if standing.firmness:
            yield _firmness(standing)


def _order(standing: Standing) -> Grid:
    heads = ["method", "mean rank ↓"]
    heads += ["corrected mean ↑"] if standing.corrected else []
    heads += ["cost ↓", "front"] if standing.cost else []
    running = [method.spec for method in standing.methods if not control(method)]
    least = min((standing.ranks[spec] for spec in running), default=None)
    most = max((standing.corrected[spec].mean for spec in running if spec in standing.corrected), default=None)

    def row(method: Source) -> Row:
        rank, corrected = standing.ranks[method.spec], standing.corrected.get(method.spec)
        cells = [Datum(f"{rank:.2f}", best=rank == least and method.spec in running, value=rank)]
        if standing.corrected:
            best = corrected is not None and corrected.mean == most and method.spec in running
            cells.append(mean_datum(corrected, best=best))
        if standing.cost:
            cost = standing.cost.get(method.spec)
            front = "yes" if method.spec in standing.front else ""
            cells += [Datum(NOTHING) if cost is None else Datum(number(cost), value=cost), Datum(front)]
        return Row(method.spec, tuple(cells), control(method))

    title = f"Standing over {standing.scope or 'all tasks'}"
    return Grid(title, tuple(heads), tuple(map(row, standing.methods)), level=3, remarks=tuple(_differences(standing)))


def _differences(standing: Standing) -> Iterator[str]:
    """Whether the ranks differ at all, and which methods they do not tell apart."""
    tasks = len(standing.tasks)
    said_of_all = f"Over {tasks} task{'s' if tasks != 1 else ''}."
    if standing.friedman is not None:
        chi, p = standing.friedman
        said_of_all += f" Friedman's χ² {number(chi)}, p = {number(p)}."
    if standing.critical is not None:
        said_of_all += f" Critical difference of mean ranks (Nemenyi, 5 %): {standing.critical:.2f}."
    yield said_of_all
    if standing.cliques:
        yield f"Not told apart by their mean ranks: {'; '.join(', '.join(clique) for clique in standing.cliques)}."


def _firmness(standing: Standing) -> Grid:
    """One row for each task that is left out, the one that matters most first."""
    first = max((len(order) for order in standing.without.values()), default=0)
    shown = min(first, 3)

    def row(task: str) -> Row:
        order = standing.without.get(task, ())
        named = (Datum(order[place] if place < len(order) else NOTHING) for place in range(shown))
        firmness = standing.firmness[task]
        return Row(task, (Datum(short(firmness), value=firmness), *named))

    tasks = sorted(standing.firmness, key=lambda task: (standing.firmness[task], standing.tasks.index(task)))
    heads = ("without", "τ-b", *(f"place {place + 1}" for place in range(shown)))
    title = _FIRM if not standing.scope else f"{_FIRM} ({standing.scope})"
    return Grid(title, heads, tuple(map(row, tasks)), level=4)
