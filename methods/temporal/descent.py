"""What learned masks share: how a sequence is perturbed, what that costs its score, and which way is downhill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from ...tasks.engine.variants import Given
from ...tasks.subject import Subject

Perturbation = Literal["gaussian-blur", "moving-average", "reference"]

# Added to the width of a blur, so that a mask of 1 blurs by next to nothing.
_WIDTH: Final = 1e-7
# A full perturbation that moves the score by less, relative to it, does not move it.
_MOVED: Final = 1e-6


@dataclass(frozen=True, eq=False)
class Change:
    """The squared change of some sequences' scores, as a share of what it is at most.

    Attributes:
        view: a subject of real-valued inputs.
        of: int64[R], its sequences.
        span: float64[R], how far full perturbation moves each score; 0 where it does not.
    """

    view: Subject
    of: Tensor
    span: Tensor

    @classmethod
    def measured(cls, view: Subject, of: Tensor, gone: Tensor) -> Change:
        """With the span that fully perturbed sequences float64[R, T, D] have: 1 forward each."""
        own = view.score[of].double()
        span = (view.scores(Given(gone.to(view.batch.inputs.dtype), of)).double() - own).abs()
        return cls(view, of, torch.where(span > _MOVED * (1 + own.abs()), span, 0.0))

    def repeated(self, times: int) -> Change:
        """Each sequence so many times in a row."""
        return Change(self.view, self.of.repeat_interleave(times), self.span.repeat_interleave(times))

    def at(self, points: Tensor) -> Tensor:
        """float64[R]: of points float64[R, T, D]; 1 forward each."""
        scores = self.view.scores(Given(points.to(self.view.batch.inputs.dtype), self.of)).double()
        return self._gap(scores) ** 2

    def slope(self, points: Tensor) -> Tensor:
        """float64[R, T, D]: its derivative at points float64[R, T, D]; 1 forward and 1 backward each."""
        scores, gradients = self.view.gradients(points.to(self.view.batch.inputs.dtype), self.of)
        factor = torch.where(self.span > 0, 2 * self._gap(scores.double()) / self.span, 0.0)
        return factor[:, None, None] * gradients.double()

    def _gap(self, scores: Tensor) -> Tensor:
        gap = (scores - self.view.score[self.of].double()) / self.span
        return torch.where(self.span > 0, gap, 0.0)


def perturbed(view: Subject, of: Tensor, mask: Tensor, by: Perturbation, width: int) -> Tensor:
    """Sequences perturbed where their mask is below 1; no step knows of padding.

    Args:
        view: a subject of real-valued inputs.
        of: int64[R], its sequences.
        mask: float64[R, T, D] from 0 to 1, or float64[R, T, 1] for whole steps.
        by: how, see :class:`xrnnbench.methods.temporal.masks.Dynamask`.
        width: how far, in steps.

    Returns:
        float64[R, T, D], differentiable with respect to the mask.
    """
    inputs, valid = view.batch.inputs[of].double(), view.batch.valid[of]
    step = torch.arange(inputs.shape[1])
    apart = (step[:, None] - step).double()
    if by == "gaussian-blur":
        sigma = width * (1 + _WIDTH - mask)[:, :, None]
        exponent = (-(apart[:, :, None] ** 2) / (2 * sigma**2)).masked_fill(~valid[:, None, :, None], -torch.inf)
        kernel = exponent.softmax(2)  # [R, T, T, D]
        return kernel.squeeze(3) @ inputs if mask.shape[2] == 1 else torch.einsum("rtsd,rsd->rtd", kernel, inputs)
    if by == "moving-average":
        near = ((apart.abs() <= width) & valid[:, None]).double()
        other = near @ inputs / near.sum(2, keepdim=True).clamp_min(1)
    else:
        other = view.reference[of].double()
    return other + mask * (inputs - other)


def pulled(mask: Tensor, slope: Tensor, points: Tensor) -> Tensor:
    """The derivative with respect to a mask, given that with respect to the points float64[R, T, D] made from it."""
    return torch.autograd.grad(points, mask, slope)[0]


def size_slope(mask: Tensor, valid: Tensor, area: Tensor) -> Tensor:
    """The derivative of mean (m − r)², r being 1 for the largest share and 0 for the rest.

    Equal cells share what their places get, so that none has an advantage by its position.

    Args:
        mask: float64[R, N], in rows of one mask each.
        valid: bool[R, N], the cells there are.
        area: float64[R], the share.
    """
    count = valid.sum(1, keepdim=True)
    kept = (area[:, None] * count - 1e-9).ceil()
    values = mask.detach().masked_fill(~valid, -1.0).contiguous()
    order = values.sort(1).values
    below = torch.searchsorted(order, values)
    upto = torch.searchsorted(order, values, right=True)
    share = (upto - below.clamp_min(mask.shape[1] - kept)).clamp_min(0) / (upto - below)
    return torch.where(valid, 2 * (mask.detach() - share) / count, 0.0)


def variation_slope(mask: Tensor, valid: Tensor) -> Tensor:
    """The derivative of mean |m_t+1 − m_t| over neighbouring cells, of masks float64[R, T, D] where bool[R, T]."""
    both = (valid[:, 1:] & valid[:, :-1])[:, :, None]
    signs = mask.detach().diff(dim=1).sign() * both / (both.sum(1, keepdim=True) * mask.shape[2]).clamp_min(1)
    nothing = torch.zeros_like(mask[:, :1])
    return torch.cat([nothing, signs], 1) - torch.cat([signs, nothing], 1)
