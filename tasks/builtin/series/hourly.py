"""Hours: tables with a row for each hour as series on a clock of hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ....errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from torch import Tensor

    from ...readers.tables import Table

_NANOSECONDS = 3_600_000_000_000


def hour_of(when: str) -> int:
    """The hour, counted from 1970, at which a day such as ``2015-01-01`` begins."""
    return int(pd.Timestamp(when).value // _NANOSECONDS)


def hourly(table: Table, times: NDArray[np.int64], columns: Iterable[NDArray[np.float64]]) -> tuple[Tensor, Tensor]:
    """Series in order of time.

    Args:
        table: where they were read, for the message.
        times: int64[N], nanoseconds since 1970, full hours.
        columns: the D series, float64[N], NaN where nothing was measured.

    Returns:
        values float64[N, D] and the clock int64[N], hours since 1970.

    Raises:
        DataError: two rows are of one hour, or a time is no full hour.
    """
    order = np.argsort(times, kind="stable")
    clock = times[order] // _NANOSECONDS
    odd = np.flatnonzero(times % _NANOSECONDS)
    if len(odd):
        raise DataError(f"{table.file}, row {table.rows[odd[0]]}, is of no full hour: fetch the file again.")
    double = np.flatnonzero(np.diff(clock) == 0)
    if len(double):
        first, second = (int(table.rows[order[double[0] + step]]) for step in (0, 1))
        raise DataError(
            f"{table.file} has two rows of one hour that differ, {first} and {second}: fetch the file again."
        )
    return torch.from_numpy(np.stack(list(columns), axis=1)[order]), torch.from_numpy(clock)
