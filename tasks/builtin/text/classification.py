"""What all tasks of text classification have in common: only their texts differ."""

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
from ...models.networks import AttentiveRecurrentNet, Cell, Pooling, RecurrentNet
from ...trained import Dataset, TrainedTask, background, held_out
from .vocabulary import Text, Vocabulary, partly_unknown, readings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

# Held-out texts that are scored together: long ones would not fit into memory all at once.
_SCORED = 256


@dataclass(frozen=True)
class TextTask(TrainedTask):
    """A task of text classification. Write one by giving it ``texts`` and the class attributes.

    Texts are cut to their first ``steps`` tokens, unless a task says otherwise. The vocabulary is that of the training
    texts, without the rarest tokens. One in ten training tokens is replaced by ``<unk>``, which is also the
    reference. Training texts that are also held out are left out, so that the held-out score is that of the published
    test set; texts whose tokens the model has seen in that order (two texts may differ by unknown tokens only) are not
    explained.

    Attributes:
        steps: how many tokens of a text are read, at most.
        vocabulary: how many tokens are known, at most; the most frequent ones.
        embedding: size of a token's embedding.
        hidden: units of each direction.

    Class attributes:
        outputs: names of the classes, by number.
        gate: the least held-out accuracy at which a model is explained.
        cell, pooling, dropout: see :class:`xrnnbench.tasks.models.networks.RecurrentNet`; it reads both ways.
        least: how often a token has to occur to be known.
        unknown_share: of the training tokens, that is replaced by ``<unk>``.
        truths: of each reading of the truth, what makes it from its values float[B, T]; the main one first.
    """

    outputs: ClassVar[tuple[str, ...]]
    gate: ClassVar[float]
    cell: ClassVar[Cell] = "gru"
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
        """The training texts and the held-out ones, with a value for each token of each reading of the truth.

        Raises:
            DataError: they are missing or damaged.
        """
        raise NotImplementedError

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        learnt, kept = self._cut()
        vocabulary = Vocabulary.of(learnt, self.vocabulary, self.least)
        train, test = self._learnt(learnt, vocabulary), self._batch(kept, vocabulary)
        new = _new(test, train)
        if not len(new):
            raise DataError(
                f"Task {self.spec!r} has no held-out text that reads unlike all it learns from: raise steps."
            )
        return Dataset(
            train=train,
            test=test,
            explained=held_out(test.select(new), self.instances, self.name),
            reference=torch.tensor(vocabulary.unknown),
            background=background(train, self.name),
            names=Names(outputs=self.outputs, vocabulary=vocabulary.tokens),
        )

    def network(self) -> nn.Module:
        """An embedding, a recurrent layer that reads both ways, and its pooling."""
        attentive = self.pooling in {"attention", "dot-attention"}
        return (AttentiveRecurrentNet if attentive else RecurrentNet)(
            self.embedding,
            self.hidden,
            len(self.outputs),
            cell=self.cell,
            bidirectional=True,
            pooling=self.pooling,
            vocabulary_size=len(self.data().names.vocabulary),
            dropout=self.dropout,
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy on the held-out texts; the baseline is the most frequent class of the training texts."""
        rows = torch.arange(len(data.test)).split(_SCORED)
        right = sum(int((_predicted(model, data.test.select(part)) == data.test.targets[part]).sum()) for part in rows)
        return Competence(
            "accuracy", right / len(data.test), self.gate, majority(data.train.targets, data.test.targets)
        )

    def bag_of_words(self) -> float:
        """The held-out accuracy of a linear model that knows how often a text has which tokens, but not where.

        Logistic regression on tf-idf as scikit-learn has them by default, on the same tokens that the networks read.

        Raises:
            DataError: the texts are missing or damaged.
        """
        # importing scikit-learn takes a second, and only who asks for the yardstick pays it
        from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline  # noqa: PLC0415

        learnt, kept = self._cut()
        model = make_pipeline(TfidfVectorizer(analyzer=_tokens), LogisticRegression(max_iter=1000))
        model.fit(learnt, [text.target for text in learnt])
        return float(model.score(kept, [text.target for text in kept]))

    def _cut(self) -> tuple[list[Text], list[Text]]:
        """The texts' first tokens; what is also held out is not learnt from."""
        learnt, kept = ([text.cut(self.steps) for text in part] for part in self.texts())
        known = {text.tokens for text in kept}
        learnt = [text for text in learnt if text.tokens not in known]
        if not learnt or not kept:
            raise DataError(f"Task {self.spec!r} has {len(learnt)} texts to learn from and {len(kept)} held out.")
        return learnt, kept

    def _batch(self, texts: Sequence[Text], vocabulary: Vocabulary) -> Batch:
        """Tokens, classes and truths of texts."""
        truths = {name: make(readings(texts, name)) for name, make in self.truths.items()}
        return dataclasses.replace(vocabulary.batch(texts), truths=truths)

    def _learnt(self, texts: Sequence[Text], vocabulary: Vocabulary) -> Batch:
        """As :meth:`_batch`, with a share of the tokens unknown; of those nothing is left to be a reason."""
        rng = torch.Generator().manual_seed(seed_from(self.name, "unknown"))
        plain = self._batch(texts, vocabulary)
        batch = partly_unknown(plain, vocabulary.unknown, self.unknown_share, rng)
        taken = batch.inputs != plain.inputs
        truths = {
            name: dataclasses.replace(truth, values=truth.values.masked_fill(taken, 0))
            for name, truth in batch.truths.items()
        }
        return dataclasses.replace(batch, truths=truths)


def _predicted(model: nn.Module, batch: Batch) -> Tensor:
    return cast("Tensor", model(batch.inputs, batch.lengths)).argmax(1)


def _new(test: Batch, train: Batch) -> Tensor:
    """int64[N]: the rows of the held-out batch whose tokens are no training sequence."""
    known = set(_rows(train))
    return torch.tensor([row for row, tokens in enumerate(_rows(test)) if tokens not in known], dtype=torch.int64)


def _rows(batch: Batch) -> list[bytes]:
    """The tokens of each sequence, without padding."""
    pairs = zip(batch.inputs.numpy(), batch.lengths.tolist(), strict=True)
    return [tokens[:length].tobytes() for tokens, length in pairs]


def _tokens(text: Text) -> tuple[str, ...]:
    """What scikit-learn is to count."""
    return text.tokens
