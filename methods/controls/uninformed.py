"""Controls without knowledge of the model: the baselines that every method must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...plugins import register
from ..base import Explainer

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class Random(Explainer):
    """Independent uniform numbers between −1 and 1: the score of a method that knows neither sizes nor signs.

    Cost: none.
    Fails where: everywhere, by design.
    """

    name: ClassVar[str] = "random"
    group: ClassVar[str] = "control"
    stochastic: ClassVar[bool] = True

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        # a random stream for each sequence, so that its values do not depend on other sequences or on padding
        seeds = torch.randint(2**62, (len(subject),), generator=rng)
        values = torch.zeros(subject.shape)
        for row, seed in enumerate(seeds.tolist()):
            stream = torch.Generator().manual_seed(seed)
            steps = int(subject.batch.lengths[row])
            values[row, :steps] = 2 * torch.rand(values[row, :steps].shape, generator=stream) - 1
        return values


@register
@dataclass(frozen=True)
class Uniform(Explainer):
    """The same value 1/n for each feature of a sequence of n: the score of a method that ranks nothing.

    It is also the plainest alternative to attention weights, because such weights select nothing.

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
    """(t + 1)/T for step t = 0 … T − 1 of a sequence of T steps, so that later steps get larger values.

    Recurrent models forget early steps, so this control often scores well. Of several inputs, each has its own t and T.

    Cost: none.
    Fails where: the relevant steps come early.
    """

    name: ClassVar[str] = "recency"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        numbers = torch.arange(1, subject.shape[1] + 1).to(torch.get_default_dtype())
        if subject.batch.layout is None:
            values = numbers / subject.batch.lengths[:, None]
        else:
            values = torch.cat(
                [
                    numbers[: part.steps] / subject.batch.valid[:, part.span].sum(1, keepdim=True).clamp_min(1)
                    for part in subject.batch.layout
                ],
                1,
            )
        return values if subject.granularity == "step" else values[:, :, None].expand(subject.shape)


@register
@dataclass(frozen=True)
class Magnitude(Explainer):
    """|x|, the size of the input: of a cell its absolute value, of a step or a token's embedding its Euclidean norm.

    It does not depend on what the model does with its input (a token's embedding aside), so a method that scores no
    better explains the data only.

    Cost: none.
    Fails where: importance and size differ.
    """

    name: ClassVar[str] = "magnitude"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        return subject.sizes(subject.continuous().batch.inputs)
