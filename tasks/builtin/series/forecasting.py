"""Forecasting: from a window of series to the next values of one of them, with the yardsticks forecasters have."""

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
    """Series that run side by side, cut in time into what is learnt from and what is tested on.

    Attributes:
        values: float[N, D], a row for each step in order of time; NaN where nothing was measured. Column 0 is the
            series that is forecast.
        clock: int64[N], ascending: when each row was, in steps. Where it jumps by more than 1, steps are missing.
        features: names of the D series.
        steps: T, how many steps a window has.
        ahead: how many steps after its window each forecast value lies; the first of them is the explained one.
        unit: what a step is called, in the singular: ``"month"``.
        learnt_before: on the clock: everything learnt lies before it.
        tested_from: on the clock: everything tested on lies at or after it.
        stride: of how many windows one is taken: neighbours differ by one step, and many say little more than few.
        filled: whether windows in which values are missing are kept, with the last value of the window in their place
            and a mark: see :func:`marked`.

    Raises:
        DataError: shapes that do not fit, a clock that does not ascend, or parts that overlap.
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
            raise DataError(f"Row {row} of the series is not later than the one before: sort them, and drop doubles.")
        if self.tested_from < self.learnt_before:
            raise DataError(
                f"What is tested on begins at {self.tested_from}, before what is learnt ends, {self.learnt_before}."
            )

    def standardised(self) -> Tensor:
        """float[N, D]: less the mean and divided by the deviation of what is learnt, each series for itself.

        Raises:
            DataError: a series does not vary there.
        """
        columns = []
        for name, column in zip(self.features, self.values.unbind(1), strict=True):
            learnt = column[(self.clock < self.learnt_before) & ~column.isnan()]
            deviation = learnt.std() if len(learnt) > 1 else learnt.new_zeros(())
            if not deviation > 0:
                raise DataError(f"The series {name!r} is constant in what is learnt from: leave it out.")
            columns.append((column - learnt.mean()) / deviation)
        return torch.stack(columns, 1)

    def windows(self, values: Tensor) -> tuple[Batch, Batch]:
        """The windows to learn from and those to be tested on, with what they forecast as targets float[B, K].

        A window lies, what it forecasts included, as a whole in one of the two parts; so those that reach across the
        border are in neither, and no value is both learnt from and tested on. Windows in which a step is missing, or
        what is forecast, are left out, and unless ``filled`` those in which any value is.

        Args:
            values: float[N, D], of the shape of :attr:`values`.

        Raises:
            DataError: a part holds no window.
        """
        starts = self._starts(values)
        last = starts + self.steps + max(self.ahead) - 1
        parts = {
            "learnt from": starts[self.clock[last] < self.learnt_before],
            "tested on": starts[self.clock[starts] >= self.tested_from],
        }
        for what, found in parts.items():
            if not len(found):
                raise DataError(
                    f"No window of {self.steps} {self.unit}s and the {max(self.ahead)} after it, whole and without a "
                    f"gap, lies in what is {what}: take shorter windows, or more data."
                )
        learnt, tested = (self._batch(values, found[:: self.stride]) for found in parts.values())
        return learnt, tested

    def _starts(self, values: Tensor) -> Tensor:
        """int64[W]: the rows at which complete windows begin."""
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
        inputs = values[starts[:, None] + torch.arange(self.steps)]
        if self.filled:
            inputs = marked(inputs, torch.ones(inputs.shape[:2], dtype=torch.bool))
        targets = values[starts[:, None] + self.steps - 1 + torch.tensor(self.ahead), 0]
        return Batch(inputs.float(), torch.full((len(starts),), self.steps), targets.float())

    def names(self) -> Names:
        """Of the series, and of the values that are forecast."""
        ahead = tuple(f"{count} {self.unit}{'' if count == 1 else 's'} ahead" for count in self.ahead)
        return Names(features=marked_names(self.features) if self.filled else self.features, outputs=ahead)


@dataclass(frozen=True)
class Yardsticks:
    """What forecasts without a network reach: R² on the test windows, of the explained value.

    Attributes:
        persistence: the last value of the window again.
        autoregression: a linear function of all the window's values of the forecast series, fitted by least squares to
            the training windows.
    """

    persistence: float
    autoregression: float

    @property
    def baseline(self) -> float:
        """What is had without learning: persistence, or the mean, whose R² is 0."""
        return max(0.0, self.persistence)

    @property
    def gate(self) -> float:
        """Halfway from the baseline to the autoregression; a hundredth above the baseline at least."""
        return self.baseline + max((self.autoregression - self.baseline) / 2, 0.01)


def yardsticks(data: Dataset) -> Yardsticks:
    """Measure the yardsticks of a forecasting task's data."""
    truth = data.test.targets[:, 0]
    train, test = (_with_constant(part.inputs[:, :, 0]) for part in (data.train, data.test))
    fitted = torch.linalg.lstsq(train, data.train.targets[:, :1].double()).solution
    return Yardsticks(
        persistence=r_squared(data.test.inputs[:, -1, 0], truth),
        autoregression=r_squared((test @ fitted)[:, 0], truth),
    )


def _with_constant(past: Tensor) -> Tensor:
    return torch.nn.functional.pad(past.double(), (0, 1), value=1.0)


@dataclass(frozen=True)
class ForecastingTask(TrainedTask):
    """The next values of a series from a window of it and of others beside it. Write one by giving it ``series``.

    All series are standardised by what is learnt from, so the reference, 0, is the mean there. The explained output is
    the first of those that are forecast. A model is fit to be explained from halfway between what persistence (or the
    mean) and what a linear autoregression reach, unless ``gate`` says otherwise.
    """

    outputs_are: ClassVar[Outputs] = "values"

    def series(self) -> Series:
        """Load the series; the same every time, without touching the global random state."""
        raise NotImplementedError

    def gate(self, found: Yardsticks) -> float:
        """The least R² at which a model is explained."""
        return found.gate

    def explained(self, tested: int) -> int:  # noqa: ARG002  # for those that explain what there is
        """How many of the tested windows are explained."""
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
        found = yardsticks(data)
        predicted = model(data.test.inputs, data.test.lengths)[:, 0]
        return Competence("R2", r_squared(predicted, data.test.targets[:, 0]), self.gate(found), found.baseline)
