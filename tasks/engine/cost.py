"""Cost of an explanation: the forward and backward passes of a model, counted in sequences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Cost:
    """Counts of passes so far; one forward pass is one sequence through the model.

    Attributes:
        forward: sequences that were requested, whether or not an identical one had been run.
        backward: sequences a gradient was taken for.
        executed: forward sequences that were really run; identical ones are run once.
        steps: steps of sequences that were really run, padding within a batch included; shared prefixes are run once.
    """

    forward: int = 0
    backward: int = 0
    executed: int = 0
    steps: int = field(default=0, compare=False)

    def ran(self, rows: int, steps: int) -> None:
        """Count sequences that were requested and run.

        Args:
            rows: number of sequences.
            steps: steps of each.
        """
        self.forward += rows
        self.executed += rows
        self.steps += rows * steps

    def since(self, earlier: Cost) -> Cost:
        """The passes added since an earlier copy was taken."""
        return Cost(**{name: value - getattr(earlier, name) for name, value in vars(self).items()})

    def restore(self, earlier: Cost) -> None:
        """Reset the counts to those of an earlier copy."""
        vars(self).update(vars(earlier))

    def copy(self) -> Cost:
        """A copy of the present counts."""
        return replace(self)

    @property
    def equivalents(self) -> int:
        """Forward-equivalents: a backward pass counts as two forward passes."""
        return self.forward + 2 * self.backward


class CountingHook:
    """Forward hook that counts passes; in a deep copy of the model, which is another model, it counts nothing.

    Args:
        count: the function that counts, called with the hook's arguments; None to count nothing.
    """

    def __init__(self, count: Callable[..., None] | None) -> None:
        self.count = count

    def __call__(self, *arguments: object) -> None:
        """Count a pass, unless this is the hook of a copy."""
        if self.count is not None:
            self.count(*arguments)

    def __deepcopy__(self, memo: dict[int, object]) -> CountingHook:
        return CountingHook(None)
