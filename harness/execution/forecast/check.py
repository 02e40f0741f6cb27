"""Predicted against actual: the forecast of a finished run, cell by cell."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ....errors import UsageError
from ...results.cells import Key
from .costs import Costs
from .machine import relative_speed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...results.cells import Cell
    from ..run import Run

# Seconds below which a ratio says more about the clock than about the forecast.
LEAST = 0.01


@dataclass(frozen=True)
class CellForecast:
    """Predicted and actual seconds of explaining and scoring one cell."""

    key: Key
    explaining: tuple[float, float]
    scoring: tuple[float, float]

    @property
    def both(self) -> tuple[float, float]:
        """Predicted and actual seconds of both."""
        return self.explaining[0] + self.scoring[0], self.explaining[1] + self.scoring[1]


@dataclass(frozen=True)
class Ratios:
    """Ratios of predicted to actual seconds of a group of cells.

    Attributes:
        name: of the group.
        cells: number of cells whose seconds are long enough to be compared.
        predicted, actual: seconds of all cells of the group.
        median: median ratio; 1 if no cell can be compared.
        worst: the ratio that is farthest from 1, as a factor.
        worst_cell: the cell that has it.
    """

    name: str
    cells: int
    predicted: float
    actual: float
    median: float
    worst: float
    worst_cell: str


@dataclass(frozen=True)
class ForecastCheck:
    """Predicted against actual seconds of a run: groups by table, and the sentence about the whole run."""

    tables: dict[str, tuple[Ratios, ...]]
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """The check as JSON values."""
        return asdict(self)


def check_forecast(run: Run) -> ForecastCheck:
    """Compare the forecast of a run with what its cells took.

    The speed of the machine is that at the start of the run, or that of this one if the run file has none. What all
    cells of a model share in scoring counts for the first of them, as in a run of one process.

    Raises:
        UsageError: no cell of the run has its times.
    """
    cells = list(_cells(run))
    if not cells:
        raise UsageError(
            f"No cell of {str(run.folder)!r} has the time of its scoring: it was made by an earlier version, which did "
            "not measure it; 'xrnnbench run' with --fresh and the same suite does."
        )
    phases = {name: [(each.key, getattr(each, name)) for each in cells] for name in ("explaining", "scoring", "both")}
    by_task = _grouped((each.key.task.spec, each) for each in cells)
    by_method = _grouped((each.key.method.spec, each) for each in cells)
    tables = {
        "Predicted and actual seconds": tuple(_ratios(name, pairs) for name, pairs in phases.items()),
        "By task": by_task,
        "By method": by_method,
    }
    return ForecastCheck(tables, forecast_sentence(run.content))


def forecast_sentence(content: dict[str, Any]) -> str:
    """Sentence about the forecast that a run made at its start, and the time it took; empty if there is none."""
    forecast, times = content.get("forecast", {}), content.get("times", {})
    if not forecast or not times:
        return ""
    names = ("training", "explaining", "scoring", "rest")
    parts = ", ".join(f"{name} {forecast.get(name, 0.0):.1f} s and {times.get(name, 0.0):.1f} s" for name in names)
    return f"Predicted {forecast['total']:.0f} s, took {times['total']:.0f} s: {parts}."


def _cells(run: Run) -> Iterable[CellForecast]:
    """Explained cells of a run whose scoring was measured."""
    costs = Costs.of(())
    speed = run.content.get("forecast", {}).get("speed") or relative_speed()
    models: set[tuple[str, int]] = set()
    for key, cell in run.cells.items():
        if cell is None or not cell.explained or not cell.measured.scoring:
            continue
        metrics = [record.metric for record in cell.all_records if record.metric.spec in cell.measured.scoring]
        scoring = costs.scoring(key, metrics)
        if (model := (key.task.spec, key.model_seed)) not in models:
            scoring += costs.model_scoring(key.task, metrics)
            models.add(model)
        explaining = costs.explaining(key) * speed
        yield CellForecast(key, (explaining, cell.measured.seconds), (scoring * speed, _took(cell)))


def _took(cell: Cell) -> float:
    """Seconds of all metrics of a cell."""
    return sum(cost.seconds for cost in cell.measured.scoring.values())


def _grouped(pairs: Iterable[tuple[str, CellForecast]]) -> tuple[Ratios, ...]:
    """Ratios of groups of cells, the one that takes longest first."""
    groups: dict[str, list[tuple[Key, tuple[float, float]]]] = {}
    for name, each in pairs:
        groups.setdefault(name, []).append((each.key, each.both))
    return tuple(sorted((_ratios(name, each) for name, each in groups.items()), key=lambda ratios: -ratios.actual))


def _ratios(name: str, pairs: list[tuple[Key, tuple[float, float]]]) -> Ratios:
    """Ratios of a group."""
    compared = [(key, max(predicted, 1e-9) / actual) for key, (predicted, actual) in pairs if actual >= LEAST]
    worst_cell, worst = max(compared, key=lambda pair: max(pair[1], 1 / pair[1]), default=("", 1.0))
    predicted, actual = (sum(pair[column] for _, pair in pairs) for column in (0, 1))
    median = statistics.median(ratio for _, ratio in compared) if compared else 1.0
    return Ratios(name, len(compared), predicted, actual, median, worst, str(worst_cell))
