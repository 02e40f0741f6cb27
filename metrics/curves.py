"""The shared probe of faithfulness: how the explained score falls as the features of a ranking are removed.

A feature is removed by putting the subject's reference in its place. The score is on the *evidence scale*: the
probability of the explained class for classification; s·value for regression, where s = sign(f(x) − f(x⁰)), so that
removing evidence lowers it in both. A signed method ranks features by s·Φ, an unsigned one by Φ. A method that only
tells steps apart removes whole steps, also where others remove cells.

Random orders and the best order found do not depend on the method; they are made once for a subject and granularity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ..methods import removal
from ..tasks.variants import Masked
from .features import Orders, mean_by_instance, orders, random_orders

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..tasks.data import Granularity
    from ..tasks.subject import Subject
    from .base import Evidence

# Values of the variants described at once. A variant of N features takes one byte of mask here and some twenty bytes
# a feature where the subject compares and runs it.
_VALUES_AT_ONCE: Final = 1 << 24


@dataclass(frozen=True, eq=False)
class Baselines:
    """What the deletion curve of a method is measured against.

    Attributes:
        random: float64[B], the area under the curve, mean over random orders.
        best: float64[B], the least area of any order tried.
        ranks: int64[B, N], the order of that area.
        spread: float64[B], the highest less the lowest score met.
    """

    random: Tensor
    best: Tensor
    ranks: Tensor
    spread: Tensor


def evidence_sign(subject: Subject) -> Tensor:
    """s, float64[B]: 1 for classification; for regression the sign of f(x) − f(x⁰), and 1 where they are equal."""
    if subject.classification:
        return torch.ones(len(subject), dtype=torch.float64)
    return 1.0 - 2.0 * (subject.score < subject.reference_score).double()


def counts_of_curve(valid: Tensor, points: int) -> Tensor:
    """int64[B, points + 1]: how many features are gone at each point of a curve, from none to all n.

    ⌈j·n/points⌉ for j = 0 … points; where n ≤ points, one feature at a time, and the last point is repeated.
    """
    n = valid.sum(1, keepdim=True)
    j = torch.arange(points + 1)
    return torch.where(n > points, -(-j * n // points), torch.minimum(j, n))


def counts_of_fractions(valid: Tensor, fractions: Sequence[float]) -> Tensor:
    """int64[B, P]: k = ⌈p·n⌉, at least 1, for each fraction p.

    An explanation of ten words has a first word too: with ⌊p·n⌋ it would be judged by removing nothing.
    """
    n = valid.sum(1, keepdim=True)
    exact = torch.tensor(fractions, dtype=torch.float64) * n
    # less a hair: .07 · 100 is 7.000000000000001 in floating point
    return (exact - 1e-9).ceil().long().clamp_min(1)


def area(scores: Tensor, counts: Tensor) -> Tensor:
    """float64[M]: the area under curves float64[M, J] over the fraction of features removed, by trapezoids."""
    fractions = counts.double() / counts[:, -1:].double()
    return ((scores[:, 1:] + scores[:, :-1]) / 2 * fractions.diff(dim=1)).sum(1)


def deletion_area(evidence: Evidence, points: int, breaks: int) -> Tensor:
    """float64[B]: the area under the deletion curve of the attribution, mean over its orders."""

    def make(of: Evidence) -> Tensor:
        granularity = of.attribution.granularity
        valid = of.subject.features(granularity)
        counts, priority = counts_of_curve(valid, points), _priority(of)
        parts = []
        for chunk in _chunks(of.subject, valid, breaks * points):
            found = orders(priority, valid, chunk, breaks)
            scores = removal_scores(of.subject, granularity, found, counts)
            parts.append(mean_by_instance(area(scores, counts[found.instance]), found.instance))
        return torch.cat(parts)

    return evidence.get(("deletion area", points, breaks), make)


def erasures(evidence: Evidence, fractions: tuple[float, ...], breaks: int) -> tuple[Tensor, Tensor]:
    """Scores with the top k features removed and with only them kept, float64[B, P] each, from the same model call."""

    def make(of: Evidence) -> tuple[Tensor, Tensor]:
        granularity = of.attribution.granularity
        valid = of.subject.features(granularity)
        counts, priority = counts_of_fractions(valid, fractions), _priority(of)
        parts = []
        for chunk in _chunks(of.subject, valid, 2 * breaks * len(fractions)):
            found = orders(priority, valid, chunk, breaks)
            scores = removal_scores(of.subject, granularity, found, counts, also_kept=True)
            parts.append(mean_by_instance(scores, found.instance))
        removed, kept = torch.cat(parts).chunk(2, dim=1)
        return removed, kept

    return evidence.get(("erasures", fractions, breaks), make)


def baselines(evidence: Evidence, points: int, breaks: int, budget: int) -> Baselines:
    """Random and best deletion areas for the attribution's granularity; the same for every method of the subject.

    Args:
        evidence: whose shared probes to read.
        points: of the curves.
        breaks: random orders of each instance.
        budget: see :func:`xrnnbench.metrics.greedy.ranks`.
    """
    granularity = evidence.attribution.granularity

    def make(subject: Subject) -> Baselines:
        valid = subject.features(granularity)
        parts = [
            _baselines(subject, granularity, chunk, points, breaks, budget)
            for chunk in _chunks(subject, valid, (breaks + 2) * points)
        ]
        return Baselines(*(torch.cat(found) for found in zip(*parts, strict=True)))

    return evidence.shared.get(("deletion baselines", granularity, points, breaks, budget), make)


def removal_scores(
    subject: Subject, granularity: Granularity, found: Orders, counts: Tensor, *, also_kept: bool = False
) -> Tensor:
    """Scores on the evidence scale as the first features of each order are removed.

    Args:
        subject: what is asked.
        granularity: what the features of the orders are.
        found: M orders.
        counts: int64[B, J], how many features go at each point.
        also_kept: append the scores with only those features kept.

    Returns:
        float64[M, J], or float64[M, 2J].
    """
    gone = found.ranks[:, None, :] < counts[found.instance][:, :, None]
    keep = torch.cat([~gone, gone], dim=1) if also_kept else ~gone
    instance = found.instance.repeat_interleave(keep.shape[1])
    return evidence_scores(subject, granularity, keep.flatten(0, 1), instance).view(keep.shape[:2])


def evidence_scores(subject: Subject, granularity: Granularity, keep: Tensor, instance: Tensor) -> Tensor:
    """float64[V]: the score on the evidence scale with only some features kept, keep bool[V, N]."""
    steps = subject.batch.inputs.shape[:2] if granularity == "step" else subject.batch.inputs.shape
    variants = Masked(keep.view(-1, *steps[1:]), instance)
    # in float64, in which probabilities near 1 still differ
    outputs = subject.scaled(subject.outputs(variants).double(), "probability")
    chosen = outputs.gather(1, subject.target[instance, None]).squeeze(1)
    return chosen * evidence_sign(subject)[instance]


def _priority(evidence: Evidence) -> Tensor:
    """float64[B, N]: what the method removes first, highest."""
    values = evidence.attribution.values.flatten(1).double()
    return values * evidence_sign(evidence.subject)[:, None] if evidence.attribution.signed else values


def _chunks(subject: Subject, valid: Tensor, rows_each: int) -> Iterator[Tensor]:
    """Instances in groups whose variants, so many of each, are few enough to be described at once."""
    at_once = max(1, _VALUES_AT_ONCE // (rows_each * valid.shape[1]))
    yield from torch.arange(len(subject)).split(at_once)


def _baselines(
    subject: Subject, granularity: Granularity, chunk: Tensor, points: int, breaks: int, budget: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of :class:`Baselines` for some instances."""
    valid = subject.features(granularity)
    counts = counts_of_curve(valid, points)
    drawn = random_orders(valid, chunk, breaks)
    tried = [drawn.ranks.view(len(chunk), breaks, -1), *removal.ranks(subject, granularity, chunk, counts, budget)]
    ranks = torch.cat([found if found.dim() == 3 else found[:, None] for found in tried], dim=1)
    every = Orders(chunk.repeat_interleave(ranks.shape[1]), ranks.flatten(0, 1))
    scores = removal_scores(subject, granularity, every, counts)
    areas = area(scores, counts[every.instance]).view(len(chunk), -1)
    scores = scores.view(len(chunk), -1)
    best, place = areas.min(1)
    spread = scores.max(1).values - scores.min(1).values
    return areas[:, :breaks].mean(1), best, ranks[torch.arange(len(chunk)), place], spread
