"""Removal curves: model outputs as the features of a ranking are removed one after another, or only they are kept.

A metric requests a curve, or the outputs for the top features of some fractions. All requests for the same orders are
run together, so that a cell pays once for the model runs that its metrics share. ``Evidence.planned`` holds the
requests of the other metrics of the cell; a metric that is scored alone runs only its own.

A signed method ranks features by s·Φ and an unsigned one by Φ, the largest first; ``size`` ranks a signed one by |Φ|.
The features of a method that attributes to steps are whole steps, also where those of others are cells. Tied features
are put in several random orders (:mod:`xrnnbench.metrics.removal.features`), and random interventions are drawn
several times. Each order and draw is one row, and metrics are means over the rows of an instance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from ...tasks.data.masking import ceil_share
from ...tasks.engine.variants import Ranked
from .features import Orders, mean_by_instance, orders, ties
from .outcomes import Outcome, outcome_of
from .removing import feature_values, remover_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..base import Evidence
    from .removing import FeatureRemover

Rank = Literal["evidence", "size"]
Side = Literal["removed", "kept"]

# Values of orders and of outputs that are held at once, eight bytes each.
_VALUES_AT_ONCE: Final = 1 << 20
# Variants described at once, if every instance had ties: a description takes more memory than its results.
_VARIANTS_AT_ONCE: Final = 1 << 15


@dataclass(frozen=True)
class RemovalOrder:
    """Order in which features are removed, and the intervention that removes them.

    Attributes:
        by: spec of the intervention.
        breaks: number of random orders of an attribution with ties.
        rank: ``"evidence"`` to rank a signed method by s·Φ, ``"size"`` by |Φ|.
    """

    by: str = "reference"
    breaks: int = 8
    rank: Rank = "evidence"


@dataclass(frozen=True)
class CurveRequest:
    """Request for the model outputs of variants along an order.

    The variants are those of a curve, one for each of some fractions, or a single one for the first feature.

    Attributes:
        order: the order of removal.
        side: ``"removed"`` to remove the first features, ``"kept"`` to keep only them.
        points: number of removals on the curve; 0 for the first feature alone.
        fractions: fractions of the features, instead of a curve.
    """

    order: RemovalOrder
    side: Side
    points: int = 0
    fractions: tuple[float, ...] = ()

    def counts(self, valid: Tensor) -> Tensor:
        """Number of first features that each variant removes or keeps, int64[B, J], for valid features bool[B, N]."""
        if self.fractions:
            return counts_of_fractions(valid, self.fractions)
        return counts_of_curve(valid, self.points) if self.points else torch.ones(len(valid), 1, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class RemovalCurve:
    """Outcome of a request: M rows, one for each order of an instance and each draw of the intervention.

    Attributes:
        request: the variants that were run.
        valid: bool[B, N], the features of all instances.
        instance: int64[M], the instance of each row.
        outcome: model outputs of each variant.
    """

    request: CurveRequest
    valid: Tensor
    instance: Tensor
    outcome: Outcome

    @property
    def counts(self) -> Tensor:
        """Number of first features that are removed or kept, int64[M, J]."""
        return self.request.counts(self.valid)[self.instance]

    @property
    def n(self) -> Tensor:
        """Number of valid features, int64[M]."""
        return self.valid.sum(1)[self.instance]

    def mean(self, values: Tensor) -> Tensor:
        """Mean of values float64[M, …] over the rows of each instance, float64[B, …]."""
        return mean_by_instance(values.double(), self.instance)

    def profile(self, values: Tensor, points: int) -> Tensor:
        """Values interpolated linearly at equally spaced shares of the features, float64[B, points].

        Args:
            values: float64[M, J].
            points: number of shares, from none to all features.
        """
        counts = self.counts.double()
        shares = (counts / counts[:, -1:]).contiguous()
        grid = torch.linspace(0, 1, points, dtype=torch.float64).expand(len(shares), points).contiguous()
        # with fewer features than points the last point is repeated; the search finds its first occurrence
        right = torch.searchsorted(shares, grid).clamp(1, shares.shape[1] - 1)
        start, end = shares.gather(1, right - 1), shares.gather(1, right)
        weight = (grid - start) / (end - start)
        values = values.double()
        return self.mean(torch.lerp(values.gather(1, right - 1), values.gather(1, right), weight))

    def area(self, values: Tensor) -> Tensor:
        """Area under values float64[M, J] over the fraction of features, float64[M], by trapezoids."""
        return area(values, self.counts)


def removal_curve(evidence: Evidence, request: CurveRequest) -> RemovalCurve:
    """Outcome of a request, from the one run that covers all requests of the cell for the same order.

    Args:
        evidence: the cell; outcomes are cached in it.
        request: the variants.
    """
    order = request.order
    if not evidence.attribution.signed and order.rank != "evidence":
        plain = RemovalOrder(order.by, order.breaks)
        return removal_curve(evidence, CurveRequest(plain, request.side, request.points, request.fractions))
    if request not in evidence.cache:
        planned = {request} | {
            other for other in evidence.planned if isinstance(other, CurveRequest) and other.order == order
        }
        missing = sorted((other for other in planned if other not in evidence.cache), key=repr)
        evidence.cache.update(zip(missing, _run_requests(evidence, order, missing), strict=True))
    curve: RemovalCurve = evidence.cache[request]
    return curve


def priority(evidence: Evidence, remover: FeatureRemover, rank: Rank = "evidence") -> Tensor:
    """Priority of removal, float64[B, N]; the feature with the highest is removed first."""
    values = feature_values(evidence.attribution, remover.granularity)
    if not evidence.attribution.signed:
        return values
    return values.abs() if rank == "size" else values * remover.sign[:, None]


def counts_of_curve(valid: Tensor, points: int) -> Tensor:
    """Number of features removed at each point of a curve, int64[B, points + 1], from none to all n.

    It is ⌈j·n/points⌉ for j = 0 … points. Where n ≤ points, one feature is removed at a time, and the last point is
    repeated.
    """
    n = valid.sum(1, keepdim=True)
    j = torch.arange(points + 1)
    return torch.where(n > points, -(-j * n // points), torch.minimum(j, n))


def counts_of_fractions(valid: Tensor, fractions: Sequence[float]) -> Tensor:
    """Number of top features k = ⌈p·n⌉, at least 1, for each fraction p, int64[B, P].

    With ⌊p·n⌋ no feature of a short sequence would be removed, and its explanation would not be tested at all.
    """
    n = valid.sum(1)
    return torch.stack([ceil_share(n, fraction) for fraction in fractions], 1).clamp_min(1)


def area(scores: Tensor, counts: Tensor) -> Tensor:
    """Area under curves float64[M, J] over the fraction of features removed, float64[M], by trapezoids."""
    fractions = counts.double() / counts[:, -1:].double()
    return ((scores[:, 1:] + scores[:, :-1]) / 2 * fractions.diff(dim=1)).sum(1)


def run_orders(
    remover: FeatureRemover, removal_orders: Orders, requested: Sequence[tuple[Side, Tensor]]
) -> list[list[Outcome]]:
    """Run the model on the variants of M orders.

    Args:
        remover: removes the features.
        removal_orders: the orders.
        requested: for each request its side, and its numbers of first features int64[B, J].

    Returns:
        for each view of the remover, the outcome of each request.
    """
    widths = [counts.shape[1] for _, counts in requested]
    counts = torch.cat([counts[removal_orders.instance] for _, counts in requested], 1)
    keeps = torch.tensor([side == "kept" for side, _ in requested]).repeat_interleave(torch.tensor(widths))
    variants = remover.without(Ranked(removal_orders.ranks, removal_orders.instance, counts, keeps))
    outcomes = []
    for view in remover.views:
        parts = view.outputs(variants).view(*counts.shape, -1).split(widths, dim=1)
        outcomes.append([outcome_of(view, part, removal_orders.instance, remover.sign) for part in parts])
    return outcomes


def unperturbed_outcome(remover: FeatureRemover) -> Outcome:
    """Outcome of the unperturbed sequences, [B, 1].

    Their outputs are known already, and all views of an intervention have the same model, so that nothing is run.
    """
    view = remover.views[0]
    return outcome_of(view, view.batch_outputs[:, None], torch.arange(len(view)), remover.sign)


def chunks(remover: FeatureRemover, breaks: int, points: int) -> Iterator[Tensor]:
    """Instances in groups, int64[C] each, small enough that their orders and outputs fit in memory.

    Masks and rows of the variants are only made when they are run.

    Args:
        remover: removes the features.
        breaks: number of orders of each instance.
        points: number of variants of each order.
    """
    values = breaks * (remover.valid.shape[1] + points * remover.outputs)
    at_once = min(_VALUES_AT_ONCE // values, _VARIANTS_AT_ONCE // (breaks * points))
    yield from torch.arange(len(remover.subject)).split(max(1, at_once))


def _run_requests(evidence: Evidence, order: RemovalOrder, requests: Sequence[CurveRequest]) -> list[RemovalCurve]:
    """Run all requests for one order together."""
    remover = remover_for(evidence, order.by)
    requested = [(request.side, request.counts(remover.valid)) for request in requests]
    ranking = priority(evidence, remover, order.rank)
    groups = list(chunks(remover, order.breaks, sum(counts.shape[1] for _, counts in requested)))
    tied = torch.cat([ties(ranking, remover.valid, chunk) for chunk in groups])
    rows = len(remover.views) * int(torch.where(tied, order.breaks, 1).sum())
    instance = torch.empty(rows, dtype=torch.int64)
    classification = remover.subject.classification
    results = [Outcome.empty(rows, counts.shape[1], classification=classification) for _, counts in requested]
    start = 0
    for chunk in groups:
        removal_orders = orders(ranking, remover.valid, chunk, order.breaks)
        for outcomes in run_orders(remover, removal_orders, requested):
            part = slice(start, start + len(removal_orders.instance))
            instance[part], start = removal_orders.instance, part.stop
            for result, outcome in zip(results, outcomes, strict=True):
                result.write(part, outcome)
    return [
        RemovalCurve(request, remover.valid, instance, result)
        for request, result in zip(requests, results, strict=True)
    ]
