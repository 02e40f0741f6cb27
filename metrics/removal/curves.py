"""The shared probe of faithfulness: what the model says as the features of a ranking are removed, or only they kept.

A metric *asks* for a curve, or for the top features of some fractions; all that is asked about the same orders is run
together, so that a cell pays once for what its metrics have in common. ``Evidence.planned`` says what the others will
ask; a metric that is scored alone asks alone.

A signed method ranks features by s·Φ, an unsigned one by Φ, the largest first; ``size`` ranks a signed one by |Φ|. A
method that only tells steps apart removes whole steps, also where others remove cells. Tied features are put in several
random orders (:mod:`xrnnbench.metrics.removal.features`); random interventions are drawn several times. Each order and
draw is a row of its own, and metrics are means over the rows of an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from ...tasks.engine.variants import Ranked
from .features import Orders, mean_by_instance, orders, ties
from .outcomes import Outcome, outcome_of
from .removing import removing_for, values_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..base import Evidence
    from .removing import Removing

Rank = Literal["evidence", "size"]
Side = Literal["removed", "kept"]

# Values kept at once: of orders and of outputs, eight bytes each.
_VALUES_AT_ONCE: Final = 1 << 20
# Variants planned at once, if every instance had ties: what is planned takes more than what is kept.
_VARIANTS_AT_ONCE: Final = 1 << 15


@dataclass(frozen=True)
class Order:
    """In which order features go, and by what they are replaced.

    Attributes:
        by: spec of the intervention.
        breaks: random orders of an attribution with ties.
        rank: whether a signed method ranks by s·Φ or by |Φ|.
    """

    by: str = "reference"
    breaks: int = 8
    rank: Rank = "evidence"


@dataclass(frozen=True)
class Ask:
    """Variants along an order: a curve of so many points, one variant for each fraction, or one without the first.

    Attributes:
        order: which order.
        side: whether the first features are removed, or only they are kept.
        points: of the curve; 0 for the first feature alone.
        fractions: instead of a curve.
    """

    order: Order
    side: Side
    points: int = 0
    fractions: tuple[float, ...] = ()

    def counts(self, valid: Tensor) -> Tensor:
        """int64[B, J]: how many of the first features each variant is about, for features bool[B, N]."""
        if self.fractions:
            return counts_of_fractions(valid, self.fractions)
        return counts_of_curve(valid, self.points) if self.points else torch.ones(len(valid), 1, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class Course:
    """What was asked for: M rows, one for each order of an instance and each draw of the intervention.

    Attributes:
        ask: what.
        valid: bool[B, N], the features of all instances.
        instance: int64[M].
        outcome: of each variant.
    """

    ask: Ask
    valid: Tensor
    instance: Tensor
    outcome: Outcome

    @property
    def counts(self) -> Tensor:
        """int64[M, J], how many of the first features are removed, or kept."""
        return self.ask.counts(self.valid)[self.instance]

    @property
    def n(self) -> Tensor:
        """int64[M], how many features there are."""
        return self.valid.sum(1)[self.instance]

    def mean(self, values: Tensor) -> Tensor:
        """float64[B, …]: the mean of values float64[M, …] over the rows of each instance."""
        return mean_by_instance(values.double(), self.instance)

    def profile(self, values: Tensor, points: int) -> Tensor:
        """float64[B, points]: values float64[M, J] at equally spaced shares of the features, by straight lines."""
        counts = self.counts.double()
        shares = (counts / counts[:, -1:]).contiguous()
        wanted = torch.linspace(0, 1, points, dtype=torch.float64).expand(len(shares), points).contiguous()
        # where there are fewer features than points the last one is repeated; its first is the one that is met
        right = torch.searchsorted(shares, wanted).clamp(1, shares.shape[1] - 1)
        start, end = shares.gather(1, right - 1), shares.gather(1, right)
        way = (wanted - start) / (end - start)
        values = values.double()
        return self.mean(torch.lerp(values.gather(1, right - 1), values.gather(1, right), way))

    def area(self, values: Tensor) -> Tensor:
        """float64[M]: the area under values float64[M, J] over the fraction of features, by trapezoids."""
        return area(values, self.counts)


def course(evidence: Evidence, ask: Ask) -> Course:
    """What was asked for, from the one run that answers everything asked about its order."""
    order = ask.order
    if not evidence.attribution.signed and order.rank != "evidence":
        plain = Order(order.by, order.breaks)
        return course(evidence, Ask(plain, ask.side, ask.points, ask.fractions))
    known: dict[Ask, Course] = evidence.get(("courses", order), lambda _: {})
    if ask not in known:
        together = {ask} | {other for other in evidence.planned if isinstance(other, Ask) and other.order == order}
        wanted = sorted(together - set(known), key=repr)
        known.update(zip(wanted, _run(evidence, order, wanted), strict=True))
    return known[ask]


def priority(evidence: Evidence, found: Removing, rank: Rank = "evidence") -> Tensor:
    """float64[B, N]: what the method removes first, highest."""
    values = values_of(evidence.attribution, found.granularity)
    if not evidence.attribution.signed:
        return values
    return values.abs() if rank == "size" else values * found.sign[:, None]


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


def outcomes(found: Removing, along: Orders, asked: Sequence[tuple[Side, Tensor]]) -> list[list[Outcome]]:
    """For each view of a way to remove, and each thing asked, the outcome of M orders.

    Args:
        found: how features are removed.
        along: the orders.
        asked: for each, which side, and counts int64[B, J].
    """
    widths = [counts.shape[1] for _, counts in asked]
    counts = torch.cat([counts[along.instance] for _, counts in asked], 1)
    first = torch.tensor([side == "kept" for side, _ in asked]).repeat_interleave(torch.tensor(widths))
    variants = found.without(Ranked(along.ranks, along.instance, counts, first))
    answers = []
    for view in found.views:
        parts = view.outputs(variants).view(*counts.shape, -1).split(widths, dim=1)
        answers.append([outcome_of(view, part, along.instance, found.sign) for part in parts])
    return answers


def whole(found: Removing) -> Outcome:
    """What the model says of the sequences themselves, [B, 1]; no run of it: their outputs are known.

    All views of an intervention have one model.
    """
    view = found.views[0]
    return outcome_of(view, view.batch_outputs[:, None], torch.arange(len(view)), found.sign)


def chunks(found: Removing, breaks: int, points: int) -> Iterator[Tensor]:
    """Instances in groups whose orders, so many of each, and the outputs of whose variants are few enough to be kept.

    Masks and rows are made when their turn to be run has come.
    """
    values = breaks * (found.valid.shape[1] + points * found.outputs)
    at_once = min(_VALUES_AT_ONCE // values, _VARIANTS_AT_ONCE // (breaks * points))
    yield from torch.arange(len(found.subject)).split(max(1, at_once))


def _run(evidence: Evidence, order: Order, wanted: Sequence[Ask]) -> list[Course]:
    found = removing_for(evidence, order.by)
    asked = [(ask.side, ask.counts(found.valid)) for ask in wanted]
    ranking = priority(evidence, found, order.rank)
    groups = list(chunks(found, order.breaks, sum(counts.shape[1] for _, counts in asked)))
    tied = torch.cat([ties(ranking, found.valid, chunk) for chunk in groups])
    rows = len(found.views) * int(torch.where(tied, order.breaks, 1).sum())
    instance = torch.empty(rows, dtype=torch.int64)
    classes = found.subject.classification
    rooms = [Outcome.room(rows, counts.shape[1], classes=classes) for _, counts in asked]
    start = 0
    for chunk in groups:
        along = orders(ranking, found.valid, chunk, order.breaks)
        for answers in outcomes(found, along, asked):
            part = slice(start, start + len(along.instance))
            instance[part], start = along.instance, part.stop
            for room, outcome in zip(rooms, answers, strict=True):
                room.put(part, outcome)
    return [Course(ask, found.valid, instance, room) for ask, room in zip(wanted, rooms, strict=True)]
