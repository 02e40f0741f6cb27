"""Sequences of which some steps are rewritten, and how far the model's predictions move for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...errors import UnsupportedModelError
from ...tasks.engine.variants import Variants

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject

# What a probability of 0 counts as in a logarithm.
_LEAST: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Rewritten(Variants):
    """Beginnings of sequences in which the content of some neighbouring steps is other; built row by row when run.

    Attributes:
        of: int64[V], which sequence.
        steps: int64[V], how many of its first steps the variant has.
        start: int64[V], the first step that is rewritten; those from there on are, as far as the content reaches.
        contents: [P, W(, D)], what may be written over W steps.
        content: int64[V], which of the contents.
        column: int64[V], the one column that is written; None if whole steps are.
    """

    of: Tensor
    steps: Tensor
    start: Tensor
    contents: Tensor
    content: Tensor
    column: Tensor | None = None

    @property
    def instance(self) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.of

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        found = batch.inputs[self.of[chosen]]
        place = torch.arange(len(chosen))
        for offset in range(self.contents.shape[1]):
            step = self.start[chosen] + offset
            within = step < self.steps[chosen]
            row, step, content = place[within], step[within], self.content[chosen][within]
            if self.column is None:
                found[row, step] = self.contents[content, offset]
            else:
                column = self.column[chosen][within]
                found[row, step, column] = self.contents[content, offset, column]
        return found

    def lengths(self, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.steps


def background_steps(subject: Subject, name: str) -> Tensor:
    """[P, 1(, D)]: every step there is in the background, as a content to be written.

    Raises:
        UnsupportedModelError: there is no background.
    """
    if subject.background is None:
        raise UnsupportedModelError(f"{name} needs background sequences, and {subject.label} has none.")
    return subject.background.inputs[subject.background.valid][:, None]


def predicted(subject: Subject, variants: Variants) -> Tensor:
    """What the model says of variants, as the predictive distribution that divergences compare.

    Returns:
        float64[V, K], the logarithms of all classes' probabilities; of a regression float64[V, 1], the explained value.
    """
    outputs = subject.outputs(variants).double()
    if not subject.classification:
        return outputs.gather(1, subject.target[variants.instance, None])
    return outputs.log_softmax(1) if subject.outputs_are == "logits" else outputs.clamp_min(_LEAST).log()


def divergence(subject: Subject, left: Tensor, right: Tensor) -> Tensor:
    """KL(left ‖ right), float64[…], of predictions float64[…, K].

    A regression is a normal distribution of unit variance around its value: KL = ½(left − right)².
    """
    if not subject.classification:
        return ((left - right) ** 2).squeeze(-1) / 2
    return (left.exp() * (left - right)).sum(-1)


def distance(subject: Subject, left: Tensor, right: Tensor) -> Tensor:
    """Σ|p − q| over the classes, or |left − right| of a regression: float64[…] of predictions float64[…, K]."""
    if not subject.classification:
        return (left - right).abs().squeeze(-1)
    return (left.exp() - right.exp()).abs().sum(-1)


def streams(count: int, rng: torch.Generator) -> list[torch.Generator]:
    """Random numbers of its own for each of so many sequences, so that its batch mates do not shift them."""
    return [torch.Generator().manual_seed(seed) for seed in torch.randint(2**62, (count,), generator=rng).tolist()]
