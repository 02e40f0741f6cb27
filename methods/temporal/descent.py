"""Shared parts of the learned masks: perturbed inputs, the change of the score, and derivatives of the objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from ...tasks.engine.variants import Given
from ...tasks.subject import Subject

Perturbation = Literal["gaussian-blur", "moving-average", "reference"]

# Added to the width of a blur, so that it is positive where the mask is 1.
_WIDTH: Final = 1e-7
# A full perturbation that changes the score by less than this, relative to the score, counts as no change.
_LEAST_CHANGE: Final = 1e-6


@dataclass(frozen=True, eq=False)
class Change:
    """Squared change of the scores of some sequences, relative to the change under full perturbation.

    Attributes:
        view: subject of real-valued inputs.
        of: int64[R], sequences of the view.
        span: float64[R], absolute change of each score under full perturbation; 0 where it is negligible.
    """

    view: Subject
    of: Tensor
    span: Tensor

    @classmethod
    def measured(cls, view: Subject, of: Tensor, fully_perturbed: Tensor) -> Change:
        """Measure the span with the fully perturbed sequences, float64[R, T, D]; 1 forward pass each."""
        score = view.score[of].double()
        span = (view.scores(Given(fully_perturbed.to(view.batch.inputs.dtype), of)).double() - score).abs()
        return cls(view, of, torch.where(span > _LEAST_CHANGE * (1 + score.abs()), span, 0.0))

    def repeated(self, times: int) -> Change:
        """Repeat each sequence this many times in a row."""
        return Change(self.view, self.of.repeat_interleave(times), self.span.repeat_interleave(times))

    def at(self, points: Tensor) -> Tensor:
        """Relative squared change at points float64[R, T, D], float64[R]; 1 forward pass each."""
        scores = self.view.scores(Given(points.to(self.view.batch.inputs.dtype), self.of)).double()
        return self._gap(scores) ** 2

    def slope(self, points: Tensor) -> Tensor:
        """Derivative of :meth:`at` at points float64[R, T, D], of their shape; 1 forward and 1 backward pass each."""
        scores, gradients = self.view.gradients(points.to(self.view.batch.inputs.dtype), self.of)
        factor = torch.where(self.span > 0, 2 * self._gap(scores.double()) / self.span, 0.0)
        return factor[:, None, None] * gradients.double()

    def _gap(self, scores: Tensor) -> Tensor:
        """Change of scores float64[R] relative to the span; 0 where the span is 0."""
        gap = (scores - self.view.score[self.of].double()) / self.span
        return torch.where(self.span > 0, gap, 0.0)


def perturbed(view: Subject, of: Tensor, mask: Tensor, by: Perturbation, width: int) -> Tensor:
    """Sequences perturbed where their mask is below 1; no value of padding enters.

    Args:
        view: subject of real-valued inputs.
        of: int64[R], sequences of the view.
        mask: float64[R, T, D] from 0 to 1, or float64[R, T, 1] for whole steps.
        by: kind of perturbation, see :class:`xrnnbench.methods.temporal.masks.Dynamask`.
        width: width of the perturbation, in steps.

    Returns:
        float64[R, T, D], differentiable with respect to the mask.
    """
    inputs, valid = view.batch.inputs[of].double(), view.batch.valid[of]
    step = torch.arange(inputs.shape[1])
    distance = (step[:, None] - step).double()
    if by == "gaussian-blur":
        sigma = width * (1 + _WIDTH - mask)[:, :, None]
        exponent = (-(distance[:, :, None] ** 2) / (2 * sigma**2)).masked_fill(~valid[:, None, :, None], -torch.inf)
        kernel = exponent.softmax(2)  # [R, T, T, D]
        return kernel.squeeze(3) @ inputs if mask.shape[2] == 1 else torch.einsum("rtsd,rsd->rtd", kernel, inputs)
    if by == "moving-average":
        near = ((distance.abs() <= width) & valid[:, None]).double()
        replacement = near @ inputs / near.sum(2, keepdim=True).clamp_min(1)
    else:
        replacement = view.reference[of].double()
    return replacement + mask * (inputs - replacement)


def mask_slope(mask: Tensor, slope: Tensor, points: Tensor) -> Tensor:
    """Derivative with respect to a mask, by the chain rule from that with respect to its points float64[R, T, D]."""
    return torch.autograd.grad(points, mask, slope)[0]


def size_slope(mask: Tensor, valid: Tensor, area: Tensor) -> Tensor:
    """Derivative of mean (m − r)² with respect to m, the penalty on the size of a mask.

    r is 1 for the largest cells, up to a share of all cells, and 0 for the others. Cells of equal value
    share their ranks equally, so that no cell has an advantage by its position.

    Args:
        mask: float64[R, N], one mask in each row.
        valid: bool[R, N], cells that are not padding.
        area: float64[R], share of the cells whose r is 1.
    """
    count = valid.sum(1, keepdim=True)
    kept = (area[:, None] * count - 1e-9).ceil()
    values = mask.detach().masked_fill(~valid, -1.0).contiguous()
    order = values.sort(1).values
    below = torch.searchsorted(order, values)
    up_to = torch.searchsorted(order, values, right=True)
    share = (up_to - below.clamp_min(mask.shape[1] - kept)).clamp_min(0) / (up_to - below)
    return torch.where(valid, 2 * (mask.detach() - share) / count, 0.0)


def variation_slope(mask: Tensor, valid: Tensor) -> Tensor:
    """Derivative of mean |m_t+1 − m_t| over neighbouring steps, of the shape of the masks.

    Args:
        mask: float64[R, T, D].
        valid: bool[R, T], steps that are not padding.
    """
    both = (valid[:, 1:] & valid[:, :-1])[:, :, None]
    signs = mask.detach().diff(dim=1).sign() * both / (both.sum(1, keepdim=True) * mask.shape[2]).clamp_min(1)
    zero = torch.zeros_like(mask[:, :1])
    return torch.cat([zero, signs], 1) - torch.cat([signs, zero], 1)
