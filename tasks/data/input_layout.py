"""Layout of a model's several inputs: one tensor that holds them all, so that they are explained together.

Forecasters read past, known future and static inputs; clinical models read categories beside numbers. Such inputs are
laid out in one tensor float[B, S, D]: the steps of each input after those of the one before, in columns from the first
one. A static input is one step. Cells that no input fills are not features. So every method and metric works on one
mask of features, and a score can be differentiated by all inputs at once.

Categories are kept as whole numbers in the floats of the layout. They are replaced, and never interpolated.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True)
class InputPart:
    """One of several inputs, and its place in the layout.

    Attributes:
        name: the input's name.
        shape: shape of one sequence's values: () for one number, (D,) for static values, (T, D) or (T, D, …) for steps.
        steps: number of steps; 1 for static values.
        columns: number of values of a step.
        first: the first step of the layout that it fills.
        categories: whether its values are ids of categories.
        names: names of its columns; empty where numbers serve.
        sizes: number of values that stand for each column, where categories are seen through their embeddings; empty
            elsewhere.
    """

    name: str
    shape: tuple[int, ...]
    steps: int
    columns: int
    first: int = 0
    categories: bool = False
    names: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def span(self) -> slice:
        """The steps of the layout that it fills."""
        return slice(self.first, self.first + self.steps)

    @property
    def static(self) -> bool:
        """Whether it is one step that no other one follows."""
        return self.steps == 1


@dataclass(frozen=True)
class InputLayout:
    """Layout of several inputs in one tensor float[B, S, D].

    Attributes:
        parts: the inputs, in the order of their steps.

    Raises:
        DataError: there is no input, or two have one name.
    """

    parts: tuple[InputPart, ...]

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if not names or len(set(names)) < len(names):
            raise DataError(
                f"The inputs are {', '.join(names) or 'none'}: give at least one, each by a name of its own."
            )
        firsts = itertools.accumulate([part.steps for part in self.parts], initial=0)
        placed = tuple(replace(part, first=first) for part, first in zip(self.parts, firsts, strict=False))
        object.__setattr__(self, "parts", placed)

    def __iter__(self) -> Iterator[InputPart]:
        return iter(self.parts)

    @property
    def steps(self) -> int:
        """Number S of steps of all inputs together."""
        return sum(part.steps for part in self.parts)

    @property
    def columns(self) -> int:
        """Largest number D of columns of an input."""
        return max(part.columns for part in self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(part.name for part in self.parts)

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of the inputs that are categories."""
        return tuple(part.name for part in self.parts if part.categories)

    @cached_property
    def filled(self) -> Tensor:
        """Mask bool[S, D] of the cells that an input fills."""
        mask = torch.zeros(self.steps, self.columns, dtype=torch.bool)
        for part in self.parts:
            mask[part.span, : part.columns] = True
        return mask

    @cached_property
    def category_cells(self) -> Tensor:
        """Mask bool[S, D] of the cells that hold ids of categories."""
        mask = torch.zeros(self.steps, self.columns, dtype=torch.bool)
        for part in self.parts:
            if part.categories:
                mask[part.span, : part.columns] = True
        return mask

    def part_of_step(self, step: int) -> InputPart:
        """The input that a step of the layout belongs to."""
        return next(part for part in self.parts if part.first <= step < part.first + part.steps)

    def packed(self, values: Mapping[str, Tensor], dtype: torch.dtype) -> Tensor:
        """Values of all inputs, each [B, *shape], in one tensor float[B, S, D]; 0 where there is none."""
        width = self.columns
        # functions that return new tensors, because a method may follow the numbers
        return torch.cat(
            [
                torch.nn.functional.pad(
                    values[part.name].to(dtype).reshape(len(values[part.name]), part.steps, part.columns),
                    (0, width - part.columns),
                )
                for part in self.parts
            ],
            1,
        )

    def together(self, values: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Attributions or truths of all inputs in one tensor float[B, S, D], from such by the names of inputs.

        Inputs that are not named have zeros. A tensor that is in the layout already is returned as it is.

        Raises:
            DataError: a name is that of no input, or values have another shape.
        """
        if isinstance(values, Tensor):
            return values
        unknown = next((name for name in values if name not in self.names), None)
        if unknown is not None or not values:
            raise DataError(f"There are values for {unknown!r}, and the inputs are {', '.join(self.names)}.")
        own = {name: torch.as_tensor(value) for name, value in values.items()}
        first = next(iter(own.values()))
        rows, dtype = len(first) if first.dim() else 0, first.dtype
        for part in self.parts:
            shape = (rows, *part.shape)
            if part.name in own and tuple(own[part.name].shape) != shape:
                raise DataError(
                    f"The values for {part.name!r} have shape {list(own[part.name].shape)}; expected {list(shape)}."
                )
            own.setdefault(part.name, torch.zeros(shape, dtype=dtype))
        return self.packed(own, dtype)

    def unpacked(self, together: Tensor) -> dict[str, Tensor]:
        """Values of each input by its name, from one tensor.

        Args:
            together: [B, S, D] of cells, or [B, S] of steps.

        Returns:
            of cells, each [B, *shape]; of steps, each [B, T]. They are views of the tensor where that is possible.
        """
        return {part.name: self._own(part, together) for part in self.parts}

    @staticmethod
    def _own(part: InputPart, together: Tensor) -> Tensor:
        steps = together[:, part.span]
        if together.dim() == 2:  # [B, S]
            return steps
        return steps[:, :, : part.columns].reshape(len(together), *part.shape)

    def embedded(self, sizes: Mapping[str, Sequence[int]]) -> InputLayout:
        """The layout in which each category is seen as the vector of its embedding.

        Args:
            sizes: by the names of the inputs that are categories, the size of the embedding of each column.
        """
        return InputLayout(
            tuple(
                replace(
                    part,
                    shape=(part.steps, sum(sizes[part.name])),
                    columns=sum(sizes[part.name]),
                    categories=False,
                    names=(),
                    sizes=tuple(sizes[part.name]),
                )
                if part.name in sizes
                else part
                for part in self.parts
            )
        )

    def summed(self, values: Tensor, plain: InputLayout) -> Tensor:
        """Values of the columns of another layout, from those of embeddings: the sum over each embedding.

        Args:
            values: float[B, S, D′] of this layout.
            plain: the layout with the categories themselves.

        Returns:
            float[B, S, D].
        """
        together = values.new_zeros(len(values), plain.steps, plain.columns)
        for part, own in zip(self.parts, plain.parts, strict=True):
            cells = values[:, part.span, : part.columns]
            if part.sizes:
                cells = torch.stack([columns.sum(2) for columns in cells.split(part.sizes, dim=2)], 2)
            together[:, own.span, : own.columns] = cells
        return together


def part_of(name: str, shape: tuple[int, ...], *, categories: bool, names: tuple[str, ...] = ()) -> InputPart:
    """Description of one input.

    Args:
        name: its name.
        shape: shape of one sequence's values. One axis are static values, several are steps first.
        categories: whether its values are ids of categories.
        names: names of its columns.

    Raises:
        DataError: it holds no value, or has another number of names.
    """
    steps, columns = (1, math.prod(shape)) if len(shape) < 2 else (shape[0], math.prod(shape[1:]))
    if not steps * columns:
        raise DataError(f"The input {name!r} holds no value for a sequence: its shape is [B, {list(shape)}].")
    if names and len(names) != columns:
        raise DataError(f"There are {len(names)} names of features of {name!r}, and it has {columns}: name each.")
    return InputPart(name, shape, steps, columns, categories=categories, names=names)
