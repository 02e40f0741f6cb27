"""Hourly series: conversion of tables with a row for each hour into series with an hourly clock."""

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


def hour_of(day: str) -> int:
    """The hour, counted from 1970, at which a day such as ``2015-01-01`` begins."""
    return int(pd.Timestamp(day).value // _NANOSECONDS)


def hourly(table: Table, times: NDArray[np.int64], columns: Iterable[NDArray[np.float64]]) -> tuple[Tensor, Tensor]:
    """Hourly series and their clock, sorted by time.

    Args:
        table: the table that the series were read from, for error messages.
        times: int64[N], nanoseconds since 1970, full hours.
        columns: the D series, float64[N], NaN where a value is missing.

    Returns:
        values float64[N, D] and the clock int64[N], hours since 1970.

    Raises:
        DataError: two rows have the same hour, or a time is not a full hour.
    """
    order = np.argsort(times, kind="stable")
    clock = times[order] // _NANOSECONDS
    uneven = np.flatnonzero(times % _NANOSECONDS)
    if len(uneven):
        raise DataError(f"{table.file}, row {table.rows[uneven[0]]}, has no full hour: fetch the file again.")
    repeated = np.flatnonzero(np.diff(clock) == 0)
    if len(repeated):
        first, second = (int(table.rows[order[repeated[0] + step]]) for step in (0, 1))
        raise DataError(
            f"{table.file} has two different rows for one hour, {first} and {second}: fetch the file again."
        )
    return torch.from_numpy(np.stack(list(columns), axis=1)[order]), torch.from_numpy(clock)
