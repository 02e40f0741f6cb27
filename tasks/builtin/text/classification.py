"""Base class of text classification tasks, which differ in their texts only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from ....errors import DataError
from ....fingerprints import seed_from
from ...data.batch import Batch, Competence, Names, Truth
from ...models.evaluation import majority
from ...models.networks import AttentiveRecurrentNet, Pooling, RecurrentNet
from ...trained import Dataset, RecurrentTask, background, held_out
from .vocabulary import Text, Vocabulary, readings, word_dropout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

# Held-out texts scored in one batch: all long texts together would not fit into memory.
_BATCH_SIZE = 256


@dataclass(frozen=True)
class TextTask(RecurrentTask):
    """Base class of text classification. Derive from it and define ``texts`` and the class attributes.

    Texts are truncated to their first ``steps`` tokens, unless a task documents another part. The vocabulary is that of
    the training texts, without the rarest tokens. One in ten training tokens is replaced by ``<unk>``, which is also
    the reference. Training texts that are also held out are removed from the training data, so the held-out score is
    that of the published test set. A held-out text is not explained if its token sequence is in the training data (two
    texts may differ by unknown tokens only).

    Attributes:
        steps: largest number of tokens of a text.
        vocabulary: largest number of known tokens; the most frequent ones are kept.
        embedding: size of a token's embedding.
        hidden: units of each direction.

    Class attributes:
        outputs: names of the classes, by number.
        gate: the least held-out accuracy at which a model is explained.
        pooling, dropout: see :class:`xrnnbench.tasks.models.networks.RecurrentNet`; it is bidirectional.
        least: the least number of occurrences of a known token.
        unknown_share: the share of the training tokens that is replaced by ``<unk>``.
        truths: for each reading of the truth, a function from its values float[B, T] to the truth; the main one first.
    """

    outputs: ClassVar[tuple[str, ...]]
    gate: ClassVar[float]
    pooling: ClassVar[Pooling] = "attention"
    dropout: ClassVar[float] = 0.3
    least: ClassVar[int] = 2
    unknown_share: ClassVar[float] = 0.1
    truths: ClassVar[Mapping[str, Callable[[Tensor], Truth]]] = {}

    steps: int = 64
    vocabulary: int = 20_000
    embedding: int = 32
    hidden: int = 32

    def texts(self) -> tuple[list[Text], list[Text]]:
        """Load training and held-out texts, with a value for each token of each reading of the truth.

        Raises:
            DataError: the texts are missing or damaged.
        """
        raise NotImplementedError

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        train_texts, test_texts = self._truncated()
        vocabulary = Vocabulary.of(train_texts, self.vocabulary, self.least)
        train, test = self._training_batch(train_texts, vocabulary), self._batch(test_texts, vocabulary)
        unseen = _unseen_rows(test, train)
        if not len(unseen):
            raise DataError(
                f"Task {self.spec!r} has no held-out text that differs from all training texts: raise steps."
            )
        return Dataset(
            train=train,
            test=test,
            explained=held_out(test.select(unseen), self.instances, self.name),
            reference=torch.tensor(vocabulary.unknown),
            background=background(train, self.name),
            names=Names(outputs=self.outputs, vocabulary=vocabulary.tokens),
        )

    def network(self) -> nn.Module:
        """An embedding, a bidirectional recurrent layer, and its pooling."""
        attentive = self.pooling in {"attention", "dot-attention"}
        return (AttentiveRecurrentNet if attentive else RecurrentNet)(
            self.embedding,
            self.hidden,
            len(self.outputs),
            cell=self.cell,
            layers=self.layers,
            bidirectional=True,
            pooling=self.pooling,
            vocabulary_size=len(self.data().names.vocabulary),
            dropout=self.dropout,
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy on the held-out texts; the baseline is the most frequent class of the training texts."""
        rows = torch.arange(len(data.test)).split(_BATCH_SIZE)
        right = sum(int((_predicted(model, data.test.select(part)) == data.test.targets[part]).sum()) for part in rows)
        return Competence(
            "accuracy", right / len(data.test), self.gate, majority(data.train.targets, data.test.targets)
        )

    def bag_of_words(self) -> float:
        """Held-out accuracy of a bag-of-words model, which knows the frequency of each token but not its place.

        It is logistic regression on tf-idf with scikit-learn's defaults, on the same tokens that the networks read.

        Raises:
            DataError: the texts are missing or damaged.
        """
        # importing scikit-learn takes a second, which only this baseline needs
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415

        train, test = self._truncated()
        model = make_pipeline(TfidfVectorizer(analyzer=_tokens_of), LogisticRegression(max_iter=1000))
        model.fit(train, [text.target for text in train])
        return float(model.score(test, [text.target for text in test]))

    def _truncated(self) -> tuple[list[Text], list[Text]]:
        """The first tokens of training and held-out texts; training texts that are also held out are removed."""
        train, test = ([text.cut(self.steps) for text in part] for part in self.texts())
        held = {text.tokens for text in test}
        train = [text for text in train if text.tokens not in held]
        if not train or not test:
            raise DataError(f"Task {self.spec!r} has {len(train)} training texts and {len(test)} held-out texts.")
        return train, test

    def _batch(self, texts: Sequence[Text], vocabulary: Vocabulary) -> Batch:
        """Tokens, classes and truths of texts."""
        truths = {name: truth_from(readings(texts, name)) for name, truth_from in self.truths.items()}
        return dataclasses.replace(vocabulary.batch(texts), truths=truths)

    def _training_batch(self, texts: Sequence[Text], vocabulary: Vocabulary) -> Batch:
        """As :meth:`_batch`, with a share of the tokens replaced by ``<unk>``; their truths become 0."""
        rng = torch.Generator().manual_seed(seed_from(self.name, "unknown"))
        plain = self._batch(texts, vocabulary)
        batch = word_dropout(plain, vocabulary.unknown, self.unknown_share, rng)
        replaced = batch.inputs != plain.inputs
        truths = {
            name: dataclasses.replace(truth, values=truth.values.masked_fill(replaced, 0))
            for name, truth in batch.truths.items()
        }
        return dataclasses.replace(batch, truths=truths)


def _predicted(model: nn.Module, batch: Batch) -> Tensor:
    """The predicted classes int64[B]."""
    return cast("Tensor", model(batch.inputs, batch.lengths)).argmax(1)


def _unseen_rows(test: Batch, train: Batch) -> Tensor:
    """The rows int64[N] of the held-out batch whose token sequence is not in the training batch."""
    known = set(_token_bytes(train))
    rows = [row for row, tokens in enumerate(_token_bytes(test)) if tokens not in known]
    return torch.tensor(rows, dtype=torch.int64)


def _token_bytes(batch: Batch) -> list[bytes]:
    """The tokens of each sequence as bytes, without padding."""
    pairs = zip(batch.inputs.numpy(), batch.lengths.tolist(), strict=True)
    return [tokens[:length].tobytes() for tokens, length in pairs]


def _tokens_of(text: Text) -> tuple[str, ...]:
    """The tokens of a text: the analyzer of scikit-learn's vectorizer."""
    return text.tokens
