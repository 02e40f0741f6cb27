"""The DeepLIFT that isn't: a rescale rule through the recurrence, beside one that stops at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..blocks import Datum, Grid, Row
from ..number_format import NOTHING, entry_datum
from .axes import Tick, logarithmic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...leaderboard.leaderboard import Leaderboard, Table
    from ...results.cells import Source
    from .css_classes import Names

_REAL, _OTHER, _EXACT = "deeplift", "captum-deeplift", "exact-shapley"
_GAP, _TRUTHS = "completeness-gap", ("truth-correlation", "rank-accuracy", "average-precision")


@dataclass(frozen=True)
class Pair:
    """The gaps of both on one task; places are shares of the axis, None where there is no figure."""

    label: str
    kind: str
    real: float | None
    other: float | None


@dataclass(frozen=True)
class Comparison:
    """Both, side by side.

    Attributes:
        gaps: one line for each task.
        ticks: of the gaps.
        sheet: all figures.
        metric: the gap, as it heads a column.
    """

    gaps: tuple[Pair, ...]
    ticks: tuple[Tick, ...]
    sheet: Grid
    metric: str


def rescale(board: Leaderboard, names: Names) -> Comparison | None:
    """The comparison; None unless both are on the board with a completeness gap."""
    real, other, exact = (_named(board.methods, name) for name in (_REAL, _OTHER, _EXACT))
    gap = _named(board.metrics, _GAP)
    if real is None or other is None or gap is None:
        return None
    truths = [metric for name in _TRUTHS if (metric := _named(board.metrics, name)) is not None][:2]
    values = [_mean(table, method, gap) for table in board.tables for method in (real, other)]
    scale = logarithmic(value for value in values if value is not None)
    gaps = []
    for table in board.tables:
        ends = [None if (mean := _mean(table, each, gap)) is None else scale.at(mean) for each in (real, other)]
        if any(end is not None for end in ends):
            gaps.append(Pair(table.task.spec, names.task(table.task.spec), *ends))
    sheet = _sheet(board.tables, (real, other), exact, [gap, *truths])
    return Comparison(tuple(gaps), scale.ticks, sheet, gap.spec)


def _sheet(
    tables: Sequence[Table], pair: tuple[Source, Source], exact: Source | None, metrics: Sequence[Source]
) -> Grid:
    real, other = pair
    heads = [f"{metric.spec}: {method.identity['name']}" for metric in metrics for method in pair]
    heads += [f"agreement with exact-shapley: {method.identity['name']}" for method in pair] if exact else []
    heads += ["agreement of the two"]

    def row(table: Table) -> Row:
        cells = [entry_datum(table.entries[method.spec, metric.spec]) for metric in metrics for method in pair]
        cells += [_agreement(table, method, exact) for method in pair] if exact else []
        return Row(table.task.spec, (*cells, _agreement(table, real, other)))

    return Grid("Both on every task", ("task", *heads), tuple(map(row, tables)))


def _agreement(table: Table, one: Source, other: Source) -> Datum:
    pair = {one.spec, other.spec}
    value = next((each.ranks for each in table.comparisons.methods if {each.first, each.second} == pair), None)
    return Datum(NOTHING) if value is None else Datum(f"{value:.2f}", value=value)


def _mean(table: Table, method: Source, metric: Source) -> float | None:
    entry = table.entries[method.spec, metric.spec]
    return entry.value.mean if entry.status == "scored" and entry.value.n else None


def _named(sources: Sequence[Source], name: str) -> Source | None:
    return next((source for source in sources if source.identity["name"] == name), None)
