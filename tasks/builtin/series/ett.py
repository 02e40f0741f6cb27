"""Forecasting of the oil temperature of electricity transformers (ETT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from ....errors import DataError
from ....plugins import register
from ...downloads.locate import located
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...readers.tables import read_table
from ...trained import RecurrentTask
from .forecasting import ForecastingTask, Series
from .hourly import hourly

if TYPE_CHECKING:
    from torch import nn

_TIME: Final = "date"
_LOADS: Final = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL")
_FORECAST: Final = "OT"
_MONTH: Final = 30 * 24
_LEARNT: Final = 16 * _MONTH
_USED: Final = 20 * _MONTH


@register
@dataclass(frozen=True)
class ETTh1(ForecastingTask, RecurrentTask):
    """Forecast of a transformer's oil temperature a day ahead, from it and six loads over the four days before.

    The series are hourly from July 2016: the oil temperature (OT), which is forecast, and useful and useless load at
    three levels. The first 20 months of 30 days are used, as published: 16 for training (the published 12 of training
    and 4 of validation) and 4 for testing. Windows of ``steps`` hours are standardised by mean and deviation of the
    training months; a test window lies in the last 4 months, its forecast hour included. The model is a GRU, read out
    after the last hour; its one output is the temperature ``horizon`` hours later.

    The test months are winter months, cooler than most training months, so persistence, which starts from today's
    level, is hard to beat. The gate lies halfway between persistence and a linear autoregression over the temperatures
    of the window, both measured on the test windows. The reference is 0, the mean of the training months.

    Truth: not known.

    Source: Zhou et al., "Informer", AAAI 2021; ETDataset, ETT-small.
    """

    name: ClassVar[str] = "etth1"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = "https://github.com/zhouhaoyi/ETDataset, ETT-small"
    licence: ClassVar[str] = "CC BY-ND 4.0"
    citation: ClassVar[str] = (
        "H. Zhou, S. Zhang, J. Peng, S. Zhang, J. Li, H. Xiong, W. Zhang: Informer: Beyond Efficient Transformer for "
        "Long Sequence Time-Series Forecasting. AAAI 2021. doi:10.1609/aaai.v35i12.17325"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("ett",)
    recipe: ClassVar[Recipe] = Recipe(epochs=8, learning_rate=5e-3, batch_size=64, weight_decay=1e-1)
    file: ClassVar[str] = "ETTh1.csv"

    hidden: int = 16
    steps: int = 96
    horizon: int = 24

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`.

        Raises:
            DataError: the file is not downloaded, damaged, or too short.
        """
        table = read_table(located("ett") / self.file).expect((_TIME, *_LOADS, _FORECAST))
        features = (_FORECAST, *_LOADS)
        times = table.dates(_TIME, "%Y-%m-%d %H:%M:%S")
        values, clock = hourly(table, times, [table.numbers(name) for name in features])
        begin = int(clock[0])
        used = clock < begin + _USED
        if int(clock[-1]) < begin + _USED - 1:
            raise DataError(f"{table.file} ends before 20 months are over: fetch the file again.")
        border = begin + _LEARNT
        return Series(
            values[used], clock[used], features, self.steps, (self.horizon,), "hour", border, border, stride=2
        )

    def network(self) -> nn.Module:
        """A GRU, read out after the last hour."""
        return RecurrentNet(1 + len(_LOADS), self.hidden, 1, cell=self.cell, layers=self.layers, pooling="last")


@register
@dataclass(frozen=True)
class ETTh2(ETTh1):
    """Forecast of another transformer's oil temperature a day ahead: :class:`ETTh1` with the file ETTh2.csv.

    The transformer is at another place.

    Truth: not known.

    Source: Zhou et al., "Informer", AAAI 2021; ETDataset, ETT-small.
    """

    name: ClassVar[str] = "etth2"
    file: ClassVar[str] = "ETTh2.csv"
