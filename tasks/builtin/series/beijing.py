"""Air quality forecasting: fine dust in Beijing in the next hours, from a day's dust and weather."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
import pandas as pd

from ....errors import DataError
from ....plugins import register
from ...downloads.locate import located
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...readers.tables import Table, read_table
from ...readers.written import shown
from ...trained import RecurrentTask
from .forecasting import ForecastingTask, Series
from .hourly import hour_of, hourly

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

_FILE: Final = "PRSA_data_2010.1.1-2014.12.31.csv"
_CALENDAR: Final = ("year", "month", "day", "hour")
_WEATHER: Final = ("DEWP", "TEMP", "PRES", "Iws", "Is", "Ir")
_HEADER: Final = ("No", *_CALENDAR, "pm2.5", "DEWP", "TEMP", "PRES", "cbwd", "Iws", "Is", "Ir")
# "cv" is the code of the source for calm and variable
_WINDS: Final = ("NE", "NW", "SE", "cv")
_FEATURES: Final = ("pm2.5", *_WEATHER, *(f"wind {direction}" for direction in _WINDS))
_FIRST_TEST_DAY: Final = "2014-01-01"


@register
@dataclass(frozen=True)
class BeijingPM25(ForecastingTask, RecurrentTask):
    """Forecast of fine dust (PM2.5) over Beijing six hours ahead, from a day's dust and weather.

    The series are hourly from 2010 to 2014: the dust concentration at the US embassy, which is forecast, and, at the
    airport, dew point, temperature, pressure, cumulated wind, snow and rain, and the wind's direction as four series of
    0 and 1. Every third window of ``steps`` hours is used; windows with a missing dust value (NA) are left out. Series
    are standardised by mean and deviation of the training years, 2010–2013; a test window lies in 2014, its forecast
    hour included. The model is a GRU, read out after the last hour; its one output is the dust ``horizon`` hours later.

    The gate lies halfway between persistence and a linear autoregression over the dust of the window, both measured on
    the test windows. The reference is 0, the mean of the training years.

    Truth: not known.

    Source: UCI Machine Learning Repository, "Beijing PM2.5" (381).
    """

    name: ClassVar[str] = "beijing-pm25"
    application: ClassVar[str] = "weather forecasting"
    source: ClassVar[str] = "https://archive.ics.uci.edu/dataset/381/beijing+pm2+5+data"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "X. Liang, T. Zou, B. Guo, S. Li, H. Zhang, S. Zhang, H. Huang, S. X. Chen: Assessing Beijing's PM2.5 "
        "Pollution: Severity, Weather Impact, APEC and Winter Heating. Proceedings of the Royal Society A 471, "
        "20150257, 2015. doi:10.1098/rspa.2015.0257"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("beijing-pm25",)
    recipe: ClassVar[Recipe] = Recipe(epochs=8, learning_rate=5e-3, batch_size=64, weight_decay=1e-2)

    hidden: int = 24
    steps: int = 24
    horizon: int = 6

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`.

        Raises:
            DataError: the file is not downloaded, or damaged.
        """
        table = read_table(located(self.name) / _FILE).expect(_HEADER)
        columns = [table.numbers("pm2.5", missing=True), *map(table.numbers, _WEATHER), *_directions(table)]
        values, clock = hourly(table, _times(table), columns)
        border = hour_of(_FIRST_TEST_DAY)
        return Series(values, clock, _FEATURES, self.steps, (self.horizon,), "hour", border, border, stride=3)

    def network(self) -> nn.Module:
        """A GRU, read out after the last hour."""
        return RecurrentNet(len(_FEATURES), self.hidden, 1, cell=self.cell, layers=self.layers, pooling="last")


def _times(table: Table) -> NDArray[np.int64]:
    """Times int64[N] of the rows, in nanoseconds since 1970, from the four columns of the calendar."""
    parts = {name: table.numbers(name) for name in _CALENDAR}
    try:
        dates = pd.to_datetime(pd.DataFrame(parts), errors="coerce")
    except (ValueError, OverflowError) as error:
        raise DataError(f"{table.file} holds a date that is none: fetch the file again.") from error
    invalid = np.flatnonzero(dates.isna())
    if len(invalid):
        raise table.refuse(int(invalid[0]), "day", "belongs to no date: fetch the file again.")
    return table.ticks(dates, "year", "datetime64[ns]")


def _directions(table: Table) -> list[NDArray[np.float64]]:
    """One-hot encoding of the wind: for each direction float64[N], 1 while the wind comes from it, else 0."""
    directions = table.texts("cbwd")
    unknown = np.flatnonzero(~np.array([direction in _WINDS for direction in directions]))
    if len(unknown):
        known = ", ".join(_WINDS)
        raise table.refuse(int(unknown[0]), "cbwd", f"holds {shown(directions[unknown[0]])}, which is none of {known}.")
    return [(directions == direction).astype(np.float64) for direction in _WINDS]
