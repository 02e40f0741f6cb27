"""A user's own CSV file as a task: sequences, and a network of the family that is trained on them."""

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
# The share of words that are unknown while training, so that the reference is a token the model has met.
_DROPPED: Final = 0.1


@register
@dataclass(frozen=True)
class CsvTask(LabelledFile, TrainedTask):
    """Sequences of a CSV file of one's own, and a recurrent network trained on them.

    ``csv:path=data.csv,id=patient,time=hour,predict=outcome`` reads a row for each step,
    ``csv:path=data.csv,predict=label`` a row for each sequence and a column for each step, and
    ``csv:path=data.csv,text=review,predict=label`` a row for each text. ``split`` names a column that says which
    sequences are learnt from; without it a share of ``held_out_share`` is held out, of each class alike, chosen by a
    fixed seed. What is held out and stands word for word among what is learnt is not tested on.

    Features are standardised by mean and deviation of what is learnt, so the reference, 0, is the mean. Targets that
    are values are standardised too. Of texts the reference is the token for unknown words: those seen once, and a tenth
    of all while training. The network is of the family of the built-in tasks.

    A model is fit to be explained from ``gate`` on; if that is not given, from the baseline (majority or mean) and the
    share ``margin`` of what it leaves.

    Truth: as the columns ``truth`` give it; not known otherwise.

    Source: the user's.

    Attributes:
        path, separator, encoding, decimal, time_format: the file and how it is written; see :class:`TableFile`. On the
            command line a path holds no comma, and names of columns neither comma nor slash: ? stands for either.
        predict, id, time, features, text, truth, split, missing: which column is what; see :class:`ColumnMap`. Several
            are set off by slashes, ``features=pulse/pressure``; * and ? stand for anything, ``features=t*``.
        targets_are, classes, semantics, signed: what targets and truth are; see :class:`LabelledFile`.
        held_out_share: of the sequences, if no column splits them.
        gate: the least accuracy or R² at which a model is explained; 0 to go by ``margin``.
        margin: see above.
        cell, hidden, layers, bidirectional, pooling, dropout, embedding: see :class:`RecurrentNet`.
        epochs, learning_rate, batch_size, weight_decay: see :class:`Recipe`.
        instances: how many held-out sequences are explained, at most.
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
        # both follow from the parameters, which are not known to the class
        recipe = Recipe(self.epochs, self.learning_rate, self.batch_size, weight_decay=self.weight_decay)
        object.__setattr__(self, "recipe", recipe)
        object.__setattr__(self, "outputs_are", _outputs(categorical=self.categorical()))

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Plugin.parameters`; of the path the file's name: what the file holds is in the identity."""
        return super().parameters | {"path": self.file}

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; with the fingerprint of the file."""
        return super().identity() | {"content": self.content}

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        found = self.sequences()
        targets, outputs = self.targets_of(found)
        tested = self.tested(found)
        if tested is None:
            tested = _drawn(targets, self.held_out_share)
        _check_parts(found, tested)
        if targets.is_floating_point():
            targets = _standardised(targets, ~tested, self.predict)
        lengths = torch.tensor([len(sequence) for sequence in found.words or found.values])
        inputs, names = self._inputs(found, ~tested, lengths)
        whole = Batch(inputs, lengths, targets, self.truths_of(found))
        train = dataclasses.replace(whole.select(~tested), truths={})
        learnt = train if inputs.is_floating_point() else _with_unknown(train)
        test = _unseen(whole.select(tested), train, learnt)
        return Dataset(
            train=learnt,
            test=test,
            explained=held_out(test, min(self.instances, len(test)), self.name),
            reference=torch.zeros(()) if inputs.is_floating_point() else torch.tensor(1),
            background=background(learnt, self.name),
            names=Names(outputs=outputs, **{"features" if inputs.is_floating_point() else "vocabulary": names}),
        )

    def _inputs(self, found: Sequences, learnt: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[str, ...]]:
        """Tokens and the vocabulary, or features and their names."""
        if found.words:
            return _tokens(found, learnt)
        inputs, names = _features(found, learnt)
        if self.missing == "refuse":
            return inputs, names
        valid = torch.arange(inputs.shape[1]) < lengths[:, None]
        return marked(inputs, valid), marked_names(names)

    def network(self) -> nn.Module:
        """A member of the family, by the parameters."""
        data = self.data()
        inputs = data.train.inputs
        make = AttentiveRecurrentNet if self.pooling in {"attention", "dot-attention"} else RecurrentNet
        return make(
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
        """Accuracy beside the majority, or R² of all values beside the mean, on what was held out."""
        scores, truth = model(data.test.inputs, data.test.lengths), data.test.targets
        if truth.is_floating_point():
            return Competence("R2", r_squared(scores, truth), self.gate or self.margin, 0.0)
        baseline = majority(data.train.targets, truth)
        gate = self.gate or baseline + self.margin * (1 - baseline)
        return Competence("accuracy", accuracy(scores, truth), gate, baseline)


def _outputs(*, categorical: bool) -> Outputs:
    return "logits" if categorical else "values"


def _drawn(targets: Tensor, share: float) -> Tensor:
    """bool[B]: a share of the sequences, of each class alike; of a class with a single sequence none."""
    strata = targets if targets.dim() == 1 else torch.zeros(len(targets), dtype=torch.int64)
    rng = torch.Generator().manual_seed(seed_from("csv", "held out"))
    tested = torch.zeros(len(targets), dtype=torch.bool)
    for stratum in strata.unique():
        rows = (strata == stratum).nonzero()[:, 0]
        count = min(max(round(share * len(rows)), 1), len(rows) - 1)
        tested[rows[torch.randperm(len(rows), generator=rng)[:count]]] = True
    return tested


def _check_parts(found: Sequences, tested: Tensor) -> None:
    for what, count in (("learn from", int((~tested).sum())), ("be tested on", int(tested.sum()))):
        if not count:
            raise DataError(f"{found.table.file} leaves no sequence to {what}: give more, or another split.")


def _features(found: Sequences, learnt: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """Standardised features float32[B, T, D] and their names; with missing values, also which were measured."""
    rows = np.concatenate([found.values[row] for row in learnt.nonzero()[:, 0].tolist()])
    deviation = np.array([_deviation(column) for column in rows.T])
    for name, size in zip(found.features, deviation, strict=True):
        if not size > 0:
            raise DataError(
                f"The feature {name!r} of {found.table.file} is constant in what is learnt from: leave it out."
            )
    mean = np.nanmean(rows, 0)
    return padded([(values - mean) / deviation for values in found.values]), found.features


def _deviation(column: Floats) -> float:
    """Of what was measured; 0 where that is fewer than two."""
    measured = column[~np.isnan(column)]
    return float(measured.std()) if len(measured) > 1 else 0.0


def _tokens(found: Sequences, learnt: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """int64[B, T] and the vocabulary: the words that are learnt from at least twice."""
    counts = Counter(word for row in learnt.nonzero()[:, 0].tolist() for word in found.words[row])
    vocabulary = (_PAD, _UNKNOWN, *sorted(word for word, count in counts.items() if count > 1))
    number = {word: token for token, word in enumerate(vocabulary)}
    rows = [torch.tensor([number.get(word, 1) for word in words]) for words in found.words]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), vocabulary


def _with_unknown(train: Batch) -> Batch:
    """A tenth of the words become unknown."""
    rng = torch.Generator().manual_seed(seed_from("csv", "unknown words"))
    dropped = (torch.rand(train.inputs.shape, generator=rng) < _DROPPED) & train.valid
    return dataclasses.replace(train, inputs=train.inputs.masked_fill(dropped, 1))


def _standardised(targets: Tensor, learnt: Tensor, names: tuple[str, ...]) -> Tensor:
    """float32[B, K]: less the mean and divided by the deviation of what is learnt."""
    known = targets[learnt].double()
    deviation = known.std(0, correction=0)
    for name, size in zip(names, deviation.tolist(), strict=True):
        if not size > 0:
            raise DataError(f"The target {name!r} is constant in what is learnt from: there is nothing to predict.")
    return ((targets.double() - known.mean(0)) / deviation).float()


def _unseen(test: Batch, *learnt: Batch) -> Batch:
    """The sequences that are not among those learnt from.

    Raises:
        DataError: all of them are.
    """
    seen = {row for batch in learnt for row in _contents(batch)}
    rows = torch.tensor([row for row, one in enumerate(_contents(test)) if one not in seen], dtype=torch.int64)
    if not len(rows):
        raise DataError("All held-out sequences are also learnt from, word for word: hold others out.")
    return test.select(rows)


def _contents(batch: Batch) -> list[bytes]:
    pairs = zip(batch.inputs, batch.lengths.tolist(), strict=True)
    return [inputs[:length].contiguous().numpy().tobytes() for inputs, length in pairs]
