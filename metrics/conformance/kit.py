"""The conformance kit for metrics: does a metric keep the promises of its contract?

Used by ``xrnnbench check NAME`` on any metric and by the test suite on every built-in. The promises are checked on
the specimens (:mod:`xrnnbench.metrics.conformance.specimens`), whose contributions are known.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, get_args

import torch

from ...conformance import Finding
from ...errors import ContractError, XrnnbenchError
from ...plugins import configure
from ...tasks.subject import Cost, Subject
from ..base import Direction, Family, Measurement, Metric, Probes
from .specimens import LENGTHS, Says, SpecimenName, StandIn, evidence, specimen
from .traces import changed_since, state_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..base import Evidence

_SPECIMENS: Final[tuple[SpecimenName, ...]] = get_args(SpecimenName)
_DRAWS: Final = 24
# Of metrics that train models: how often the sequences of a specimen come, and how many random maps are drawn.
_RETRAINED, _FEW_DRAWS = 3, 9
_TOLERANCE: Final = 1e-4
# Stand-ins from the worst to the best, by family and by what is read.
_LADDERS: Final[dict[tuple[str, str], tuple[Says, ...]]] = {
    ("truth", "any"): ("opposite", "random", "truth"),
    ("truth", "order"): ("inverse", "random", "truth"),
    # by size, what is turned round is no worse than what is random: nothing in it is negative
    ("truth", "magnitude"): ("random", "truth"),
    ("faithfulness", "any"): ("opposite", "random", "truth"),
    ("faithfulness", "sign"): ("random", "truth"),
    ("faithfulness", "magnitude"): ("inverse", "random", "truth"),
    ("stability", "any"): ("restless", "truth"),
    ("cost", "any"): ("opposite", "random", "truth"),
    ("complexity", "any"): ("constant", "random", "sparse"),
    # what is asked is whether the model has a part in what is said, not whether that is true
    ("sanity", "order"): ("truth", "follows"),
    # a mask may give a class away whatever the method that made it is worth
    ("sanity", "magnitude"): (),
}


def check_metric(metric: Metric) -> list[Finding]:
    """Every promise, kept or not.

    * declared: family, direction, range, ideal and source are stated and agree, and there is a page;
    * spec: what identifies the metric builds it again;
    * applicable: it says something about at least one specimen;
    * range: one float for each sequence in the declared range, for the best, the worst, random, constant, huge and tiny
      attributions;
    * defined: it is not NaN wherever it is applicable;
    * direction: the best attribution scores better than random ones, and those better than the worst, unless the metric
      says that it cannot tell where contributions just add up, as they do in the specimens;
    * ties: a constant map scores as random ones do, where only the order is read;
    * padding: neither its content nor its width changes a value;
    * batch mates: nor does what else is in the batch, as far as all of it is asked of;
    * non finite: an attribution that is not finite is refused and not scored;
    * one step: sequences of one step are scored without an error;
    * repeatable: the same evidence gives the same bits;
    * no trace: model, global random states and attribution are as they were.

    A metric that trains models is judged on several sequences for each of a specimen, because it may say no more of one
    than right or wrong, and with fewer random maps, because each costs trainings.
    """
    found = [_declared(metric), _spec(metric)]
    # links are one more truth to be read; whoever reads none has seen their model before
    offered = [name for name in _SPECIMENS if name != "alignment" or metric.needs_truth]
    subjects = [
        subject for name in offered if not metric.applicable(StandIn(), subject := specimen(name, _lengths(metric)))
    ]
    where = ", ".join(subject.label for subject in subjects) or "none of the specimens"
    found.append(Finding("applicable", bool(subjects), f"to {where}"))
    checks = (
        *(_range, _defined, _direction, _ties, _padding, _batch_mates),
        *(_non_finite, _one_step, _repeatable, _no_trace),
    )
    for subject in subjects:
        probes = Probes(subject)
        for check in checks:
            name = f"{check.__name__.strip('_').replace('_', ' ')} on {subject.label}"
            try:
                wrong = check(_Bench(metric, subject, probes))
            except XrnnbenchError as error:
                wrong = str(error)
            except Exception as error:  # noqa: BLE001  # whatever a metric raises, its author is to read it here
                wrong = f"{type(error).__name__}: {error}"
            found.append(Finding(name, not wrong, wrong))
    return found


@dataclass(frozen=True, eq=False)
class _Bench:
    """A metric, a specimen to judge methods on, and what methods share there."""

    metric: Metric
    subject: Subject
    probes: Probes = field(repr=False)

    def evidence(self, says: Says, *, seed: int = 0, scale: float = 1.0, subject: Subject | None = None) -> Evidence:
        """About a stand-in that costs the less and agrees the more, the truer it is."""
        subject = subject or self.subject
        shared = self.probes if subject is self.subject else Probes(subject)
        effort = {"truth": 1, "random": 2}.get(says, 4) * len(subject)
        others = {
            other: (StandIn("truth" if says == "truth" else "random").explain(subject, other), subject.target)
            for other in (101, 102)
        }
        return evidence(
            subject,
            StandIn(says, scale),
            seed=seed,
            shared=shared,
            measurement=Measurement(Cost(effort, effort, effort), float(effort), effort << 20),
            siblings=others,
        )

    def values(self, says: Says, *, seed: int = 0, scale: float = 1.0, subject: Subject | None = None) -> Tensor:
        """float64[B]: what the metric says of a stand-in."""
        return self.metric.measure(self.evidence(says, seed=seed, scale=scale, subject=subject))

    @property
    def draws(self) -> int:
        """How many random maps stand for all."""
        return _FEW_DRAWS if self.metric.needs_retraining else _DRAWS

    def like(self, *, padding: int = 0, noise: float = 0.0) -> Subject:
        """The specimen with other padding."""
        name = next(name for name in _SPECIMENS if name in self.subject.label)
        return specimen(name, tuple(self.subject.batch.lengths.tolist()), padding=padding, noise=noise)

    def mean(self, says: Says, *, seed: int = 0) -> float:
        """The mean over the sequences for which the metric is defined."""
        return float(self.values(says, seed=seed).nanmean())


def _lengths(metric: Metric) -> tuple[int, ...]:
    """Of the sequences of the specimens a metric is judged on."""
    return LENGTHS * (_RETRAINED if metric.needs_retraining else 1)


def _declared(metric: Metric) -> Finding:
    wrong = []
    if getattr(metric, "family", None) not in get_args(Family):
        wrong.append(f"the family is none of {', '.join(get_args(Family))}")
    if metric.direction not in get_args(Direction):
        wrong.append(f"the direction is none of {', '.join(get_args(Direction))}")
    if not metric.low < metric.high:
        wrong.append(f"the range goes from {metric.low} to {metric.high}")
    if not (math.isnan(metric.ideal) or metric.low <= metric.ideal <= metric.high):
        wrong.append(f"the ideal {metric.ideal} is outside the range")
    if not metric.source:
        wrong.append("no source is named")
    if not metric.page() or metric.page().startswith(f"{type(metric).__name__}("):
        wrong.append("the class has no docstring")
    return Finding("declared", not wrong, "; ".join(wrong))


def _spec(metric: Metric) -> Finding:
    _, _, parameters = metric.spec.partition(":")
    again = configure(type(metric), parameters)
    return Finding("spec", again == metric, f"{metric.spec} builds {again!r}")


def _range(bench: _Bench) -> str:
    """``measure`` raises for what is outside."""
    for says in get_args(Says):
        for scale in (1.0, 1e30, 1e-30):
            bench.values(says, scale=scale)
    return ""


def _defined(bench: _Bench) -> str:
    values = bench.values("random")
    return "" if not values.isnan().all() else "NaN for every sequence, under a random attribution"


def _direction(bench: _Bench) -> str:
    """Best, random and worst in this order, as far as the family tells what they are."""
    rising = _ladder(bench.metric)
    if bench.metric.direction == "neither" or bench.metric.needs_interaction or not rising:
        return ""
    sign = 1 if bench.metric.direction == "higher" else -1
    seeds = {says: bench.draws // 3 if says == "random" else 1 for says in rising}
    means = {says: sum(bench.mean(says, seed=seed) for seed in range(seeds[says])) / seeds[says] for says in rising}
    ladder = [sign * means[says] for says in rising]
    kept = all(low < high for low, high in itertools.pairwise(ladder))
    return "" if kept else f"{bench.metric.direction} is better, and it gave {means}"


def _ladder(metric: Metric) -> tuple[Says, ...]:
    """Stand-ins from the worst to the best; empty where the family does not tell."""
    if metric.reads == "order" and getattr(metric, "rank", "") == "size":
        # what turns the signs round leaves the sizes as they are
        return "inverse", "random", "truth"
    return _LADDERS.get((metric.family, metric.reads)) or _LADDERS.get((metric.family, "any"), ())


def _ties(bench: _Bench) -> str:
    """A constant map against the mean of random ones, within four standard errors for each sequence."""
    metric = bench.metric
    if metric.reads != "order" or metric.family not in {"faithfulness", "truth"}:
        return ""
    draws = torch.stack([bench.values("random", seed=seed) for seed in range(bench.draws)])
    constant, mean = float(bench.values("constant").nanmean()), float(draws.nanmean())
    error = float(draws.nanmean(1).std()) * (1 + 1 / bench.draws) ** 0.5
    close = abs(constant - mean) <= 4 * error + _TOLERANCE
    return "" if close else f"a constant map scores {constant:.4g}, random ones {mean:.4g} ± {error:.2g}"


def _padding(bench: _Bench) -> str:
    plain = bench.values("truth")
    for other in (bench.like(noise=3.0), bench.like(padding=4), bench.like(padding=4, noise=3.0)):
        values = bench.values("truth", subject=other)
        if not _same(values, plain, _TOLERANCE):
            return f"{plain.tolist()} became {values.tolist()} with other padding"
    return ""


def _batch_mates(bench: _Bench) -> str:
    """A sequence alone, and those of even and of odd places beside copies of another, each where it was.

    Places stay, for what a metric draws for a sequence may depend on its number.
    """
    metric, count = bench.metric, len(bench.subject)
    if not metric.deterministic or metric.asked(count) < count:
        return ""
    places = torch.arange(count)
    batches = (
        (places[:1], places[:1]),
        (places[::2], torch.where(places % 2 == 0, places, 1)),
        (places[1::2], torch.where(places % 2 == 1, places, count - 1)),
    )
    told: tuple[Says, ...] = ("truth",) if metric.needs_siblings else ("truth", "inverse")
    plain = {says: bench.values(says) for says in told}
    for kept, rows in batches:
        subject = bench.subject.select(rows)
        other = _Bench(metric, subject, Probes(subject))
        for says, expected in plain.items():
            values = other.values(says)
            if not _same(values[kept], expected[kept], _TOLERANCE):
                return f"{expected[kept].tolist()} became {values[kept].tolist()} in other company"
    return ""


def _non_finite(bench: _Bench) -> str:
    for wrong in (math.nan, math.inf, -math.inf):
        cell = bench.evidence("truth")
        values = cell.attribution.values.clone()
        values[0, 0] = wrong
        try:
            bench.metric.measure(replace(cell, attribution=replace(cell.attribution, values=values)))
        except ContractError as error:
            unnamed = [name for name in (bench.metric.name, StandIn.name) if name not in str(error)]
            if unnamed:
                return f"the error does not name {unnamed[0]!r}: {error}"
        else:
            return f"an attribution that holds {wrong} is scored"
    return ""


def _one_step(bench: _Bench) -> str:
    name = next(name for name in _SPECIMENS if name in bench.subject.label)
    subject = specimen(name, (1, 1, 1))
    alone = _Bench(bench.metric, subject, Probes(subject))
    for says in get_args(Says):
        alone.values(says)
    return ""


def _repeatable(bench: _Bench) -> str:
    if not bench.metric.deterministic:
        return ""
    first = bench.values("random", seed=5)
    fresh = _Bench(bench.metric, bench.subject, Probes(bench.subject))
    again = fresh.values("random", seed=5)
    return "" if _same(first, again, 0.0) else f"{first.tolist()} became {again.tolist()}"


def _no_trace(bench: _Bench) -> str:
    before = state_of(bench.subject)
    bench.values("random", seed=7)
    changed = changed_since(before, bench.subject)
    return f"{changed[0]} changed" if changed else ""


def _same(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether values agree, NaN with NaN."""
    return bool(torch.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True).all())
