"""Changes: one method under one metric on one task, as it was and as it is, and whether that counts.

What is left to chance is asked of all changes together, for they share one probability of a false alarm: a change is
first measured, and given its verdict once all questions are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ...errors import UsageError
from ..results.cells import Scores
from ..results.scored_cells import better
from ..statistics.pairwise_tests import holm
from ..statistics.sign_flip import least, sign_flip, signed_ranks
from .independent_units import by_draw, by_sequence, mean, single, summary
from .match_cells import Apart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results.cells import Cell, Record, Source
    from .match_cells import Pair

Verdict = Literal["worse", "better", "same", "informs"]
# Single precision knows nothing smaller of numbers about 1.
RESOLUTION = 1e-5


@dataclass(frozen=True)
class Rule:
    """When a change counts.

    Attributes:
        margin: how large it must be, as a share of the metric's scale; see :func:`margin_of`.
        alpha: how probable one false alarm in the whole comparison may be.

    Raises:
        UsageError: the margin is below 0 or no number, or alpha is not between 0 and 1.
    """

    margin: float = 0.02
    alpha: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise UsageError(f"A margin of {self.margin} does not fit: give a share such as 0.02, at least 0.")
        if not 0 < self.alpha < 1:
            raise UsageError(f"An alpha of {self.alpha} does not fit: give a probability such as 0.01.")


@dataclass(frozen=True)
class Change:
    """One method under one metric on one task, then and now.

    Attributes:
        task, method, metric: specs.
        verdict: ``"informs"`` where the metric never gates, or where too little is there to tell from chance.
        baseline, run: the metric's statistic over what both define; NaN if there is nothing.
        difference: run − baseline.
        margin: what the difference must exceed, in the metric's own unit; 0 where equality is asked for.
        p: of the side the difference is on, after Holm's correction; None where nothing is left to chance.
        n: how many sequences were compared.
        unit: of the metric.
        reason: what else happened, such as a failure; or why nothing can be told.
    """

    task: str
    method: str
    metric: str
    verdict: Verdict
    baseline: float = math.nan
    run: float = math.nan
    difference: float = math.nan
    margin: float = 0.0
    p: float | None = None
    n: int = 0
    unit: str = ""
    reason: str = ""

    @property
    def size(self) -> float:
        """The difference in margins; infinite where something was lost that was there."""
        if math.isnan(self.difference):
            return math.inf
        return abs(self.difference) / self.margin if self.margin else abs(self.difference / (self.baseline or 1.0))


@dataclass(frozen=True)
class Question:
    """One thing asked of the differences of one place: whether they go one way, and by more than a margin."""

    place: int
    differences: Scores
    effect: float
    margin: float
    reason: str = ""

    def verdict(self, worse: float, risen: float, alpha: float) -> Verdict:
        """The verdict of the corrected p-values of both sides; positive effects are better."""
        if self.effect < -self.margin and worse < alpha:
            return "worse"
        return "better" if self.effect > self.margin and risen < alpha else "same"


class Beside(NamedTuple):
    """The scores float64[B] of a cell, now and then."""

    pair: Pair
    new: Scores
    old: Scores


@dataclass
class Findings:
    """Changes so far, and what is to be asked about them once all questions are known.

    Attributes:
        rule: when a change counts.
        changes: of which those with questions have no verdict yet.
        questions: by the place of their change.
        apart, new: what cannot be compared, and what only the run has.
    """

    rule: Rule
    changes: list[Change] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    new: list[Apart] = field(default_factory=list)


def judge(change: Change, metric: Source, pairs: Sequence[Pair], found: Findings) -> None:
    """Find what can be said of one method under one metric at once, and what must be asked."""
    rows: list[Beside] = []
    lost, gained, failed = [], [], 0
    for pair in pairs:
        (ours, theirs) = pair.cells
        new, old = ours.record(metric), theirs.record(metric)
        if new is not None and old is not None and new.status == old.status == "scored":
            rows.append(Beside(pair, pair.run.row(new), pair.baseline.row(old)))
        elif old is not None and old.status == "scored":
            lost.append(_state(ours, new))
        elif new is not None and new.status == "scored":
            gained.append(_state(theirs, old))
        else:
            failed += _state(ours, new).startswith("failed") and _state(theirs, old).startswith("failed")
    if failed:
        found.apart.append(Apart(change.task, change.method, metric.spec, "failed then and now", failed))
    if better(metric) and lost:
        found.changes.append(replace(change, verdict="worse", reason=f"now {_joined(lost)}"))
    elif rows:
        _compare(change, metric, rows, found)
    elif better(metric) and gained:
        found.changes.append(replace(change, verdict="better", reason=f"before {_joined(gained)}"))


def answer(found: Findings) -> int:
    """Give every change its verdict; how many questions shared the probability of a false alarm is returned.

    Questions whose differences are too few to be significant whatever their signs are not asked: which these are is
    decided by the sizes of the differences, of which the signs are independent if nothing changed (Tarone 1990,
    doi:10.2307/2531456).
    """
    asked = [each for each in found.questions if least(each.differences) < found.rule.alpha]
    falls = holm(np.array([sign_flip(each.differences) for each in asked]))
    rises = holm(np.array([sign_flip(-each.differences) for each in asked]))
    for question, fall, rise in zip(asked, falls.tolist(), rises.tolist(), strict=True):
        change = found.changes[question.place]
        verdict = question.verdict(fall, rise, found.rule.alpha)
        if not question.reason:
            p = fall if question.effect < 0 else rise
            found.changes[question.place] = replace(change, verdict=verdict, p=p)
        elif verdict == "worse" or (verdict == "better" and change.verdict == "same"):
            found.changes[question.place] = replace(change, verdict=verdict, reason=question.reason)
    for question in found.questions:
        if abs(question.effect) > question.margin and least(question.differences) >= found.rule.alpha:
            _leave_open(question, found)
    return len(asked)


def margin_of(metric: Source, then: float, values: Scores, share: float) -> float:
    """How large a change of a metric must be.

    A share of the width of its range. Where that is open, of the size of the baseline, or of the spread of its values
    if that is larger, for a value about 0 has no size of its own. Never less than what single precision tells apart.

    Args:
        metric: says its range.
        then: the baseline.
        values: float64[N], all defined values of the baseline.
        share: how much of the scale.
    """
    width = float(metric.facts.get("high", "inf")) - float(metric.facts.get("low", "-inf"))
    if math.isfinite(width):
        scale = width
    elif metric.facts.get("statistic", "mean") == "mean":
        scale = max(abs(then), float(values.std()))
    else:
        scale = max(abs(then), float(np.subtract(*np.quantile(values, [0.75, 0.25]))))
    return max(share * scale, RESOLUTION)


def _state(cell: Cell, record: Record | None) -> str:
    """Why a cell has no score of a metric."""
    if failure := cell.failure or (record and record.failure):
        return f"failed: {failure}"
    if not cell.explained or record is not None:
        return f"not applicable: {cell.reason or (record.reason if record else '')}"
    return "not judged"


def _joined(states: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(states))


def _compare(change: Change, metric: Source, rows: Sequence[Beside], found: Findings) -> None:
    if metric.unreproducible or not better(metric):
        new, old = (mean(np.array([mean(row) for row in side])) for side in _sides(rows))
        found.changes.append(
            replace(change, verdict="informs", baseline=old, run=new, difference=new - old, n=len(rows))
        )
    elif metric.facts.get("family") == "cost":
        found.changes.append(_counted(change, metric, rows))
    else:
        _ask(change, metric, rows, found)


def _counted(change: Change, metric: Source, rows: Sequence[Beside]) -> Change:
    """Exact counts: one more in one cell is worse, and so is one that is no longer there."""
    new, old = map(np.concatenate, _sides(rows))
    # an archive keeps whole numbers exactly, others in single precision
    whole = (new == np.rint(new)) & (old == np.rint(old))
    turned = np.where(whole | (single(new) != single(old)), better(metric) * (new - old), 0.0)
    lost = np.isnan(new) & ~np.isnan(old)
    verdict: Verdict = "worse" if (turned < 0).any() or lost.any() else "better" if (turned > 0).any() else "same"
    change = replace(change, verdict=verdict, baseline=mean(old), run=mean(new), n=len(new))
    return replace(change, difference=change.run - change.baseline if verdict != "same" else 0.0)


def _ask(change: Change, metric: Source, rows: Sequence[Beside], found: Findings) -> None:
    """Scores: what they were and are, and the questions whether they, or the undefined among them, went one way."""
    pairs = [row.pair for row in rows]
    new, old = ([single(row) for row in side] for side in _sides(rows))
    place, missing = len(found.changes), [np.isnan(row) for row in new]
    had, has = (sum(int((~np.isnan(row)).sum()) for row in side) for side in (old, new))
    found.changes.append(change)
    if had and not has:
        found.changes[place] = replace(change, verdict="worse", reason=f"all {had} values are undefined now")
        return
    _ask_of_scores(place, metric, pairs, (new, old), found)
    fewer = [np.isnan(row).astype(float) - gap for row, gap in zip(old, missing, strict=True)]
    if any(row.any() for row in fewer):
        share = float(by_sequence(pairs, fewer).mean())
        reason = f"{abs(share):.1%} {'fewer' if share > 0 else 'more'} values are undefined"
        found.questions.append(Question(place, by_draw(pairs, fewer), share, found.rule.margin, reason))


def _ask_of_scores(
    place: int, metric: Source, pairs: Sequence[Pair], rows: tuple[list[Scores], list[Scores]], found: Findings
) -> None:
    both = [~np.isnan(one) & ~np.isnan(other) for one, other in zip(*rows, strict=True)]
    new, old = ([np.where(there, row, np.nan) for row, there in zip(side, both, strict=True)] for side in rows)
    differences = by_draw(pairs, [one - other for one, other in zip(new, old, strict=True)])
    if not len(differences):
        return
    statistic, sign = metric.facts.get("statistic", "mean"), better(metric)
    then, now = (summary(pairs, side, statistic) for side in (old, new))
    margin = margin_of(metric, then, np.concatenate([row[~np.isnan(row)] for row in old]), found.rule.margin)
    n = len(by_sequence(pairs, new))
    found.changes[place] = replace(
        found.changes[place], baseline=then, run=now, difference=now - then, margin=margin, n=n
    )
    # where a board shows a quantile, a few values rule the mean: ranks judge, the quantile is measured
    asked = differences if statistic == "mean" else signed_ranks(differences)
    found.questions.append(Question(place, sign * asked, sign * (now - then), margin))


def _sides(rows: Sequence[Beside]) -> tuple[list[Scores], list[Scores]]:
    """The scores of all cells now, and then."""
    return [row.new for row in rows], [row.old for row in rows]


def _leave_open(question: Question, found: Findings) -> None:
    """Say that a change larger than its margin rests on too little."""
    change = found.changes[question.place]
    count = int(np.count_nonzero(question.differences))
    if change.verdict == "same":
        reason = f"{count} that differ {'is' if count == 1 else 'are'} too few to tell from chance"
        found.changes[question.place] = replace(change, verdict="informs", reason=reason)
