"""The multipliers of a module's score: what DeepLIFT computes, and the check that it added up."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...errors import UnsupportedModelError
from .pairing import Pairing, pair, reference_of

if TYPE_CHECKING:
    from collections.abc import Iterator

# Rounding grows with depth and length but stays far below this; a forgotten influence is far above.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}


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


def multipliers(score: nn.Module, inputs: Tensor, reference: Tensor) -> Multipliers:
    """DeepLIFT (Rescale) multipliers of a score.

    Args:
        score: runs the user's module on inputs float[B, T, D] and returns the explained score float[B].
        inputs: float[B, T, D], x.
        reference: float[B, T, D], x⁰.

    Raises:
        UnsupportedModelError: an operation has no rule, or the sum does not come out.
    """
    actual = pair(inputs.detach().clone().requires_grad_(), reference.detach().clone())
    with _frozen(score), torch.enable_grad(), Pairing():
        found = score(actual)
    other = reference_of(found)
    if other is None or not found.requires_grad:
        raise UnsupportedModelError(
            "DeepLIFT found no path from the input to the score: the model detaches it or leaves torch on the way."
        )
    (values,) = torch.autograd.grad(found.sum(), actual)
    found = found.detach()
    gap = (values * (inputs - reference)).flatten(1).sum(1) - (found - other)
    _refuse_gap(gap, found, other)
    return Multipliers(values, found, other, gap)


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Inside, only what depends on the input requires a gradient: anything else that does has escaped the pairing."""
    kept = {parameter: parameter.requires_grad for parameter in module.parameters()}
    try:
        module.requires_grad_(requires_grad=False)
        yield
    finally:
        for parameter, requires_grad in kept.items():
            parameter.requires_grad_(requires_grad)


def _refuse_gap(gap: Tensor, score: Tensor, other: Tensor) -> None:
    scale = 1 + torch.maximum(score.abs(), other.abs())
    wrong = (gap.abs() / scale).nan_to_num(nan=torch.inf) > _TOLERANCE[gap.dtype]
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"DeepLIFT does not add up for instance {row} (gap {float(gap[row]):.2g}): part of the input's influence "
            "goes a way it cannot follow; use integrated-gradients or occlusion."
        )
