"""Sentence pairs as batches: whole translations for training, single output steps for explaining."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import torch

from ...data.batch import Batch, Truth
from ...data.padding import padded
from ...engine.signature import OUTPUT_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PADDING: Final = "<pad>"
UNKNOWN: Final = "<unk>"
# The special tokens of each side, numbered from 0; those of the target are fixed by EncoderDecoder.
SOURCE_SPECIAL: Final = (PADDING, UNKNOWN)
TARGET_SPECIAL: Final = (PADDING, "<s>", "</s>", UNKNOWN)


class SentencePairs(Batch):
    """A batch of sources int64[B, T] with their translations int64[B, U] as targets and as context ``produced``.

    A translation ends with the end token, and is padded after it. A selection is trimmed to its longest translation, as
    any batch is to its longest sequence, because each output step costs the scores of a vocabulary.
    """

    @classmethod
    def of(cls, sources: Sequence[Sequence[int]], translations: Sequence[Sequence[int]]) -> Self:
        """Build the batch from token numbers; the translations include their end token."""
        inputs = padded([torch.tensor(row) for row in sources])
        targets = padded([torch.tensor(row) for row in translations])
        lengths = torch.tensor([len(row) for row in sources])
        return cls(inputs, lengths, targets, context={"produced": targets})

    @property
    def steps(self) -> Tensor:
        """The number of output steps of each translation, int64[B], its end included."""
        return (self.targets != 0).sum(1)

    def select(self, rows: Tensor | slice) -> Batch:
        """See :meth:`Batch.select`."""
        batch = super().select(rows)
        steps = int((batch.targets != 0).sum(1).max())
        context = {name: value[:, :steps] for name, value in batch.context.items()}
        return replace(batch, targets=batch.targets[:, :steps], context=context)


@dataclass(frozen=True)
class OutputStep:
    """One output step of one translation.

    Attributes:
        sentence: the row of the sentence pair.
        step: the number of the target token, from 0.
    """

    sentence: int
    step: int


def by_output_step(pairs: SentencePairs, steps: Sequence[OutputStep], links: Sequence[Tensor] = ()) -> Batch:
    """A batch of output steps to explain, each over its source and with one token as its target.

    The tokens before the step are those of the reference translation (forced decoding), so the step, its target and its
    truth are the same for all models.

    Args:
        pairs: sentences with their translations.
        steps: the output steps, B' in number.
        links: the alignment of each sentence, float[U_i, T_i]: 1 for a sure link between a target and a source token,
            .5 for a possible one; empty if unknown.

    Returns:
        inputs int64[B', T], targets int64[B'], the context ``produced`` int64[B', U] with the output step, and two
        readings of the truth from the links: ``alignment`` with all of them, and ``sure`` with the sure ones.
    """
    rows = torch.tensor([step.sentence for step in steps])
    places = torch.tensor([step.step for step in steps])
    batch = pairs.select(rows)
    truths = {}
    if links:
        values = torch.zeros(batch.inputs.shape)
        for row, step in enumerate(steps):
            link = links[step.sentence][step.step]
            values[row, : len(link)] = link
        output = "the token at the output step"
        truths["alignment"] = Truth(values, "alignment", output=output)
        truths["sure"] = Truth((values == 1).to(values.dtype), "alignment", output=output)
    return Batch(
        inputs=batch.inputs,
        lengths=batch.lengths,
        targets=batch.targets[torch.arange(len(rows)), places],
        truths=truths,
        context={**batch.context, OUTPUT_STEP: places},
    )
