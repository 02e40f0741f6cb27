"""Changes: one method under one metric on one task, as it was and as it is, and whether that counts.

What is left to chance is asked of all changes together, for they share one probability of a false alarm: a change is
first measured, and given its verdict once all questions are known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from .judged import better
from .pairing import Apart
from .significance import holm, least, sign_flip, signed_ranks
from .statistics import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .cells import Cell, Record, Scores, Source
    from .pairing import Pair

    Rows = Sequence[tuple[Pair, Scores, Scores]]

Verdict = Literal["worse", "better", "same", "informs"]
# Single precision knows nothing smaller of numbers about 1.
RESOLUTION = 1e-5


@dataclass(frozen=True)
class Rule:
    """When a change counts.

    Attributes:
        margin: how large it must be, as a share of the metric's scale.
        alpha: how probable one false alarm in the whole comparison may be.
    """

    margin: float = 0.02
    alpha: float = 0.01


@dataclass(frozen=True)
class Change:
    """One method under one metric on one task, then and now.

    Attributes:
        task, method, metric: specs.
        verdict: ``"informs"`` where the metric never gates.
        baseline, run: the metric's statistic over what both define; NaN if there is nothing.
        difference: run − baseline.
        margin: what the difference must exceed, in the metric's own unit; 0 where equality is asked for.
        p: of the side the difference is on, after Holm's correction; None where nothing is left to chance.
        n: how many sequences were compared.
        unit: of the metric.
        reason: what else happened, such as a failure.
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
        if self.reason or math.isnan(self.difference):
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


@dataclass
class Findings:
    """Changes so far, and what is to be asked about them once all questions are known."""

    rule: Rule
    changes: list[Change] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    apart: list[Apart] = field(default_factory=list)
    new: list[Apart] = field(default_factory=list)


def judge(change: Change, metric: Source, pairs: Sequence[Pair], found: Findings) -> None:
    """Find what can be said of one method under one metric at once, and what must be asked."""
    rows, lost, gained = [], [], []
    for pair in pairs:
        (ours, theirs) = pair.cells
        new, old = ours.record(metric), theirs.record(metric)
        if new is not None and old is not None and new.status == old.status == "scored":
            rows.append((pair, pair.run.row(new), pair.baseline.row(old)))
        elif old is not None and old.status == "scored":
            lost.append(_state(ours, new))
        elif new is not None and new.status == "scored":
            gained.append(_state(theirs, old))
    for states, listed, reason in ((lost, found.apart, "the run has not judged it"), (gained, found.new, "")):
        if count := states.count(""):
            listed.append(Apart(change.task, change.method, metric.spec, reason, count))
    if better(metric) and (now := _joined(lost)):
        found.changes.append(replace(change, verdict="worse", reason=f"now {now}"))
    elif rows:
        _compare_rows(change, metric, rows, found)
    elif better(metric) and (before := _joined(gained)):
        found.changes.append(replace(change, verdict="better", reason=f"before {before}"))


def _state(cell: Cell, record: Record | None) -> str:
    """Why a cell has no score of a metric; empty if nobody asked."""
    if failure := cell.failure or (record and record.failure):
        return f"failed: {failure}"
    if not cell.explained or record is not None:
        return f"not applicable: {cell.reason or (record.reason if record else '')}"
    return ""


def _joined(states: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, states)))


def _compare_rows(change: Change, metric: Source, rows: Rows, found: Findings) -> None:
    if metric.unreproducible or not better(metric):
        new, old = (_mean_of_means([row[side] for row in rows]) for side in (1, 2))
        found.changes.append(
            replace(change, verdict="informs", baseline=old, run=new, difference=new - old, n=len(rows))
        )
    elif metric.facts.get("family") == "cost":
        found.changes.append(_counted(change, metric, rows))
    else:
        _ask(change, metric, rows, found)


def _counted(change: Change, metric: Source, rows: Rows) -> Change:
    """Exact counts: one more in one cell is worse."""
    new, old = (np.concatenate([row[side] for row in rows]) for side in (1, 2))
    # an archive keeps whole numbers exactly, others in single precision
    changed = (new != old) & ((new == np.rint(new)) & (old == np.rint(old)) | (_single(new) != _single(old)))
    turned = np.where(changed, better(metric) * (new - old), 0.0)
    verdict: Verdict = "worse" if (turned < 0).any() else "better" if (turned > 0).any() else "same"
    mean_new, mean_old = float(np.nanmean(new)), float(np.nanmean(old))
    difference = mean_new - mean_old if changed.any() else 0.0
    return replace(change, verdict=verdict, baseline=mean_old, run=mean_new, difference=difference, n=len(new))


def _ask(change: Change, metric: Source, rows: Rows, found: Findings) -> None:
    """Scores: what they were and are, and the questions whether they, or the undefined among them, went one way."""
    sign, rule, place = better(metric), found.rule, len(found.changes)
    pairs = [pair for pair, _, _ in rows]
    new, old = ([_single(row[side]) for row in rows] for side in (1, 2))
    both = [~np.isnan(one) & ~np.isnan(other) for one, other in zip(new, old, strict=True)]
    kept_new, kept_old = ([np.where(there, row, np.nan) for row, there in zip(side, both, strict=True)]
                          for side in (new, old))  # fmt: skip
    differences = by_instance(pairs, [one - other for one, other in zip(kept_new, kept_old, strict=True)])
    statistic = metric.facts.get("statistic", "mean")
    if len(differences):
        then, now = (_summary(pairs, side, statistic) for side in (kept_old, kept_new))
        margin = margin_of(metric, then, np.concatenate([row[~np.isnan(row)] for row in kept_old]), rule.margin)
        change = replace(change, baseline=then, run=now, difference=now - then, margin=margin, n=len(differences))
        # where a board shows a quantile, a few values rule the mean: ranks judge, the quantile is measured
        asked = differences if statistic == "mean" else signed_ranks(differences)
        found.questions.append(Question(place, sign * asked, sign * (now - then), margin))
    undefined = [np.isnan(other).astype(float) - np.isnan(one) for one, other in zip(new, old, strict=True)]
    if any(row.any() for row in undefined):
        fewer = by_instance(pairs, undefined)
        share = float(fewer.mean())
        reason = f"{abs(share):.1%} {'fewer' if share > 0 else 'more'} values are undefined"
        found.questions.append(Question(place, fewer, share, rule.margin, reason))
    found.changes.append(change)


def answer(found: Findings) -> int:
    """Give every change its verdict; how many questions shared the probability of a false alarm is returned.

    Questions whose differences are too few to be significant whatever their signs are not counted: which these are
    is decided by the sizes of the differences, of which the signs are independent if nothing changed (Tarone 1990).
    """
    asked = [each for each in found.questions if least(each.differences) < found.rule.alpha]
    falls = holm([sign_flip(each.differences) for each in asked])
    rises = holm([sign_flip(-each.differences) for each in asked])
    for question, fall, rise in zip(asked, falls, rises, strict=True):
        change = found.changes[question.place]
        verdict = question.verdict(fall, rise, found.rule.alpha)
        if not question.reason:
            p = fall if question.effect < 0 else rise
            found.changes[question.place] = replace(change, verdict=verdict, p=p)
        elif verdict == "worse" or (verdict == "better" and change.verdict == "same"):
            found.changes[question.place] = replace(change, verdict=verdict, reason=question.reason)
    return len(asked)


def by_instance(pairs: Sequence[Pair], rows: Sequence[Scores]) -> Scores:
    """float64[n]: the mean of each sequence's values over all seeds; where models have other data, each has its own.

    Models are the same in run and baseline, so it is sequences the inference is over, and those of several models are
    one sequence if their data are the same.

    Args:
        pairs: the cells.
        rows: float64[B] of each; NaN is left out.
    """
    groups: dict[tuple[str, int], list[Scores]] = {}
    for pair, row in zip(pairs, rows, strict=True):
        groups.setdefault((pair.cells[0].fingerprints.data, len(row)), []).append(row)
    return np.concatenate([_mean_of_defined(np.stack(group)) for group in groups.values()])


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
    low, high = (metric.facts.get(end) for end in ("low", "high"))
    if low is not None and high is not None:
        return share * (float(high) - float(low))
    if metric.facts.get("statistic", "mean") == "mean":
        spread = float(values.std())
    else:
        spread = float(np.subtract(*np.quantile(values, [0.75, 0.25])))
    return max(share * max(abs(then), spread), RESOLUTION)


def _summary(pairs: Sequence[Pair], rows: Sequence[Scores], statistic: str) -> float:
    if statistic == "mean":
        return float(by_instance(pairs, rows).mean())
    values = np.concatenate([row[~np.isnan(row)] for row in rows])
    return float(np.quantile(values, QUANTILES[statistic], method="inverted_cdf"))


def _mean_of_defined(rows: Scores) -> Scores:
    defined = ~np.isnan(rows)
    there = defined.any(0)
    found: Scores = np.where(defined, rows, 0.0).sum(0)[there] / defined.sum(0)[there]
    return found


def _mean_of_means(rows: Sequence[Scores]) -> float:
    defined = [row[~np.isnan(row)].mean() for row in rows if not np.isnan(row).all()]
    return float(np.mean(defined)) if defined else math.nan


def _single(values: Scores) -> Scores:
    """As an archive keeps them, so that a run and its own archive do not differ."""
    return values.astype(np.float32).astype(np.float64)
