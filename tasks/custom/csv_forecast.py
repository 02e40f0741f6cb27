"""Forecast of a column of the user's CSV file from a window of its past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch

from ...errors import DataError, ParameterError
from ...plugins import register
from ..builtin.series.forecasting import BaselineScores, ForecastingTask, Series
from ..models.networks import AttentiveRecurrentNet, Cell, Pooling, RecurrentNet
from ..models.training import Recipe
from ..readers.sequences import TableFile
from ..readers.written import finite
from ..trained import checked_share
from .file_task import FileTask

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from ..readers.tables import Table


@dataclass(frozen=True)
class SeriesFile(TableFile):
    """Multivariate time series in a CSV file: one row for each step, one column for each variable.

    Attributes:
        time: column that orders the rows.
        forecast: column that is forecast; it is also an input feature.
        features: other columns used as input features, or patterns with * and ?; if empty, only the forecast column.
        steps: number of rows in a window.
        horizon: number of forecast rows after the window, each an output of its own; the first is explained.
        gap: longest time between consecutive rows of a window, a number or a span such as ``4D`` or ``1h``; if empty,
            consecutive rows are consecutive steps, whatever the time between them.
        missing: ``refuse`` missing values, ``skip`` the windows that hold one, or ``mask``: carry the last value
            forward and add a feature that tells whether the value was measured.
        held_out_share: share of the rows that is held out, from the end of the series.
        stride: one in this many windows is taken; 1 takes all.
    """

    time: str = ""
    forecast: str = ""
    features: tuple[str, ...] = ()
    steps: int = 24
    horizon: int = 1
    gap: str = ""
    missing: Literal["refuse", "skip", "mask"] = "refuse"
    held_out_share: float = 0.25
    stride: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("time", "forecast"):
            if not getattr(self, name):
                raise ParameterError(f"A forecast from a CSV file needs a column for {name!r}: write {name}=….")
        checked_share("csv-forecast", "held_out_share", self.held_out_share)

    def read(self) -> Series:
        """Read the series, ordered by time.

        Raises:
            DataError: the file does not fit the parameters; the message names the place and the way out.
            ParameterError: the gap is neither a number nor a span of time, as the times require.
        """
        table = self.table()
        names = (table.column(self.forecast), *self._others(table))
        if self.time in (self.forecast, *self.features):
            raise DataError(
                f"The column {self.time!r} of {table.file} is the time: leave it out of forecast and features."
            )
        values = np.stack([table.numbers(name, missing=self.missing != "refuse") for name in names], axis=1)
        times = table.times(self.time, self.time_format)
        order = np.argsort(times, kind="stable")
        self._check_distinct(table, times, order)
        clock = self._clock(table, times[order])
        border = clock[min(round(len(clock) * (1 - self.held_out_share)), len(clock) - 1)]
        return Series(
            values=torch.from_numpy(values[order]),
            clock=torch.from_numpy(clock),
            features=names,
            steps=self.steps,
            ahead=tuple(range(1, self.horizon + 1)),
            unit="step",
            learnt_before=int(border),
            tested_from=int(border),
            stride=self.stride,
            filled=self.missing == "mask",
        )

    def _others(self, table: Table) -> list[str]:
        """Names of the feature columns other than the forecast column."""
        return [name for name in table.columns(self.features) if name not in {self.time, self.forecast}]

    def _check_distinct(self, table: Table, times: NDArray[Any], order: NDArray[np.int64]) -> None:
        """Refuse two rows with the same time."""
        repeats = np.flatnonzero(np.diff(times[order]) == 0)
        if len(repeats):
            row, other = order[repeats[0] : repeats[0] + 2].tolist()
            raise table.refuse(other, self.time, f"is the time of row {table.rows[row]} too: drop one.")

    def _clock(self, table: Table, times: NDArray[Any]) -> NDArray[np.int64]:
        """Step indices int64[N]: consecutive, with one index skipped wherever the gap is too long."""
        if not self.gap:
            return np.arange(len(times))
        dates = np.issubdtype(times.dtype, np.integer)
        try:
            longest = _nanoseconds(self.gap) if dates else finite(self.gap)
        except ValueError as error:
            expected = "a span of time such as 4D, 1h or 10min" if dates else "a number, as the times are"
            raise ParameterError(
                f"csv-forecast: gap={self.gap} does not fit {table.file} (it must be {expected})."
            ) from error
        breaks = np.concatenate([[0], np.diff(times) > longest]).cumsum()
        clock: NDArray[np.int64] = np.arange(len(times)) + breaks
        return clock


def _nanoseconds(span: str) -> int:
    """Nanoseconds of a span of time such as ``4D``; a ValueError if it is none, NaT included."""
    found = pd.Timedelta(span)
    if pd.isna(found):
        raise ValueError("it is no span of time")
    return int(found.value)


@register
@dataclass(frozen=True)
class CsvForecast(SeriesFile, FileTask, ForecastingTask):
    """Forecast of the next values of a column of the user's CSV file, from a window of this column and others.

    ``csv-forecast:path=weather.csv,time=date,forecast=temperature,features=pressure/humidity,steps=48,horizon=6``. The
    rows are ordered by time. The last rows, a share of ``held_out_share``, are held out. A window and the values that
    it forecasts lie in one of the two parts. All columns are standardised by mean and standard deviation of the
    training part, so the reference, 0, is the mean. The network is of the same family as in the built-in tasks.

    A model is explained if its R² reaches ``gate_at``. The default is halfway between persistence (or the mean) and a
    linear autoregression, both measured on the held-out part.

    Truth: not known.

    Source: the user's.

    Attributes:
        path, separator, encoding, decimal, time_format: the file and its format; see :class:`TableFile`. On the
            command line a path holds no comma, and names of columns neither comma nor slash: write ? for either.
        time, forecast, features, steps, horizon, gap, missing, held_out_share, stride: the columns and how they are
            cut into windows; see :class:`SeriesFile`.
        gate_at: the least R² at which a model is explained; 0 for the default described above.
        cell, hidden, layers, bidirectional, pooling, dropout: see :class:`RecurrentNet`.
        epochs, learning_rate, batch_size, weight_decay: see :class:`Recipe`.
        instances: the largest number of held-out windows that are explained.
        label: name of the task in results, any text; ``name=…`` of :func:`task_from_csv`.
    """

    name: ClassVar[str] = "csv-forecast"
    explaining: ClassVar[frozenset[str]] = FileTask.explaining | {"gate_at"}

    gate_at: float = 0.0
    cell: Cell = "gru"
    hidden: int = 24
    layers: int = 1
    bidirectional: bool = False
    pooling: Pooling = "last"
    dropout: float = 0.0
    epochs: int = 20
    learning_rate: float = 1e-2
    batch_size: int = 32
    weight_decay: float = 1e-2

    def __post_init__(self) -> None:
        SeriesFile.__post_init__(self)
        self.check_label()
        ForecastingTask.__post_init__(self)
        recipe = Recipe(self.epochs, self.learning_rate, self.batch_size, weight_decay=self.weight_decay)
        # the recipe depends on the parameters of the instance, so it cannot be a class variable
        object.__setattr__(self, "recipe", recipe)

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`."""
        return self.read()

    def explained(self, tested: int) -> int:
        """Number of explained windows: ``instances``, or all held-out windows if these are fewer."""
        return min(self.instances, tested)

    def gate(self, scores: BaselineScores) -> float:
        """See :meth:`ForecastingTask.gate`."""
        return self.gate_at or scores.gate

    def network(self) -> nn.Module:
        """Untrained recurrent network with the architecture that the parameters describe."""
        architecture = AttentiveRecurrentNet if self.pooling in {"attention", "dot-attention"} else RecurrentNet
        return architecture(
            self.data().train.inputs.shape[2],
            self.hidden,
            self.horizon,
            cell=self.cell,
            layers=self.layers,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=self.dropout,
        )
