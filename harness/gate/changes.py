"""Changes of scores against a baseline: one method under one metric on one task, and the verdict of the gate.

All tests of a comparison share one probability of a false alarm. So :func:`compare_scores` first measures every change
and collects the tests it needs, and :func:`decide_verdicts` then tests them together. Where a model was trained again,
the tests allow for the spread between models; see :mod:`.model_spread`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ...errors import UsageError
from ..results.cells import Scores
from ..results.scored_cells import direction_sign
from ..statistics.pairwise_tests import holm
from ..statistics.sign_flip import sign_flip, smallest_p_value
from .independent_units import (
    board_statistic,
    draws_for_all,
    mean_by_sequence,
    mean_by_unit,
    mean_of_defined,
    rows_together,
    single_precision,
)
from .match_cells import Unmatched
from .model_spread import FEWEST, ModelSpread, ModelSpreads, judges_one_model, statistics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results.cells import Cell, PluginInfo, Record
    from .independent_units import Rows
    from .match_cells import CellPair

Verdict = Literal["worse", "better", "same", "informs"]
# The smallest margin: single precision cannot tell numbers near 1 apart that differ by less.
RESOLUTION = 1e-5
# On a model that was trained again, the factor by which a mean count must change to count as worse or better: methods
# that refine where a path bends took up to twice as many passes on another training of the same quality.
_COUNT_FACTOR = 3.0


@dataclass(frozen=True)
class GateSettings:
    """Margin and significance level of the gate: when a change counts.

    Attributes:
        margin: the smallest change that counts, as a share of the metric's scale; see :func:`absolute_margin`.
        alpha: the probability of one false alarm or more in the whole comparison.
        max_accuracy_loss: the largest loss of a model's accuracy (or R², or what its task measures) that is accepted;
            by default any, because the gate judges explanations.

    Raises:
        UsageError: the margin or the loss is below 0 or not a finite number, or alpha is not between 0 and 1.
    """

    margin: float = 0.02
    alpha: float = 0.01
    max_accuracy_loss: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise UsageError(f"A margin of {self.margin} does not fit: give a share such as 0.02, at least 0.")
        loss = self.max_accuracy_loss
        if loss is not None and not 0 <= loss < math.inf:
            raise UsageError(f"A largest loss of accuracy of {loss} does not fit: give one such as 0.02, at least 0.")
        if not 0 < self.alpha < 1:
            raise UsageError(f"An alpha of {self.alpha} does not fit: give a probability such as 0.01.")


@dataclass(frozen=True, slots=True)
class Change:
    """Change of one method under one metric on one task, from the baseline to the run.

    Attributes:
        task, method, metric: specs.
        verdict: ``"informs"`` if the metric never gates, or if there are too few values for a test.
        baseline, run: the metric's statistic over the sequences that are defined in both; NaN if there are none.
        difference: run − baseline.
        margin: the smallest difference that counts, in the unit of the metric; 0 for counts, which must be equal.
        p: p-value in the direction of the difference, after Holm's correction; None if no test was made.
        n: the number of sequences that were compared.
        unit: of the metric.
        reason: an event such as a failure, or why there is no verdict; mostly empty.
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
        """Absolute difference in margins, or relative to the baseline if there is no margin; infinite for a loss."""
        if math.isnan(self.difference):
            return math.inf
        return abs(self.difference) / self.margin if self.margin else abs(self.difference / (self.baseline or 1.0))


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Paired differences of one change that are to be tested in both directions.

    Attributes:
        place: index of the change in the list of changes.
        differences: float64[n], one for each independent unit; positive is better.
        effect: the size of the change that is compared with the margin; positive is better.
        margin: the smallest effect that counts.
        reason: description of the change where the scores are not what is tested; empty for scores.
        spread: spread between models, if they were trained again; None if they are the same.
    """

    place: int
    differences: Scores
    effect: float
    margin: float
    reason: str = ""
    spread: ModelSpread | None = None

    def testable(self, alpha: float) -> bool:
        """Whether some outcome of the test would be significant."""
        if self.spread is None:
            return smallest_p_value(self.differences) < alpha
        return len(self.differences) >= FEWEST

    def p_value(self, sign: int = 1) -> float:
        """Probability of a fall as large if nothing changed but, where it was trained again, the model.

        Args:
            sign: −1 for that of a rise.
        """
        test = sign_flip if self.spread is None else self.spread.p_value
        return test(sign * self.differences)

    def verdict(self, p_worse: float, p_better: float, alpha: float) -> Verdict:
        """Verdict by the effect and the corrected p-values of both directions."""
        if self.effect < -self.margin and p_worse < alpha:
            return "worse"
        return "better" if self.effect > self.margin and p_better < alpha else "same"


class ScorePair(NamedTuple):
    """Scores float64[B] of a cell in the run and in the baseline."""

    pair: CellPair
    new: Scores
    old: Scores


@dataclass
class ChangeCollector:
    """Changes of a comparison, and the tests that will decide about them.

    Attributes:
        settings: margin and significance level.
        changes: those with tests have no verdict before :func:`decide_verdicts`.
        comparisons: paired comparisons to be tested; several may be about one change.
        unmatched: what cannot be compared.
        spreads: spreads between models that were trained again.
    """

    settings: GateSettings
    spreads: ModelSpreads
    changes: list[Change] = field(default_factory=list)
    comparisons: list[PairedComparison] = field(default_factory=list)
    unmatched: list[Unmatched] = field(default_factory=list)


def compare_scores(change: Change, metric: PluginInfo, pairs: Sequence[CellPair], collector: ChangeCollector) -> None:
    """Measure the change of one method under one metric, and collect the tests it needs.

    Args:
        change: the change without numbers.
        metric: the metric.
        pairs: the cells of the method on the task.
        collector: receives the change and its tests.
    """
    rows: list[ScorePair] = []
    lost, gained, failed = [], [], 0
    for pair in pairs:
        (ours, theirs) = pair.cells
        new, old = ours.record(metric), theirs.record(metric)
        if new is not None and old is not None and new.status == old.status == "scored":
            rows.append(ScorePair(pair, *pair.scores(new, old)))
        elif old is not None and old.status == "scored":
            lost.append(_state(ours, new))
        elif new is not None and new.status == "scored":
            gained.append(_state(theirs, old))
        else:
            failed += _state(ours, new).startswith("failed") and _state(theirs, old).startswith("failed")
    if failed:
        collector.unmatched.append(Unmatched(change.task, change.method, metric.spec, "failed in both", failed))
    if direction_sign(metric) and lost:
        collector.changes.append(replace(change, verdict="worse", reason=f"now {_joined(lost)}"))
    elif rows:
        _compare_pairs(change, metric, rows, collector)
    elif direction_sign(metric) and gained:
        collector.changes.append(replace(change, verdict="better", reason=f"before {_joined(gained)}"))


def decide_verdicts(changes: list[Change], comparisons: Sequence[PairedComparison], alpha: float) -> int:
    """Test all paired comparisons together, and give every change its verdict.

    Comparisons with so few differences that no choice of signs would be significant are not tested. This is decided by
    the sizes of the differences only, which are independent of the signs if nothing changed (Tarone 1990,
    doi:10.2307/2531456).

    Args:
        changes: all changes; they get their verdicts.
        comparisons: the paired comparisons to be tested.
        alpha: the probability of one false alarm or more.

    Returns:
        the number of comparisons that were tested, which share the probability of a false alarm.
    """
    tested = [paired for paired in comparisons if paired.testable(alpha)]
    falls = holm(np.array([paired.p_value() for paired in tested]))
    rises = holm(np.array([paired.p_value(-1) for paired in tested]))
    for paired, fall, rise in zip(tested, falls.tolist(), rises.tolist(), strict=True):
        change = changes[paired.place]
        verdict = paired.verdict(fall, rise, alpha)
        if not paired.reason:
            p = fall if paired.effect < 0 else rise
            changes[paired.place] = replace(change, verdict=verdict, p=p)
        elif verdict == "worse" or (verdict == "better" and change.verdict == "same"):
            changes[paired.place] = replace(change, verdict=verdict, reason=paired.reason)
    for paired in comparisons:
        if abs(paired.effect) > paired.margin and not paired.testable(alpha):
            _mark_untested(paired, changes)
    return len(tested)


def absolute_margin(metric: PluginInfo, baseline: float, values: Scores, share: float) -> float:
    """Smallest change of a metric that counts, in the unit of the metric.

    It is a share of the width of the metric's range. If the range is not finite, it is a share of the absolute value of
    the baseline, or of the spread of its values if that is larger, because a baseline near 0 gives no scale. The spread
    is the standard deviation, or the interquartile range for metrics that show a quantile. The margin is at least
    :data:`RESOLUTION`.

    Args:
        metric: its facts give the range.
        baseline: the statistic of the baseline.
        values: float64[N], all defined values of the baseline.
        share: share of the scale.
    """
    width = float(metric.facts.get("high", "inf")) - float(metric.facts.get("low", "-inf"))
    if math.isfinite(width):
        scale = width
    elif metric.facts.get("statistic", "mean") == "mean":
        scale = max(abs(baseline), float(values.std()))
    else:
        scale = max(abs(baseline), float(np.subtract(*np.quantile(values, [0.75, 0.25]))))
    return max(share * scale, RESOLUTION)


def _state(cell: Cell, record: Record | None) -> str:
    """Reason why a cell has no score of a metric."""
    if failure := cell.failure or (record and record.failure):
        return f"failed: {failure}"
    if not cell.explained or record is not None:
        return f"not applicable: {cell.reason or (record.reason if record else '')}"
    return "not scored"


def _joined(states: Sequence[str]) -> str:
    """Different states as one text."""
    return "; ".join(dict.fromkeys(states))


def _compare_pairs(change: Change, metric: PluginInfo, rows: Sequence[ScorePair], collector: ChangeCollector) -> None:
    """Add a change by the kind of its metric: for information, an exact count, or scores to be tested."""
    reason = _only_informs(metric, [row.pair for row in rows])
    if metric.unreproducible or not direction_sign(metric) or reason:
        new, old = (mean_of_defined(np.array([mean_of_defined(row) for row in side])) for side in _sides(rows))
        collector.changes.append(
            replace(change, verdict="informs", baseline=old, run=new, difference=new - old, n=len(rows), reason=reason)
        )
    elif metric.facts.get("family") == "cost":
        collector.changes.append(_count_change(change, metric, rows))
    else:
        _collect_tests(change, metric, rows, collector)


def _only_informs(metric: PluginInfo, pairs: Sequence[CellPair]) -> str:
    """Reason why scores of models that were trained again tell nothing about the method; empty if they do."""
    if not any(pair.retrained for pair in pairs) or metric.facts.get("family") == "cost":
        return ""
    if direction_sign(metric) and not metric.unreproducible and not judges_one_model(metric):
        return "it is about the models, and they were trained again"
    if draws_for_all(pairs):
        return "its draws are shared by all sequences, and the model was trained again"
    return ""


def _count_change(change: Change, metric: PluginInfo, rows: Sequence[ScorePair]) -> Change:
    """Change of an exact count: worse if a single value is worse, or no longer defined.

    Some methods look as often as the model makes them. So on models that were trained again the mean decides, if it
    changes by more than :data:`_COUNT_FACTOR`; other changes inform.
    """
    new, old = map(np.concatenate, _sides(rows))
    # an archive keeps whole numbers exactly, others in single precision
    whole = (new == np.rint(new)) & (old == np.rint(old))
    differs = whole | (single_precision(new) != single_precision(old))
    improvement = np.where(differs, direction_sign(metric) * (new - old), 0.0)
    lost = np.isnan(new) & ~np.isnan(old)
    worse = (improvement < 0).any() or lost.any()
    verdict: Verdict = "worse" if worse else "better" if (improvement > 0).any() else "same"
    change = replace(change, verdict=verdict, baseline=mean_of_defined(old), run=mean_of_defined(new), n=len(new))
    change = replace(change, difference=change.run - change.baseline if verdict != "same" else 0.0)
    if verdict == "same" or lost.any() or not any(row.pair.retrained for row in rows):
        return change
    low, high = sorted((abs(change.run), abs(change.baseline)))
    if high > _COUNT_FACTOR * low:
        return replace(change, verdict="worse" if direction_sign(metric) * change.difference < 0 else "better")
    return replace(change, verdict="informs", reason="the model was trained again")


def _collect_tests(change: Change, metric: PluginInfo, rows: Sequence[ScorePair], collector: ChangeCollector) -> None:
    """Add a change of scores, with the tests of the scores and of the share of values that are undefined."""
    pairs = [row.pair for row in rows]
    new, old = (_each(single_precision, rows_together(side)) for side in _sides(rows))
    if all(np.array_equal(*sides, equal_nan=True) for sides in zip(new, old, strict=True)):
        collector.changes.append(_unchanged(change, metric, pairs, old, collector.settings))
        return
    place, undefined = len(collector.changes), _each(np.isnan, new)
    defined_before, defined_now = (sum(int((~np.isnan(row)).sum()) for row in side) for side in (old, new))
    collector.changes.append(change)
    if defined_before and not defined_now:
        reason = f"all {defined_before} values are undefined now"
        collector.changes[place] = replace(change, verdict="worse", reason=reason)
        return
    retrained = any(pair.retrained for pair in pairs)
    between = None
    if retrained:
        between = collector.spreads.of(change.task, change.method, metric, list(zip(new, old, strict=True)))
    _collect_score_test(place, metric, pairs, (new, old), collector, between)
    fewer = _each(lambda row, gap: np.isnan(row).astype(float) - gap, old, undefined)
    if any(row.any() for row in fewer):
        share = float(mean_by_sequence(pairs, fewer).mean())
        reason = f"{abs(share):.1%} {'fewer' if share > 0 else 'more'} values are undefined"
        differences, margin = mean_by_unit(pairs, fewer), collector.settings.margin
        collector.comparisons.append(PairedComparison(place, differences, share, margin, reason, between))


def _unchanged(
    change: Change, metric: PluginInfo, pairs: Sequence[CellPair], rows: Rows, settings: GateSettings
) -> Change:
    """Change whose scores are all equal; where nothing differs there is nothing to test."""
    means = mean_by_sequence(pairs, rows)
    if not len(means):
        return change
    statistic = metric.facts.get("statistic", "mean")
    level = float(means.mean()) if statistic == "mean" else board_statistic(pairs, rows, statistic)
    margin = absolute_margin(metric, level, np.concatenate([row[~np.isnan(row)] for row in rows]), settings.margin)
    return replace(change, baseline=level, run=level, difference=0.0, margin=margin, n=len(means))


def _collect_score_test(
    place: int,
    metric: PluginInfo,
    pairs: Sequence[CellPair],
    rows: tuple[Rows, Rows],
    collector: ChangeCollector,
    spread: ModelSpread | None,
) -> None:
    """Add the numbers of a change of scores and its test, over the sequences that are defined in both."""
    both = _each(lambda one, other: ~np.isnan(one) & ~np.isnan(other), *rows)
    new, old = (_each(lambda row, defined: np.where(defined, row, np.nan), side, both) for side in rows)
    differences = mean_by_unit(pairs, _each(np.subtract, new, old))
    if not len(differences):
        return
    statistic, sign = metric.facts.get("statistic", "mean"), direction_sign(metric)
    before, now = (board_statistic(pairs, side, statistic) for side in (old, new))
    values = np.concatenate([row[~np.isnan(row)] for row in old])
    margin = absolute_margin(metric, before, values, collector.settings.margin)
    n = len(mean_by_sequence(pairs, new))
    collector.changes[place] = replace(
        collector.changes[place], baseline=before, run=now, difference=now - before, margin=margin, n=n
    )
    # metrics that show a quantile have values so large that they alone decide the mean: their ranks are tested
    statistics = sign * statistics_of(differences, metric)
    collector.comparisons.append(PairedComparison(place, statistics, sign * (now - before), margin, spread=spread))


def _each(function: Callable[..., Scores], *sides: Rows) -> Rows:
    """Result of a function for each row; of rows that are one array, at once."""
    if all(isinstance(side, np.ndarray) for side in sides):
        return function(*sides)
    return [function(*row) for row in zip(*sides, strict=True)]


def _sides(rows: Sequence[ScorePair]) -> tuple[list[Scores], list[Scores]]:
    """Scores of all cells in the run, and in the baseline."""
    return [row.new for row in rows], [row.old for row in rows]


def _mark_untested(paired: PairedComparison, changes: list[Change]) -> None:
    """Mark a change as information only: it is larger than its margin, but has too few differences for a test."""
    change = changes[paired.place]
    count = int(np.count_nonzero(paired.differences))
    if change.verdict == "same":
        reason = f"{count} difference{'s' * (count != 1)} {'is' if count == 1 else 'are'} too few for a test"
        changes[paired.place] = replace(change, verdict="informs", reason=reason)
