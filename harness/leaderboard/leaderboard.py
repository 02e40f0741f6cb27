"""The leaderboard of a run: all means, ranks and comparisons of its cells as one value, which every renderer reads.

Incomplete data are not averaged: an entry with a failed or a missing cell shows its status instead of a mean. Models
that score under the gate of their task are listed and left out, because attributions of a model that has not learnt its
task explain nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..results.cells import PluginInfo
from ..results.scored_cells import cells_by_task, counted_origins, direction_sign
from ..statistics.estimates import Estimate, MetricScores
from .comparisons import Comparisons, ComparisonsOverTasks
from .standings import Standing, make_standings
from .task_board import TaskTable, best_first, task_board
from .task_means import Overview, SumsOverTasks, means_over, overviews

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..results.cells import Axes, Key
    from ..results.scored_cells import ScoredCell
    from .task_board import TaskBoard

HEADLINE = "normalised-deletion"
FAMILIES = ("faithfulness", "truth", "stability", "sanity", "complexity", "cost")


@dataclass(frozen=True)
class Leaderboard:
    """The leaderboard of a run: the table of every task, means over tasks, standings and comparisons.

    Attributes:
        name: of the suite.
        metrics: in the order of the suite.
        headline: the metric that methods are sorted by.
        tables: one for each task, in the order of the suite.
        overall: the mean over tasks of the headline metric, by spec of the method; only methods that are scored on
            every task have one.
        methods: sorted by their mean over tasks, best first.
        provenance: see :func:`xrnnbench.harness.results.provenance.provenance`.
        origins: the states of the code that computed the cells.
        model_origins: the number of models that are published, trained here or given; empty if cells do not record it.
        cells, failed: the number of cells, and the number of those that failed or have a record that failed.
        comparisons: of methods, interventions and metrics, as means over the tasks.
        standings: the order of the methods over all tasks first, then over those of each application.
        overviews: means over the tasks of each application that has more than one task, and means over all tasks for
            each family of metrics.
    """

    name: str
    metrics: tuple[PluginInfo, ...]
    headline: PluginInfo
    tables: tuple[TaskTable, ...]
    overall: Mapping[str, Estimate]
    methods: tuple[PluginInfo, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    model_origins: Mapping[str, int] = field(default_factory=dict)
    cells: int = 0
    failed: int = 0
    comparisons: Comparisons = field(default_factory=Comparisons)
    standings: tuple[Standing, ...] = ()
    overviews: tuple[Overview, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its metrics: those of :data:`FAMILIES` in that order, then others by name."""
        families = {metric.facts.get("family", "") for metric in self.metrics}
        return (*(family for family in FAMILIES if family in families), *sorted(families - set(FAMILIES)))

    def of_family(self, family: str) -> tuple[PluginInfo, ...]:
        """Return the metrics of one family."""
        return tuple(metric for metric in self.metrics if metric.facts.get("family", "") == family)


def make_leaderboard(
    name: str,
    axes: Axes,
    cells: Mapping[Key, ScoredCell],
    provenance: Mapping[str, Any],
    boards: Iterable[TaskBoard] | None = None,
) -> Leaderboard:
    """Compute the leaderboard of the cells of a run.

    Args:
        name: of the suite.
        axes: of the grid; an entry without a cell is missing.
        cells: every cell of the grid.
        provenance: is shown under the board.
        boards: the board of each task, if they are made elsewhere: :func:`task_boards` of these cells.
    """
    headline = headline_of(axes.metrics)
    over_tasks, sums = ComparisonsOverTasks(axes), SumsOverTasks(headline)
    tables: list[TaskTable] = []
    scores: list[Mapping[str, MetricScores]] = []
    costs: list[Mapping[str, float]] = []
    models: dict[tuple[str, int], str] = {}
    origins: set[str] = set()
    failed = 0
    # one task after another: the cells of a large run, and the draws of all its tasks, do not fit into memory
    for board in task_boards(axes, cells) if boards is None else boards:
        tables.append(board.table)
        scores.append(board.scores)
        costs.append(board.costs)
        over_tasks.add(board.comparisons)
        sums.add(board.table.task, board.draws)
        models |= board.models
        origins |= board.origins
        failed += board.failed
    overall = means_over(axes.methods, headline, range(len(tables)), tables, scores, sums)
    means = {spec: value.mean for spec, value in overall.items()}
    order = best_first(axes.methods, lambda method: means.get(method.spec), headline)
    return Leaderboard(
        name,
        axes.metrics,
        headline,
        tuple(tables),
        overall,
        order,
        provenance,
        tuple(sorted(origins)),
        _model_origins(cells, models),
        len(cells),
        failed,
        over_tasks.means(),
        make_standings(axes.methods, headline, tables, scores, costs),
        overviews(axes, order, headline, tables, scores, sums),
    )


def task_boards(axes: Axes, cells: Mapping[Key, ScoredCell]) -> Iterator[TaskBoard]:
    """Compute the board of one task after another.

    Args:
        axes: of the grid.
        cells: every cell of the grid.
    """
    headline, by_task = headline_of(axes.metrics), cells_by_task(cells, axes.tasks)
    for place, task in enumerate(axes.tasks):
        yield task_board(task, axes, headline, by_task[task.spec], place)


def _model_origins(cells: Mapping[Key, ScoredCell], models: Mapping[tuple[str, int], str]) -> dict[str, int]:
    """Return the number of models by origin; equally frequent ones in the order of the cells."""
    places = dict.fromkeys((key.task.spec, key.model_seed) for key in cells)
    return counted_origins({model: models[model] for model in places if model in models})


def headline_of(metrics: Sequence[PluginInfo]) -> PluginInfo:
    """Return the metric methods are sorted by: :data:`HEADLINE` if it is there, else the first with a direction."""
    named = [metric for metric in metrics if metric.identity["name"] == HEADLINE]
    directed = [metric for metric in metrics if direction_sign(metric) and metric.facts.get("family") != "cost"]
    return (named or directed or list(metrics))[0]
