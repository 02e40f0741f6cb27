"""Attribution of a model of several inputs, with the values of each input by its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..tasks.data.input_layout import InputLayout
from .base import Attribution

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ..tasks.data.batch import Granularity


@dataclass(frozen=True, eq=False)
class JointAttribution:
    """Contribution of each feature of several inputs to the explained output: one explanation of all of them.

    ``attribution["past"]`` is that of one input. All values together sum to f(x) − f(x⁰) if they claim so.

    Attributes:
        together: the attribution of all inputs in one tensor float[B, S, D], as methods and metrics see it.
        layout: where each input is in that tensor.
    """

    together: Attribution
    layout: InputLayout

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """Values by the names of inputs, each in the shape of the input; of steps, float[B, T]; 0 on padding."""
        return self.layout.unpacked(self.together.values)

    @cached_property
    def reference(self) -> dict[str, Tensor] | None:
        """The reference x⁰ by the names of inputs, in their shapes; None where there is none."""
        return None if self.together.reference is None else self.layout.unpacked(self.together.reference)

    @cached_property
    def steps(self) -> dict[str, Tensor]:
        """Contributions of steps by the names of inputs, float[B, T] each: the sum over the cells of each step."""
        return self.layout.unpacked(self.together.steps)

    @cached_property
    def totals(self) -> dict[str, Tensor]:
        """Contribution of each input as a whole, float[B] by its name: the sum of its values."""
        return {name: values.sum(1) for name, values in self.steps.items()}

    @property
    def signed(self) -> bool:
        """See :class:`xrnnbench.methods.base.Attribution`; so are all that follow."""
        return self.together.signed

    @property
    def complete(self) -> bool:
        """Whether the values of all inputs claim to sum to f(x) − f(x⁰)."""
        return self.together.complete

    @property
    def target(self) -> Tensor | None:
        """Index of the explained output, int64[B]."""
        return self.together.target

    @property
    def score(self) -> Tensor | None:
        """The raw explained score f(x), float[B]."""
        return self.together.score

    @property
    def reference_score(self) -> Tensor | None:
        """The raw explained score f(x⁰), float[B]."""
        return self.together.reference_score

    @property
    def gap(self) -> Tensor | None:
        """Difference of the sum of all values from f(x) − f(x⁰), float[B]; None if they make no such claim."""
        return self.together.gap

    @property
    def incomplete(self) -> Tensor:
        """Mask bool[B] of the sequences whose gap is above 1 % of the difference of their scores."""
        return self.together.incomplete

    @property
    def granularity(self) -> Granularity:
        """Granularity of the values: ``"step"`` or ``"cell"``."""
        return self.together.granularity

    def __getitem__(self, name: str) -> Tensor:
        """Values of one input."""
        return self.values[name]

    def __iter__(self) -> Iterator[str]:
        """Names of the inputs."""
        return iter(self.layout.names)

    def __len__(self) -> int:
        """Number of inputs."""
        return len(self.layout.parts)

    def __contains__(self, name: object) -> bool:
        """Whether there is an input of this name."""
        return name in self.layout.names

    def items(self) -> list[tuple[str, Tensor]]:
        """Names and values of the inputs."""
        return list(self.values.items())
