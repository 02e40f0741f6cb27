"""Extremal masks: a mask that is learned together with the values that replace the masked features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.optim import Adam

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need
from .descent import Change

if TYPE_CHECKING:
    from ...tasks.subject import Subject

# Limit of the numbers held at once by the points of some sequences: 128 MiB of float64.
_NUMBERS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class ExtremalMask(Explainer):
    """The smallest part of a sequence that preserves the score, with the rest replaced by learned values.

        minimize  (f(x̃) − f(x))² / (f(x⁰) − f(x))² + size · mean m + change · mean |z|,
                  x̃ = m·x + (1 − m)·(x⁰ + x̄·z)

    over the mask m from 0 to 1 and the filling z, by gradient descent, where x̄ is the sequence's mean |x − x⁰|. The
    mask is the attribution.

    In the paper (the preservation game), a recurrent network that is trained on the explained batch produces the
    fillings. An attribution would then depend on the other sequences of the batch and on the seed of the network.
    Therefore each sequence has a filling of its own here, free in every cell, as a network that can represent any
    filling would produce; only the penalty restrains it, which pulls it to the reference. f is the explained score
    alone. Its squared change is a share of that of the reference, so that the weights mean the same for every model.

    Where a step is one feature, it has one mask for all its columns; a token has one for its embedding.

    Parameters:
        size: λ₁, the weight of the size of the mask.
        change: λ₂, the weight of the size of the filling.
        iterations: steps of the gradient descent, by Adam.
        rate: learning rate at the beginning, from which it falls linearly to 0.

    Cost: iterations forward and as many backward sequence-equivalents, and 1 more forward.
    Fails where: a filling changes the score as cheaply as the relevant cells do (``change`` too small); and where few
        of the relevant cells make the same score, and the others are left out.
    Source: Enguehard 2023, arXiv:2305.18840.
    """

    name: ClassVar[str] = "extremal-mask"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "time"})
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Enguehard 2023"

    size: float = 0.1
    change: float = 0.1
    iterations: int = 50
    rate: float = 0.1

    def __post_init__(self) -> None:
        for name in ("size", "change", "rate"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"extremal-mask: {name}={getattr(self, name)} does not fit (above 0).")
        if self.iterations < 1:
            raise ParameterError(f"extremal-mask: iterations={self.iterations} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        columns = view.batch.inputs.shape[2] if subject.granularity == "cell" else 1
        parts = torch.arange(len(view)).split(max(1, _NUMBERS_AT_ONCE // view.batch.inputs[0].numel()))
        masks = torch.cat([self._masks(view, rows, columns) for rows in parts])
        return masks.view(subject.shape).to(view.batch.inputs.dtype)

    def _masks(self, view: Subject, rows: Tensor, columns: int) -> Tensor:
        """Masks of some sequences, float64[R, T, C], with C = ``columns``."""
        actual, absent = view.batch.inputs[rows].double(), view.reference[rows].double()
        valid = view.batch.valid[rows][:, :, None].double()
        share = valid / valid.sum((1, 2), keepdim=True)  # weights of a mean over valid steps
        typical = ((actual - absent).abs() * share).sum(1, keepdim=True).mean(2, keepdim=True)
        change = Change.measured(view, rows, absent)
        mask, filling = (0.5 * valid).expand(-1, -1, columns).clone(), torch.zeros_like(actual)
        adam = Adam([mask, filling], lr=self.rate)
        for iteration in range(self.iterations):
            filled = absent + typical * filling
            slope = change.slope(filled + mask * (actual - filled)) * valid
            pull = slope * (actual - filled)
            mask.grad = pull.unflatten(2, (columns, -1)).sum(3) + self.size * share / columns
            filling.grad = slope * (1 - mask) * typical + self.change * filling.sign() * share / actual.shape[2]
            adam.param_groups[0]["lr"] = self.rate * (1 - iteration / self.iterations)
            adam.step()
            mask.clamp_(0, 1)
        return mask
