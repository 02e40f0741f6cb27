"""Sentences with their translations, as batches: whole for training, one output step at a time for explaining."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import torch
from torch.nn.utils.rnn import pad_sequence

from ...data.batch import Batch, Truth
from ...engine.calling import OUTPUT_STEP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

PADDING: Final = "<pad>"
UNKNOWN: Final = "<unk>"
# The special tokens of each side, numbered from 0; those of the target as EncoderDecoder has them.
SOURCE_SPECIAL: Final = (PADDING, UNKNOWN)
TARGET_SPECIAL: Final = (PADDING, "<s>", "</s>", UNKNOWN)


class SentencePairs(Batch):
    """Sources int64[B, T], as targets their translations int64[B, U], which are the context ``produced`` as well.

    A translation ends with the end token, and is padded after it. What is selected of them is cut to the longest
    translation there is, as any batch is to its longest sequence: an output step costs the scores of a vocabulary.
    """

    @classmethod
    def of(cls, sources: Sequence[Sequence[int]], translations: Sequence[Sequence[int]]) -> Self:
        """Make them of token numbers; the translations come with their end."""
        inputs = pad_sequence([torch.tensor(row) for row in sources], batch_first=True)
        targets = pad_sequence([torch.tensor(row) for row in translations], batch_first=True)
        lengths = torch.tensor([len(row) for row in sources])
        return cls(inputs, lengths, targets, context={"produced": targets})

    @property
    def steps(self) -> Tensor:
        """int64[B]: output steps of each translation, its end included."""
        return (self.targets != 0).sum(1)

    def select(self, rows: Tensor | slice) -> Batch:
        """See :meth:`Batch.select`."""
        found = super().select(rows)
        steps = int((found.targets != 0).sum(1).max())
        context = {name: value[:, :steps] for name, value in found.context.items()}
        return replace(found, targets=found.targets[:, :steps], context=context)


@dataclass(frozen=True)
class OutputStep:
    """One output step of one translation.

    Attributes:
        sentence: its row among the pairs.
        step: which token of the translation, from 0.
    """

    sentence: int
    step: int


def by_output_step(pairs: SentencePairs, steps: Sequence[OutputStep], links: Sequence[Tensor] = ()) -> Batch:
    """Output steps over their sources, as a batch to explain: each has one token as its target.

    What was produced before is the reference translation (forced decoding), so that the step, its target and its truth
    are the same for all models.

    Args:
        pairs: sentences with their translations.
        steps: which output steps of them, B'.
        links: of each sentence float[U_i, T_i]: 1 where its translation's token is surely linked with the source's,
            .5 where possibly; empty if nothing is known.

    Returns:
        inputs int64[B', T], targets int64[B'], the context ``produced`` int64[B', U] with the output step, and, of the
        links, two readings of the truth: ``alignment``, all of them, and ``sure``, the sure ones.
    """
    rows = torch.tensor([one.sentence for one in steps])
    places = torch.tensor([one.step for one in steps])
    found = pairs.select(rows)
    truths = {}
    if links:
        values = torch.zeros(found.inputs.shape)
        for row, one in enumerate(steps):
            link = links[one.sentence][one.step]
            values[row, : len(link)] = link
        said = "the token at the output step"
        truths["alignment"] = Truth(values, "alignment", output=said)
        truths["sure"] = Truth((values == 1).to(values.dtype), "alignment", output=said)
    return Batch(
        inputs=found.inputs,
        lengths=found.lengths,
        targets=found.targets[torch.arange(len(rows)), places],
        truths=truths,
        context={**found.context, OUTPUT_STEP: places},
    )
