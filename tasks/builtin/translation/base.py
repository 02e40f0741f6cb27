"""What tasks of translation have in common: explained is one token of a translation, over its source."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

import torch
from torch import Tensor, nn

from ....errors import ParameterError
from ....fingerprints import seed_from
from ...data.batch import Batch, Names
from ...engine.calling import AdaptedModel
from ...models.networks import EncoderDecoder
from ...models.retraining import Retraining
from ...models.training import Recipe
from ...trained import Dataset, TrainedTask, background, sample
from .pairs import SOURCE_SPECIAL, UNKNOWN, OutputStep, SentencePairs, by_output_step

if TYPE_CHECKING:
    from collections.abc import Sequence


# Translations are made of so many sentences at once: states and scores of one step of them.
_SENTENCES_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Corpus:
    """Sentences with their translations.

    Attributes:
        train: what the models learn from.
        test: what they are measured on, and whose tokens are explained; disjoint from train.
        sources: names of the source tokens, by number, :data:`SOURCE_SPECIAL` first.
        targets: names of the tokens of translations, :data:`TARGET_SPECIAL` first.
        links: of each test sentence float[U_i, T_i], how its translation's tokens are linked with the source's (see
            :func:`by_output_step`); empty if nobody knows.
    """

    train: SentencePairs
    test: SentencePairs
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    links: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class TranslationTask(TrainedTask):
    """An encoder–decoder with attention, of whose translations single tokens are explained.

    What is explained is the score of one token of a held-out sentence's reference translation, over the source, given
    the reference's tokens before it (forced decoding). It is the reference's token and not what the model would have
    said, for three reasons: the alignment is one of the reference's tokens; the same output steps are explained for all
    model seeds; and a model is not asked about its own mistakes as if they were translations. Explained is a fixed
    sample of all output steps: where alignments are known, of those with a sure link. The end of a translation is not
    explained.

    The reference input is ``<unk>``, which takes the place of a share of the training tokens, so that a token taken
    away is a thing the model knows.

    Attributes:
        hidden: units of the encoder (both directions together) and of the decoder.
        embedding: size of the embeddings.

    Class attributes:
        unknown: share of the training sources' tokens that are replaced by ``<unk>``.
        dropout: of the network.
        again: how a model is trained again, on single output steps; None if that takes too long to be offered.
        steps_again: how many output steps of the training data that is.
    """

    application: ClassVar[str] = "machine translation"
    unknown: ClassVar[float] = 0.1
    dropout: ClassVar[float] = 0.0
    again: ClassVar[Recipe | None] = None
    steps_again: ClassVar[int] = 0

    hidden: int = 64
    embedding: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden % 2:
            raise ParameterError(
                f"{self.name}: hidden={self.hidden} does not fit (it must be even: each direction of the encoder has "
                "half of the units)."
            )

    def corpus(self) -> Corpus:
        """Make or load the sentences; the same every time."""
        raise NotImplementedError

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        corpus = self.corpus()
        train = _with_unknown(corpus.train, self.unknown, self.name)
        return Dataset(
            train=train,
            test=corpus.test,
            explained=self._explained(corpus),
            reference=torch.tensor(corpus.sources.index(UNKNOWN)),
            background=background(train, self.name),
            names=Names(outputs=corpus.targets, vocabulary=corpus.sources),
        )

    def network(self) -> nn.Module:
        """A translator that is told which output step is explained, if one is."""
        names = self.data().names
        net = EncoderDecoder(
            len(names.vocabulary),
            len(names.outputs),
            self.hidden,
            embedding_size=self.embedding,
            dropout=self.dropout,
        )
        return AdaptedModel(net, steps=True)

    def target(self, data: Dataset) -> Tensor:
        """The reference's tokens, int64[B]."""
        return data.explained.targets

    def retraining(self) -> Retraining | None:
        """How models are trained again on single output steps, a fixed sample of those of the training data.

        Single ones, because what is removed from a source differs by the output step it is removed for.
        """
        if self.again is None:
            return None
        data = self.data()
        train = cast("SentencePairs", data.train)
        steps = _steps([int(count) for count in train.steps])
        chosen = sample(len(steps), min(self.steps_again, len(steps)), self.name, "steps to train on again")
        single = by_output_step(train, [steps[number] for number in chosen.tolist()])
        return Retraining(single, data.explained, data.reference_of, self.network, self.again, self.interpretability)

    def translated(self, model: nn.Module, batch: Batch, steps: int) -> list[list[int]]:
        """The tokens of the translations that a model of this task makes of some sources, without their end.

        Args:
            model: as :meth:`network` makes it.
            batch: sources.
            steps: the most tokens of a translation.
        """
        net = cast("EncoderDecoder", model.model)
        found: list[list[int]] = []
        for rows in torch.arange(len(batch)).split(_SENTENCES_AT_ONCE):
            part = batch.select(rows)
            for row in net.generate(part.inputs, part.lengths, steps).tolist():
                end = row.index(EncoderDecoder.END) if EncoderDecoder.END in row else len(row)
                found.append([token for token in row[:end] if token])
        return found

    def _explained(self, corpus: Corpus) -> Batch:
        if corpus.links:
            steps = [
                OutputStep(row, step)
                for row, link in enumerate(corpus.links)
                for step in (link == 1).any(1).nonzero().flatten().tolist()
            ]
        else:
            steps = _steps([int(count) - 1 for count in corpus.test.steps])
        if self.instances > len(steps):
            raise ParameterError(f"{self.name}: instances={self.instances}, but there are {len(steps)} output steps.")
        chosen = sample(len(steps), self.instances, self.name, "explained")
        return by_output_step(corpus.test, [steps[number] for number in chosen.tolist()], corpus.links)


def references(pairs: SentencePairs) -> list[list[int]]:
    """The tokens of the reference translations, without their end."""
    return [row[: count - 1] for row, count in zip(pairs.targets.tolist(), pairs.steps.tolist(), strict=True)]


def forced_accuracy(model: nn.Module, pairs: SentencePairs) -> float:
    """Share of the reference's tokens, ends included, that a model says after the reference's tokens before them."""
    right = 0
    for rows in torch.arange(len(pairs)).split(_SENTENCES_AT_ONCE):
        part = pairs.select(rows)
        said = model(part.inputs, part.lengths, **part.context).argmax(2)
        right += int(((said == part.targets) & (part.targets != 0)).sum())
    return right / int(pairs.steps.sum())


def _steps(counts: Sequence[int]) -> list[OutputStep]:
    return [OutputStep(row, step) for row, count in enumerate(counts) for step in range(count)]


def _with_unknown(train: SentencePairs, share: float, name: str) -> SentencePairs:
    """The sources with a share of their tokens replaced by ``<unk>``."""
    rng = torch.Generator().manual_seed(seed_from(name, "unknown tokens"))
    hidden = (torch.rand(train.inputs.shape, generator=rng) < share) & train.valid
    return dataclasses.replace(train, inputs=train.inputs.masked_fill(hidden, SOURCE_SPECIAL.index(UNKNOWN)))
