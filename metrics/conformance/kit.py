"""Conformance kit for metrics: checks of a metric against its contract.

``xrnnbench check NAME`` runs it on any metric, and the test suite on every built-in one. The checks use the specimens
(:mod:`xrnnbench.metrics.conformance.specimens`), whose true contributions are known.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, get_args

import torch

from ...conformance import Examination, Finding, NotTested, Observation, Result, checked_spec
from ...errors import ContractError
from ...tasks.subject import Cost, Subject
from ...tasks.traces import Traces
from ..base import Direction, Family, Measurement, Metric, Probes
from ..measuring import evidence_kept
from .specimens import LENGTHS, Says, SpecimenName, StandIn, evidence, specimen

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

_SPECIMENS: Final[tuple[SpecimenName, ...]] = get_args(SpecimenName)
_RANDOM_MAPS: Final = 24
# For metrics that train models: repetitions of the sequences of a specimen, and number of random attributions.
_REPEATS_RETRAINED, _RANDOM_MAPS_RETRAINED = 3, 9
_TOLERANCE: Final = 1e-4
_UNDEFINED: Final = NotTested("it is NaN for every sequence")
# Stand-ins from the worst to the best score, by the family of the metric and by the part of the values it reads.
_EXPECTED_ORDERS: Final[dict[tuple[str, str], tuple[Says, ...]]] = {
    ("truth", "any"): ("opposite", "random", "truth"),
    ("truth", "order"): ("inverse", "random", "truth"),
    # by magnitude, inverse is no worse than random: none of its values are negative
    ("truth", "magnitude"): ("random", "truth"),
    ("faithfulness", "any"): ("opposite", "random", "truth"),
    ("faithfulness", "sign"): ("random", "truth"),
    ("faithfulness", "magnitude"): ("inverse", "random", "truth"),
    ("stability", "any"): ("restless", "truth"),
    ("cost", "any"): ("opposite", "random", "truth"),
    ("complexity", "any"): ("constant", "random", "sparse"),
    # sanity metrics test whether the attribution depends on the model, not whether it is true
    ("sanity", "order"): ("truth", "follows"),
    # a mask may leak the class whether the method is good or bad
    ("sanity", "magnitude"): (),
}


def check_metric(metric: Metric) -> list[Finding]:
    """Check a metric against its contract.

    * declared: family, direction, range, ideal and source are stated and consistent, and the class has a docstring;
    * spec: the metric can be built again from its spec;
    * applicable: it applies to at least one specimen;
    * range: one float for each sequence, in the declared range, for the best, the worst, random, constant, huge and
      tiny attributions;
    * defined: where it applies, it is not NaN for all sequences;
    * direction: the best attribution scores better than random ones, and those better than the worst. Skipped if the
      metric needs interaction, because the contributions in the specimens simply add up;
    * ties: if only the order is read, a constant attribution scores like random ones;
    * padding: neither the content nor the width of padding changes a value;
    * batch mates: the other sequences of the batch do not change a value, if the metric scores all sequences;
    * non finite: an attribution that is not finite raises an error and is not scored;
    * one step: sequences of one step are scored without an error;
    * repeatable: the same evidence gives the same bits;
    * no trace: model, data, evidence, shared results and global states are unchanged.

    A metric that trains models is checked on several copies of each sequence, because its value for one may only be
    right or wrong, and with fewer random attributions, because each costs trainings.

    A check of values has nothing to judge where they are NaN for every sequence.

    Returns:
        one finding for each check: passed, failed, or not tested.
    """
    examination = Examination(metric)
    examination.add(_declared(metric), checked_spec(metric))
    subjects: list[Subject] = []
    examination.check("applicable", functools.partial(_find_applicable, metric, subjects))
    checks = (
        *(_range, _defined, _direction, _ties, _padding, _batch_mates),
        *(_non_finite, _one_step, _repeatable, _no_trace),
    )
    for subject in subjects:
        probes = Probes(subject)
        for check in checks:
            name = f"{check.__name__.strip('_').replace('_', ' ')} on {subject.label}"
            examination.check(name, functools.partial(check, _TestBench(metric, subject, probes)))
    return examination.findings


def _find_applicable(metric: Metric, subjects: list[Subject]) -> Observation:
    """Add the specimens that a metric applies to; there has to be one."""
    # the alignment specimen differs from another one only in its truth
    names = [name for name in _SPECIMENS if name != "alignment" or metric.needs_truth]
    found = [specimen(name, _lengths(metric)) for name in names]
    subjects += [subject for subject in found if not metric.applicable(StandIn(), subject)]
    labels = ", ".join(subject.label for subject in subjects)
    return Observation(
        bool(subjects), f"to {labels or 'none of the specimens, so nothing that it computes was tested'}"
    )


@dataclass(frozen=True, eq=False)
class _TestBench:
    """A metric and a specimen to score stand-ins on.

    Attributes:
        metric: the metric under test.
        subject: the specimen.
        probes: cache shared by all stand-ins.
    """

    metric: Metric
    subject: Subject
    probes: Probes = field(repr=False)

    def evidence(self, says: Says, *, seed: int = 0, scale: float = 1.0, subject: Subject | None = None) -> Evidence:
        """Evidence of a stand-in; the true attribution has the lowest cost and agrees with its siblings."""
        subject = subject or self.subject
        shared = self.probes if subject is self.subject else Probes(subject)
        effort = {"truth": 1, "random": 2}.get(says, 4) * len(subject)
        siblings = {
            model_seed: (StandIn("truth" if says == "truth" else "random").explain(subject, model_seed), subject.target)
            for model_seed in (101, 102)
        }
        return evidence(
            subject,
            StandIn(says, scale),
            seed=seed,
            shared=shared,
            measurement=Measurement(Cost(effort, effort, effort), float(effort), effort << 20),
            siblings=siblings,
        )

    def values(self, says: Says, *, seed: int = 0, scale: float = 1.0, subject: Subject | None = None) -> Tensor:
        """Score a stand-in, float64[B]."""
        return self.metric.measure(self.evidence(says, seed=seed, scale=scale, subject=subject))

    @property
    def random_maps(self) -> int:
        """Number of random attributions to average over."""
        return _RANDOM_MAPS_RETRAINED if self.metric.needs_retraining else _RANDOM_MAPS

    def like(self, *, padding: int = 0, noise: float = 0.0) -> Subject:
        """Return the same specimen with other padding."""
        name = next(name for name in _SPECIMENS if name in self.subject.label)
        return specimen(name, tuple(self.subject.batch.lengths.tolist()), padding=padding, noise=noise)

    def mean(self, says: Says, *, seed: int = 0) -> float:
        """Mean score over the sequences for which the metric is defined."""
        return float(self.values(says, seed=seed).nanmean())


def _lengths(metric: Metric) -> tuple[int, ...]:
    """Lengths of the sequences of a specimen for a metric."""
    return LENGTHS * (_REPEATS_RETRAINED if metric.needs_retraining else 1)


def _declared(metric: Metric) -> Finding:
    problems = []
    if getattr(metric, "family", None) not in get_args(Family):
        problems.append(f"the family is none of {', '.join(get_args(Family))}")
    if metric.direction not in get_args(Direction):
        problems.append(f"the direction is none of {', '.join(get_args(Direction))}")
    if not metric.low < metric.high:
        problems.append(f"the range goes from {metric.low} to {metric.high}")
    if not (math.isnan(metric.ideal) or metric.low <= metric.ideal <= metric.high):
        problems.append(f"the ideal {metric.ideal} is outside the range")
    if not metric.source:
        problems.append("no source is named")
    if not metric.page() or metric.page().startswith(f"{type(metric).__name__}("):
        problems.append("the class has no docstring")
    return Finding("declared", not problems, "; ".join(problems))


def _range(bench: _TestBench) -> Result:
    """Score every stand-in at several scales; ``measure`` raises for values outside the range."""
    values = [bench.values(says, scale=scale) for says in get_args(Says) for scale in (1.0, 1e30, 1e-30)]
    return _UNDEFINED if _undefined(*values) else ""


def _defined(bench: _TestBench) -> str:
    values = bench.values("random")
    return "" if not values.isnan().all() else "NaN for every sequence, with a random attribution"


def _direction(bench: _TestBench) -> Result:
    """Compare the mean scores of stand-ins with the order that the family of the metric implies."""
    order = _expected_order(bench.metric)
    if bench.metric.direction == "neither":
        return NotTested("neither direction is better")
    if bench.metric.needs_interaction:
        return NotTested("in the specimens no features interact")
    if not order:
        return NotTested(f"a {bench.metric.family} metric that reads {bench.metric.reads} implies no order")
    sign = 1 if bench.metric.direction == "higher" else -1
    seeds = {says: bench.random_maps // 3 if says == "random" else 1 for says in order}
    means = {says: sum(bench.mean(says, seed=seed) for seed in range(seeds[says])) / seeds[says] for says in order}
    if all(math.isnan(mean) for mean in means.values()):
        return _UNDEFINED
    scores = [sign * means[says] for says in order]
    ordered = all(low < high for low, high in itertools.pairwise(scores))
    return "" if ordered else f"{bench.metric.direction} is better, and it gave {means}"


def _expected_order(metric: Metric) -> tuple[Says, ...]:
    """Stand-ins from the worst to the best score; empty where the family implies no order."""
    if metric.reads == "order" and getattr(metric, "rank", "") == "size":
        # opposite has the same sizes as truth, so it cannot be the worst
        return "inverse", "random", "truth"
    return _EXPECTED_ORDERS.get((metric.family, metric.reads)) or _EXPECTED_ORDERS.get((metric.family, "any"), ())


def _ties(bench: _TestBench) -> Result:
    """Compare a constant attribution with the mean of random ones, within four standard errors."""
    metric = bench.metric
    if metric.reads != "order" or metric.family not in {"faithfulness", "truth"}:
        return NotTested(f"a {metric.family} metric that reads {metric.reads} need not treat ties in this way")
    random_maps = torch.stack([bench.values("random", seed=seed) for seed in range(bench.random_maps)])
    if _undefined(random_maps):
        return _UNDEFINED
    constant, mean = float(bench.values("constant").nanmean()), float(random_maps.nanmean())
    error = float(random_maps.nanmean(1).std()) * (1 + 1 / bench.random_maps) ** 0.5
    close = abs(constant - mean) <= 4 * error + _TOLERANCE
    return "" if close else f"a constant map scores {constant:.4g}, random ones {mean:.4g} ± {error:.2g}"


def _padding(bench: _TestBench) -> Result:
    expected = bench.values("truth")
    if _undefined(expected):
        return _UNDEFINED
    for other in (bench.like(noise=3.0), bench.like(padding=4), bench.like(padding=4, noise=3.0)):
        values = bench.values("truth", subject=other)
        if not _same(values, expected, _TOLERANCE):
            return f"{expected.tolist()} became {values.tolist()} with other padding"
    return ""


def _batch_mates(bench: _TestBench) -> Result:
    """Score a sequence alone, and those at even and at odd positions next to copies of another sequence.

    Sequences keep their positions, because the random draws of a metric for a sequence may depend on its index.
    """
    metric, count = bench.metric, len(bench.subject)
    if not metric.deterministic:
        return NotTested("the metric is declared to differ from run to run")
    if metric.asked(count) < count:
        return NotTested("the metric does not score every sequence")
    places = torch.arange(count)
    batches = (
        (places[:1], places[:1]),
        (places[::2], torch.where(places % 2 == 0, places, 1)),
        (places[1::2], torch.where(places % 2 == 1, places, count - 1)),
    )
    attributions: tuple[Says, ...] = ("truth",) if metric.needs_siblings else ("truth", "inverse")
    expected = {says: bench.values(says) for says in attributions}
    if _undefined(*expected.values()):
        return _UNDEFINED
    for kept, rows in batches:
        subject = bench.subject.select(rows)
        other = _TestBench(metric, subject, Probes(subject))
        for says, own in expected.items():
            values = other.values(says)
            if not _same(values[kept], own[kept], _TOLERANCE):
                return f"{own[kept].tolist()} became {values[kept].tolist()} with other sequences in the batch"
    return ""


def _non_finite(bench: _TestBench) -> str:
    for value in (math.nan, math.inf, -math.inf):
        cell = bench.evidence("truth")
        values = cell.attribution.values.clone()
        # one that is finite has to be scored, or an error would say nothing
        bench.metric.measure(cell)
        values[0, 0] = value
        try:
            bench.metric.measure(replace(cell, attribution=replace(cell.attribution, values=values)))
        except ContractError as error:
            unnamed = [name for name in (bench.metric.name, StandIn.name) if name not in str(error)]
            if unnamed:
                return f"the error does not name {unnamed[0]!r}: {error}"
        else:
            return f"an attribution that holds {value} is scored"
    return ""


def _one_step(bench: _TestBench) -> str:
    name = next(name for name in _SPECIMENS if name in bench.subject.label)
    subject = specimen(name, (1, 1, 1))
    alone = _TestBench(bench.metric, subject, Probes(subject))
    for says in get_args(Says):
        alone.values(says)
    return ""


def _repeatable(bench: _TestBench) -> Result:
    if not bench.metric.deterministic:
        return NotTested("the metric is declared to differ from run to run")
    first = bench.values("random", seed=5)
    if _undefined(first):
        return _UNDEFINED
    fresh = _TestBench(bench.metric, bench.subject, Probes(bench.subject))
    again = fresh.values("random", seed=5)
    return "" if _same(first, again, 0.0) else f"{first.tolist()} became {again.tolist()}"


def _no_trace(bench: _TestBench) -> str:
    traces, cell = Traces(bench.subject), bench.evidence("random", seed=7)
    with evidence_kept(cell, bench.metric):
        bench.metric.measure(cell)
    changed = traces.found()
    return f"{changed[0]} changed" if changed else ""


def _undefined(*values: Tensor) -> bool:
    """Whether all values are NaN."""
    return all(bool(each.isnan().all()) for each in values)


def _same(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether values are equal within a tolerance; NaN equals NaN."""
    return bool(torch.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True).all())
