"""Controls: what a method must beat, and what none can beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ..base import Explainer, Need
from . import greedy_search as removal

if TYPE_CHECKING:
    from ...tasks.data.batch import Granularity
    from ...tasks.subject import Subject


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
class Uniform(Explainer):
    """Every feature the same, 1/n of a sequence of n: what saying nothing about the order scores.

    Beside the attention weights it is their plainest alternative: weights that select nothing.

    Cost: none.
    Fails where: everywhere; metrics break its ties at random.
    Source: Wiegreffe & Pinter 2019, section 3.2 (uniform weights as the baseline of attention).
    """

    name: ClassVar[str] = "uniform"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Wiegreffe & Pinter 2019"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        valid = subject.valid.to(torch.get_default_dtype())
        return valid / valid.flatten(1).sum(1).view(-1, *[1] * (valid.dim() - 1))


@register
@dataclass(frozen=True)
class Recency(Explainer):
    """Later steps more: (t + 1)/T of a sequence of T steps. Recurrent models forget, and so this often scores well.

    Cost: none.
    Fails where: what matters came early.
    """

    name: ClassVar[str] = "recency"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        lengths = subject.batch.lengths[:, None]
        found = torch.arange(1, subject.shape[1] + 1).to(torch.get_default_dtype()) / lengths
        return found if subject.granularity == "step" else found[:, :, None].expand(subject.shape)


@register
@dataclass(frozen=True)
class Greedy(Explainer):
    """The order of removal that lowers the score fastest, as far as greedy search under a budget finds it.

    What comes nearest to the best deletion curve there is: a method that scores better by deletion has found something
    a search of the model itself has not. The first feature removed of n has n, the last 1.

    Parameters:
        budget: model rows for each sequence. Up to so many features, all that remain are tried again budget // n times
            on the way; of more, neighbours are tried in groups.

    Cost: at most budget forward sequence-equivalents for each sequence, or n if that is more than half of it.
    Fails where: features stand in for each other; where there are so many that no few of them move the score; and for
    every use but ranking.
    """

    name: ClassVar[str] = "greedy"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    budget: int = 1024

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ParameterError(f"greedy: budget={self.budget} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        granularity = cast("Granularity", subject.granularity)
        n = subject.features(granularity).sum(1)
        found = torch.zeros(len(subject), subject.valid[0].numel())
        for count in n.unique().tolist():
            # sequences of as many features search alike; their mates of other lengths have another grid
            chunk = (n == count).nonzero().squeeze(1)
            grid = torch.arange(count + 1).expand(len(subject), -1)
            ranks, _ = removal.ranks(subject, granularity, chunk, grid, self.budget)
            found[chunk] = (count - ranks).to(found.dtype)
        return found.view(subject.shape)


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
