"""One's own series: the next values of a column of a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch

from ...errors import DataError, ParameterError
from ...plugins import register
from ..builtin.series.forecasting import ForecastingTask, Series, Yardsticks
from ..models.networks import AttentiveRecurrentNet, Cell, Pooling, RecurrentNet
from ..models.training import Recipe
from ..readers.sequences import TableFile
from ..trained import checked_share

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from ..readers.tables import Table


@dataclass(frozen=True)
class SeriesFile(TableFile):
    """A file whose rows are the steps of series that run side by side.

    Attributes:
        time: the column that orders the rows.
        forecast: the column that is forecast; it is read too.
        features: the other columns that are read, or patterns with * and ?; if none, the forecast one alone.
        steps: how many rows a window has.
        horizon: how many rows after it are forecast, each an output of its own; the first is explained.
        gap: the longest time from a row to the next within a window, a number or a span such as ``4D`` or ``1h``; if
            empty, each row follows on the one before, however long after.
        missing: ``refuse`` missing values, ``skip`` the windows that hold one, or ``mask``: the last value again, and
            another feature that says whether it was measured.
        held_out_share: of the rows, the last ones.
        stride: of how many windows one is taken.
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
        """The series in order of time.

        Raises:
            DataError: something in the file does not fit; the sentence says where, and what to do.
        """
        table = self.table()
        names = (table.column(self.forecast), *self._others(table))
        if self.time in (self.forecast, *self.features):
            raise DataError(f"The column {self.time!r} of {table.file} is the time: leave it out of what is read.")
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
        return [name for name in table.columns(self.features) if name not in {self.time, self.forecast}]

    def _check_distinct(self, table: Table, times: NDArray[Any], order: NDArray[np.int64]) -> None:
        double = np.flatnonzero(np.diff(times[order]) == 0)
        if len(double):
            row, other = order[double[0] : double[0] + 2].tolist()
            raise table.refuse(other, self.time, f"is the time of row {table.rows[row]} too: drop one.")

    def _clock(self, table: Table, times: NDArray[Any]) -> NDArray[np.int64]:
        """int64[N]: the rows counted, one left out wherever the gap is too long."""
        if not self.gap:
            return np.arange(len(times))
        dates = np.issubdtype(times.dtype, np.integer)
        try:
            longest = pd.Timedelta(self.gap).value if dates else float(self.gap)
        except ValueError as error:
            way = "a span of time such as 4D, 1h or 10min" if dates else "a number, as the times are"
            raise ParameterError(
                f"csv-forecast: gap={self.gap} does not fit {table.file} (it must be {way})."
            ) from error
        breaks = np.concatenate([[0], np.diff(times) > longest]).cumsum()
        clock: NDArray[np.int64] = np.arange(len(times)) + breaks
        return clock


@register
@dataclass(frozen=True)
class CsvForecast(SeriesFile, ForecastingTask):
    """The next values of a column of a CSV file of one's own, from a window of it and of others.

    ``csv-forecast:path=weather.csv,time=date,forecast=temperature,features=pressure/humidity,steps=48,horizon=6``. The
    rows are ordered by time. The last of them, a share of ``held_out_share``, are held out; a window lies, what it
    forecasts included, as a whole in one of the two parts. All columns are standardised by mean and deviation of what
    is learnt, so the reference, 0, is the mean. The network is of the family of the built-in tasks.

    A model is fit to be explained from ``gate`` on; if that is not given, from halfway between persistence (or the
    mean) and a linear autoregression, both measured on what is held out.

    Truth: not known.

    Source: the user's.

    Attributes:
        path, separator, encoding, decimal, time_format: the file and how it is written; see :class:`TableFile`. On the
            command line a path holds no comma, and names of columns neither comma nor slash: ? stands for either.
        time, forecast, features, steps, horizon, gap, missing, held_out_share, stride: which columns are read, and how
            they become windows; see :class:`SeriesFile`.
        gate_at: the least R² at which a model is explained; 0 to go by the yardsticks.
        cell, hidden, layers, bidirectional, pooling, dropout: see :class:`RecurrentNet`.
        epochs, learning_rate, batch_size, weight_decay: see :class:`Recipe`.
        instances: how many held-out windows are explained, at most.
    """

    name: ClassVar[str] = "csv-forecast"
    application: ClassVar[str] = "given"
    source: ClassVar[str] = "given by the user"
    licence: ClassVar[str] = "the user's"
    citation: ClassVar[str] = "the user's"
    explaining: ClassVar[frozenset[str]] = frozenset({"instances", "gate_at"})

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
        ForecastingTask.__post_init__(self)
        recipe = Recipe(self.epochs, self.learning_rate, self.batch_size, weight_decay=self.weight_decay)
        # it follows from the parameters, which are not known to the class
        object.__setattr__(self, "recipe", recipe)

    @property
    def parameters(self) -> dict[str, Any]:
        """See :attr:`Plugin.parameters`; of the path the file's name: what the file holds is in the identity."""
        return super().parameters | {"path": self.file}

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`; with the fingerprint of the file."""
        return super().identity() | {"content": self.content}

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`."""
        return self.read()

    def explained(self, tested: int) -> int:
        """All that are held out, if they are fewer than ``instances``."""
        return min(self.instances, tested)

    def gate(self, found: Yardsticks) -> float:
        """See :meth:`ForecastingTask.gate`."""
        return self.gate_at or found.gate

    def network(self) -> nn.Module:
        """A member of the family, by the parameters."""
        make = AttentiveRecurrentNet if self.pooling in {"attention", "dot-attention"} else RecurrentNet
        return make(
            self.data().train.inputs.shape[2],
            self.hidden,
            self.horizon,
            cell=self.cell,
            layers=self.layers,
            bidirectional=self.bidirectional,
            pooling=self.pooling,
            dropout=self.dropout,
        )
