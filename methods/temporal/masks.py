"""Dynamask: a learned mask of the features that must not be perturbed if the score is to stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need
from .descent import Change, Perturbation, mask_slope, perturbed, size_slope, variation_slope

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Limit of the numbers held at once by the perturbations of some sequences: 128 MiB of float64.
_NUMBERS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class Dynamask(Explainer):
    """A mask over the sequence, learned by gradient descent: features that must stay for the score to stay.

        minimize  (f(x̃) − f(x))² / (f(x̃₀) − f(x))² + λ · mean (m − r_a(m))² + smoothness · mean |m_t+1 − m_t|

    where x̃ is the sequence perturbed where its mask m is below 1, x̃₀ the fully perturbed one, and r_a(m) is 1 for the
    share a of the cells whose mask is largest and 0 for the others, so that the area of the mask becomes a. λ grows
    exponentially by the factor ``dilation``. The mask is the attribution. Each sequence has its own mask over its own
    length; nothing is random.

    * Several areas are tried. The result is the mask of the smallest area whose squared change of the score is at most
      the share ``loss`` of the full perturbation's; if there is none, the mask with the smallest change.
    * f is the explained score; the paper compares all outputs (mean square, or cross-entropy of the classes).
    * Cells with equal masks share their ranks equally. The published programs sort them by position; as all cells begin
      equal, the last ones then have an advantage.
    * Where a step is one feature, it has one mask for all its columns; a token has one for its embedding.

    Parameters:
        perturbation: ``"gaussian-blur"`` of a width that falls from ``width`` to 0 as the mask rises;
            ``"moving-average"``, fading to the mean of 2 · width + 1 steps; ``"reference"``, fading to the reference of
            the task.
        width: width of the perturbation, in steps (σ_max, W). No perturbation uses values beyond the sequence's ends.
        areas: a, the shares that are tried.
        loss: ε, the accepted share of the squared change of the fully perturbed sequence.
        size: λ at the beginning.
        dilation: λ at the end over λ at the beginning.
        smoothness: weight of the variation of the mask along time.
        iterations: steps of the gradient descent, by Adam.
        rate: learning rate at the beginning, from which it falls linearly to 0. With the constant rate of the published
            programs, long descents amplify rounding errors.

    Cost: areas · iterations forward and as many backward sequence-equivalents, and areas + 1 more forward.
    Fails where: the perturbation leaves the sequence as it is (one step cannot be blurred); and where the perturbed
        features lead the model to the same score in another way.
    Source: Crabbé & van der Schaar 2021, arXiv:2106.05303.
    """

    name: ClassVar[str] = "dynamask"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "time"})
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Crabbé & van der Schaar 2021"

    perturbation: Perturbation = "gaussian-blur"
    width: int = 2
    areas: tuple[float, ...] = (0.05, 0.15, 0.4)
    loss: float = 0.1
    size: float = 0.5
    dilation: float = 100.0
    smoothness: float = 0.0
    iterations: int = 50
    rate: float = 0.1

    def __post_init__(self) -> None:
        if not self.areas or not all(0 < area <= 1 for area in self.areas):
            raise ParameterError(f"dynamask: areas={self.areas} does not fit (above 0, up to 1).")
        for name in ("width", "iterations", "dilation"):
            if getattr(self, name) < 1:
                raise ParameterError(f"dynamask: {name}={getattr(self, name)} does not fit (at least 1).")
        for name in ("loss", "size", "rate"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"dynamask: {name}={getattr(self, name)} does not fit (above 0).")
        if self.smoothness < 0:
            raise ParameterError(f"dynamask: smoothness={self.smoothness} does not fit (0 or more).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        steps, width = view.batch.inputs.shape[1:]
        columns = width if subject.granularity == "cell" else 1  # where a step is one feature, its mask has one column
        numbers = len(self.areas) * steps * max(steps * columns, width)
        parts = torch.arange(len(view)).split(max(1, _NUMBERS_AT_ONCE // numbers))
        masks = torch.cat([self._masks(view, rows, columns) for rows in parts])
        return masks.view(subject.shape).to(view.batch.inputs.dtype)

    def _masks(self, view: Subject, rows: Tensor, columns: int) -> Tensor:
        """Masks of some sequences, float64[R, T, C], with C = ``columns``."""
        area = torch.tensor(sorted(self.areas), dtype=torch.float64).repeat(len(rows))
        valid_steps = view.batch.valid[rows].repeat_interleave(len(self.areas), 0)
        valid = valid_steps[:, :, None].expand(-1, -1, columns)
        zero_mask = torch.zeros(len(rows), valid_steps.shape[1], columns, dtype=torch.float64)
        fully_perturbed = perturbed(view, rows, zero_mask, self.perturbation, self.width)
        change = Change.measured(view, rows, fully_perturbed).repeated(len(self.areas))
        mask = torch.where(valid, 0.5, 0.0).double().requires_grad_()
        adam = Adam([mask], lr=self.rate)
        for iteration in range(self.iterations):
            with torch.enable_grad():
                points = perturbed(view, change.of, mask, self.perturbation, self.width)
            slope = size_slope(mask.flatten(1), valid.flatten(1), area).view_as(mask)
            mask.grad = mask_slope(mask, change.slope(points.detach()), points) * valid
            mask.grad += self.size * self.dilation ** (iteration / self.iterations) * slope
            mask.grad += self.smoothness * variation_slope(mask, valid_steps)
            adam.param_groups[0]["lr"] = self.rate * (1 - iteration / self.iterations)
            adam.step()
            mask.data.clamp_(0, 1)
        mask = mask.detach()
        losses = change.at(perturbed(view, change.of, mask, self.perturbation, self.width)).view(len(rows), -1)
        acceptable = losses <= self.loss
        best = torch.where(acceptable.any(1), acceptable.to(torch.uint8).argmax(1), losses.argmin(1))
        masks: Tensor = mask.unflatten(0, losses.shape)[torch.arange(len(rows)), best]
        return masks
