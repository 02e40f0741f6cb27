"""Temperature forecasting in Jena a day ahead, from the weather of two days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np

from ....plugins import register
from ...downloads.locate import located
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...readers.tables import read_table
from ...trained import RecurrentTask
from .forecasting import ForecastingTask, Series
from .hourly import hour_of, hourly

if TYPE_CHECKING:
    from torch import nn

_FILE: Final = "jena_climate_2009_2016.csv"
_TIME: Final = "Date Time"
_FEATURES: Final = (
    "p (mbar)", "T (degC)", "Tpot (K)", "Tdew (degC)", "rh (%)", "VPmax (mbar)", "VPact (mbar)", "VPdef (mbar)",
    "sh (g/kg)", "H2OC (mmol/mol)", "rho (g/m**3)", "wv (m/s)", "max. wv (m/s)", "wd (deg)",
)  # fmt: skip
_FORECAST: Final = "T (degC)"
_NOT_MEASURED: Final = -9999.0
_FIRST_TEST_DAY: Final = "2015-01-01"


@register
@dataclass(frozen=True)
class JenaClimate(ForecastingTask, RecurrentTask):
    """Forecast of the temperature in Jena a day ahead, from the weather of the two days before.

    The data are 14 quantities measured every 10 minutes from 2009 to 2016, of which every full hour is read:
    temperature, which is forecast, air pressure, humidity and wind, some of them functions of others. Repeated rows are
    read once. A wind of −9999 is a missing value. Every third window of ``steps`` hours is used; windows with a gap or
    a missing value are left out. Series are standardised by mean and deviation of the training years, 2009–2014; a test
    window lies in 2015–2016, its forecast hour included. The wind's direction stays an angle, with its jump from 360
    to 0. The model is a GRU, read out after the last hour; its one output is the temperature ``horizon`` hours later.

    The gate lies halfway between persistence (the same hour today) and a linear autoregression over the temperatures of
    the window, both measured on the test windows. The reference is 0, the mean of the training years.

    Truth: not known.

    Source: Max Planck Institute for Biogeochemistry, Jena; the excerpt of Chollet, "Deep Learning with Python", 2017.
    """

    name: ClassVar[str] = "jena-climate"
    application: ClassVar[str] = "weather forecasting"
    source: ClassVar[str] = (
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/jena_climate_2009_2016.csv.zip, from the weather "
        "station of the Max Planck Institute for Biogeochemistry, https://www.bgc-jena.mpg.de/wetter/"
    )
    licence: ClassVar[str] = "not stated"
    citation: ClassVar[str] = (
        "Max Planck Institute for Biogeochemistry, Jena: weather data 2009–2016. F. Chollet: Deep Learning with "
        "Python. Manning, 2017, section 6.3"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("jena-climate",)
    recipe: ClassVar[Recipe] = Recipe(epochs=5, learning_rate=5e-3, batch_size=64, weight_decay=1e-2)

    hidden: int = 32
    steps: int = 48
    horizon: int = 24

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`.

        Raises:
            DataError: the file is not downloaded, or damaged.
        """
        table = read_table(located(self.name) / _FILE).expect((_TIME, *_FEATURES)).distinct()
        table = table.where(table.cells[_TIME].str.endswith(":00:00").to_numpy(dtype=bool))
        features = (_FORECAST, *(name for name in _FEATURES if name != _FORECAST))
        columns = {name: table.numbers(name) for name in features}
        for name in ("wv (m/s)", "max. wv (m/s)"):
            columns[name] = np.where(columns[name] == _NOT_MEASURED, np.nan, columns[name])
        values, clock = hourly(table, table.dates(_TIME, "%d.%m.%Y %H:%M:%S"), columns.values())
        border = hour_of(_FIRST_TEST_DAY)
        return Series(values, clock, features, self.steps, (self.horizon,), "hour", border, border, stride=3)

    def network(self) -> nn.Module:
        """A GRU, read out after the last hour."""
        return RecurrentNet(len(_FEATURES), self.hidden, 1, cell=self.cell, layers=self.layers, pooling="last")
