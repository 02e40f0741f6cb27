"""Features of sequences whose categorical columns become one feature for each level."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .labelled import padded
from .missing import marked, marked_names
from .sequences import SINCE
from .tables import Floats
from .written import shown

if TYPE_CHECKING:
    from torch import Tensor

    from .sequences import Sequences


@dataclass(frozen=True, eq=False)
class Encoded:
    """Sequences with one feature for each number and for each level of a category, in the units of the file.

    Attributes:
        values: sequences float64[T, D], NaN where a number is missing; a level is 0 or 1, and never missing.
        names: names of the D features, ``ward=icu`` for a level.
        levels: bool[D], whether the feature is a level.
        measured: bool[T, C] of each sequence, whether each column is present.
        columns: names of the C columns; the time since the last step is none.
    """

    values: list[Floats]
    names: tuple[str, ...]
    levels: NDArray[np.bool_]
    measured: list[NDArray[np.bool_]]
    columns: tuple[str, ...]

    def marked(self, inputs: Tensor, valid: Tensor, before: Tensor | None = None) -> tuple[Tensor, tuple[str, ...]]:
        """Impute padded features and append the mask of the measured columns; see :func:`marked`.

        Returns:
            float[B, T, D + C] and the names of the features.
        """
        masks = padded([present.astype(np.float64) for present in self.measured])
        return marked(inputs, valid, masks > 0, before), (*self.names, *marked_names(self.columns)[len(self.columns) :])


def encoded(sequences: Sequences, training: Tensor) -> Encoded:
    """Features of the sequences of numbers.

    The levels of a category are those that its column declares, else those of the training part. A level that no
    training sequence has makes all features of its column 0.

    Args:
        sequences: the sequences.
        training: bool[B], the training part.

    Raises:
        DataError: two features have the same name, or a categorical column is the same in all training sequences.
    """
    steps = np.concatenate(sequences.values)
    lengths = [len(values) for values in sequences.values]
    trained = np.repeat(training.numpy(), lengths)
    parts: list[Floats] = []
    names: list[str] = []
    levels: list[bool] = []
    for column, name in zip(steps.T, sequences.features, strict=True):
        if name in sequences.levels:
            found, part = _one_hot(sequences, name, column, trained)
        else:
            found, part = (name,), column[:, None]
        parts.append(part)
        names += found
        levels += [name in sequences.levels] * len(found)
    _check_distinct(sequences, names)
    columns = tuple(name for name in sequences.features if name != SINCE)
    measured = ~np.isnan(steps[:, : len(columns)])
    borders = np.cumsum(lengths)[:-1]
    return Encoded(
        values=np.split(np.concatenate(parts, 1), borders),
        names=tuple(names),
        levels=np.array(levels),
        measured=np.split(measured, borders),
        columns=columns,
    )


def _one_hot(
    sequences: Sequences, name: str, codes: Floats, trained: NDArray[np.bool_]
) -> tuple[tuple[str, ...], Floats]:
    """Names of the features of a categorical column float64[N], and their values float64[N, L]."""
    levels = sequences.levels[name]
    occurring = np.unique(codes[trained])  # a missing one counts as one value
    if len(occurring) < 2:
        raise DataError(
            f"The feature {shown(name)} of {sequences.table.file} is constant in the training data: leave it out."
        )
    known = [index for index in range(len(levels)) if index in occurring]
    kept = range(len(levels)) if name in sequences.declared else known
    values = (codes[:, None] == np.array(kept)) & np.isin(kept, known)
    return tuple(f"{name}={levels[index]}" for index in kept), values.astype(np.float64)


def _check_distinct(sequences: Sequences, names: list[str]) -> None:
    """Refuse two features of the same name."""
    for name, count in Counter(names).items():
        if count > 1:
            raise DataError(f"Two features of {sequences.table.file} would be named {shown(name)}: rename a column.")
