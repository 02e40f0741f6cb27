"""The board of one task: its table, and what the leaderboard over all tasks needs of it.

Boards of tasks do not depend on each other, so that those of a large run are made on several processes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from ..results.cells import Competence, PluginInfo, Scores
from ..results.scored_cells import CellsByMethod, direction_sign, is_control, origins_by_model, value_range
from ..results.stored_cells import read_now
from ..statistics.estimates import Draws, Estimate, MetricScores, estimates_over
from ..statistics.pairwise_tests import PairwiseTests, pairwise_tests
from .comparisons import Comparisons, TaskComparisons, compare_on_task
from .standings import RANDOM, passes_by_method

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.cells import Axes, Cell, Failure, Record

    # The computed cells of a method under one metric: the seed of the model, the cell, and the metric's record of it.
    ScoredCells: TypeAlias = "list[tuple[int, Cell, Record | None]]"

Status = Literal["scored", "not applicable", "failed", "missing", "unfit"]
_NOTHING = Estimate(math.nan, math.nan, math.nan, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One method under one metric on one task.

    Attributes:
        status: only ``"scored"`` has a mean.
        value: mean, interval, counts.
        rank_range: the first and the last rank among the methods that paired tests do not rule out, 1 is the best;
            None for controls, and for metrics that have no better direction or show another statistic than the mean.
        like_random: whether paired tests find no significant difference from ``random``; None where none were made.
        notes: why there is no mean; for ``"failed"`` one sentence for each distinct error.
    """

    status: Status
    value: Estimate = _NOTHING
    rank_range: tuple[int, int] | None = None
    like_random: bool | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskTable:
    """The entries of one task, methods by metrics.

    Attributes:
        task: the task.
        models: the competence of the model of each seed; None where it was not measured.
        unfit: seeds of the models that score under the gate.
        caveats: sentences that a reader of the table must know: promises that a model breaks, and methods that claim
            completeness and miss it.
        entries: by spec of the method and spec of the metric.
        methods: sorted by the headline metric on this task, best first.
        comparisons: of methods, interventions and metrics on this task.
    """

    task: PluginInfo
    models: Mapping[int, Competence | None]
    unfit: tuple[int, ...]
    entries: Mapping[tuple[str, str], Entry]
    methods: tuple[PluginInfo, ...]
    comparisons: Comparisons = field(default_factory=Comparisons)
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskBoard:
    """The board of one task.

    Attributes:
        table: the table.
        scores: what means over tasks are computed from, by spec of the metric.
        draws: the bootstrap draws of quantiles, by spec of the metric.
        comparisons: of methods and of metrics, with what their means over tasks are computed from.
        costs: see :func:`.standings.passes_by_method`.
        failed: the number of cells that failed, or have a record that failed.
        origins: the states of the code that computed the cells.
        models: the origin of each model.
    """

    table: TaskTable
    scores: Mapping[str, MetricScores]
    draws: Mapping[str, Draws]
    comparisons: TaskComparisons
    costs: Mapping[str, float]
    failed: int
    origins: frozenset[str]
    models: Mapping[tuple[str, int], str]


def task_board(task: PluginInfo, axes: Axes, headline: PluginInfo, cells: CellsByMethod, stream: int) -> TaskBoard:
    """Compute the board of one task.

    Args:
        task: the task.
        axes: of the grid.
        headline: the metric that methods are sorted by.
        cells: of the task.
        stream: of random numbers; see :class:`xrnnbench.harness.statistics.estimates.MetricScores`.
    """
    cells = CellsByMethod({key: read_now(scored) for key, scored in cells.items()})
    table, scores = _table(task, axes, headline, cells, stream)
    comparisons = compare_on_task(axes, cells, _means(table, axes), stream)
    computed = [scored.cell for scored in cells.values() if scored.cell is not None]
    return TaskBoard(
        replace(table, comparisons=comparisons.shown),
        {spec: of_metric.condensed(with_scores=spec == headline.spec) for spec, of_metric in scores.items()},
        {spec: of_metric.draws for spec, of_metric in scores.items() if of_metric.draws},
        comparisons,
        passes_by_method(axes.methods, cells),
        sum(bool(cell.failures(axes.metrics)) for cell in computed),
        frozenset(cell.measured.origin for cell in computed),
        origins_by_model(cells),
    )


def _table(
    task: PluginInfo, axes: Axes, headline: PluginInfo, cells: CellsByMethod, stream: int
) -> tuple[TaskTable, dict[str, MetricScores]]:
    """Return the table of a task, and the scores it was computed from by spec of the metric."""
    models: dict[int, Competence | None] = {}
    for key in sorted(cells, key=lambda key: key.model_seed):
        cell = cells[key].cell
        models[key.model_seed] = models.get(key.model_seed) or (cell and cell.competence) or None
    unfit = tuple(seed for seed, model in models.items() if model is not None and not model.fit)
    entries: dict[tuple[str, str], Entry] = {}
    scores: dict[str, MetricScores] = {}
    for metric in axes.metrics:
        column, scores[metric.spec] = _column(metric, axes.methods, cells, stream)
        entries |= {(spec, metric.spec): entry for spec, entry in column.items()}
    means = {method.spec: entries[method.spec, headline.spec].value.mean for method in axes.methods}
    order = best_first(axes.methods, lambda method: means[method.spec], headline)
    return TaskTable(task, models, unfit, entries, order, caveats=_caveats(axes.methods, cells)), scores


def _caveats(methods: Sequence[PluginInfo], cells: CellsByMethod) -> tuple[str, ...]:
    """Return the promises that models break, and the methods that miss the completeness they claim."""
    present = {key: scored.cell for key, scored in cells.items() if scored.cell is not None and scored.cell.fit}
    sentences = list(dict.fromkeys(sentence for cell in present.values() for sentence in cell.caveats))
    for method in methods:
        own = [cell for key, cell in present.items() if key.method.spec == method.spec]
        missed = sum(cell.incomplete for cell in own)
        if missed:
            models = f" ({len(own)} models together)" if len(own) > 1 else ""
            sentences.append(
                f"{method.spec} claims that its values sum to the difference of the scores, and misses it by more than "
                f"1 % on {missed} sequence{'s' if missed > 1 else ''}{models}."
            )
    return tuple(sentences)


def _column(
    metric: PluginInfo, methods: Sequence[PluginInfo], cells: CellsByMethod, stream: int
) -> tuple[dict[str, Entry], MetricScores]:
    """Return the entries of a metric by spec of the method, and the scores of those that have a mean."""
    answers = cells.records(metric)
    computed = {
        method.spec: [
            (seed, scored.cell, record)
            for seed, scored, record in answers.get(method.spec, ())
            if scored.cell is not None
        ]
        for method in methods
    }
    entries = {spec: _problem(scored, len(answers.get(spec, ()))) for spec, scored in computed.items()}
    scores, statistic = cells.scores(metric), metric.facts.get("statistic", "mean")
    complete = [spec for spec, problem in entries.items() if problem is None and scores[spec]]
    metric_scores = MetricScores({spec: list(scores[spec].values()) for spec in complete}, stream, statistic)
    values = dict(zip(complete, estimates_over([metric_scores], complete, value_range(metric)), strict=True))
    tests = None
    if direction_sign(metric) and statistic == "mean":
        tests = pairwise_tests({spec: scores[spec] for spec, value in values.items() if value.n})
    rank_ranges, like_random = _test_results(metric, methods, tests)
    for spec, value in values.items():
        undefined = _sequences(computed[spec]) - value.n
        estimate = Estimate(value.mean, value.low, value.high, value.n, undefined, value.seeds)
        entries[spec] = Entry("scored", estimate, rank_ranges.get(spec), like_random.get(spec))
    return {spec: entry or _not_applicable(computed[spec]) for spec, entry in entries.items()}, metric_scores


def _test_results(
    metric: PluginInfo, methods: Sequence[PluginInfo], tests: PairwiseTests | None
) -> tuple[dict[str, tuple[int, int]], dict[str, bool]]:
    """Return rank ranges from the pairwise tests, and whether each method is like ``random``, by spec of the method."""
    if tests is None:
        return {}, {}
    rank_ranges = tests.rank_ranges(
        direction_sign(metric), [method.spec for method in methods if not is_control(method)]
    )
    random = next((spec for spec in tests.specs if spec.partition(":")[0] == RANDOM), None)
    if random is None:
        return rank_ranges, {}
    others = (spec for spec in tests.specs if spec != random)
    return rank_ranges, {spec: not tests.differ(spec, random) for spec in others}


def _means(table: TaskTable, axes: Axes) -> dict[str, Scores]:
    """Return the means float64[M] of the methods by spec of the metric, turned so that more is better."""
    entries = {
        metric.spec: [table.entries[method.spec, metric.spec].value.mean for method in axes.methods]
        for metric in axes.metrics
    }
    return {metric.spec: (direction_sign(metric) or 1) * np.array(entries[metric.spec]) for metric in axes.metrics}


def _problem(cells: ScoredCells, count: int) -> Entry | None:
    """Return the entry of a method that cannot be averaged over its ``count`` cells; None if it can be."""
    failures = [
        (seed, cell.failure or (record.failure if record is not None else None)) for seed, cell, record in cells
    ]
    failed = [(seed, failure) for seed, failure in failures if failure is not None]
    if failed:
        return Entry("failed", notes=_distinct_errors(failed))
    fit = [(cell, record) for _, cell, record in cells if cell.fit]
    if cells and not fit:
        return Entry("unfit", notes=("no model passes the gate",))
    lost = any(cell.explained and record is None for cell, record in fit)
    if len(cells) < count or lost or not fit:
        return Entry("missing", notes=("not computed yet",))
    return None


def _not_applicable(cells: ScoredCells) -> Entry:
    """Return the entry of a metric that does not apply to a method, with the reasons."""
    reasons = [cell.reason or (record.reason if record is not None else "") for _, cell, record in cells if cell.fit]
    return Entry("not applicable", notes=tuple(dict.fromkeys(reasons)))


def _distinct_errors(failed: list[tuple[int, Failure]]) -> tuple[str, ...]:
    """Return each distinct error with the seeds of the models it happened on."""
    seeds: dict[str, list[int]] = {}
    for seed, failure in failed:
        seeds.setdefault(str(failure), []).append(seed)
    return tuple(
        f"{sentence} (model seed {', '.join(map(str, sorted(set(models))))})" for sentence, models in seeds.items()
    )


def _sequences(cells: ScoredCells) -> int:
    """Return the number of sequences that the metric was computed on, over all fit models."""
    sequences: dict[int, int] = {}
    for seed, cell, record in cells:
        if cell.fit and record is not None and record.status == "scored":
            sequences[seed] = max(sequences.get(seed, 0), record.n + record.undefined)
    return sum(sequences.values())


def best_first(
    methods: Sequence[PluginInfo], mean: Callable[[PluginInfo], float | None], headline: PluginInfo
) -> tuple[PluginInfo, ...]:
    """Return the methods best first, those without a mean last; equal ones by name."""
    sign = direction_sign(headline) or 1

    def key(method: PluginInfo) -> tuple[bool, float, str]:
        value = mean(method)
        undefined = value is None or math.isnan(value)
        return (undefined, 0.0 if undefined else -sign * float(value or 0.0), method.spec)

    return tuple(sorted(methods, key=key))
