"""Stability: does the explanation stay what it is when the input is moved by next to nothing?

A constant map is perfectly stable: stability is never ranked alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...plugins import register
from .neighbours import NeighbourMetric, Neighbours, largest

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class MaxSensitivity(NeighbourMetric):
    """How much the explanation changes, at most, when the input moves within a small box around it.

        max over samples x′ of  ‖Φ(x′) − Φ(x)‖ / ‖Φ(x)‖,   x′ uniform within radius of x in every value (L∞)

    L2 norms over the valid features; ‖Φ(x)‖ = 0 counts as 1. The explained output stays that of x. Always defined for
    the sequences it is asked of.

    * Tokens cannot move by a little, their embeddings can: both explanations are then of the embedded sequence.
    * Padding does not move. The neighbours depend on the instance alone, and all methods see the same.
    * x and its neighbours are explained side by side. For a method without a seed all in one call. A stochastic method
      is called once for x and once for each set of neighbours, every time with the seed of its evidence: the same
      draws meet inputs that differ, so that what is measured is the effect of the input and not of the seed, which is
      ``explainer-seed-agreement``. Random attributions therefore score 0, as any map that ignores its input does.
    * What it costs is ``samples + 1`` explanations of each sequence, so only ``instances`` sequences, evenly spaced
      in the batch, are asked of; the others are NaN. All metrics of neighbours with the same radius, samples and
      instances read the same explanations.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged; 0 for all.

    Source: Yeh et al. 2019, eq. 3, with their r = .02 and 10 samples, relative to ‖Φ(x)‖.
    """

    name: ClassVar[str] = "max-sensitivity"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392, eq. 3"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:  # noqa: ARG002  # the explanations say it all
        """See the class."""
        changes = (maps[1:] - maps[:1]).norm(dim=2).amax(0)
        size = maps[0].norm(dim=1)
        found: Tensor = changes / torch.where(size > 0, size, 1.0)
        return found


@register
@dataclass(frozen=True)
class LocalLipschitz(NeighbourMetric):
    """How steeply the explanation changes, at most, with the input: the largest change of Φ for a change of x.

        max over samples x′ of  ‖Φ(x′) − Φ(x)‖ / ‖x′ − x‖,   x′ uniform within radius of x in every value (L∞)

    L2 norms over the valid features. The neighbours, and what is asked of them, are those of ``max-sensitivity``. In
    the unit of the attributions over that of the inputs: methods whose attributions are on other scales are not
    compared by it, for which there is ``max-sensitivity``. NaN where no neighbour differs from x, because its numbers
    are too large for the radius, and where the sequence is not asked of.

    Args:
        radius: the largest change of a value, in the unit of the model's inputs or embeddings.
        samples: neighbours of each sequence.
        instances: sequences judged, evenly spaced in the batch; 0 for all.

    Source: Alvarez-Melis & Jaakkola 2018, the local Lipschitz estimate, over samples of a box.
    """

    name: ClassVar[str] = "local-lipschitz"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049 (local Lipschitz estimate)"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:
        """See the class."""
        distance = (near.inputs[1:].double() - near.inputs[:1].double()).flatten(2).norm(dim=2)
        return largest((maps[1:] - maps[:1]).norm(dim=2) / distance, distance > 0)
