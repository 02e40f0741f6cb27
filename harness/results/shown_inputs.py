"""Several inputs in one picture: a row for each step in time, and a column for each feature of any input."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from ...tasks.data.input_layout import InputLayout

    Array = np.ndarray[Any, Any]


class ShownInput(BaseModel):
    """One of several inputs; see :class:`xrnnbench.tasks.data.input_layout.InputPart`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    steps: int
    columns: int
    names: tuple[str, ...] = ()

    def column_name(self, column: int) -> str:
        """Name of a column, in full: ``past.price``, ``past.2``, or the input's own name where it has one column."""
        if self.names:
            return f"{self.name}.{self.names[column]}"
        return self.name if self.columns == 1 else f"{self.name}.{column}"


class ShownInputs(BaseModel):
    """Layout of several inputs in a picture.

    Inputs of as many steps run beside each other; those of another number follow; static values stand at the first
    step.

    Attributes:
        parts: the inputs, in the order of the tensor that holds them all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: tuple[ShownInput, ...]

    @classmethod
    def of(cls, layout: InputLayout) -> ShownInputs:
        """Picture layout of the inputs of a task."""
        parts = [
            ShownInput(name=part.name, steps=part.steps, columns=part.columns, names=part.names) for part in layout
        ]
        return cls(parts=tuple(parts))

    @property
    def starts(self) -> tuple[int, ...]:
        """The row at which each input begins."""
        firsts = dict(zip(self._lengths, itertools.accumulate(self._lengths, initial=0), strict=False))
        return tuple(firsts.get(part.steps, 0) for part in self.parts)

    @property
    def step_names(self) -> tuple[str, ...]:
        """Names of the rows: the step of the inputs that have values there, each counted from its own first one."""
        return tuple(str(step) for length in self._lengths or (1,) for step in range(length))

    @property
    def _lengths(self) -> tuple[int, ...]:
        """Numbers of steps of the inputs that are not static, each once."""
        return tuple(dict.fromkeys(part.steps for part in self.parts if part.steps > 1))

    @property
    def steps(self) -> int:
        """Number of rows."""
        return max(start + part.steps for start, part in zip(self.starts, self.parts, strict=True))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns, with those of their inputs."""
        return tuple(part.column_name(column) for part in self.parts for column in range(part.columns))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(part.name for part in self.parts)

    def arranged(self, values: Array) -> Array:
        """Values of one sequence as float64[rows, columns], NaN where no input has a value.

        Args:
            values: float[S, D] of cells; or float[S] of steps, which get a column for each input.
        """
        cells = values.ndim == 2  # [S, D]
        widths = [part.columns if cells else 1 for part in self.parts]
        shown = np.full((self.steps, sum(widths)), np.nan)
        first, column = 0, 0
        for start, part, width in zip(self.starts, self.parts, widths, strict=True):
            own = values[first : first + part.steps]
            shown[start : start + part.steps, column : column + width] = own[:, :width] if cells else own[:, None]
            first, column = first + part.steps, column + width
        return shown
