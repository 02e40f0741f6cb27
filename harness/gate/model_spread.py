"""Spread between trainings of one model, and the test of a change of scores that allows for it.

If a model was trained again, its mean score differs even though the explainer is the same. Sequences alone do not show
how much: they all belong to one pair of models. With d the differences of the scores of n sequences, of variance V, the
mean difference has the variance V (1/n + κ), in which κ is the part of the models. A t-test with that variance is made.
κ is estimated as in a moderated t-test (Smyth 2004, doi:10.2202/1544-6115.1027): the weighted mean of

- a prior for each family of metrics, measured on the models of the built-in tasks;
- the other methods on the same models and sequences: m² / V − 1/n of their mean differences m, if there are three or
  more of them. An explainer that changed alone stands out from these; what the models changed for all does not;
- the models of each side, if it has several: 2 s² / (S V) − 1/n, with s² the variance of the mean scores of S models.

docs/gate.md has the measured rates of false alarms and of detected changes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import special

from ..results.scored_cells import direction_sign
from ..statistics.sign_flip import signed_ranks
from .independent_units import mean_by_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..results.cells import PluginInfo, Scores
    from .match_cells import CellPair

# Prior of κ by family of metrics, and its weight: chosen so that few pairs of published models of the suite core raise
# an alarm; tests/benchmarks/gate_retraining.py measures the rates.
_PRIOR: Final = {"faithfulness": 0.05, "truth": 0.05, "stability": 0.2, "complexity": 0.4}
_PRIOR_WEIGHT: Final = 4.0
# Weight of the other methods together; fewer than this many methods say nothing.
_OTHERS_WEIGHT: Final = 6.0
_OTHERS: Final = 3
# A single effect counts as this much at most, so that a metric that hardly varies over sequences decides nothing.
_LARGEST_EFFECT: Final = 4.0
# With fewer sequences, their variance is too uncertain to measure the models' spread by.
FEWEST: Final = 8


@dataclass(frozen=True)
class ModelSpread:
    """Spread between models under one metric.

    Attributes:
        ratio: κ, the part of the models in the variance of a mean difference, relative to the variance over sequences.
        df: degrees of freedom of the estimate.
    """

    ratio: float
    df: float

    def p_value(self, differences: Scores) -> float:
        """Probability of a mean of the differences as low, or lower, if only the model has changed.

        Args:
            differences: float64[n], one for each sequence, n at least 2; no NaN.
        """
        variance = float(differences.var(ddof=1)) * (1 / len(differences) + self.ratio)
        mean = float(differences.mean())
        if variance == 0:
            return 1.0 if mean >= 0 else 0.0
        return float(special.stdtr(self.df, mean / np.sqrt(variance)))


@dataclass(frozen=True)
class _Effect:
    """Squared effect of a change of models, less what sequences alone explain: m² / V − 1/n."""

    method: str
    value: float


class ModelSpreads:
    """Spreads between the models of a comparison, by task, method and metric.

    Args:
        pairs: cells by specs of task and method; those of models that were not trained again are left out.
        metrics: metrics of the comparison.
    """

    def __init__(self, pairs: Mapping[tuple[str, str], Sequence[CellPair]], metrics: Sequence[PluginInfo]) -> None:
        self._metrics = list(filter(judges_one_model, metrics))
        self._effects: dict[tuple[str, str], list[_Effect]] = defaultdict(list)
        self.add(pairs)

    def add(self, pairs: Mapping[tuple[str, str], Sequence[CellPair]]) -> None:
        """Add the cells of further tasks."""
        for (task, method), cells in pairs.items():
            if not any(cell.retrained for cell in cells):
                continue
            for metric in self._metrics:
                rows = scored_rows(cells, metric)
                effect = _effect(cells, rows, metric) if rows else None
                if effect is not None:
                    self._effects[task, _family(metric)].append(_Effect(method, effect))

    def of(self, task: str, method: str, metric: PluginInfo, rows: Sequence[tuple[Scores, Scores]]) -> ModelSpread:
        """Spread of one method under one metric on one task.

        Args:
            task: spec of the task.
            method: spec of the method.
            metric: the metric.
            rows: scores of the run and of the baseline, of each model.
        """
        estimates = [(_PRIOR_WEIGHT, _PRIOR.get(_family(metric), max(_PRIOR.values())))]
        others = [each for each in self._effects[task, _family(metric)] if each.method != method]
        if len({each.method for each in others}) >= _OTHERS:
            estimates.append((_OTHERS_WEIGHT, float(np.mean([each.value for each in others]))))
        if len(rows) > 1:
            own = _own_ratio(rows)
            if own is not None:
                estimates.append((2.0 * (len(rows) - 1), own))
        df = sum(weight for weight, _ in estimates)
        return ModelSpread(max(sum(weight * ratio for weight, ratio in estimates) / df, 0.0), df)


def judges_one_model(metric: PluginInfo) -> bool:
    """Whether a metric's score is about one model, with a better direction, and no time or count."""
    own = _family(metric) not in {"sanity", "cost"} and metric.facts.get("needs_siblings") != "True"
    return own and not metric.unreproducible and direction_sign(metric) != 0


def scored_rows(pairs: Sequence[CellPair], metric: PluginInfo) -> list[tuple[Scores, Scores]]:
    """Scores float64[N] of the run and of the baseline of all pairs; empty if one of them is not scored."""
    rows = []
    for pair in pairs:
        new, old = (cell.record(metric) for cell in pair.cells)
        if new is None or old is None or not new.status == old.status == "scored":
            return []
        rows.append(pair.scores(new, old))
    return rows


def statistics_of(differences: Scores, metric: PluginInfo) -> Scores:
    """Differences as they are tested: themselves, or their signed ranks for a metric that shows a quantile."""
    return differences if metric.facts.get("statistic", "mean") == "mean" else signed_ranks(differences)


def _family(metric: PluginInfo) -> str:
    return metric.facts.get("family", "")


def _effect(pairs: Sequence[CellPair], rows: Sequence[tuple[Scores, Scores]], metric: PluginInfo) -> float | None:
    """Squared effect of one method under one metric; None if its scores hardly say anything."""
    differences = statistics_of(mean_by_sequence(pairs, [new - old for new, old in rows]), metric)
    if len(differences) < FEWEST or not differences.std() > 0:
        return None
    squared = float(differences.mean()) ** 2 / float(differences.var(ddof=1))
    return min(squared, _LARGEST_EFFECT) - 1 / len(differences)


def _own_ratio(rows: Sequence[tuple[Scores, Scores]]) -> float | None:
    """κ from the models of both sides; None if the scores of the sequences do not vary."""
    sides = [np.stack(side) for side in zip(*rows, strict=True)]
    defined = np.logical_and.reduce([~np.isnan(side).any(0) for side in sides])
    count = int(defined.sum())
    if count < FEWEST:
        return None
    new, old = (side[:, defined] for side in sides)
    variance = float((new.mean(0) - old.mean(0)).var(ddof=1))
    if variance == 0:
        return None
    spread = float(np.mean([side.mean(1).var(ddof=1) for side in (new, old)]))
    return min(2 * spread / (len(rows) * variance), _LARGEST_EFFECT) - 1 / count
