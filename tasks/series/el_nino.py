"""El Niño: next months' sea-surface temperature from the last two years'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from ...plugins import register
from ..data import Batch, Competence, Names, Outputs
from ..models.networks import RecurrentNet
from ..models.training import Recipe
from ..scores import r_squared
from ..trained import Dataset, TrainedTask, background, held_out, missing_extra

if TYPE_CHECKING:
    from torch import Tensor, nn

_WINDOW = 24
_FIRST_TEST_YEAR = 1995


@register
@dataclass(frozen=True)
class ElNino(TrainedTask):
    """The sea-surface temperature of the next months off Peru (Niño 1+2) from the 24 months before.

    Monthly means from 1950 to 2010, standardised by mean and deviation of the years to learn from (1950–1994); the
    season is left in, so the model has to find it. Windows of 24 months are followed by ``horizon`` months to be
    predicted. A test window lies as a whole, what it predicts included, in 1995–2010, so no month is both learnt from
    and tested on.
    The model is a GRU, read out after the last month, with one output for each month ahead.

    The explained output is the first, one month ahead: the one with the clearest yardsticks (R² on the test windows:
    .736 for persistence, .948 for a linear autoregression over the 24 months). The reference is 0, the mean
    temperature of the years to learn from.

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
    outputs_are: ClassVar[Outputs] = "values"
    recipe: ClassVar[Recipe] = Recipe(epochs=30, learning_rate=1e-2, batch_size=32, weight_decay=1e-2)

    hidden: int = 24
    horizon: int = 6

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        years, temperature = _temperature()
        learnt = years < _FIRST_TEST_YEAR
        values = (temperature - temperature[learnt].mean()) / temperature[learnt].std()
        train, test = self._windows(values[learnt]), self._windows(values[~learnt])
        explained = held_out(test, self.instances, self.name)
        return Dataset(
            train=train,
            test=test,
            explained=explained,
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=Names(
                features=("sea-surface temperature",),
                outputs=tuple(f"{month} months ahead" for month in range(1, self.horizon + 1)),
            ),
        )

    def network(self) -> nn.Module:
        """A GRU, read out after the last month, with an output for each month ahead."""
        return RecurrentNet(1, self.hidden, self.horizon, cell="gru", pooling="last")

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """R² one month ahead, 1995–2010; the baseline is persistence, this month's temperature again (.736).

        A linear autoregression over the 24 months reaches .948 on the same windows.
        """
        truth = data.test.targets[:, 0]
        score = r_squared(model(data.test.inputs, data.test.lengths)[:, 0], truth)
        return Competence("R2", score, 0.9, r_squared(data.test.inputs[:, -1, 0], truth))

    def _windows(self, values: Tensor) -> Batch:
        """All windows of a series float[N] with the months that follow them."""
        windows = values.unfold(0, _WINDOW + self.horizon, 1)
        return Batch(
            windows[:, :_WINDOW, None].contiguous(),
            torch.full((len(windows),), _WINDOW),
            windows[:, _WINDOW:].contiguous(),
        )


def _temperature() -> tuple[Tensor, Tensor]:
    """Years int64[N] and temperatures float[N] of all months in order."""
    try:
        from statsmodels.datasets import elnino  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise missing_extra("el-nino", "data") from error
    table = elnino.load_pandas().data
    years = np.repeat(table["YEAR"].to_numpy().astype(np.int64), 12)
    months = table.drop(columns="YEAR").to_numpy(dtype=np.float32)
    return torch.from_numpy(years), torch.from_numpy(months.reshape(-1).copy())
