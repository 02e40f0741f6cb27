"""The relevance of a module's inputs to its score: one run there, one back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen
from .tracking import INSTEAD, WHO, Tracking

if TYPE_CHECKING:
    from torch import nn

    from .shares import Shares

# Of the score: attention taken apart adds up in another order, which is far below; another model is far above.
_SHARE = {torch.float32: 1e-3, torch.float64: 1e-8}


@dataclass(frozen=True)
class Relevances:
    """What one run gave.

    Attributes:
        values: float[B, T, D], the relevance of the inputs.
        score: float[B], which is the relevance that was handed back.
        leftover: the relevance of all rows together that constants got, by what they took part in: initial states,
            columns put beside the input. With a bias factor of 1, ``values`` and these sum to ``score``.
    """

    values: Tensor
    score: Tensor
    leftover: dict[str, float]


def relevances(score: nn.Module, inputs: Tensor, shares: Shares, expected: Tensor | None = None) -> Relevances:
    """Relevance of the inputs to a score.

    Args:
        score: runs the user's module on inputs float[B, T, D] and returns the explained score float[B].
        inputs: float[B, T, D].
        shares: the rules.
        expected: float[B], the score as the module gives it when it is simply run: what the run is held against.

    Raises:
        UnsupportedModelError: an operation has no rule, or the run is not the module's own.
    """
    leaf = inputs.detach().clone().requires_grad_()
    tracking = Tracking(shares)
    with torch.enable_grad():
        # a copy, because a module may write into its input, and torch lets nobody write into a leaf
        actual = tracking.mark(leaf.clone())
        with frozen(score), tracking:
            found = score(actual)
    if not tracking.is_tracked(found):
        raise UnsupportedModelError(
            f"{WHO} found no path from the input to the score: the model leaves torch on the way, or decides only."
        )
    tracking.refuse_leaks([found], "its score")
    names, constants = [name for name, _ in tracking.constants], [constant for _, constant in tracking.constants]
    own = found.detach()
    values, *others = torch.autograd.grad(found, [leaf, *constants], own, allow_unused=True)
    leftover: dict[str, float] = {}
    for name, other in zip(names, others, strict=True):
        if other is not None:
            leftover[name] = leftover.get(name, 0.0) + float(other.sum())
    if expected is not None:
        _compare(own, expected)
    return Relevances(torch.zeros_like(leaf) if values is None else values, own, leftover)


def _compare(found: Tensor, expected: Tensor) -> None:
    wrong = ~((found - expected).abs() <= _SHARE[found.dtype] * (1 + expected.abs()))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"{WHO} does not see what the model does for instance {row} (a score of {float(found[row]):.4g}, where a "
            f"plain run gives {float(expected[row]):.4g}): {INSTEAD}."
        )
