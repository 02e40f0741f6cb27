"""Sentiment classification of template sentences with human-rated words (VADER)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ....errors import ParameterError
from ....fingerprints import seed_from
from ....plugins import register
from ...data.batch import Batch, Competence, Names, Truth
from ...models.evaluation import accuracy, majority
from ...models.networks import AttentiveRecurrentNet
from ...models.training import Recipe
from ...trained import Dataset, RecurrentTask, background, held_out
from . import lexicon
from .sentences import BOOSTERS, NEGATORS, Sentence, Writer

if TYPE_CHECKING:
    from torch import Tensor, nn

_PADDING, _UNKNOWN = "<pad>", "<unk>"
_LEAST_RATING, _LARGEST_SPREAD = 1.0, 1.3
_UNKNOWN_SHARE = 0.1


@register
@dataclass(frozen=True)
class Valence(RecurrentTask):
    """Sentiment classification, positive or negative, of template sentences with words that ten people each have rated.

    A sentence has one to three clauses. A clause has at most one rated word, which may be negated and boosted ("was not
    very good"). A sentence's valence is the sum over its rated words of their mean rating (−4 to 4), moved away from 0
    or towards it by the booster (±0.293) and multiplied by −0.74 if negated: VADER's own constants and order. The
    class is the sign of the sum; sentences with a sum of size below 1 are not used.

    Words: ``words`` of the lexicon's adjectives (by their endings), half of them positive, half negative, with a mean
    rating of size 1 or more and a standard deviation between the raters of at most 1.3. All other words are neither
    rated nor negators nor boosters. Each rated word occurs about equally often in the training sentences, so none is
    new in the held-out ones: sentences are held out, not words. No held-out sentence is a training sentence. One in ten
    training tokens is replaced by ``<unk>``, which is also the reference, so a removed token is in distribution.

    The model is an embedding and a bidirectional GRU with additive attention.

    Truth, signed towards the positive class (``Truth.toward``). The explained class is the predicted one, so metrics
    that read the sign must use ``Truth.turned``; average precision and similar metrics read ``relevant`` only, which
    has no sign:

    * ``rating``: the mean human rating of each rated word, without its context, 0 on all other tokens;
    * ``contextual``: the decrease of the sentence's valence by removal of the token: a rated word's boosted and negated
      rating, and for a negator or booster the difference it makes to its word.

    Source: the VADER lexicon in the package vaderSentiment; sentences are generated.
    """

    name: ClassVar[str] = "valence"
    application: ClassVar[str] = "sentiment"
    source: ClassVar[str] = "https://github.com/cjhutto/vaderSentiment, the lexicon of the package vaderSentiment"
    licence: ClassVar[str] = "MIT (lexicon)"
    citation: ClassVar[str] = (
        "C. J. Hutto, E. Gilbert: VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text. "
        "ICWSM 2014. doi:10.1609/icwsm.v8i1.14550"
    )
    extra: ClassVar[str] = "data"
    recipe: ClassVar[Recipe] = Recipe(epochs=6, learning_rate=1e-2, batch_size=32, weight_decay=0.3)

    hidden: int = 16
    embedding: int = 16
    words: int = 300
    sequences: int = 4000

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        writer = Writer(self._lexicon, self._rated_words)
        train_rng = np.random.default_rng(seed_from(self.name, "train"))
        test_rng = np.random.default_rng(seed_from(self.name, "test"))
        sentences = writer.write(self.sequences, train_rng)
        known = {sentence.tokens for sentence in sentences}
        train = self._batch(sentences, unknown=train_rng)
        test = self._batch([sentence for sentence in writer.write(1000, test_rng) if sentence.tokens not in known])
        explained = held_out(test, self.instances, self.name)
        return Dataset(
            train=train,
            test=test,
            explained=explained,
            reference=torch.tensor(self._vocabulary.index(_UNKNOWN)),
            background=background(train, self.name),
            names=Names(outputs=("negative", "positive"), vocabulary=self._vocabulary),
        )

    def network(self) -> nn.Module:
        """An embedding and a bidirectional GRU with additive attention."""
        return AttentiveRecurrentNet(
            self.embedding,
            self.hidden,
            2,
            cell=self.cell,
            layers=self.layers,
            bidirectional=True,
            pooling="attention",
            vocabulary_size=len(self._vocabulary),
            dropout=0.2,
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy on held-out sentences; the baseline is the more frequent class."""
        score = accuracy(model(data.test.inputs, data.test.lengths), data.test.targets)
        return Competence("accuracy", score, 0.9, majority(data.train.targets, data.test.targets))

    @property
    def _lexicon(self) -> lexicon.Lexicon:
        return _lexicon()

    @property
    def _rated_words(self) -> tuple[str, ...]:
        return _rated_words(self.words)

    @property
    def _vocabulary(self) -> tuple[str, ...]:
        return (_PADDING, _UNKNOWN, *sorted({*Writer.fillers(), *NEGATORS, *BOOSTERS, *self._rated_words}))

    def _batch(self, sentences: list[Sentence], unknown: np.random.Generator | None = None) -> Batch:
        """Tokens, classes and truths of sentences; with a generator, one in ten tokens becomes ``<unk>``."""
        numbers = {word: number for number, word in enumerate(self._vocabulary)}
        tokens = [torch.tensor([numbers[word] for word in sentence.tokens]) for sentence in sentences]
        lengths = torch.tensor([len(row) for row in tokens])
        targets = torch.tensor([int(sentence.valence > 0) for sentence in sentences])
        inputs = pad_sequence(tokens, batch_first=True)
        readings = {
            "rating": [sentence.ratings for sentence in sentences],
            "contextual": [sentence.contributions for sentence in sentences],
        }
        hidden = torch.zeros_like(inputs, dtype=torch.bool)
        if unknown is not None:
            hidden = torch.from_numpy(unknown.random(inputs.shape) < _UNKNOWN_SHARE) & (inputs != 0)
        truths = {name: _truth(rows, hidden) for name, rows in readings.items()}
        return Batch(inputs.masked_fill(hidden, numbers[_UNKNOWN]), lengths, targets, truths)


def _truth(values: list[tuple[float, ...]], hidden: Tensor) -> Truth:
    """A truth from the values of each sentence's tokens; those that ``hidden`` bool[B, T] marks become 0."""
    rows = pad_sequence([torch.tensor(row) for row in values], batch_first=True).masked_fill(hidden, 0)
    return Truth(rows, "human-rating", output="the class 'positive' against 'negative'", signed=True, toward=1)


@functools.cache
def _lexicon() -> lexicon.Lexicon:
    """The clearly rated adjectives of VADER, loaded once in a process."""
    return lexicon.load("valence", _LEAST_RATING, _LARGEST_SPREAD)


@functools.cache
def _rated_words(count: int) -> tuple[str, ...]:
    """A fixed sample of the rated words, half of them positive, half negative."""
    ratings = _lexicon().ratings
    rng = np.random.default_rng(seed_from("valence", "words"))
    sides = [[word for word in sorted(ratings) if (ratings[word] > 0) == positive] for positive in (False, True)]
    if count % 2 or count > 2 * min(map(len, sides)):
        raise ParameterError(
            f"valence: words={count} does not fit (it must be even and at most {2 * min(map(len, sides))})."
        )
    return tuple(str(word) for side in sides for word in rng.choice(side, count // 2, replace=False))
