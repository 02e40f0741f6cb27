"""How things stand in a table: numbers, means, titles of rows and columns, and the table itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .judged import better

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .cells import Source
    from .statistics import Estimate

NOTHING = "–"
_ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def number(value: float) -> str:
    """A number as it stands in a table: three decimals for small ones, none for large ones.

    >>> [number(value) for value in (0, 0.81249, 12.34, 6400.0, 0.000012)]
    ['0', '0.812', '12.3', '6,400', '1.2e-05']
    """
    return "0" if value == 0 else format(value, _format(abs(value)))


def estimated(value: Estimate) -> str:
    """A mean with its interval, if it has any width that would be seen."""
    # as many decimals for all three as the mean alone would have: it is the mean that is compared down the column
    mean, low, high = (format(each, _format(abs(value.mean))) for each in (value.mean, value.low, value.high))
    return number(value.mean) if low == mean == high else f"{mean} [{low}, {high}]"


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


def control(method: Source) -> bool:
    """Whether a method is there to be compared with, not to win."""
    return method.facts.get("group") == "control"


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


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, its numbers to the right."""
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in [heads, rule, *rows])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
