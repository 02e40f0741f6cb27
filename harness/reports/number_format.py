"""Formatting of table cells: numbers, means with intervals, rank ranges, names of metrics and methods, and the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..results.scored_cells import direction_sign, is_control
from .blocks import TableCell

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..leaderboard.task_board import Entry, TaskTable
    from ..results.cells import PluginInfo
    from ..statistics.estimates import Estimate

DASH = "–"
_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def format_number(value: float) -> str:
    """Return a number as tables show it: three decimals for small numbers, none for large ones.

    >>> [format_number(value) for value in (0, 0.81249, 12.34, 6400.0, 0.000012)]
    ['0', '0.812', '12.3', '6,400', '1.2e-05']
    """
    return "0" if value == 0 else format(value, _format_spec(abs(value)))


def format_estimate(value: Estimate) -> tuple[str, str]:
    """Return a mean and its interval as text.

    The interval is empty if there is none, or if both its ends print like the mean.
    """
    if math.isnan(value.low):
        return format_number(value.mean), ""
    # all three get the decimals of the mean, because means are compared down the column
    spec = _format_spec(abs(value.mean))
    mean, low, high = (format(number, spec) for number in (value.mean, value.low, value.high))
    return (format_number(value.mean), "") if low == mean == high else (mean, f"[{low}, {high}]")


def _format_spec(size: float) -> str:
    """Return the format specification for numbers of this absolute value."""
    if size >= 1000:
        return ",.0f"
    if size >= 10:
        return ".1f"
    return ".3f" if size == 0 or size >= 0.001 else ".1e"


def format_metric(metric: PluginInfo) -> str:
    """Return the column head of a metric: its spec, an arrow towards better, its unit, and its statistic if no mean."""
    statistic = metric.facts.get("statistic", "mean")
    marks = ", ".join(filter(None, [metric.facts.get("unit", ""), statistic if statistic != "mean" else ""]))
    return f"{metric.spec}{_ARROWS[direction_sign(metric)]}" + (f" ({marks})" if marks else "")


def format_method(method: PluginInfo) -> str:
    """Return the row label of a method; controls are marked."""
    return f"{method.spec} (control)" if is_control(method) else method.spec


def best_methods(values: dict[str, float], methods: Iterable[PluginInfo], metric: PluginInfo) -> set[str]:
    """Return the specs of the methods whose printed mean is the best of a column; controls do not compete.

    Args:
        values: means, by spec of the method.
        methods: the rows.
        metric: its direction decides what is better.
    """
    sign = direction_sign(metric)
    competing = {
        method.spec: values[method.spec] for method in methods if method.spec in values and not is_control(method)
    }
    if not sign or len(competing) < 2:
        return set()
    best = format_number(max(competing.values(), key=lambda value: sign * value))
    return {spec for spec, value in competing.items() if format_number(value) == best}


def mean_cell(value: Estimate | None, *, best: bool = False) -> TableCell:
    """Return the cell of a mean over tasks; a dash for None."""
    return TableCell(DASH) if value is None else TableCell(*format_estimate(value), best=best, value=value.mean)


def entry_cell(
    entry: Entry, usual_size: int | None = None, notes: list[str] | None = None, *, best: bool = False
) -> TableCell:
    """Return the cell of an entry.

    Args:
        entry: the entry.
        usual_size: the number of values of most entries; an entry with another number shows its own. None to show none.
        notes: the errors of a failed entry are appended to them unless they are there; None to show no errors.
        best: whether it is the best of its column.
    """
    if entry.status == "not applicable":
        return TableCell(DASH)
    if entry.status != "scored":
        if notes is None or entry.status != "failed":
            return TableCell(entry.status)
        errors = "; ".join(entry.notes)
        if errors not in notes:
            notes.append(errors)
        return TableCell("failed", note=notes.index(errors) + 1)
    value = entry.value
    if not value.n:
        return TableCell(f"undefined ({value.undefined})")
    sample_size = ""
    if usual_size is not None and value.n != usual_size:
        sample_size = f"n = {value.n}" + (f", {value.undefined} undefined" if value.undefined else "")
    rank_range = format_rank_range(entry.rank_range)
    return TableCell(*format_estimate(value), rank_range, sample_size, best=best, value=value.mean)


def method_means(table: TaskTable, metric: PluginInfo) -> dict[str, float]:
    """Return the means of one metric on one task, by spec of the method; methods without a mean are left out."""
    entries = {method.spec: table.entries[method.spec, metric.spec] for method in table.methods}
    return {spec: entry.value.mean for spec, entry in entries.items() if entry.status == "scored" and entry.value.n}


def format_rank_range(rank_range: tuple[int, int] | None) -> str:
    """Return a rank range as text.

    >>> [format_rank_range(ranks) for ranks in ((1, 3), (4, 4), None)]
    ['1–3', '4', '']
    """
    if rank_range is None:
        return ""
    first, last = rank_range
    return str(first) if first == last else f"{first}–{last}"
