"""The leaderboard: what the cells of a run say, as one value that every renderer reads.

Nothing partial is averaged: an entry with a failed or a missing cell shows that instead of a mean. Models under their
task's gate are named and left out, for an explanation of a model that has not learnt its task explains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from ..results.cells import Competence, Scores, Source
from ..results.scored_cells import better, bounds, by_task, control, model_origins
from ..statistics.estimates import Column, Estimate, estimates_over
from ..statistics.pairwise_tests import Separation, separate
from .comparisons import Comparisons, compare
from .standings import RANDOM, Standing, make_standings
from .task_means import Overview, means_over, overviews

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.cells import Axes, Cell, Failure, Key, Record
    from ..results.scored_cells import Grouped, Judged

    # The cells of a method that are there: the seed of the model, the cell, and how the metric judged it.
    Answers: TypeAlias = "list[tuple[int, Cell, Record | None]]"

Status = Literal["scored", "not applicable", "failed", "missing", "unfit"]
HEADLINE = "normalised-deletion"
FAMILIES = ("faithfulness", "truth", "stability", "sanity", "complexity", "cost")
_NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0, 0)


@dataclass(frozen=True)
class Entry:
    """One method under one metric on one task.

    Attributes:
        status: only ``"scored"`` has a mean.
        value: mean, interval, counts.
        places: first and last place among the methods that paired tests leave open, 1 the best; None of controls, and
            of metrics that have no better or show no mean.
        chance: whether paired tests do not tell it from ``random``; None where they were not made.
        notes: why not; for ``"failed"`` one sentence for each distinct error.
    """

    status: Status
    value: Estimate = _NOTHING
    places: tuple[int, int] | None = None
    chance: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One task: methods by metrics, best first by the headline.

    Attributes:
        task: the task.
        models: how good the model of each seed is; None where nobody measured it.
        unfit: seeds of the models under their gate.
        entries: by spec of the method and spec of the metric.
        methods: in the order of the board.
        comparisons: of methods, interventions and metrics on this task.
        separations: which methods a metric tells apart, by its spec; of metrics with a better direction and a mean.
    """

    task: Source
    models: Mapping[int, Competence | None]
    unfit: tuple[int, ...]
    entries: Mapping[tuple[str, str], Entry]
    methods: tuple[Source, ...]
    comparisons: Comparisons = field(default_factory=Comparisons)
    separations: Mapping[str, Separation] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Leaderboard:
    """All tables of a run.

    Attributes:
        name: of the suite.
        metrics: in the order of the suite.
        headline: the metric methods are ordered by.
        tables: one for each task, in the order of the suite.
        overall: the mean over tasks of the headline, by spec of the method; only methods scored on every task have one.
        methods: in the order of the overview.
        provenance: see :func:`xrnnbench.harness.results.provenance.provenance`.
        origins: which states of the code the cells were computed by.
        model_origins: how many of the models are published, trained here or given; empty where cells do not say.
        cells, failed: how many cells there are, and how many of them failed or have a record that failed.
        comparisons: of methods, interventions and metrics, as means over the tasks.
        standings: the order of the methods over all tasks first, then over those of each application.
        overviews: means over the tasks of each application that has more than one, and over all for each family.
    """

    name: str
    metrics: tuple[Source, ...]
    headline: Source
    tables: tuple[Table, ...]
    overall: Mapping[str, Estimate]
    methods: tuple[Source, ...]
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
        """The families of its metrics: the known ones in a fixed order, then others by name."""
        found = {metric.facts.get("family", "") for metric in self.metrics}
        return (*(family for family in FAMILIES if family in found), *sorted(found - set(FAMILIES)))

    def of_family(self, family: str) -> tuple[Source, ...]:
        """The metrics of one family."""
        return tuple(metric for metric in self.metrics if metric.facts.get("family", "") == family)


def make_leaderboard(name: str, axes: Axes, cells: Mapping[Key, Judged], provenance: Mapping[str, Any]) -> Leaderboard:
    """Read the board off the cells.

    Args:
        name: of the suite.
        axes: of the grid; an entry without a cell is missing.
        cells: every cell of the grid.
        provenance: goes under the board.
    """
    headline = _headline(axes.metrics)
    of_task = list(by_task(cells, axes.tasks).values())
    made = [_table(task, axes, headline, of_task[stream], stream) for stream, task in enumerate(axes.tasks)]
    tables, columns = tuple(table for table, _ in made), [found for _, found in made]
    compared, over_tasks = compare(axes, of_task, [_means(table, axes) for table in tables])
    tables = tuple(replace(table, comparisons=each) for table, each in zip(tables, compared, strict=True))
    overall = means_over(axes.methods, headline, range(len(tables)), tables, columns)
    failed = sum(bool(judged.cell.failures(axes.metrics)) for judged in cells.values() if judged.cell is not None)
    means = {spec: value.mean for spec, value in overall.items()}
    order = _ordered(axes.methods, lambda method: means.get(method.spec), headline)
    origins = {judged.cell.measured.origin for judged in cells.values() if judged.cell is not None}
    return Leaderboard(
        name,
        axes.metrics,
        headline,
        tables,
        overall,
        order,
        provenance,
        tuple(sorted(origins)),
        model_origins(cells),
        len(cells),
        failed,
        over_tasks,
        make_standings(axes.methods, headline, tables, columns, of_task),
        overviews(axes, order, headline, tables, columns),
    )


def _headline(metrics: Sequence[Source]) -> Source:
    named = [metric for metric in metrics if metric.identity["name"] == HEADLINE]
    judging = [metric for metric in metrics if better(metric) and metric.facts.get("family") != "cost"]
    return (named or judging or list(metrics))[0]


def _table(task: Source, axes: Axes, headline: Source, cells: Grouped, stream: int) -> tuple[Table, dict[str, Column]]:
    """A table, and by spec of the metric the scores it was read off."""
    models: dict[int, Competence | None] = {}
    for key in sorted(cells, key=lambda key: key.model_seed):
        cell = cells[key].cell
        models[key.model_seed] = models.get(key.model_seed) or (cell and cell.competence) or None
    unfit = tuple(seed for seed, found in models.items() if found is not None and not found.fit)
    entries: dict[tuple[str, str], Entry] = {}
    separations: dict[str, Separation] = {}
    columns: dict[str, Column] = {}
    for metric in axes.metrics:
        found, columns[metric.spec], separation = _column(metric, axes.methods, cells, stream)
        entries |= {(spec, metric.spec): entry for spec, entry in found.items()}
        if separation is not None:
            separations[metric.spec] = separation
    means = {method.spec: entries[method.spec, headline.spec].value.mean for method in axes.methods}
    order = _ordered(axes.methods, lambda method: means[method.spec], headline)
    return Table(task, models, unfit, entries, order, separations=separations), columns


def _column(
    metric: Source, methods: Sequence[Source], cells: Grouped, stream: int
) -> tuple[dict[str, Entry], Column, Separation | None]:
    """The entries of a metric by spec of the method, the scores of those that have a mean, and what tests say."""
    said = cells.answers(metric)
    answers = {
        method.spec: [
            (seed, judged.cell, record) for seed, judged, record in said.get(method.spec, ()) if judged.cell is not None
        ]
        for method in methods
    }
    found = {spec: _problem(each, len(said.get(spec, ()))) for spec, each in answers.items()}
    scores, statistic = cells.scores(metric), metric.facts.get("statistic", "mean")
    scored = [spec for spec, problem in found.items() if problem is None and scores[spec]]
    column = Column({spec: list(scores[spec].values()) for spec in scored}, stream, statistic)
    values = dict(zip(scored, estimates_over([column], scored, bounds(metric)), strict=True))
    separation = None
    if better(metric) and statistic == "mean":
        separation = separate({spec: scores[spec] for spec, value in values.items() if value.n})
    places, chance = _told(metric, methods, separation)
    for spec, value in values.items():
        undefined = _asked(answers[spec]) - value.n
        estimate = Estimate(value.mean, value.low, value.high, value.n, undefined, value.seeds)
        found[spec] = Entry("scored", estimate, places.get(spec), chance.get(spec))
    return {spec: entry or _absent(answers[spec]) for spec, entry in found.items()}, column, separation


def _told(
    metric: Source, methods: Sequence[Source], separation: Separation | None
) -> tuple[dict[str, tuple[int, int]], dict[str, bool]]:
    """What tests leave open, by spec of the method: its places, and whether it is told from ``random``."""
    if separation is None:
        return {}, {}
    places = separation.places(better(metric), [method.spec for method in methods if not control(method)])
    random = next((spec for spec in separation.specs if spec.partition(":")[0] == RANDOM), None)
    if random is None:
        return places, {}
    others = (spec for spec in separation.specs if spec != random)
    return places, {spec: not separation.separable(spec, random) for spec in others}


def _means(table: Table, axes: Axes) -> dict[str, Scores]:
    """float64[M] by spec of the metric: the means of the methods, turned so that more is better."""
    entries = {
        metric.spec: [table.entries[method.spec, metric.spec].value.mean for method in axes.methods]
        for metric in axes.metrics
    }
    return {metric.spec: (better(metric) or 1) * np.array(entries[metric.spec]) for metric in axes.metrics}


def _problem(answers: Answers, cells: int) -> Entry | None:
    """What keeps a metric from being averaged over so many cells; None if nothing does."""
    failures = [
        (seed, cell.failure or (record.failure if record is not None else None)) for seed, cell, record in answers
    ]
    failed = [(seed, failure) for seed, failure in failures if failure is not None]
    if failed:
        return Entry("failed", notes=_by_sentence(failed))
    fit = [(cell, record) for _, cell, record in answers if cell.fit]
    if answers and not fit:
        return Entry("unfit", notes=("no model passes the gate",))
    lost = any(cell.explained and record is None for cell, record in fit)
    if len(answers) < cells or lost or not fit:
        return Entry("missing", notes=("not computed yet",))
    return None


def _absent(answers: Answers) -> Entry:
    """Why a metric does not apply to a method."""
    reasons = [cell.reason or (record.reason if record is not None else "") for _, cell, record in answers if cell.fit]
    return Entry("not applicable", notes=tuple(dict.fromkeys(reasons)))


def _by_sentence(failed: list[tuple[int, Failure]]) -> tuple[str, ...]:
    """Each distinct error with the models it happened on."""
    seeds: dict[str, list[int]] = {}
    for seed, failure in failed:
        seeds.setdefault(str(failure), []).append(seed)
    return tuple(
        f"{sentence} (model seed {', '.join(map(str, sorted(set(found))))})" for sentence, found in seeds.items()
    )


def _asked(answers: Answers) -> int:
    """Of how many sequences of all fit models the metric was asked."""
    asked: dict[int, int] = {}
    for seed, cell, record in answers:
        if cell.fit and record is not None and record.status == "scored":
            asked[seed] = max(asked.get(seed, 0), record.n + record.undefined)
    return sum(asked.values())


def _ordered(methods: Sequence[Source], mean: Callable[[Source], float | None], headline: Source) -> tuple[Source, ...]:
    """Best first; methods without a mean last; by name among equals."""
    sign = better(headline) or 1

    def place(method: Source) -> tuple[bool, float, str]:
        value = mean(method)
        absent = value is None or math.isnan(value)
        return (absent, 0.0 if absent else -sign * float(value or 0.0), method.spec)

    return tuple(sorted(methods, key=place))
