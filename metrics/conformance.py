"""The conformance kit for metrics: does a metric keep the promises of its contract?

Used by ``xrnnbench check NAME`` on any metric and by the test suite on every built-in. The promises are checked on
the specimens (:mod:`xrnnbench.metrics.specimens`), whose contributions are known.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, get_args

import numpy as np
import torch

from ..conformance import Finding
from ..errors import XrnnbenchError
from ..plugins import configure
from ..tasks.subject import Cost, Subject
from .base import Direction, Family, Measurement, Metric, Probes
from .specimens import Says, SpecimenName, StandIn, evidence, specimen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


_SPECIMENS: Final[tuple[SpecimenName, ...]] = get_args(SpecimenName)
_DRAWS: Final = 24
_TOLERANCE: Final = 1e-4


def check_metric(metric: Metric) -> list[Finding]:
    """Every promise, kept or not.

    * declared: family, direction, range, ideal and source are stated and agree, and there is a page;
    * spec: what identifies the metric builds it again;
    * applicable: it says something about at least one specimen;
    * range: one float for each sequence in the declared range, for the best, the worst, random, constant, huge and tiny
      attributions;
    * defined: it is not NaN wherever it is applicable;
    * direction: the best attribution scores better than random ones, and those better than the worst;
    * ties: a constant map scores as random ones do, where only the order is read;
    * padding: neither its content nor its width changes a value;
    * one step: sequences of one step are scored without an error;
    * repeatable: the same evidence gives the same bits;
    * no trace: model, global random states and attribution are as they were.
    """
    found = [_declared(metric), _spec(metric)]
    subjects = [subject for name in _SPECIMENS if not metric.applicable(StandIn(), subject := specimen(name))]
    where = ", ".join(subject.label for subject in subjects) or "none of the specimens"
    found.append(Finding("applicable", bool(subjects), f"to {where}"))
    checks = (_range, _defined, _direction, _ties, _padding, _one_step, _repeatable, _no_trace)
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

    def values(self, says: Says, *, seed: int = 0, scale: float = 1.0, subject: Subject | None = None) -> Tensor:
        """float64[B]: what the metric says of a stand-in that costs the less and agrees the more, the truer it is."""
        subject = subject or self.subject
        shared = self.probes if subject is self.subject else Probes(subject)
        effort = {"truth": 1, "random": 2}.get(says, 4) * len(subject)
        others = {
            other: (StandIn("truth" if says == "truth" else "random").explain(subject, other), subject.target)
            for other in (101, 102)
        }
        return self.metric.measure(
            evidence(
                subject,
                StandIn(says, scale),
                seed=seed,
                shared=shared,
                measurement=Measurement(Cost(effort, effort, effort), float(effort), effort << 20),
                siblings=others,
            )
        )

    def mean(self, says: Says, *, seed: int = 0) -> float:
        """The mean over the sequences for which the metric is defined."""
        return float(self.values(says, seed=seed).nanmean())


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
    if bench.metric.direction == "neither" or not rising:
        return ""
    sign = 1 if bench.metric.direction == "higher" else -1
    seeds = {says: 8 if says == "random" else 1 for says in rising}
    means = {says: sum(bench.mean(says, seed=seed) for seed in range(seeds[says])) / seeds[says] for says in rising}
    ladder = [sign * means[says] for says in rising]
    kept = all(low < high for low, high in itertools.pairwise(ladder))
    return "" if kept else f"{bench.metric.direction} is better, and it gave {means}"


def _ladder(metric: Metric) -> tuple[Says, ...]:
    """Stand-ins from the worst to the best."""
    match metric.family:
        case "truth" if metric.reads != "sign":
            return "inverse", "random", "truth"
        case "faithfulness" if metric.reads == "sign":
            return "random", "truth"
        case "truth" | "faithfulness":
            return "opposite", "random", "truth"
        case "stability":
            return "restless", "truth"
        case "cost":
            return "opposite", "random", "truth"
        case _:
            return ()


def _ties(bench: _Bench) -> str:
    """A constant map against the mean of random ones, within four standard errors for each sequence."""
    metric = bench.metric
    if metric.reads != "order" or metric.family not in {"faithfulness", "truth"}:
        return ""
    draws = torch.stack([bench.values("random", seed=seed) for seed in range(_DRAWS)])
    constant, mean = float(bench.values("constant").nanmean()), float(draws.nanmean())
    error = float(draws.nanmean(1).std()) * (1 + 1 / _DRAWS) ** 0.5
    close = abs(constant - mean) <= 4 * error + _TOLERANCE
    return "" if close else f"a constant map scores {constant:.4g}, random ones {mean:.4g} ± {error:.2g}"


def _padding(bench: _Bench) -> str:
    name = next(name for name in _SPECIMENS if name in bench.subject.label)
    plain = bench.values("truth")
    for other in (specimen(name, noise=3.0), specimen(name, padding=4), specimen(name, padding=4, noise=3.0)):
        values = bench.values("truth", subject=other)
        if not _same(values, plain, _TOLERANCE):
            return f"{plain.tolist()} became {values.tolist()} with other padding"
    return ""


def _one_step(bench: _Bench) -> str:
    name = next(name for name in _SPECIMENS if name in bench.subject.label)
    alone = specimen(name, (1, 1, 1))
    for says in get_args(Says):
        bench.values(says, subject=alone)
    return ""


def _repeatable(bench: _Bench) -> str:
    if not bench.metric.deterministic:
        return ""
    first = bench.values("random", seed=5)
    fresh = _Bench(bench.metric, bench.subject, Probes(bench.subject))
    again = fresh.values("random", seed=5)
    return "" if _same(first, again, 0.0) else f"{first.tolist()} became {again.tolist()}"


def _no_trace(bench: _Bench) -> str:
    before = list(_state(bench.subject))
    bench.values("random", seed=7)
    after = list(_state(bench.subject))
    changed = [name for (name, old), (_, new) in zip(before, after, strict=True) if not _equal(old, new)]
    return f"{changed[0]} changed" if changed else ""


def _state(subject: Subject) -> Iterator[tuple[str, object]]:
    for name, tensor in subject.model.state_dict().items():
        yield f"the weight {name}", tensor.clone()
    yield "the mode of the model", [module.training for module in subject.model.modules()]
    yield "a gradient", [parameter.grad for parameter in subject.model.parameters()]
    yield "the batch", subject.batch.inputs.clone()
    yield "torch's random state", torch.get_rng_state()
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state is what is watched
    yield "NumPy's random state", [numpy["pos"], *numpy["key"].tolist()]
    yield "Python's random state", random.getstate()


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    return left == right


def _same(left: Tensor, right: Tensor, tolerance: float) -> bool:
    """Whether values agree, NaN with NaN."""
    return bool(torch.isclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True).all())
