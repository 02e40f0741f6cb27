"""Sensitivity of an explanation to small perturbations of the input.

A constant map is perfectly stable, so never rank methods by stability alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ...plugins import register
from .neighbours import NeighbourMetric, Neighbours, masked_max

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class MaxSensitivity(NeighbourMetric):
    """Largest relative change of the explanation when the input is perturbed within a small box around it.

        max over samples x′ of  ‖Φ(x′) − Φ(x)‖ / ‖Φ(x)‖,   x′ uniform within radius of x in every value (L∞)

    L2 norms over the valid features; ‖Φ(x)‖ = 0 counts as 1. The explained output stays that of x. Always defined for
    the sequences that are scored.

    * Tokens cannot be perturbed slightly, but their embeddings can: both explanations are then of the embedded
      sequence.
    * Padding is not perturbed. The neighbours depend only on the instance, and are the same for all methods.
    * A method without a seed explains x and its neighbours in one call. A stochastic method is called once for x and
      once for each set of neighbours, every time with the explainer seed of the attribution. Its random draws are then
      the same for all inputs, so that the metric measures the effect of the input and not that of the seed, which is
      measured by ``explainer-seed-agreement``. Random attributions therefore score 0, like any map that ignores its
      input.
    * It costs ``samples + 1`` explanations of each sequence. Therefore only ``instances`` sequences, evenly spaced in
      the batch, are scored; the others are NaN. All metrics of neighbours with the same radius, samples and instances
      share these explanations.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.

    Source: Yeh et al. 2019, eq. 3, with their r = .02 and 10 samples, relative to ‖Φ(x)‖.
    """

    name: ClassVar[str] = "max-sensitivity"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Yeh et al. 2019, arXiv:1901.09392, eq. 3"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:  # noqa: ARG002  # only the explanations are compared
        """See the class."""
        changes = (maps[1:] - maps[:1]).norm(dim=2).amax(0)
        size = maps[0].norm(dim=1)
        sensitivity: Tensor = changes / torch.where(size > 0, size, 1.0)
        return sensitivity


@register
@dataclass(frozen=True)
class LocalLipschitz(NeighbourMetric):
    """Local Lipschitz estimate, the largest change of the explanation relative to the change of the input.

        max over samples x′ of  ‖Φ(x′) − Φ(x)‖ / ‖x′ − x‖,   x′ uniform within radius of x in every value (L∞)

    L2 norms over the valid features. The neighbours and their explanations are those of ``max-sensitivity``. The value
    is in the unit of the attributions divided by that of the inputs, so it does not compare methods whose attributions
    have different scales; for these use ``max-sensitivity``. NaN where no neighbour differs from x, because the values
    of x are too large for the radius in floating point, and where the sequence is not scored.

    Args:
        radius: largest change of a value, in the unit of the model's inputs or embeddings.
        samples: number of neighbours of each sequence.
        instances: number of sequences scored, evenly spaced in the batch; 0 for all.

    Source: Alvarez-Melis & Jaakkola 2018, the local Lipschitz estimate, over samples of a box.
    """

    name: ClassVar[str] = "local-lipschitz"
    low: ClassVar[float] = 0.0
    ideal: ClassVar[float] = 0.0
    source: ClassVar[str] = "Alvarez-Melis & Jaakkola 2018, arXiv:1806.08049 (local Lipschitz estimate)"

    def compare(self, near: Neighbours, maps: Tensor) -> Tensor:
        """See the class."""
        distance = (near.inputs[1:].double() - near.inputs[:1].double()).flatten(2).norm(dim=2)
        return masked_max((maps[1:] - maps[:1]).norm(dim=2) / distance, distance > 0)
