"""Extremal masks: the mask and what fills its holes are learned together."""

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

# Numbers held at once by the points of some sequences: 128 MiB of float64.
_NUMBERS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class ExtremalMask(Explainer):
    """The least of a sequence with which the score can stay, if the rest is filled as suits it best.

        minimize  (f(x̃) − f(x))² / (f(x⁰) − f(x))² + size · mean m + change · mean |z|,
                  x̃ = m·x + (1 − m)·(x⁰ + x̄·z)

    over the mask m from 0 to 1 and the filling z, by gradient descent, where x̄ is the sequence's mean |x − x⁰|. The
    mask is the explanation.

    The paper lets a recurrent network, trained on the batch that is explained, make the fillings (the preservation
    game). An explanation would then depend on the batch mates and on the seed of the network; so here each
    sequence has a filling of its own, free in every cell: what the network's would be if it could represent any, and
    the penalty, which pulls it to the reference, is all that restrains it. f is the explained score alone, and its
    squared change is a share of the reference's, so that the weights mean the same for every model.

    Where a step is one feature, it has one mask for all its columns, a token for its embedding.

    Parameters:
        size: λ₁, what keeping costs.
        change: λ₂, what filling costs.
        iterations: steps of the descent, by Adam.
        rate: its learning rate at the beginning, from which it falls evenly to 0.

    Cost: iterations forward and as many backward sequence-equivalents, and 1 forward one more.
    Fails where: a filling moves the score as cheaply as the cells that made it (``change`` too small), and where few
        of the cells that matter make the same score, and the others are left out.
    Source: Enguehard 2023, arXiv:2305.18840.
    """

    name: ClassVar[str] = "extremal-mask"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
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
        found = torch.cat([self._masks(view, rows, columns) for rows in parts])
        return found.view(subject.shape).to(view.batch.inputs.dtype)

    def _masks(self, view: Subject, rows: Tensor, columns: int) -> Tensor:
        """float64[R, T, C]: the masks of some sequences, of so many columns."""
        actual, absent = view.batch.inputs[rows].double(), view.reference[rows].double()
        valid = view.batch.valid[rows][:, :, None].double()
        share = valid / valid.sum((1, 2), keepdim=True)  # of a mean over the steps there are
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
