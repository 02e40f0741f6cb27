"""DeepLIFT multipliers of a module's score, with the check that the contributions sum to the score difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen
from .pairing import Pairing, pair, reference_of, reference_scope

if TYPE_CHECKING:
    from torch import nn

# Relative to the sum of the contributions' absolute values. Rounding grows with depth and length but stays far below; a
# missed path of influence is far above.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
_ROUGH = 3e-2  # scores in half precision
_ROUNDINGS = 64


@dataclass(frozen=True)
class Multipliers:
    """DeepLIFT multipliers and scores of one paired run.

    Attributes:
        values: float[B, T, D], m with Σ m·(x − x⁰) = f(x) − f(x⁰).
        score: float[B], f(x).
        reference_score: float[B], f(x⁰).
        gap: float[B], Σ m·(x − x⁰) − (f(x) − f(x⁰)): the completeness gap, which is rounding only.
    """

    values: Tensor
    score: Tensor
    reference_score: Tensor
    gap: Tensor


def multipliers(
    score: nn.Module, inputs: Tensor, reference: Tensor, expected: tuple[Tensor, Tensor] | None = None
) -> Multipliers:
    """DeepLIFT (Rescale) multipliers of a score.

    Args:
        score: runs the user's module on inputs float[B, T, D] and returns the explained score float[B].
        inputs: float[B, T, D], x.
        reference: float[B, T, D], x⁰.
        expected: f(x) and f(x⁰), float[B] each, from plain runs of the module. The scores of the paired run are checked
            against them; without them only the sum is checked.

    Raises:
        UnsupportedModelError: an operation has no rule, the scores of the paired run differ from ``expected``, or the
            contributions m·(x − x⁰) do not sum to f(x) − f(x⁰).
    """
    leaf = inputs.detach().clone().requires_grad_()
    with reference_scope(), torch.enable_grad():
        # a copy, because a module may write into its input, and torch allows no writing into a leaf
        actual = pair(leaf.clone(), reference.detach().clone())
        with frozen(score), Pairing():
            scores = score(actual)
        reference_scores = reference_of(scores)
    if reference_scores is None or not scores.requires_grad:
        raise UnsupportedModelError(
            "DeepLIFT found no path from the input to the score: the model detaches the input or computes outside "
            "torch; use occlusion."
        )
    (values,) = torch.autograd.grad(scores.sum(), leaf)
    scores = scores.detach()
    contributions = (values * (inputs - reference)).flatten(1)
    gap = contributions.sum(1) - (scores - reference_scores)
    rounding = torch.finfo(gap.dtype).eps * (1 + _ROUNDINGS * (scores.abs() + reference_scores.abs()))
    _refuse(
        gap,
        _TOLERANCE.get(gap.dtype, _ROUGH) * contributions.abs().sum(1) + rounding,
        "contributions do not sum to the score difference",
    )
    for own, plain in zip((scores, reference_scores), expected or (), strict=False):
        _refuse(
            own - plain, _TOLERANCE.get(gap.dtype, _ROUGH) * (1 + plain.abs()), "score differs from the model's own"
        )
    return Multipliers(values, scores, reference_scores, gap)


def _refuse(difference: Tensor, allowed: Tensor, complaint: str) -> None:
    """Raise UnsupportedModelError for the first instance whose difference is larger than allowed, float[B] each."""
    wrong = ~(difference.abs() <= allowed)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"DeepLIFT's {complaint} for instance {row} (by {float(difference[row]):.2g}): part of the input's "
            "influence takes a path that it cannot follow; use integrated-gradients or occlusion."
        )
