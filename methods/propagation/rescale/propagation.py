"""The multipliers of a module's score: what DeepLIFT computes, and the check that it added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen
from .pairing import Pairing, pair, reference_of, remembering

if TYPE_CHECKING:
    from torch import nn

# Of the sum of the sizes of all contributions. Rounding grows with depth and length but stays far below; a forgotten
# influence is far above.
_SHARE = {torch.float32: 1e-3, torch.float64: 1e-8}
_ROUNDINGS = 64


@dataclass(frozen=True)
class Multipliers:
    """What one paired run gave.

    Attributes:
        values: float[B, T, D], m with Σ m·(x − x⁰) = f(x) − f(x⁰).
        score: float[B], f(x). reference_score: float[B], f(x⁰).
        gap: float[B], Σ m·(x − x⁰) − (f(x) − f(x⁰)): rounding.
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
        expected: f(x) and f(x⁰), float[B] each, as the module gives them when it is simply run: what the paired run is
            held against. Without them only the sum is.

    Raises:
        UnsupportedModelError: an operation has no rule, the paired run is not the module's own, or the sum does not
            come out.
    """
    leaf = inputs.detach().clone().requires_grad_()
    with remembering(), torch.enable_grad():
        # a copy, because a module may write into its input, and torch lets nobody write into a leaf
        actual = pair(leaf.clone(), reference.detach().clone())
        with frozen(score), Pairing():
            found = score(actual)
        other = reference_of(found)
    if other is None or not found.requires_grad:
        raise UnsupportedModelError(
            "DeepLIFT found no path from the input to the score: the model detaches it or leaves torch on the way."
        )
    (values,) = torch.autograd.grad(found.sum(), leaf)
    found = found.detach()
    parts = (values * (inputs - reference)).flatten(1)
    gap = parts.sum(1) - (found - other)
    rounding = torch.finfo(gap.dtype).eps * (1 + _ROUNDINGS * (found.abs() + other.abs()))
    _refuse(gap, _SHARE[gap.dtype] * parts.abs().sum(1) + rounding, "does not add up")
    for own, run in zip((found, other), expected or (), strict=False):
        _refuse(own - run, _SHARE[gap.dtype] * (1 + run.abs()), "does not see what the model does")
    return Multipliers(values, found, other, gap)


def _refuse(difference: Tensor, allowed: Tensor, complaint: str) -> None:
    wrong = ~(difference.abs() <= allowed)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"DeepLIFT {complaint} for instance {row} (by {float(difference[row]):.2g}): part of the input's influence "
            "goes a way it cannot follow; use integrated-gradients or occlusion."
        )
