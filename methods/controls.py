"""Controls: what a method must beat, and what none can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ..errors import UnsupportedModelError
from ..plugins import register
from .base import Explainer, Need

if TYPE_CHECKING:
    from ..tasks.subject import Subject


@register
@dataclass(frozen=True)
class Random(Explainer):
    """Independent uniform numbers between −1 and 1: what knowing nothing scores, of size and of sign.

    Cost: none.
    Fails where: everywhere, which is its use.
    """

    name: ClassVar[str] = "random"
    group: ClassVar[str] = "control"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        # One short stream for each sequence: its numbers do not depend on its batch mates or on the padding.
        seeds = torch.randint(2**62, (len(subject),), generator=rng)
        found = torch.zeros(subject.shape)
        for row, seed in enumerate(seeds.tolist()):
            own = torch.Generator().manual_seed(seed)
            steps = int(subject.batch.lengths[row])
            found[row, :steps] = 2 * torch.rand(found[row, :steps].shape, generator=own) - 1
        return found


@register
@dataclass(frozen=True)
class Magnitude(Explainer):
    """The size of the input itself: |x| of a cell, the Euclidean norm of a step or of a token's embedding.

    It never looks at what the model does with its input, so a method that does no better explains the data only.

    Cost: none.
    Fails where: importance and size differ.
    """

    name: ClassVar[str] = "magnitude"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        inputs = subject.continuous().batch.inputs
        return inputs.norm(dim=2) if subject.granularity == "step" else inputs.abs()


@register
@dataclass(frozen=True)
class Oracle(Explainer):
    """The truth itself, where the task knows it: the best any method can do against it.

    A truth that speaks for one of two classes is turned to speak for the explained one, as attributions do.

    Cost: none.
    Fails where: the model does not do what the task's generator did; its faithfulness then falls short of others'.
    """

    name: ClassVar[str] = "oracle"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"truth"})

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        truth = subject.batch.truth
        if truth is None:
            raise UnsupportedModelError(f"The oracle needs a truth, and {subject.label} has none.")
        values = truth.turned(subject.target).to(torch.get_default_dtype())
        return subject.reduced(values) if values.dim() == 3 else values
