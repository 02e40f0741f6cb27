"""The decomposition of a module's score, and the check that it is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen
from .following import INSTEAD, WHO, Following
from .streams import Streams, attach, remembering, streams_of

if TYPE_CHECKING:
    from torch import nn

# Of the sizes of the streams. Rounding grows with depth and length but stays far below; a wrong rule is far above.
_SHARE: Final = {torch.float32: 1e-3, torch.float64: 1e-8}


@dataclass(frozen=True)
class Decomposition:
    """Scores in three: relevant + irrelevant + bias is the score.

    Attributes:
        relevant: float[V], what the span made, alone and with the model's constants.
        irrelevant: float[V], what the rest made, and all interactions between the two.
        bias: float[V], what the model's constants made alone; of an LSTM with a linear head, the head's bias.
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
        expected: float[V], the score as the module gives it when it is simply run.

    Raises:
        UnsupportedModelError: an operation has no rule, or the streams do not add up to the module's own score.
    """
    kept = keep[:, :, None].expand_as(inputs).to(inputs.dtype)
    with remembering(), torch.enable_grad():
        total = inputs.detach().clone()
        streams = Streams(total * kept, total * (1 - kept), torch.zeros_like(total), kept.clone(), 1 - kept)
        with frozen(score), Following():
            found = score(attach(total, streams))
        carried = streams_of(found)
    if carried is None:
        raise UnsupportedModelError(
            f"{WHO} found no path from the input to the score: the model leaves torch on the way; {INSTEAD}."
        )
    found = found.detach()
    parts = torch.stack([carried.relevant, carried.irrelevant, carried.bias])
    allowed = _SHARE[found.dtype] * (1 + parts.abs().sum(0))
    _refuse(parts.sum(0) - found, allowed, "does not add up")
    _refuse(found - expected, allowed, "does not see what the model does")
    return Decomposition(*parts)


def _refuse(difference: Tensor, allowed: Tensor, complaint: str) -> None:
    wrong = ~(difference.abs() <= allowed)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"{WHO} {complaint} for row {row} (by {float(difference[row]):.2g}): part of what the "
            f"model computes goes a way it cannot follow; {INSTEAD}."
        )
