"""What the deletion curve of a method is measured against: random orders, and the best order found.

Neither depends on the method; they are made once for a subject, a way of removing and a granularity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..methods import removal
from .curves import area, chunks, counts_of_curve, outcomes
from .features import Orders, random_orders
from .removing import removing_for

if TYPE_CHECKING:
    from .base import Evidence
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
        budget: see :func:`xrnnbench.methods.removal.ranks`.
        by: spec of the intervention.
    """
    found = removing_for(evidence, by)

    def make(_: object) -> Baselines:
        counts = counts_of_curve(found.valid, points)
        parts = [_baselines(found, chunk, counts, breaks, budget) for chunk in chunks(found, breaks + 2, points + 1)]
        return Baselines(*(torch.cat(part) for part in zip(*parts, strict=True)))

    return evidence.shared.get(("deletion baselines", found.by.spec, found.granularity, points, breaks, budget), make)


def _baselines(
    found: Removing, chunk: Tensor, counts: Tensor, breaks: int, budget: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of :class:`Baselines` for some instances.

    The greedy search asks the first draw of a random intervention; what it finds is measured by all of them.
    """
    drawn = random_orders(found.valid, chunk, breaks)
    search = removal.Search(found.views[0], found.valid[chunk], chunk, found.sign, budget, found.lacking)
    tried = [drawn.ranks.view(len(chunk), breaks, -1), *(ranks[:, None] for ranks in search.ranks_of(counts[chunk]))]
    ranks = torch.cat(tried, dim=1)
    every = Orders(chunk.repeat_interleave(ranks.shape[1]), ranks.flatten(0, 1))
    answers = [own.score for (own,) in outcomes(found, every, [("removed", counts)])]
    scores = torch.stack(answers).mean(0)
    areas = area(scores, counts[every.instance]).view(len(chunk), -1)
    scores = scores.view(len(chunk), -1)
    best, place = areas.min(1)
    spread = scores.max(1).values - scores.min(1).values
    return areas[:, :breaks].mean(1), best, ranks[torch.arange(len(chunk)), place], spread
