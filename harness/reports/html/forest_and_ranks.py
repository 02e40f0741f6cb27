"""Pictures of the order of methods: means with their intervals, and critical differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...results.scored_cells import control
from ..number_format import estimated
from .axes import Tick, linear, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...leaderboard.leaderboard import Leaderboard
    from ...leaderboard.standings import Standing
    from ...statistics.estimates import Estimate
    from .axes import Scale
    from .css_classes import Names


@dataclass(frozen=True)
class Mark:
    """One method on a line of its own; places are shares of the axis, 0 to 1.

    Attributes:
        kinds: the classes of the method.
        label: its spec.
        control: whether it is one.
        at: where it lies.
        low, high: where its interval begins and ends.
        text: the number.
        interval: ``"[low, high]"``, or empty.
    """

    kinds: str
    label: str
    control: bool
    at: float
    low: float
    high: float
    text: str
    interval: str = ""


@dataclass(frozen=True)
class Forest:
    """Means with intervals, one under the other."""

    title: str
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]

    @property
    def summary(self) -> str:
        """The picture in words."""
        return f"{self.title}. " + "; ".join(" ".join(filter(None, [m.label, m.text, m.interval])) for m in self.marks)


@dataclass(frozen=True)
class Clique:
    """Methods that are not told apart: rows from the first to the last, counted from 1, and the lane of its bar."""

    first: int
    last: int
    lane: int


@dataclass(frozen=True)
class Ranks:
    """A critical-difference diagram, turned by a quarter, so that names have room on any screen.

    Attributes:
        title: what it shows.
        marks: the methods, best first.
        ticks: of the mean rank.
        cliques: what is not told apart.
        lanes: how many bars lie beside each other.
        critical: the critical difference as a share of the axis, and as text; None where there is none.
        summary: the picture in words.
    """

    title: str
    marks: tuple[Mark, ...]
    ticks: tuple[Tick, ...]
    cliques: tuple[Clique, ...]
    lanes: int
    critical: tuple[float, str] | None
    summary: str


def forest(board: Leaderboard, names: Names) -> Forest | None:
    """The headline over all tasks; with one task, on that; None if no method has a mean."""
    values = dict(board.overall)
    if not values:
        return None
    scale = linear([each for value in values.values() for each in (value.low, value.high)])
    marks = [_mark(method.spec, values[method.spec], scale, names) for method in board.methods if method.spec in values]
    over = f"mean over {len(board.tables)} tasks" if len(board.tables) > 1 else "mean"
    return Forest(f"{board.headline.spec}, {over}, with 95 % interval", tuple(marks), scale.ticks)


def _mark(spec: str, value: Estimate, scale: Scale, names: Names) -> Mark:
    text, interval = estimated(value)
    at, low, high = (scale.at(each) for each in (value.mean, value.low, value.high))
    return Mark(names.method(spec), spec, spec in names.controls, at, low, high, text, interval)


def ranks(standing: Standing, names: Names) -> Ranks:
    """The mean ranks over tasks, and what they do not tell apart."""
    specs = [method.spec for method in standing.methods]
    scale = whole(1, max(2, len(specs)))
    marks = []
    for method in standing.methods:
        rank = standing.ranks[method.spec]
        at = scale.at(rank)
        marks.append(Mark(names.method(method.spec), method.spec, control(method), at, at, at, f"{rank:.2f}"))
    cliques, lanes = _laned([(specs.index(clique[0]) + 1, specs.index(clique[-1]) + 1) for clique in standing.cliques])
    critical = None
    if standing.critical is not None:
        share = standing.critical / (scale.high - scale.low)
        critical = (share, f"{standing.critical:.2f}")
    title = f"Mean ranks over {standing.scope or 'all tasks'}"
    return Ranks(title, tuple(marks), scale.ticks, cliques, lanes, critical, _in_words(standing, title))


def _in_words(standing: Standing, title: str) -> str:
    ranked = ", ".join(f"{method.spec} {standing.ranks[method.spec]:.2f}" for method in standing.methods)
    said = f"{title}, best first: {ranked}."
    if standing.critical is not None:
        said += f" Critical difference {standing.critical:.2f}."
    if standing.cliques:
        said += f" Not told apart: {'; '.join(', '.join(clique) for clique in standing.cliques)}."
    return said


def _laned(spans: Sequence[tuple[int, int]]) -> tuple[tuple[Clique, ...], int]:
    """Each span in the first lane that is free where it begins."""
    ends: list[int] = []
    found = []
    for first, last in spans:
        lane = next((place for place, end in enumerate(ends) if end < first), len(ends))
        ends[lane:] = [last] if lane == len(ends) else [last, *ends[lane + 1 :]]
        found.append(Clique(first, last, lane + 1))
    return tuple(found), len(ends)
