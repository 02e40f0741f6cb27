"""Sequences with some steps replaced, and measures of how far the model's predictions change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from ...tasks.engine.variants import Variants
from ..base import background_of

if TYPE_CHECKING:
    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject

# Smallest probability in a logarithm, in the place of 0.
_LEAST_PROBABILITY: Final = 1e-12


@dataclass(frozen=True, eq=False)
class Rewritten(Variants):
    """Prefixes of sequences in which some consecutive steps are replaced.

    The rows are built when they are run.

    Attributes:
        of: int64[V], sequence of the batch that each variant is made from.
        steps: int64[V], number of first steps of the sequence that the variant has.
        start: int64[V], first step that is replaced; the steps after it are replaced as far as the content reaches.
        contents: [P, W(, D)], replacements for W steps.
        content: int64[V], index of the content of each variant.
        column: int64[V], the only column that is replaced; None if whole steps are.
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
        inputs = batch.inputs[self.of[chosen]]
        place = torch.arange(len(chosen))
        for offset in range(self.contents.shape[1]):
            step = self.start[chosen] + offset
            within = step < self.steps[chosen]
            row, step, content = place[within], step[within], self.content[chosen][within]
            if self.column is None:
                inputs[row, step] = self.contents[content, offset]
            else:
                column = self.column[chosen][within]
                inputs[row, step, column] = self.contents[content, offset, column]
        return inputs

    def lengths(self, batch: Batch) -> Tensor:  # noqa: ARG002  # the signature
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.steps


def background_steps(subject: Subject, name: str) -> Tensor:
    """All steps of the background as contents of :class:`Rewritten`, [P, 1(, D)].

    Args:
        subject: the model and its background.
        name: name of the method, for the error.

    Raises:
        UnsupportedModelError: the subject has no background.
    """
    background = background_of(subject, name)
    return background.inputs[background.valid][:, None]


def predictions(subject: Subject, variants: Variants) -> Tensor:
    """Predictions of the model for variants, in the form that :func:`divergence` and :func:`distance` compare.

    Returns:
        float64[V, K], log-probabilities of all classes; for a regression, float64[V, 1], the explained value.
    """
    outputs = subject.outputs(variants).double()
    if not subject.classification:
        return outputs.gather(1, subject.target[variants.instance, None])
    if subject.gives_logits:
        return subject.logits(outputs).log_softmax(1)
    return outputs.clamp_min(_LEAST_PROBABILITY).log()


def divergence(subject: Subject, left: Tensor, right: Tensor) -> Tensor:
    """Kullback–Leibler divergence KL(left ‖ right), float64[…], of predictions float64[…, K].

    The prediction of a regression is a normal distribution of unit variance around its value: KL = ½(left − right)².
    """
    if not subject.classification:
        return ((left - right) ** 2).squeeze(-1) / 2
    return (left.exp() * (left - right)).sum(-1)


def distance(subject: Subject, left: Tensor, right: Tensor) -> Tensor:
    """Distance of predictions float64[…, K], as float64[…]: Σ|p − q| over classes, |left − right| of a regression."""
    if not subject.classification:
        return (left - right).abs().squeeze(-1)
    return (left.exp() - right.exp()).abs().sum(-1)


def random_streams(count: int, rng: torch.Generator) -> list[torch.Generator]:
    """Random number generators, one for each of ``count`` sequences.

    With a generator of its own, the draws of a sequence do not depend on the other sequences of the batch.
    """
    return [torch.Generator().manual_seed(seed) for seed in torch.randint(2**62, (count,), generator=rng).tolist()]
