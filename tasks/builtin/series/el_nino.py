"""Forecasting of the sea-surface temperature off Peru (El Niño) from the last two years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from ....plugins import register
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...trained import RecurrentTask, missing_extra
from .forecasting import BaselineScores, ForecastingTask, Series

if TYPE_CHECKING:
    from torch import Tensor, nn

_WINDOW = 24
_FIRST_TEST_YEAR = 1995


@register
@dataclass(frozen=True)
class ElNino(ForecastingTask, RecurrentTask):
    """Forecast of the sea-surface temperature off Peru (Niño 1+2) in the next months, from the 24 months before.

    The series has monthly means from 1950 to 2010, standardised by mean and deviation of the training years
    (1950–1994). The seasonal cycle is left in, so the model has to learn it. Windows of 24 months are followed by
    ``horizon`` months to be predicted. A test window lies in 1995–2010, its forecast months included, so no month is in
    both training and test data. The model is a GRU, read out after the last month, with one output for each month
    ahead.

    The explained output is the first, one month ahead, where the baseline forecasts differ most clearly (R² on the test
    windows: .736 for persistence, .948 for a linear autoregression over the 24 months). The reference is 0, the mean
    temperature of the training years.

    Truth: not known.

    Source: NOAA, ERSST.V3B, as packaged in statsmodels (``statsmodels.datasets.elnino``).
    """

    name: ClassVar[str] = "el-nino"
    application: ClassVar[str] = "weather forecasting"
    source: ClassVar[str] = "http://www.cpc.ncep.noaa.gov/data/indices/ (ERSST.V3B, Niño 1+2), packaged in statsmodels"
    licence: ClassVar[str] = "public domain"
    citation: ClassVar[str] = (
        "T. M. Smith, R. W. Reynolds, T. C. Peterson, J. Lawrimore: Improvements to NOAA's Historical Merged "
        "Land–Ocean Surface Temperature Analysis (1880–2006). Journal of Climate 21, 2283–2296, 2008. "
        "doi:10.1175/2007JCLI2100.1"
    )
    extra: ClassVar[str] = "data"
    recipe: ClassVar[Recipe] = Recipe(epochs=30, learning_rate=1e-2, batch_size=32, weight_decay=1e-2)

    hidden: int = 24
    horizon: int = 6

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`."""
        years, temperature = _temperature()
        border = int((years < _FIRST_TEST_YEAR).sum())
        return Series(
            values=temperature[:, None],
            clock=torch.arange(len(temperature)),
            features=("sea-surface temperature",),
            steps=_WINDOW,
            ahead=tuple(range(1, self.horizon + 1)),
            unit="month",
            learnt_before=border,
            tested_from=border,
        )

    def network(self) -> nn.Module:
        """A GRU, read out after the last month, with an output for each month ahead."""
        return RecurrentNet(1, self.hidden, self.horizon, cell=self.cell, layers=self.layers, pooling="last")

    def gate(self, scores: BaselineScores) -> float:  # noqa: ARG002  # halfway to the autoregression would be low here
        """A fixed R², well above persistence (.736) and near the linear autoregression (.948)."""
        return 0.9


def _temperature() -> tuple[Tensor, Tensor]:
    """Years int64[N] and temperatures float32[N] of all months in order."""
    try:
        from statsmodels.datasets import elnino  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra("el-nino", "data") from error
    table = elnino.load_pandas().data
    years = np.repeat(table["YEAR"].to_numpy().astype(np.int64), 12)
    months = table.drop(columns="YEAR").to_numpy(dtype=np.float32)
    return torch.from_numpy(years), torch.from_numpy(months.reshape(-1).copy())
