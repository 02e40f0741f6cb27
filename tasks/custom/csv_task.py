"""Task of a user's CSV file: its sequences, and a recurrent network trained on them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import AssumptionWarning, DataError, ParameterError, warn
from ...fingerprints import seed_from
from ...plugins import register
from ..data import padding
from ..data.batch import Batch, Competence, Names, Outputs
from ..models.evaluation import accuracy, balanced_accuracy, majority, r_squared
from ..models.networks import AttentiveRecurrentNet, Cell, Pooling, RecurrentNet
from ..models.training import Recipe
from ..readers.categories import encoded
from ..readers.labelled import LabelledFile, padded
from ..trained import Dataset, TrainedTask, background, checked_share, held_out
from .file_task import FileTask

if TYPE_CHECKING:
    from torch import nn

    from ..readers.categories import Encoded
    from ..readers.sequences import Sequences
    from ..readers.tables import Floats

_PAD, _UNKNOWN = "<pad>", "<unk>"
# Share of the training words replaced by the unknown token, so that the reference is a token seen in training.
_DROPPED: Final = 0.1
# Share of the sequences below which a class is rare.
_RARE: Final = 0.05


@register
@dataclass(frozen=True)
class CsvTask(LabelledFile, FileTask):
    """Classification or regression of the sequences of a user's CSV file.

    ``csv:path=data.csv,id=patient,time=hour,predict=outcome`` reads a row for each step,
    ``csv:path=data.csv,predict=label`` a row for each sequence and a column for each step, and
    ``csv:path=data.csv,text=review,predict=label`` a row for each text. ``split`` names a column that assigns the
    sequences to training and test. Without it, a share of ``held_out_share`` is held out, stratified by class with a
    fixed seed. Held-out sequences that are identical to a training sequence are dropped.

    Features are standardised by mean and standard deviation of the training part, so the reference, 0, is the mean. Of
    a level of ``categories`` only its mean is subtracted, which is its frequency: its reference is the frequency too,
    and presence stays 1 above absence. A level that only held-out sequences have, and a missing one, are absence of all
    levels. Targets that are values are standardised too. For texts the reference is the token for unknown words: the
    words that occur once, and a tenth of all words in training. The network is a recurrent network of the same family
    as in the built-in tasks.

    A model is explained if its accuracy or R² reaches ``gate``. The default is baseline + ``margin`` · (1 − baseline);
    the baseline is the accuracy of the majority class, or 0, the R² of the mean. Accuracy says little about a rare
    class, one with under 5 % of the sequences (of more than ten classes: under half of an equal share): a warning says
    so. ``measure=balanced-accuracy`` is the mean over the classes of the share that is recognised, and its baseline is
    1 / K for K classes; ``class_weights=balanced`` gives all classes the same weight in training.

    Truth: the columns ``truth``; without them the truth is not known.

    Source: the user's.

    Attributes:
        path, separator, encoding, decimal, time_format: the file and its format; see :class:`TableFile`. On the
            command line a path holds no comma, and names of columns neither comma nor slash: write ? for either.
        predict, id, time, features, text, truth, split, missing: the roles of the columns; see :class:`ColumnMap`.
            Several columns are separated by slashes, ``features=pulse/pressure``; * and ? are wildcards,
            ``features=t*``.
        categories, time_gap: columns that are read as categories, and the time since the last step as a feature; see
            :class:`ColumnMap`.
        targets_are, classes, semantics, signed: the kind of targets and truth; see :class:`LabelledFile`.
        held_out_share: share of the sequences that is held out if no column splits them.
        gate: the least accuracy or R² at which a model is explained; 0 to derive it from ``margin``.
        margin: the share of the baseline's error that the default gate requires a model to remove; see above.
        cell, hidden, layers, bidirectional, pooling, dropout, embedding: see :class:`RecurrentNet`.
        epochs, learning_rate, batch_size, weight_decay: see :class:`Recipe`.
        class_weights: ``balanced``, or ``class:weight`` for some classes (``ill:5/well:1``; 1 for the others); see
            :class:`Recipe`.
        measure: the measure of competence of classes, ``accuracy`` or ``balanced-accuracy``.
        instances: the largest number of held-out sequences that are explained.
        label: name of the task in results, any text; ``name=…`` of :func:`task_from_csv`.
    """

    name: ClassVar[str] = "csv"
    explaining: ClassVar[frozenset[str]] = FileTask.explaining | {
        "truth", "semantics", "signed", "gate", "margin", "measure"
    }  # fmt: skip
    later: ClassVar[frozenset[str]] = FileTask.later | {"categories", "time_gap", "class_weights", "measure"}

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
    class_weights: tuple[str, ...] = ()
    measure: Literal["accuracy", "balanced-accuracy"] = "accuracy"

    def __post_init__(self) -> None:
        LabelledFile.__post_init__(self)
        self.check_label()
        TrainedTask.__post_init__(self)
        checked_share(self.name, "held_out_share", self.held_out_share)
        # both depend on the parameters of the instance, so they cannot be class variables
        categorical = self.categorical()
        recipe = Recipe(
            self.epochs,
            self.learning_rate,
            self.batch_size,
            weight_decay=self.weight_decay,
            class_weights=self._weights(categorical=categorical),
        )
        object.__setattr__(self, "recipe", recipe)
        object.__setattr__(self, "outputs_are", _outputs(categorical=categorical))

    def _weights(self, *, categorical: bool) -> Literal["balanced"] | tuple[float, ...]:
        """Class weights of the recipe; a class without a weight has the weight 1.

        Raises:
            ParameterError: there are no classes, or a weight is no positive number or of no class.
        """
        for name, value in (("class_weights", self.class_weights), ("measure", self.measure != "accuracy")):
            if value and not categorical:
                raise ParameterError(f"csv: {name}=… is for classes, and {', '.join(self.predict)} holds values.")
        if not self.class_weights or self.class_weights == ("balanced",):
            return "balanced" if self.class_weights else ()
        classes = self.classes or self.classes_of(self.table())
        weight_of = dict(_weight(item, classes) for item in self.class_weights)
        if len(weight_of) < len(self.class_weights):
            raise ParameterError("csv: class_weights=… gives a class two weights: give it one.")
        return tuple(weight_of.get(name, 1.0) for name in classes)

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        sequences = self.sequences()
        targets, outputs = self.targets_of(sequences)
        if not targets.is_floating_point() and self.measure == "accuracy":
            _warn_of_rare_classes(self.spec, targets, outputs)
        is_test = self.tested(sequences)
        if is_test is None:
            is_test = _stratified(targets, self.held_out_share)
        _check_parts(sequences, is_test)
        if targets.is_floating_point():
            targets = _standardised(targets, ~is_test, self.predict)
        lengths = torch.tensor([len(sequence) for sequence in sequences.words or sequences.values])
        inputs, names = self._inputs(sequences, ~is_test, lengths)
        batch = Batch(inputs, lengths, targets, self.truths_of(sequences), ids=sequences.ids)
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
        found = encoded(sequences, training)
        inputs = _features(sequences, found, training)
        if self.missing == "refuse":
            return inputs, found.names
        return found.marked(inputs, torch.arange(inputs.shape[1]) < lengths[:, None])

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
        """Accuracy against the majority class, or R² of all values against the mean, on the held-out sequences.

        Balanced accuracy is compared with 1 / K, of K classes that are held out: that of any single answer.
        """
        scores, truth = model(data.test.inputs, data.test.lengths), data.test.targets
        if truth.is_floating_point():
            return Competence("R2", r_squared(scores, truth), self.gate or self.margin, 0.0)
        if self.measure == "balanced-accuracy":
            measure, score, baseline = "balanced accuracy", balanced_accuracy(scores, truth), 1 / len(truth.unique())
        else:
            measure, score = "accuracy", accuracy(scores, truth)
            baseline = majority(data.train.targets, truth)
        return Competence(measure, score, self.gate or baseline + self.margin * (1 - baseline), baseline)


def _outputs(*, categorical: bool) -> Outputs:
    """Kind of the model's outputs for classes or values."""
    return "logits" if categorical else "values"


def _weight(item: str, classes: tuple[str, ...]) -> tuple[str, float]:
    """Class and weight of an item ``ill:5`` of class_weights."""
    name, _, text = item.rpartition(":")
    if name not in classes:
        known = ", ".join(map(repr, classes))
        raise ParameterError(f"csv: class_weights={item} names no class; write balanced, or name:weight for {known}.")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < np.inf:
        raise ParameterError(f"csv: class_weights={item} does not fit (a weight is a number above 0).")
    return name, weight


def _warn_of_rare_classes(spec: str, targets: Tensor, names: tuple[str, ...]) -> None:
    """Warn of a class with under 5 % of the sequences, or under half of an equal share if there are many classes."""
    shares = targets.bincount(minlength=len(names)).double() / len(targets)
    rarest = int(shares.argmin())
    if shares[rarest] < min(_RARE, 0.5 / len(names)):
        warn(
            f"Task {spec!r}: only {shares[rarest]:.1%} of the sequences have the class {names[rarest]!r}, and accuracy "
            "says little about it: say measure=balanced-accuracy, and class_weights=balanced to learn it.",
            AssumptionWarning,
        )


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


def _features(sequences: Sequences, found: Encoded, training: Tensor) -> Tensor:
    """Standardised features float32[B, T, D]; of a level only its frequency is subtracted, its mean.

    Raises:
        DataError: a feature is constant in the training part.
    """
    rows = np.concatenate([found.values[row] for row in training.nonzero()[:, 0].tolist()])
    deviations = np.array([_deviation(column) for column in rows.T])
    # a rare level divided by its deviation would be an outlier, and one that is declared and does not occur has none
    deviations[found.levels] = 1
    for name, deviation in zip(found.names, deviations, strict=True):
        if not deviation > 0:
            raise DataError(
                f"The feature {name!r} of {sequences.table.file} is constant in the training data: leave it out."
            )
    mean = np.nanmean(rows, 0)
    return padded([(values - mean) / deviations for values in found.values])


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
    return padding.padded(rows), vocabulary


def _with_unknown(train: Batch) -> Batch:
    """Training batch with a random tenth of the words replaced by the unknown token."""
    rng = torch.Generator().manual_seed(seed_from("csv", "unknown words"))
    dropped = (torch.rand(train.inputs.shape, generator=rng) < _DROPPED) & train.valid
    return dataclasses.replace(train, inputs=train.inputs.masked_fill(dropped, 1))


def _standardised(targets: Tensor, training: Tensor, names: tuple[str, ...]) -> Tensor:
    """Targets float32[B, K], standardised by mean and standard deviation of the training part.

    Raises:
        DataError: a target is constant in the training part, or another too far from it for float32.
    """
    values = targets[training].double()
    deviation = values.std(0, correction=0)
    for name, spread in zip(names, deviation.tolist(), strict=True):
        if not spread > 0:
            raise DataError(f"The target {name!r} is constant in the training data: there is nothing to predict.")
    found = ((targets.double() - values.mean(0)) / deviation).float()
    if not torch.isfinite(found).all():
        raise DataError(
            f"A target of {', '.join(names)} is too far from those of the training data to be standardised: correct it."
        )
    return found


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
