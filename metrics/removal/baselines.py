"""Baselines of the deletion curve: random orders, and the best order found.

Neither depends on the method. They are computed once for a subject, an intervention and a granularity.

The best order found is the best of several candidates, because none is best everywhere. A greedy search removes the
feature whose removal lowers the score most, and has no direction to go where a long sequence can lose any one of its
thousands of features without a change of the score. Gradients on the path to the reference cover all features at once,
but not their interactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UnsupportedModelError
from ...methods.controls import greedy_search
from ...methods.gradient.gradients import IntegratedGradients
from .curves import area, chunks, counts_of_curve, run_orders
from .features import Orders, orders, random_orders
from .removing import remover_for

if TYPE_CHECKING:
    from ..base import Evidence
    from .removing import FeatureRemover


@dataclass(frozen=True, eq=False)
class Baselines:
    """Areas under the deletion curve that do not depend on a method.

    Attributes:
        random: float64[B], area under the curve, mean over random orders.
        best: float64[B], smallest area of all candidate orders.
        ranks: int64[B, N], the order with the smallest area.
        spread: float64[B], range of the scores on all curves.
    """

    random: Tensor
    best: Tensor
    ranks: Tensor
    spread: Tensor


def baselines(evidence: Evidence, points: int, breaks: int, budget: int, by: str = "reference") -> Baselines:
    """Random and best deletion areas for the granularity of an attribution.

    They are cached, and the same for every method of the subject.

    Args:
        evidence: the cell; results are cached in ``evidence.shared``.
        points: number of removals on the curves.
        breaks: number of random orders of each instance.
        budget: see :func:`xrnnbench.methods.controls.greedy_search.removal_ranks`.
        by: spec of the intervention.
    """
    remover = remover_for(evidence, by)

    def make(_: object) -> Baselines:
        counts = counts_of_curve(remover.valid, points)
        gradients = _integrated_gradients(remover)
        parts = [
            _baselines(remover, chunk, counts, breaks, budget, gradients)
            for chunk in chunks(remover, breaks + 3, points + 1)
        ]
        return Baselines(*(torch.cat(part) for part in zip(*parts, strict=True)))

    return evidence.shared.get(
        ("deletion baselines", remover.by.spec, remover.granularity, points, breaks, budget), make
    )


def _integrated_gradients(remover: FeatureRemover) -> Tensor | None:
    """Signed integrated gradients of each feature, float64[B, N]; None for a model without gradients."""
    if not remover.subject.differentiable:
        return None
    try:
        values = IntegratedGradients(tolerance=0.0).attribute(remover.subject, torch.Generator()).double()
    except UnsupportedModelError:  # a torch model that leaves autograd inside its forward pass
        return None
    if remover.granularity == "step" and values.dim() == 3:
        values = values.sum(2)
    return values.flatten(1) * remover.sign[:, None]


def _baselines(
    remover: FeatureRemover, chunk: Tensor, counts: Tensor, breaks: int, budget: int, gradients: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fields of :class:`Baselines` for some instances.

    The greedy search uses the first draw of a random intervention; the area of its order is measured with all draws.
    """
    random = random_orders(remover.valid, chunk, breaks)
    search = greedy_search.Search(remover.views[0], remover.valid[chunk], chunk, remover.sign, budget, remover.keeping)
    candidates = [
        random.ranks.view(len(chunk), breaks, -1),
        *(ranks[:, None] for ranks in search.ranks_of(counts[chunk])),
    ]
    if gradients is not None:
        candidates.append(orders(gradients, remover.valid, chunk, 1).ranks[:, None])
    ranks = torch.cat(candidates, dim=1)
    candidate_orders = Orders(chunk.repeat_interleave(ranks.shape[1]), ranks.flatten(0, 1))
    draws = [outcome.score for (outcome,) in run_orders(remover, candidate_orders, [("removed", counts)])]
    scores = torch.stack(draws).mean(0)
    areas = area(scores, counts[candidate_orders.instance]).view(len(chunk), -1)
    scores = scores.view(len(chunk), -1)
    best, place = areas.min(1)
    spread = scores.max(1).values - scores.min(1).values
    return areas[:, :breaks].mean(1), best, ranks[torch.arange(len(chunk)), place], spread
