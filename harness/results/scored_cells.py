"""What is known of a cell once it has been judged: its scores, and on demand its attribution."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from .cells import Cell, Key, Scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .cells import Axes, Record, Source


@dataclass(frozen=True, eq=False)
class Map:
    """What one method said about the sequences of one model.

    Attributes:
        values: float[B, T] or float[B, T, D], 0 beyond each sequence's length.
        lengths: int64[B], in steps.
        signed: whether values below 0 speak against the output.
        target: int64[B], the explained outputs; None if nobody asked for them.
    """

    values: np.ndarray[Any, Any]
    lengths: np.ndarray[Any, np.dtype[np.int64]]
    signed: bool
    target: np.ndarray[Any, np.dtype[np.int64]] | None = None


# The seed of the model, its cell, and how one metric judged that; None if it has not.
Answer: TypeAlias = "tuple[int, Judged, Record | None]"


@dataclass(frozen=True)
class Judged:
    """A cell with its scores.

    Attributes:
        cell: None where there is nothing good.
        scores, measured: float64[R, B], the rows its records speak of.
        read: gives the attribution, which is kept on disk and not here; None if there is none.
    """

    cell: Cell | None
    scores: Scores
    measured: Scores
    read: Callable[[], Map] | None = None

    def row(self, record: Record) -> Scores:
        """The scores float64[B] of a record that was scored."""
        found: Scores = (self.measured if record.metric.unreproducible else self.scores)[record.row]
        return found

    def profile(self, record: Record) -> Scores:
        """The curves float64[P, B] of a record that was scored; P is 0 where none are kept."""
        start = (record.row or 0) + 1
        found: Scores = (self.measured if record.metric.unreproducible else self.scores)[start : start + record.profile]
        return found


class Results(Protocol):
    """What a run and an archive of one have in common: whoever reads cells reads either."""

    @property
    def name(self) -> str:
        """The name of the suite."""

    @property
    def complete(self) -> bool:
        """Whether every cell was computed and none failed."""

    @property
    def axes(self) -> Axes:
        """The plug-ins of the grid."""

    @property
    def judged(self) -> Mapping[Key, Judged]:
        """Every cell of the grid with its scores."""

    @property
    def content(self) -> Mapping[str, Any]:
        """Of its JSON: ``suite``, ``provenance`` and more."""


def model_origins(cells: Mapping[Key, Judged]) -> dict[str, int]:
    """How many models are of each origin, those of most first."""
    found = {
        (key.task.spec, key.model_seed): judged.cell.model_origin
        for key, judged in cells.items()
        if judged.cell is not None and judged.cell.model_origin
    }
    return dict(Counter(found.values()).most_common())


def better(metric: Source) -> int:
    """1 if higher is better, −1 if lower is, 0 if neither."""
    return {"higher": 1, "lower": -1}.get(metric.facts.get("direction", ""), 0)


def bounds(metric: Source) -> tuple[float, float]:
    """The range of a metric's values."""
    return float(metric.facts.get("low", -math.inf)), float(metric.facts.get("high", math.inf))


def control(method: Source) -> bool:
    """Whether a method is there to be compared with, not to win."""
    return method.facts.get("group") == "control"


class Grouped(dict[Key, Judged]):
    """The cells of a task, about which many ask by method and by metric: what they ask for is looked up once."""

    @cached_property
    def methods(self) -> dict[str, list[tuple[int, Judged]]]:
        """By spec of the method: its cells with their model seeds, in the order of the seeds."""
        found: dict[str, list[tuple[int, Judged]]] = {}
        for key in sorted(self, key=lambda key: (key.model_seed, key.explainer_seed)):
            found.setdefault(key.method.spec, []).append((key.model_seed, self[key]))
        return found

    @cached_property
    def _answers(self) -> dict[str, dict[str, list[Answer]]]:
        return {}

    def answers(self, metric: Source) -> dict[str, list[Answer]]:
        """By spec of the method, what a metric says of each of its cells."""
        found = self._answers.get(metric.spec)
        if found is None:
            found = {spec: _answers(metric, cells) for spec, cells in self.methods.items()}
            self._answers[metric.spec] = found
        return found

    @cached_property
    def _scores(self) -> dict[str, dict[str, dict[int, Scores]]]:
        return {}

    def scores(self, metric: Source) -> dict[str, dict[int, Scores]]:
        """By spec of the method, what :func:`scores_of` says of its cells."""
        found = self._scores.get(metric.spec)
        if found is None:
            found = {spec: _scores(answers) for spec, answers in self.answers(metric).items()}
            self._scores[metric.spec] = found
        return found


def by_task(cells: Mapping[Key, Judged], tasks: Sequence[Source]) -> dict[str, Grouped]:
    """The cells of each task, by its spec."""
    found = {task.spec: Grouped() for task in tasks}
    for key, judged in cells.items():
        if key.task.spec in found:
            found[key.task.spec][key] = judged
    return found


def of_method(cells: Mapping[Key, Judged], method: Source) -> list[tuple[int, Judged]]:
    """The cells of one method with their model seeds, in the order of the seeds."""
    grouped = cells if isinstance(cells, Grouped) else Grouped(cells)
    return grouped.methods.get(method.spec, [])


def scores_of(metric: Source, cells: list[tuple[int, Judged]]) -> dict[int, Scores]:
    """The scores float64[B] of each fit model by its seed; over several explainer seeds, their mean by sequence."""
    return _scores(_answers(metric, cells))


def _answers(metric: Source, cells: list[tuple[int, Judged]]) -> list[Answer]:
    return [(seed, judged, None if judged.cell is None else judged.cell.record(metric)) for seed, judged in cells]


def _scores(answers: list[Answer]) -> dict[int, Scores]:
    rows: dict[int, list[Scores]] = {}
    for seed, judged, record in answers:
        if record is not None and record.status == "scored" and judged.cell is not None and judged.cell.fit:
            rows.setdefault(seed, []).append(judged.row(record))
    return {seed: _mean_of_defined(np.stack(found)) if len(found) > 1 else found[0] for seed, found in rows.items()}


def _mean_of_defined(rows: Scores) -> Scores:
    defined = ~np.isnan(rows)
    count = defined.sum(0)
    total = np.where(defined, rows, 0.0).sum(0)
    found: Scores = np.divide(total, count, out=np.full(rows.shape[1], np.nan), where=count > 0)
    return found
