"""Task of a user's CSV file: its sequences, and a recurrent network trained on them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...fingerprints import seed_from
from ...plugins import register
from ..data.batch import Batch, Competence, Names, Outputs
from ..models.evaluation import accuracy, majority, r_squared
from ..models.networks import AttentiveRecurrentNet, Cell, Pooling, RecurrentNet
from ..models.training import Recipe
from ..readers.labelled import LabelledFile, padded
from ..readers.missing import marked, marked_names
from ..trained import Dataset, TrainedTask, background, checked_share, held_out

if TYPE_CHECKING:
    from torch import nn

    from ..readers.sequences import Floats, Sequences

_PAD, _UNKNOWN = "<pad>", "<unk>"
# Share of the training words replaced by the unknown token, so that the reference is a token seen in training.
_DROPPED: Final = 0.1


@register
@dataclass(frozen=True)
class CsvTask(LabelledFile, TrainedTask):
    """Classification or regression of the sequences of a user's CSV file.

    ``csv:path=data.csv,id=patient,time=hour,predict=outcome`` reads a row for each step,
    ``csv:path=data.csv,predict=label`` a row for each sequence and a column for each step, and
    ``csv:path=data.csv,text=review,predict=label`` a row for each text. ``split`` names a column that assigns the
    sequences to training and test. Without it, a share of ``held_out_share`` is held out, stratified by class with a
    fixed seed. Held-out sequences that are identical to a training sequence are dropped.

    Features are standardised by mean and standard deviation of the training part, so the reference, 0, is the mean.
    Targets that are values are standardised too. For texts the reference is the token for unknown words: the words that
    occur once, and a tenth of all words in training. The network is a recurrent network of the same family as in the
    built-in tasks.

    A model is explained if its accuracy or R² reaches ``gate``. The default is baseline + ``margin`` · (1 − baseline);
    the baseline is the accuracy of the majority class, or 0, the R² of the mean.

    Truth: the columns ``truth``; without them the truth is not known.

    Source: the user's.

    Attributes:
        path, separator, encoding, decimal, time_format: the file and its format; see :class:`TableFile`. On the
            command line a path holds no comma, and names of columns neither comma nor slash: write ? for either.
        predict, id, time, features, text, truth, split, missing: the roles of the columns; see :class:`ColumnMap`.
            Several columns are separated by slashes, ``features=pulse/pressure``; * and ? are wildcards,
            ``features=t*``.
        targets_are, classes, semantics, signed: the kind of targets and truth; see :class:`LabelledFile`.
        held_out_share: share of the sequences that is held out if no column splits them.
        gate: the least accuracy or R² at which a model is explained; 0 to derive it from ``margin``.
        margin: the share of the baseline's error that the default gate requires a model to remove; see above.
        cell, hidden, layers, bidirectional, pooling, dropout, embedding: see :class:`RecurrentNet`.
        epochs, learning_rate, batch_size, weight_decay: see :class:`Recipe`.
        instances: the largest number of held-out sequences that are explained.
    """

    name: ClassVar[str] = "csv"
    application: ClassVar[str] = "given"
    source: ClassVar[str] = "given by the user"
    licence: ClassVar[str] = "the user's"
    citation: ClassVar[str] = "the user's"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances", "truth", "semantics", "signed", "gate", "margin"})

    held_out_share: float = 0.25
    gate: float = 0.0
    margin: float = 0.2
    cell: Cell = "gru"
    hidden: int = 32
    layers: int = 1
    bidirectional: bool = False
    pooling: Pooling = "attention"
    dropout: float = 0.0
    embedding: int = 32
    epochs: int = 30
    learning_rate: float = 1e-2
    batch_size: int = 32
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        LabelledFile.__post_init__(self)
        TrainedTask.__post_init__(self)
        checked_share(self.name, "held_out_share", self.held_out_share)
        # both depend on the parameters of the instance, so they cannot be class variables
        recipe = Recipe(self.epochs, self.learning_rate, self.batch_size, weight_decay=self.weight_decay)
        object.__setattr__(self, "recipe", recipe)
        object.__setattr__(self, "outputs_are", _outputs(categorical=self.categorical()))

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Plugin.parameters`; the path is reduced to the file's name, as the identity has the content."""
        return super().parameters | {"path": self.file}

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; includes the fingerprint of the file."""
        return super().identity() | {"content": self.content}

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        sequences = self.sequences()
        targets, outputs = self.targets_of(sequences)
        is_test = self.tested(sequences)
        if is_test is None:
            is_test = _stratified(targets, self.held_out_share)
        _check_parts(sequences, is_test)
        if targets.is_floating_point():
            targets = _standardised(targets, ~is_test, self.predict)
        lengths = torch.tensor([len(sequence) for sequence in sequences.words or sequences.values])
        inputs, names = self._inputs(sequences, ~is_test, lengths)
        batch = Batch(inputs, lengths, targets, self.truths_of(sequences))
        train = dataclasses.replace(batch.select(~is_test), truths={})
        training = train if inputs.is_floating_point() else _with_unknown(train)
        test = _unseen(batch.select(is_test), train, training)
        return Dataset(
            train=training,
            test=test,
            explained=held_out(test, min(self.instances, len(test)), self.name),
            reference=torch.zeros(()) if inputs.is_floating_point() else torch.tensor(1),
            background=background(training, self.name),
            names=Names(outputs=outputs, **{"features" if inputs.is_floating_point() else "vocabulary": names}),
        )

    def _inputs(self, sequences: Sequences, training: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """Tokens int64[B, T] and the vocabulary, or features float32[B, T, D] and their names."""
        if sequences.words:
            return _tokens(sequences, training)
        inputs, names = _features(sequences, training)
        if self.missing == "refuse":
            return inputs, names
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        return marked(inputs, valid), marked_names(names)

    def network(self) -> nn.Module:
        """Untrained recurrent network with the architecture that the parameters describe."""
        data = self.data()
        inputs = data.train.inputs
        architecture = AttentiveRecurrentNet if self.pooling in {"attention", "dot-attention"} else RecurrentNet
        return architecture(
            self.embedding if data.train.tokens else inputs.shape[2],
            self.hidden,
            len(data.names.outputs),
            cell=self.cell,
            layers=self.layers,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            vocabulary_size=len(data.names.vocabulary),
            dropout=self.dropout,
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy against the majority class, or R² of all values against the mean, on the held-out sequences."""
        scores, truth = model(data.test.inputs, data.test.lengths), data.test.targets
        if truth.is_floating_point():
            return Competence("R2", r_squared(scores, truth), self.gate or self.margin, 0.0)
        baseline = majority(data.train.targets, truth)
        gate = self.gate or baseline + self.margin * (1 - baseline)
        return Competence("accuracy", accuracy(scores, truth), gate, baseline)


def _outputs(*, categorical: bool) -> Outputs:
    """Kind of the model's outputs for classes or values."""
    return "logits" if categorical else "values"


def _stratified(targets: Tensor, share: float) -> Tensor:
    """Stratified random choice of the held-out sequences, bool[B]; a class with one sequence is not held out."""
    strata = targets if targets.dim() == 1 else torch.zeros(len(targets), dtype=torch.int64)
    rng = torch.Generator().manual_seed(seed_from("csv", "held out"))
    is_test = torch.zeros(len(targets), dtype=torch.bool)
    for stratum in strata.unique():
        rows = (strata == stratum).nonzero()[:, 0]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        is_test[rows[torch.randperm(len(rows), generator=rng)[:count]]] = True
    return is_test


def _check_parts(sequences: Sequences, is_test: Tensor) -> None:
    """Refuse a split whose training or test part is empty."""
    for use, count in (("train on", int((~is_test).sum())), ("test on", int(is_test.sum()))):
        if not count:
            raise DataError(f"{sequences.table.file} leaves no sequence to {use}: give more, or another split.")


def _features(sequences: Sequences, training: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Standardised features float32[B, T, D] and their names.

    Raises:
        DataError: a feature is constant in the training part.
    """
    rows = np.concatenate([sequences.values[row] for row in training.nonzero()[:, 0].tolist()])
    deviations = np.array([_deviation(column) for column in rows.T])
    for name, deviation in zip(sequences.features, deviations, strict=True):
        if not deviation > 0:
            raise DataError(
                f"The feature {name!r} of {sequences.table.file} is constant in the training data: leave it out."
            )
    mean = np.nanmean(rows, 0)
    return padded([(values - mean) / deviations for values in sequences.values]), sequences.features


def _deviation(column: Floats) -> float:
    """Standard deviation of the measured values; 0 if fewer than two were measured."""
    measured = column[~np.isnan(column)]
    return float(measured.std()) if len(measured) > 1 else 0.0


def _tokens(sequences: Sequences, training: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Tokens int64[B, T] and the vocabulary: the words that occur at least twice in the training part."""
    counts = Counter(word for row in training.nonzero()[:, 0].tolist() for word in sequences.words[row])
    vocabulary = (_PAD, _UNKNOWN, *sorted(word for word, count in counts.items() if count > 1))
    number = {word: token for token, word in enumerate(vocabulary)}
    rows = [torch.tensor([number.get(word, 1) for word in words]) for words in sequences.words]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), vocabulary


def _with_unknown(train: Batch) -> Batch:
    """Training batch with a random tenth of the words replaced by the unknown token."""
    rng = torch.Generator().manual_seed(seed_from("csv", "unknown words"))
    dropped = (torch.rand(train.inputs.shape, generator=rng) < _DROPPED) & train.valid
    return dataclasses.replace(train, inputs=train.inputs.masked_fill(dropped, 1))


def _standardised(targets: Tensor, training: Tensor, names: tuple[str, ...]) -> Tensor:
    """Targets float32[B, K], standardised by mean and standard deviation of the training part.

    Raises:
        DataError: a target is constant in the training part.
    """
    values = targets[training].double()
    deviation = values.std(0, correction=0)
    for name, spread in zip(names, deviation.tolist(), strict=True):
        if not spread > 0:
            raise DataError(f"The target {name!r} is constant in the training data: there is nothing to predict.")
    return ((targets.double() - values.mean(0)) / deviation).float()


def _unseen(test: Batch, *training: Batch) -> Batch:
    """Held-out sequences that are identical to no training sequence.

    Raises:
        DataError: every held-out sequence is also a training sequence.
    """
    seen = {row for batch in training for row in _contents(batch)}
    rows = torch.tensor([row for row, content in enumerate(_contents(test)) if content not in seen], dtype=torch.int64)
    if not len(rows):
        raise DataError("Every held-out sequence is identical to a training sequence: hold others out.")
    return test.select(rows)


def _contents(batch: Batch) -> list[bytes]:
    """Bytes of each sequence without its padding, for comparison."""
    pairs = zip(batch.inputs, batch.lengths.tolist(), strict=True)
    return [inputs[:length].contiguous().numpy().tobytes() for inputs, length in pairs]
