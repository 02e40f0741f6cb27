"""What the deletion curve of a method is measured against: random orders, and the best order found.

Neither depends on the method; they are made once for a subject, a way of removing and a granularity.

The best order found is the best of several candidates, because none is best everywhere: a greedy search asks what
removal lowers the score most where it stands, and stands still where a long sequence can lose any of its thousands of
features and the score does not move; a gradient along the way to the reference sees them all at once, and nothing of
how they interact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import UnsupportedModelError
from ...methods.controls import greedy_search as removal
from ...methods.gradient.gradients import IntegratedGradients
from .curves import area, chunks, counts_of_curve, outcomes
from .features import Orders, orders, random_orders
from .removing import removing_for

if TYPE_CHECKING:
    from ..base import Evidence
    from .removing import Removing


@dataclass(frozen=True, eq=False)
class Baselines:
    """Deletion areas that do not depend on a method.

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


def baselines(evidence: Evidence, points: int, breaks: int, budget: int, by: str = "reference") -> Baselines:
    """Random and best deletion areas for the attribution's granularity; the same for every method of the subject.

    Args:
        evidence: whose shared probes to read.
        points: of the curves.
        breaks: random orders of each instance.
        budget: see :func:`xrnnbench.methods.controls.greedy_search.ranks`.
        by: spec of the intervention.
    """
    found = removing_for(evidence, by)

    def make(_: object) -> Baselines:
        counts = counts_of_curve(found.valid, points)
        slopes = _slopes(found)
        parts = [
            _baselines(found, chunk, counts, breaks, budget, slopes) for chunk in chunks(found, breaks + 3, points + 1)
        ]
        return Baselines(*(torch.cat(part) for part in zip(*parts, strict=True)))

    return evidence.shared.get(("deletion baselines", found.by.spec, found.granularity, points, breaks, budget), make)


def _slopes(found: Removing) -> Tensor | None:
    """float64[B, N]: what each feature adds by integrated gradients; None of a model without gradients."""
    if not found.subject.differentiable:
        return None
    try:
        values = IntegratedGradients().attribute(found.subject, torch.Generator()).double()
    except UnsupportedModelError:  # a model of torch that leaves it on the way
        return None
    if found.granularity == "step" and values.dim() == 3:
        values = values.sum(2)
    return values.flatten(1) * found.sign[:, None]


def _baselines(
    found: Removing, chunk: Tensor, counts: Tensor, breaks: int, budget: int, slopes: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of :class:`Baselines` for some instances.

    The greedy search asks the first draw of a random intervention; what it finds is measured by all of them.
    """
    drawn = random_orders(found.valid, chunk, breaks)
    search = removal.Search(found.views[0], found.valid[chunk], chunk, found.sign, budget, found.lacking)
    tried = [drawn.ranks.view(len(chunk), breaks, -1), *(ranks[:, None] for ranks in search.ranks_of(counts[chunk]))]
    if slopes is not None:
        tried.append(orders(slopes, found.valid, chunk, 1).ranks[:, None])
    ranks = torch.cat(tried, dim=1)
    every = Orders(chunk.repeat_interleave(ranks.shape[1]), ranks.flatten(0, 1))
    answers = [own.score for (own,) in outcomes(found, every, [("removed", counts)])]
    scores = torch.stack(answers).mean(0)
    areas = area(scores, counts[every.instance]).view(len(chunk), -1)
    scores = scores.view(len(chunk), -1)
    best, place = areas.min(1)
    spread = scores.max(1).values - scores.min(1).values
    return areas[:, :breaks].mean(1), best, ranks[torch.arange(len(chunk)), place], spread
