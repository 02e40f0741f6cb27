"""Masks that are learned: by how much each part of a sequence may be perturbed without the prediction moving."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need
from .descent import Change, Perturbation, perturbed, pulled, size_slope, variation_slope

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Numbers held at once by the perturbations of some sequences: 128 MiB of float64.
_NUMBERS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class Dynamask(Explainer):
    """A mask over the sequence, found by gradient descent: what may not be perturbed if the score is to stay.

        minimize  (f(x̃) − f(x))² / (f(x̃₀) − f(x))² + λ · mean (m − r_a(m))² + smoothness · mean |m_t+1 − m_t|

    where x̃ is the sequence perturbed where its mask m is below 1, x̃₀ the fully perturbed one, and r_a(m) is 1 for the
    share a of the cells whose mask is largest and 0 for the others, so that it is the mask's area that is a. λ grows
    evenly on a logarithmic scale by the factor ``dilation``. The mask is the explanation. Each sequence has its own,
    over its own length; nothing is random.

    * Several areas are tried, and the smallest is taken whose mask loses no more than ``loss`` of what there is to
      lose; if none is so good, the one that loses least.
    * f is the explained score; the paper compares all outputs (mean square, or cross-entropy of the classes).
    * Cells with equal masks share the places they hold in the order; the published programs sort them by position, and
      as all cells begin equal, the last ones have the advantage.
    * Where a step is one feature, it has one mask for all its columns, a token for its embedding.

    Parameters:
        perturbation: ``"gaussian-blur"`` of a width that falls from ``width`` to 0 as the mask rises;
            ``"moving-average"``, fading to the mean of 2 · width + 1 steps; ``"reference"``, fading to the task's own.
        width: of the perturbation, in steps (σ_max, W). Neither looks beyond the sequence's ends.
        areas: a, the shares that are tried.
        loss: ε, how much of the fully perturbed sequence's squared change is acceptable.
        size: λ at the beginning.
        dilation: λ at the end over λ at the beginning.
        smoothness: how much variation along time counts.
        iterations: steps of the descent, by Adam.
        rate: its learning rate at the beginning, from which it falls evenly to 0; at the published programs' constant
            rate long descents amplify rounding.

    Cost: areas · iterations forward and as many backward sequence-equivalents, and areas + 1 forward ones more.
    Fails where: the perturbation leaves the sequence as it is (one step cannot be blurred), and where what is perturbed
        makes the model say the same by other means.
    Source: Crabbé & van der Schaar 2021, arXiv:2106.05303.
    """

    name: ClassVar[str] = "dynamask"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
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
        columns = width if subject.granularity == "cell" else 1  # of a mask: a step that is one feature has one
        numbers = len(self.areas) * steps * max(steps * columns, width)
        parts = torch.arange(len(view)).split(max(1, _NUMBERS_AT_ONCE // numbers))
        found = torch.cat([self._masks(view, rows, columns) for rows in parts])
        return found.view(subject.shape).to(view.batch.inputs.dtype)

    def _masks(self, view: Subject, rows: Tensor, columns: int) -> Tensor:
        """float64[R, T, C]: the masks of some sequences, of so many columns."""
        area = torch.tensor(sorted(self.areas), dtype=torch.float64).repeat(len(rows))
        there = view.batch.valid[rows].repeat_interleave(len(self.areas), 0)
        valid = there[:, :, None].expand(-1, -1, columns)
        nothing = torch.zeros(len(rows), there.shape[1], columns, dtype=torch.float64)
        gone = perturbed(view, rows, nothing, self.perturbation, self.width)
        change = Change.measured(view, rows, gone).repeated(len(self.areas))
        mask = torch.where(valid, 0.5, 0.0).double().requires_grad_()
        adam = Adam([mask], lr=self.rate)
        for iteration in range(self.iterations):
            with torch.enable_grad():
                points = perturbed(view, change.of, mask, self.perturbation, self.width)
            pull = size_slope(mask.flatten(1), valid.flatten(1), area).view_as(mask)
            mask.grad = pulled(mask, change.slope(points.detach()), points) * valid
            mask.grad += self.size * self.dilation ** (iteration / self.iterations) * pull
            mask.grad += self.smoothness * variation_slope(mask, there)
            adam.param_groups[0]["lr"] = self.rate * (1 - iteration / self.iterations)
            adam.step()
            mask.data.clamp_(0, 1)
        mask = mask.detach()
        lost = change.at(perturbed(view, change.of, mask, self.perturbation, self.width)).view(len(rows), -1)
        enough = lost <= self.loss
        best = torch.where(enough.any(1), enough.to(torch.uint8).argmax(1), lost.argmin(1))
        found: Tensor = mask.unflatten(0, lost.shape)[torch.arange(len(rows)), best]
        return found
