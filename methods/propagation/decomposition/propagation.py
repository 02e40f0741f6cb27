"""Contextual decomposition of a module's score, with the check that the streams sum to the score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen, uncompiled
from .following import METHOD, Following
from .streams import Streams, attach, stream_scope, streams_of

if TYPE_CHECKING:
    from torch import nn

# Relative to the streams' absolute values. Rounding grows with depth and length but stays far below; the error of a
# wrong rule is far above.
_TOLERANCE: Final = {torch.float32: 1e-3, torch.float64: 1e-8}
_ROUGH: Final = 3e-2  # scores in half precision


@dataclass(frozen=True)
class Decomposition:
    """Score in three parts: relevant + irrelevant + bias is the score.

    Attributes:
        relevant: float[V], the part due to the span, alone and with the model's constants.
        irrelevant: float[V], the part due to the other steps, and all interactions between the two.
        bias: float[V], the part due to the model's constants alone; of an LSTM with a linear head, the head's bias.
    """

    relevant: Tensor
    irrelevant: Tensor
    bias: Tensor


def decompose(score: nn.Module, inputs: Tensor, keep: Tensor, expected: Tensor) -> Decomposition:
    """Contextual decomposition of a score.

    Args:
        score: runs the user's module on inputs float[V, T, D] and returns the explained score float[V].
        inputs: float[V, T, D].
        keep: bool[V, T], the span of each row: its relevant steps.
        expected: float[V], the score of a plain run of the module.

    Raises:
        UnsupportedModelError: an operation has no rule, or the streams do not sum to the score of the plain run.
    """
    inside = keep[:, :, None].expand_as(inputs).to(inputs.dtype)
    with stream_scope(), torch.enable_grad():
        total = inputs.detach().clone()
        streams = Streams(total * inside, total * (1 - inside), torch.zeros_like(total), inside.clone(), 1 - inside)
        with frozen(score), uncompiled(), Following() as following:
            scores = score(attach(total, streams))
        streams_of_score = streams_of(scores)
    if streams_of_score is None:
        raise UnsupportedModelError(
            f"{METHOD} found no path from the input to the score: the model computes outside torch."
        )
    scores = scores.detach()
    parts = torch.stack([streams_of_score.relevant, streams_of_score.irrelevant, streams_of_score.bias])
    if following.undefined and not bool(parts.isfinite().all()):
        raise UnsupportedModelError(following.undefined[0])
    allowed = _TOLERANCE.get(scores.dtype, _ROUGH) * (1 + parts.abs().sum(0))
    _refuse(parts.sum(0) - scores, allowed, "streams do not sum to the score")
    _refuse(scores - expected, allowed, "score differs from the model's own")
    return Decomposition(*parts)


def _refuse(difference: Tensor, allowed: Tensor, complaint: str) -> None:
    """Raise UnsupportedModelError for the first row whose difference is larger than allowed, float[V] each."""
    wrong = ~(difference.abs() <= allowed)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"{METHOD}'s {complaint} for row {row} (by {float(difference[row]):.2g}): it cannot follow a part of this "
            "model."
        )
