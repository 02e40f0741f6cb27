"""Base class of forecasting tasks: windows of time series, the next values of one of them, and baseline forecasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ....errors import DataError
from ...data.batch import Batch, Competence, Names, Outputs
from ...models.evaluation import r_squared
from ...readers.missing import marked, marked_names
from ...trained import Dataset, TrainedTask, background, held_out

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Series:
    """Parallel time series, split in time into training and test data.

    Attributes:
        values: float[N, D], a row for each step in order of time; NaN where a value is missing. Column 0 is the
            series that is forecast.
        clock: int64[N], ascending: the time of each row, in steps. Where it jumps by more than 1, steps are missing.
        features: names of the D series.
        steps: T, the number of steps of a window.
        ahead: the forecast horizons, in steps after the end of the window; the first of them is explained.
        unit: the name of a step, in the singular: ``"month"``.
        learnt_before: time on the clock before which all training data lie.
        tested_from: time on the clock at or after which all test data lie.
        stride: every ``stride``-th window is used. Adjacent windows differ by one step, so all of them hold little more
            information than a few.
        filled: whether windows with missing values are kept. The last value of the window then replaces a missing one,
            and an indicator marks it: see :func:`marked`.

    Raises:
        DataError: shapes do not fit, the clock does not ascend, or the two parts overlap.
    """

    values: Tensor
    clock: Tensor
    features: tuple[str, ...]
    steps: int
    ahead: tuple[int, ...]
    unit: str
    learnt_before: int
    tested_from: int
    stride: int = 1
    filled: bool = False

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.clock), len(self.features)):
            raise DataError(
                f"The series have shape {tuple(self.values.shape)} for {len(self.clock)} times and "
                f"{len(self.features)} names: give a row for each time and a column for each name."
            )
        if not (self.clock.diff() > 0).all():
            row = int((self.clock.diff() <= 0).nonzero()[0]) + 1
            raise DataError(
                f"Row {row} of the series is not later than the one before: sort the rows, and drop repeated ones."
            )
        if self.tested_from < self.learnt_before:
            raise DataError(
                f"The test data begin at {self.tested_from}, before the training data end at {self.learnt_before}: the "
                "two must not overlap."
            )

    def standardised(self) -> Tensor:
        """The values float[N, D], each series standardised by mean and deviation of its training data.

        Raises:
            DataError: a series is constant in the training data.
        """
        columns = []
        for name, column in zip(self.features, self.values.unbind(1), strict=True):
            training = column[(self.clock < self.learnt_before) & ~column.isnan()]
            deviation = training.std() if len(training) > 1 else training.new_zeros(())
            if not deviation > 0:
                raise DataError(f"The series {name!r} is constant in the training data: leave it out.")
            columns.append((column - training.mean()) / deviation)
        return torch.stack(columns, 1)

    def windows(self, values: Tensor) -> tuple[Batch, Batch]:
        """Training and test windows, with their forecast values as targets float[B, K].

        A window lies in one of the two parts, its forecast values included. Windows that reach across the border are in
        neither, so no value is in both training and test data. Windows with a missing step or a missing forecast value
        are left out, and unless ``filled`` also those with any other missing value.

        Args:
            values: float[N, D], with the shape of :attr:`values`.

        Raises:
            DataError: a part has no window.
        """
        starts = self._starts(values)
        last = starts + self.steps + max(self.ahead) - 1
        parts = {
            "training": starts[self.clock[last] < self.learnt_before],
            "test": starts[self.clock[starts] >= self.tested_from],
        }
        for part, part_starts in parts.items():
            if not len(part_starts):
                raise DataError(
                    f"The {part} data have no window of {self.steps} {self.unit}s and the {max(self.ahead)} after it "
                    "without a gap: take shorter windows, or more data."
                )
        train, test = (self._batch(values, part_starts[:: self.stride]) for part_starts in parts.values())
        return train, test

    def _starts(self, values: Tensor) -> Tensor:
        """The rows int64[W] at which complete windows begin."""
        span = self.steps + max(self.ahead)
        starts = torch.arange(max(0, len(values) - span + 1))
        whole = self.clock[starts + span - 1] - self.clock[starts] == span - 1
        missing = torch.cat([torch.zeros(1, dtype=torch.int64), values.isnan().any(1).cumsum(0)])
        if not self.filled:
            whole &= missing[starts + self.steps] == missing[starts]
        for steps in self.ahead:
            whole &= ~values[starts + self.steps + steps - 1, 0].isnan()
        return starts[whole]

    def _batch(self, values: Tensor, starts: Tensor) -> Batch:
        """The windows that begin at some rows int64[B], with their targets."""
        inputs = values[starts[:, None] + torch.arange(self.steps)]
        if self.filled:
            inputs = marked(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))
        targets = values[starts[:, None] + self.steps - 1 + torch.tensor(self.ahead), 0]
        if not torch.isfinite(targets.float()).all():
            raise DataError(
                f"A value of the series {self.features[0]!r} is too far from those of the training data: correct it."
            )
        return Batch(inputs.float(), torch.full((len(starts),), self.steps), targets.float())

    def names(self) -> Names:
        """The names of the series, and of the forecast values by their horizon."""
        ahead = tuple(f"{count} {self.unit}{'' if count == 1 else 's'} ahead" for count in self.ahead)
        return Names(features=marked_names(self.features) if self.filled else self.features, outputs=ahead)


@dataclass(frozen=True)
class BaselineScores:
    """R² of the baseline forecasts on the test windows, for the explained output.

    Attributes:
        persistence: of the last value of the window, repeated.
        autoregression: of a linear function of the window's values of the forecast series, fitted by least squares to
            the training windows.
    """

    persistence: float
    autoregression: float

    @property
    def baseline(self) -> float:
        """The better forecast without any fitting: persistence, or the mean, whose R² is 0."""
        return max(0.0, self.persistence)

    @property
    def gate(self) -> float:
        """The default gate: halfway from the baseline to the autoregression, and at least .01 above the baseline."""
        return self.baseline + max((self.autoregression - self.baseline) / 2, 0.01)


def baseline_scores(data: Dataset) -> BaselineScores:
    """Measure the baseline forecasts on the data of a forecasting task."""
    truth = data.test.targets[:, 0]
    train, test = (_with_constant(part.inputs[:, :, 0]) for part in (data.train, data.test))
    fitted = torch.linalg.lstsq(train, data.train.targets[:, :1].double()).solution
    return BaselineScores(
        persistence=r_squared(data.test.inputs[:, -1, 0], truth),
        autoregression=r_squared((test @ fitted)[:, 0], truth),
    )


def _with_constant(past: Tensor) -> Tensor:
    """The design matrix float64[B, T + 1] of windows float[B, T], with a last column of ones."""
    return torch.nn.functional.pad(past.double(), (0, 1), value=1.0)


@dataclass(frozen=True)
class ForecastingTask(TrainedTask):
    """Base class of time series forecasting. Derive from it and define ``series`` and ``network``.

    A model forecasts the next values of a series from a window of it and of parallel series. All series are
    standardised by the training data, so the reference, 0, is their mean. The explained output is the first horizon.
    The gate lies halfway between persistence (or the mean, if that is better) and a linear autoregression, unless
    ``gate`` is overridden.
    """

    outputs_are: ClassVar[Outputs] = "values"

    def series(self) -> Series:
        """Make or load the series; the same every time, without touching the global random state."""
        raise NotImplementedError

    def gate(self, scores: BaselineScores) -> float:
        """The least R² at which a model is explained, for the scores of the baseline forecasts."""
        return scores.gate

    def explained(self, tested: int) -> int:  # noqa: ARG002  # read by tasks with few test windows
        """The number of windows to explain, for the number of test windows."""
        return self.instances

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        series = self.series()
        train, test = series.windows(series.standardised())
        return Dataset(
            train=train,
            test=test,
            explained=held_out(test, self.explained(len(test)), self.name),
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=series.names(),
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """R² of the explained output on the test windows; the baseline is the better of persistence and the mean."""
        scores = baseline_scores(data)
        predicted = model(data.test.inputs, data.test.lengths)[:, 0]
        return Competence("R2", r_squared(predicted, data.test.targets[:, 0]), self.gate(scores), scores.baseline)
