"""Base class of machine translation tasks, which explain one token of a translation over its source."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

import torch
from torch import Tensor, nn

from ....errors import ParameterError
from ....fingerprints import seed_from
from ...data.batch import Batch, Names
from ...engine.adapters import AdaptedModel
from ...models.networks import EncoderDecoder
from ...models.retraining import Retraining
from ...models.training import Recipe
from ...trained import Dataset, RecurrentTask, background, sample
from .pairs import SOURCE_SPECIAL, UNKNOWN, OutputStep, SentencePairs, by_output_step

if TYPE_CHECKING:
    from collections.abc import Sequence


# Sentences decoded in one batch, which bounds the memory for the states and scores of a step.
_BATCH_SIZE: Final = 500


@dataclass(frozen=True)
class Corpus:
    """A parallel corpus: sentences with their translations, in tokens.

    Attributes:
        train: the training pairs.
        test: the test pairs, of which single target tokens are explained; disjoint from train.
        sources: the vocabulary of the source, by number, :data:`SOURCE_SPECIAL` first.
        targets: the vocabulary of the translations, by number, :data:`TARGET_SPECIAL` first.
        links: the word alignment of each test pair, float[U_i, T_i] for its target and source tokens (see
            :func:`by_output_step`); empty if unknown.
    """

    train: SentencePairs
    test: SentencePairs
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    links: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class TranslationTask(RecurrentTask):
    """Base class of machine translation with an encoder–decoder with attention. Derive from it and define ``corpus``.

    The explained output is the score of one token of a held-out sentence's reference translation, over the source,
    given the reference translation's tokens before it (forced decoding). The token of the reference translation is
    explained instead of the model's own prediction for three reasons: the alignment is defined for it; the same output
    steps are explained for all model seeds; and mistakes of a model are not explained as if they were translations. The
    explained output steps are a fixed sample of all output steps or, where alignments are known, of those with a sure
    link. The end token of a translation is not explained.

    The reference input is ``<unk>``, which replaces a share of the training tokens, so a removed token is in
    distribution.

    Attributes:
        hidden: units of the encoder (both directions together) and of the decoder.
        embedding: size of the embeddings.

    Class attributes:
        unknown: share of the training sources' tokens that is replaced by ``<unk>``.
        dropout: dropout rate of the network.
        again: recipe for retraining a model on single output steps; None if retraining takes too long to be offered.
        steps_again: number of output steps of the training data for retraining.
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
        """Generate or load the sentences; the same every time."""
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
        """An encoder–decoder that takes the explained output step as context, if there is one."""
        names = self.data().names
        net = EncoderDecoder(
            len(names.vocabulary),
            len(names.outputs),
            self.hidden,
            embedding_size=self.embedding,
            cell=self.cell,
            layers=self.layers,
            dropout=self.dropout,
        )
        return AdaptedModel(net, steps=True)

    def target(self, data: Dataset) -> Tensor:
        """The tokens of the reference translations at the explained steps, int64[B]."""
        return data.explained.targets

    def retraining(self) -> Retraining | None:
        """Retraining on single output steps, a fixed sample of those of the training data; None if not offered.

        Retraining uses single steps, because the features to remove from a source differ between its output steps.
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
        """Greedy translations of sources by a model of this task, as target tokens without their end.

        Args:
            model: a model with the architecture of :meth:`network`.
            batch: the sources.
            steps: the largest number of tokens of a translation.
        """
        net = cast("EncoderDecoder", model.model)
        translations: list[list[int]] = []
        for rows in torch.arange(len(batch)).split(_BATCH_SIZE):
            part = batch.select(rows)
            for row in net.generate(part.inputs, part.lengths, steps).tolist():
                end = row.index(EncoderDecoder.END) if EncoderDecoder.END in row else len(row)
                translations.append([token for token in row[:end] if token])
        return translations

    def _explained(self, corpus: Corpus) -> Batch:
        """The explained output steps: a fixed sample, if alignments are known of those with a sure link."""
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
    """The target tokens of the reference translations, without their end."""
    return [row[: count - 1] for row, count in zip(pairs.targets.tolist(), pairs.steps.tolist(), strict=True)]


def forced_accuracy(model: nn.Module, pairs: SentencePairs) -> float:
    """Token accuracy under forced decoding: the share of reference tokens, ends included, that a model predicts."""
    right = 0
    for rows in torch.arange(len(pairs)).split(_BATCH_SIZE):
        part = pairs.select(rows)
        predicted = model(part.inputs, part.lengths, **part.context).argmax(2)
        right += int(((predicted == part.targets) & (part.targets != 0)).sum())
    return right / int(pairs.steps.sum())


def _steps(counts: Sequence[int]) -> list[OutputStep]:
    """All output steps of sentences with these numbers of steps."""
    return [OutputStep(row, step) for row, count in enumerate(counts) for step in range(count)]


def _with_unknown(train: SentencePairs, share: float, name: str) -> SentencePairs:
    """The pairs with a share of their source tokens replaced by ``<unk>``."""
    rng = torch.Generator().manual_seed(seed_from(name, "unknown tokens"))
    hidden = (torch.rand(train.inputs.shape, generator=rng) < share) & train.valid
    return dataclasses.replace(train, inputs=train.inputs.masked_fill(hidden, SOURCE_SPECIAL.index(UNKNOWN)))
