"""Arguments of a task from a library's model and data set, and the choice of its sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import DataError
from ...data.batch import Names


@dataclass(frozen=True, eq=False)
class LibraryData:
    """A library's model and its sequences in the words of :func:`xrnnbench.task_from_model`.

    Attributes:
        model: a module of named inputs, or of one array; or a function.
        inputs: arrays [B, …] by the name of the module's parameter, or one.
        background: other sequences in the same form; None if there are none.
        targets: the correct outputs; None if they are not known.
        names: of features, by input, and of outputs.
        target: number of the output that is explained by default; None for the predicted class.
        steps: whether it forecasts values float[B, U, K] of several steps.
        options: further arguments.
    """

    model: nn.Module | Callable[..., Any]
    inputs: Any
    background: Any
    targets: Tensor | None
    names: Names
    target: int | None = 0
    steps: bool = True
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Choice of sequences and of a forecast step, which a user makes.

    Attributes:
        horizon: the explained step of the forecast, from 0.
        sequences: number of sequences to explain, evenly spaced in the data set.
        background: number of other sequences at most.
    """

    horizon: int = 0
    sequences: int = 32
    background: int = 64

    def __post_init__(self) -> None:
        for name, least in {"horizon": 0, "sequences": 1, "background": 0}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise DataError(f"{name}={value!r} does not fit: give a whole number from {least}.")

    def rows(self, count: int) -> tuple[Tensor, Tensor]:
        """Rows int64[B] to explain out of so many, and others int64[N] for the background.

        Raises:
            DataError: there are none.
        """
        if not count:
            raise DataError("The data set holds no sequence: give one that does.")
        chosen = torch.arange(min(self.sequences, count)) * count // min(self.sequences, count)
        others = torch.ones(count, dtype=torch.bool)
        others[chosen] = False
        rest = others.nonzero().squeeze(1)
        few = min(self.background, len(rest))
        return chosen, rest[torch.arange(few) * len(rest) // max(few, 1)]

    def check_horizon(self, steps: int) -> None:
        """Refuse a horizon that the model does not forecast.

        Raises:
            DataError: there are fewer steps.
        """
        if self.horizon >= steps:
            raise DataError(f"horizon={self.horizon} is beyond the forecast: its steps go from 0 to {steps - 1}.")
