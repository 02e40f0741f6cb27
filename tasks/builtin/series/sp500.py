"""Volatility forecasting for the S&P 500, from the month before."""

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

_WINDOW = 21
_FIRST_TEST_YEAR = 2010


@register
@dataclass(frozen=True)
class SP500Volatility(ForecastingTask, RecurrentTask):
    """Volatility forecast for the S&P 500: the log of High over Low on the next days, from the month before.

    The task has two series over the trading days of 1999 to 2018: the range, log(High / Low), which is forecast, and
    the return, log(Close / the last Close), which helps because volatility rises more after falls than after rises.
    Both are standardised by mean and deviation of the training years (1999–2009). Windows of 21 trading days, a month,
    are followed by ``horizon`` days to be predicted. A test window lies in 2010–2018, its forecast days included. The
    model is a GRU, read out after the last day, with one output for each day ahead.

    The explained output is the first, one day ahead. Prices and returns are not forecast: tomorrow's return cannot be
    predicted from today's data, so a network would have nothing to rely on, while about half of the range's variance
    can be predicted. On the test windows persistence reaches R² .199 and a linear autoregression over the 21 ranges
    .437; the gate, .44, exceeds both. The reference is 0, the mean day of the training years.

    Truth: not known.

    Source: daily prices of 1999–2018 as packaged in arch (``arch.data.sp500``).
    """

    name: ClassVar[str] = "sp500-volatility"
    application: ClassVar[str] = "stock forecasting"
    source: ClassVar[str] = "daily prices of the S&P 500, 1999–2018, packaged in arch (arch.data.sp500)"
    licence: ClassVar[str] = "of the package: NCSA; of the prices: not stated"
    citation: ClassVar[str] = (
        "M. Parkinson: The Extreme Value Method for Estimating the Variance of the Rate of Return. Journal of Business "
        "53 (1), 61–65, 1980. doi:10.1086/296071"
    )
    extra: ClassVar[str] = "data"
    recipe: ClassVar[Recipe] = Recipe(epochs=6, learning_rate=1e-2, batch_size=32, weight_decay=1e-2)

    hidden: int = 16
    horizon: int = 5

    def series(self) -> Series:
        """See :meth:`ForecastingTask.series`."""
        years, values = _prices()
        border = int((years < _FIRST_TEST_YEAR).sum())
        return Series(
            values=values,
            clock=torch.arange(len(values)),
            features=("range", "return"),
            steps=_WINDOW,
            ahead=tuple(range(1, self.horizon + 1)),
            unit="day",
            learnt_before=border,
            tested_from=border,
        )

    def network(self) -> nn.Module:
        """A GRU, read out after the last day, with an output for each day ahead."""
        return RecurrentNet(2, self.hidden, self.horizon, cell=self.cell, layers=self.layers, pooling="last")

    def gate(self, scores: BaselineScores) -> float:  # noqa: ARG002  # a published, fixed figure
        """Just above the linear autoregression over the ranges alone (.437)."""
        return 0.44


def _prices() -> tuple[Tensor, Tensor]:
    """Years int64[N], and ranges and returns float64[N, 2], of all trading days but the first, which has no return."""
    try:
        from arch.data import sp500  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra("sp500-volatility", "data") from error
    table = sp500.load()
    high, low, close = (table[name].to_numpy(dtype=np.float64) for name in ("High", "Low", "Close"))
    values = np.stack([np.log(high / low)[1:], np.diff(np.log(close))], axis=1)
    return torch.from_numpy(table.index.year.to_numpy(dtype=np.int64)[1:].copy()), torch.from_numpy(values)
