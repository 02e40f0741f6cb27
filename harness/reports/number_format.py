"""How things stand in a table: numbers, means, titles of rows and columns, and what is best in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.scored_cells import better, control
from .blocks import Datum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..leaderboard.leaderboard import Entry, Table
    from ..results.cells import Source
    from ..statistics.estimates import Estimate

NOTHING = "–"
_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def number(value: float) -> str:
    """A number as it stands in a table: three decimals for small ones, none for large ones.

    >>> [number(value) for value in (0, 0.81249, 12.34, 6400.0, 0.000012)]
    ['0', '0.812', '12.3', '6,400', '1.2e-05']
    """
    return "0" if value == 0 else format(value, _format(abs(value)))


def estimated(value: Estimate) -> tuple[str, str]:
    """A mean, and its interval if it has any width that would be seen."""
    # as many decimals for all three as the mean alone would have: it is the mean that is compared down the column
    form = _format(abs(value.mean))
    mean, low, high = (format(each, form) for each in (value.mean, value.low, value.high))
    return (number(value.mean), "") if low == mean == high else (mean, f"[{low}, {high}]")


def _format(size: float) -> str:
    if size >= 1000:
        return ",.0f"
    if size >= 10:
        return ".1f"
    return ".3f" if size == 0 or size >= 0.001 else ".1e"


def titled(metric: Source) -> str:
    """A metric as it heads a column: its name, an arrow towards the better, its unit, and what is shown if no mean."""
    statistic = metric.facts.get("statistic", "mean")
    said = [metric.facts.get("unit", ""), statistic if statistic != "mean" else ""]
    marks = ", ".join(filter(None, said))
    return f"{metric.spec}{_ARROWS[better(metric)]}" + (f" ({marks})" if marks else "")


def labelled(method: Source) -> str:
    """A method as it heads a row; controls say that they are."""
    return f"{method.spec} (control)" if control(method) else method.spec


def leading(values: dict[str, float], methods: Iterable[Source], metric: Source) -> set[str]:
    """The methods whose printed mean is the best of a column; controls do not compete.

    Args:
        values: means, by spec of the method.
        methods: the rows.
        metric: says which direction is better.
    """
    sign = better(metric)
    running = {method.spec: values[method.spec] for method in methods if method.spec in values and not control(method)}
    if not sign or len(running) < 2:
        return set()
    best = number(max(running.values(), key=lambda value: sign * value))
    return {spec for spec, value in running.items() if number(value) == best}


def mean_datum(value: Estimate | None, *, best: bool = False) -> Datum:
    """A mean over tasks as it stands in a table; None is none."""
    return Datum(NOTHING) if value is None else Datum(*estimated(value), best=best, value=value.mean)


def entry_datum(entry: Entry, size: int | None = None, notes: list[str] | None = None, *, best: bool = False) -> Datum:
    """An entry as it stands in a table.

    Args:
        entry: the entry.
        size: how many values most entries rest on; one that rests on others says on how many. None if nobody asks.
        notes: what went wrong is added to them, once; None if it is not told.
        best: whether it is the best of its column.
    """
    if entry.status == "not applicable":
        return Datum(NOTHING)
    if entry.status != "scored":
        if notes is None or entry.status != "failed":
            return Datum(entry.status)
        found = "; ".join(entry.notes)
        if found not in notes:
            notes.append(found)
        return Datum("failed", note=notes.index(found) + 1)
    value = entry.value
    if not value.n:
        return Datum(f"undefined ({value.undefined})")
    rests_on = ""
    if size is not None and value.n != size:
        rests_on = f"n = {value.n}" + (f", {value.undefined} undefined" if value.undefined else "")
    return Datum(*estimated(value), placed(entry.places), rests_on, best=best, value=value.mean)


def means(table: Table, metric: Source) -> dict[str, float]:
    """The means of one metric on one task, by spec of the method; methods without one are not there."""
    entries = {method.spec: table.entries[method.spec, metric.spec] for method in table.methods}
    return {spec: entry.value.mean for spec, entry in entries.items() if entry.status == "scored" and entry.value.n}


def placed(places: tuple[int, int] | None) -> str:
    """The places that are left open.

    >>> [placed(places) for places in ((1, 3), (4, 4), None)]
    ['1–3', '4', '']
    """
    if places is None:
        return ""
    first, last = places
    return str(first) if first == last else f"{first}–{last}"
