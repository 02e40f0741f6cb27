"""Relevance of a module's inputs for its score, from one forward and one backward pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from ..operations import frozen, uncompiled
from .held import outputs_held
from .tracking import METHOD, Tracking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from .shares import Shares

# Relative to the score. Decomposed attention sums in another order, whose rounding is far below; another model's score
# differs by far more.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
_ROUGH = 3e-2  # scores in half precision


@dataclass(frozen=True)
class Relevances:
    """Relevance of the inputs, the propagated score, and the relevance of constants.

    Attributes:
        values: float[B, T, D], the relevance of the inputs.
        score: float[B], the relevance at the output.
        leftover: relevance that constants received, summed over all rows, by the operation or layer in which they took
            part. Such constants are initial states, columns joined to the input, and constants of first-order
            expansions. With a bias factor of 1, ``values`` and these sum to ``score``.
    """

    values: Tensor
    score: Tensor
    leftover: dict[str, float]


def relevances(
    score: nn.Module, inputs: Tensor, shares: Shares, expected: Tensor | None = None, constant: Sequence[str] = ()
) -> Relevances:
    """LRP relevance of the inputs for a score.

    Args:
        score: runs the user's module on inputs float[B, T, D] and returns the explained score float[B].
        inputs: float[B, T, D].
        shares: parameters of the rules.
        expected: float[B], the score of a plain run of the module, against which this run's score is checked.
        constant: names of modules whose outputs are constants, see :func:`.held.outputs_held`.

    Raises:
        ParameterError: no module has one of these names.
        UnsupportedModelError: an operation has no rule, or the score differs from ``expected``.
    """
    leaf = inputs.detach().clone().requires_grad_()
    tracking = Tracking(shares)
    with torch.enable_grad():
        # a copy, because a module may write into its input, and torch allows no writing into a leaf
        actual = tracking.mark(leaf.clone())
        with outputs_held(score, constant), frozen(score), uncompiled(), tracking:
            scores = tracking.unwrap(score(actual))
    if not tracking.is_tracked(scores):
        raise UnsupportedModelError(
            f"{METHOD} found no path from the input to the score: the model computes outside torch, or the score "
            "depends on the input by decisions alone."
        )
    tracking.refuse_leaks([scores], "its score")
    names, constants = [name for name, _ in tracking.constants], [constant for _, constant in tracking.constants]
    relevance = scores.detach()
    values, *others = torch.autograd.grad(scores, [leaf, *constants], relevance, allow_unused=True)
    leftover: dict[str, float] = {}
    for name, other in zip(names, others, strict=True):
        if other is not None:
            total = torch.view_as_real(other).sum() if other.is_complex() else other.sum()
            leftover[name] = leftover.get(name, 0.0) + float(total)
    if expected is not None:
        _compare(relevance, expected)
    return Relevances(torch.zeros_like(leaf) if values is None else values, relevance, leftover)


def _compare(scores: Tensor, expected: Tensor) -> None:
    """Raise UnsupportedModelError for the first instance whose score differs from that of the plain run."""
    wrong = ~((scores - expected).abs() <= _TOLERANCE.get(scores.dtype, _ROUGH) * (1 + expected.abs()))
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"{METHOD}'s score differs from the model's own for instance {row} ({float(scores[row]):.4g}, not "
            f"{float(expected[row]):.4g}): {METHOD} cannot follow a part of this model."
        )
