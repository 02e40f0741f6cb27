"""DeepLIFT multipliers of a module's score, with the check that the contributions sum to the score difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ....errors import CompletenessWarning, UnsupportedModelError, warn
from ..operations import frozen, uncompiled
from .pairing import Missed, Pairing
from .pairs import holder_of, pair, reference_of, reference_scope

if TYPE_CHECKING:
    from torch import nn

# Relative to the sum of the contributions' absolute values. Rounding grows with depth and length but stays far below; a
# missed path of influence is far above.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
_ROUGH = 3e-2  # scores in half precision
_ROUNDINGS = 64
# Scores below this size are compared as if they had it: rounding within the model may be larger than they are.
_LEAST = 0.1
# An operation that misses more than this share of its own contributions has no path: it jumps.
_JUMP = 0.01


@dataclass(frozen=True)
class Multipliers:
    """DeepLIFT multipliers and scores of one paired run.

    Attributes:
        values: float[B, T, D], m with Σ m·(x − x⁰) = f(x) − f(x⁰).
        score: float[B], f(x).
        reference_score: float[B], f(x⁰).
        gap: float[B], Σ m·(x − x⁰) − (f(x) − f(x⁰)): the completeness gap, which is rounding only, unless operations
            are listed in ``missed``.
        missed: operations whose path did not reach the tolerance, each with the error of its own sum.
        evaluations: runs of the model, forward and backward, to which the evaluations of single operations along their
            paths amount: the numbers that these made, as a share of those that one run makes.
    """

    values: Tensor
    score: Tensor
    reference_score: Tensor
    gap: Tensor
    missed: tuple[Missed, ...] = ()
    evaluations: float = 0.0

    @property
    def extra_passes(self) -> int:
        """Sequences, rounded up, that the evaluations along paths amount to."""
        return math.ceil(self.evaluations * len(self.score))


def multipliers(
    score: nn.Module, inputs: Tensor, reference: Tensor, expected: tuple[Tensor, Tensor] | None = None
) -> Multipliers:
    """DeepLIFT (Rescale) multipliers of a score.

    Args:
        score: runs the user's module on inputs float[B, T, D] and returns the explained score float[B]. Where it was
            compiled (torch.compile), the module that it was made from is run.
        inputs: float[B, T, D], x.
        reference: float[B, T, D], x⁰.
        expected: f(x) and f(x⁰), float[B] each, from plain runs of the module. The scores of the paired run are checked
            against them; without them only the sum is checked.

    Raises:
        UnsupportedModelError: an operation has no rule, the scores of the paired run differ from ``expected``, or the
            contributions m·(x − x⁰) do not sum to f(x) − f(x⁰).
    """
    leaf = inputs.detach().clone().requires_grad_()
    pairing = Pairing()
    with reference_scope(), torch.enable_grad():
        # a copy, because a module may write into its input, and torch allows no writing into a leaf
        actual = pair(leaf.clone(), reference.detach().clone())
        with frozen(score), uncompiled(), pairing:
            scores = score(actual)
        scores = holder_of(scores)
        reference_scores = reference_of(scores)
    if reference_scores is None or not scores.requires_grad:
        raise UnsupportedModelError(
            "DeepLIFT found no path from the input to the score: the model computes outside torch, or its score does "
            "not depend on the input; use occlusion."
        )
    values = _propagated(scores.sum(), leaf)
    return _checked(pairing, values, inputs - reference, (scores.detach(), reference_scores), expected)


def _propagated(score: Tensor, leaf: Tensor) -> Tensor:
    """Multipliers of the input, by the rules that were recorded.

    Raises:
        UnsupportedModelError: torch cannot transpose a linear operation of the model.
    """
    try:
        return torch.autograd.grad(score, leaf)[0]
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UnsupportedModelError(
            f"DeepLIFT cannot propagate through this model ({reason}): use occlusion or kernel-shap."
        ) from error


def _checked(
    pairing: Pairing,
    values: Tensor,
    delta: Tensor,
    scores: tuple[Tensor, Tensor],
    expected: tuple[Tensor, Tensor] | None,
) -> Multipliers:
    """Multipliers with their gap; see :func:`multipliers` for what is refused."""
    contributions = (values * delta).flatten(1)
    gap = contributions.sum(1) - (scores[0] - scores[1])
    tolerance = max(_TOLERANCE.get(dtype, _ROUGH) for dtype in {gap.dtype, *map(_real, pairing.dtypes)})
    rounding = torch.finfo(gap.dtype).eps * (1 + _ROUNDINGS * (scores[0].abs() + scores[1].abs()))
    allowed = tolerance * contributions.abs().sum(1) + rounding
    missed = _beyond(pairing.missed, float(allowed.max()))
    _refuse(gap, allowed + sum(each.gap for each in missed), "contributions do not sum to the score difference")
    for own, plain in zip(scores, expected or (), strict=False):
        size = plain.abs() + (scores[0] - scores[1]).abs().max()
        _refuse(own - plain, tolerance * (_LEAST + size), "score differs from the model's own")
    evaluations = pairing.integrated / max(1, pairing.numbers)
    return Multipliers(values, *scores, gap, missed, evaluations)


def _real(dtype: torch.dtype) -> torch.dtype:
    """Precision of a type of numbers; of complex numbers, that of their parts."""
    return torch.empty(0, dtype=dtype).real.dtype if dtype.is_complex else dtype


def _beyond(missed: list[Missed], allowed: float) -> tuple[Missed, ...]:
    """Operations that missed more than rounding; says so, and refuses those that jump.

    Raises:
        UnsupportedModelError: an operation misses so much that it has no path.
    """
    worse = tuple(each for each in missed if not each.gap <= allowed)
    if not worse:
        return ()
    worst = max(worse, key=lambda each: each.share)
    if not worst.share <= _JUMP:
        raise UnsupportedModelError(
            f"DeepLIFT cannot integrate {worst.operation} along its path in this model: with {worst.nodes} nodes it "
            f"misses {worst.share:.2g} of its own contributions, because its result jumps or is not finite on the way; "
            "use occlusion or kernel-shap, or another reference."
        )
    warn(
        f"DeepLIFT integrates {worst.operation} along its path, and misses {worst.share:.2g} of its own contributions "
        f"with {worst.nodes} nodes: its result bends too sharply; the gap of the attribution holds what is missed.",
        CompletenessWarning,
    )
    return worse


def _refuse(difference: Tensor, allowed: Tensor, complaint: str) -> None:
    """Raise UnsupportedModelError for the first instance whose difference is larger than allowed, float[B] each."""
    wrong = ~(difference.abs() <= allowed)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise UnsupportedModelError(
            f"DeepLIFT's {complaint} for instance {row} (by {float(difference[row]):.2g}): part of the input's "
            "influence takes a path that it cannot follow; use occlusion or kernel-shap."
        )
