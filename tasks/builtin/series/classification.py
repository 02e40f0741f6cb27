"""Base class of time series classification tasks: series by split, standardised by the training series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ....errors import DataError
from ...data.batch import Batch, Competence, Names
from ...data.padding import padded
from ...models.evaluation import accuracy, majority
from ...trained import Dataset, TrainedTask, background, held_out

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn


@dataclass(frozen=True)
class Labelled:
    """The series of a split with their classes.

    Attributes:
        series: float[T, D] each, with its own length T; NaN where a value is missing.
        classes: int64[B].
    """

    series: tuple[Tensor, ...]
    classes: Tensor


@dataclass(frozen=True)
class Splits:
    """Training and test series, with the names of features and classes.

    Attributes:
        train: the training series.
        test: the held-out series.
        names: names of the D features and the classes.
    """

    train: Labelled
    test: Labelled
    names: Names


@dataclass(frozen=True)
class ClassificationTask(TrainedTask):
    """Base class of time series classification. Derive from it and define ``splits``, ``network`` and a gate.

    Every feature is standardised by its own mean and deviation over the training steps, so the reference, 0, is the
    mean training step; a constant feature is only shifted to 0. Held-out series that are training series as well are
    left out.

    A missing value is replaced by the last value before it, and by 0 at the beginning. Every feature with missing
    values gets an indicator feature, "… measured": 1 where there was a value and 0, also the reference, where not.

    Class attributes:
        gate: accuracy from which a model is explained.
    """

    gate: ClassVar[float] = 0.9

    def splits(self) -> Splits:
        """Make or load the series; the same every time."""
        raise NotImplementedError

    def gate_above(self, baseline: float) -> float:  # noqa: ARG002  # for tasks whose gate depends on it
        """The accuracy from which a model is explained, for the accuracy of the most frequent class."""
        return self.gate

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        splits = self.splits()
        scale = Scale.of(splits.train.series)
        gaps = _gaps((*splits.train.series, *splits.test.series))
        train = _batch(splits.train, scale, gaps)
        test = _batch(_without_training_series(splits.train, splits.test, self.spec), scale, gaps)
        names = splits.names
        if names.features:
            measured = tuple(f"{names.features[column]} measured" for column in gaps)
            names = Names(names.features + measured, names.outputs)
        return Dataset(
            train=train,
            test=test,
            explained=held_out(test, self.instances, self.name),
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=names,
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy on the held-out series; the baseline is the most frequent class."""
        score = accuracy(model(data.test.inputs, data.test.lengths), data.test.targets)
        baseline = majority(data.train.targets, data.test.targets)
        return Competence("accuracy", score, self.gate_above(baseline), baseline)


@dataclass(frozen=True)
class Scale:
    """Mean and deviation of every feature, float[D], over all steps at which it was measured."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, series: Sequence[Tensor]) -> Scale:
        """The scale of series float[T, D]; a feature that is always missing, or constant, has deviation 1."""
        steps = torch.cat(list(series)).double()
        measured = ~steps.isnan()
        count = measured.sum(0).clamp(min=1)
        mean = steps.nan_to_num(0.0).sum(0) / count
        spread = ((steps - mean).nan_to_num(0.0).square().sum(0) / count).sqrt()
        # a feature whose values differ by rounding alone is constant
        constant = spread <= 1e-9 * mean.abs()
        return cls(mean.float(), spread.masked_fill(constant, 1.0).float())

    def applied(self, series: Tensor) -> Tensor:
        """A series float32[T, D], standardised; NaN stays NaN."""
        return ((series - self.mean) / self.deviation).float()


def carried_forward(series: Tensor) -> Tensor:
    """A series float[T, D] with each NaN replaced by the last number before it, or 0 if there is none."""
    steps = torch.arange(len(series))[:, None].expand_as(series)
    last = torch.where(series.isnan(), -1, steps).cummax(0).values
    return torch.where(last < 0, 0.0, series.gather(0, last.clamp(min=0)))


def _gaps(series: Sequence[Tensor]) -> list[int]:
    """The numbers of the features with missing values."""
    missing = torch.stack([steps.isnan().any(0) for steps in series]).any(0)
    return missing.nonzero().flatten().tolist()


def _batch(labelled: Labelled, scale: Scale, gaps: list[int]) -> Batch:
    """A padded batch of standardised series with an indicator for each of the features ``gaps``."""
    rows = [
        torch.cat([carried_forward(scale.applied(series)), (~series[:, gaps].isnan()).float()], 1)
        for series in labelled.series
    ]
    return Batch(padded(rows), torch.tensor([len(row) for row in rows]), labelled.classes)


def _without_training_series(train: Labelled, test: Labelled, spec: str) -> Labelled:
    """The held-out series without those that are training series as well."""
    training = {series.numpy().tobytes() for series in train.series}
    kept = [row for row, series in enumerate(test.series) if series.numpy().tobytes() not in training]
    if not kept:
        raise DataError(f"Task {spec!r} has no test series that is not also a training series.")
    return Labelled(tuple(test.series[row] for row in kept), test.classes[kept])
