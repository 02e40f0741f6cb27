"""What was asked of a model, in sequences."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Cost:
    """Sequence-equivalents so far; one forward is one sequence through the model.

    Attributes:
        forward: sequences that were asked for, whether or not an identical one had been run.
        backward: sequences a gradient was taken for.
        executed: forward sequences that were really run, after identical ones were run once.
        steps: steps of sequences that were really run, after common beginnings were run once; padding within a batch
            included.
    """

    forward: int = 0
    backward: int = 0
    executed: int = 0
    steps: int = field(default=0, compare=False)

    def ran(self, rows: int, steps: int) -> None:
        """Count so many sequences that were asked for and run, of so many steps each."""
        self.forward += rows
        self.executed += rows
        self.steps += rows * steps

    def since(self, earlier: Cost) -> Cost:
        """What has been added since a copy was taken."""
        return Cost(**{name: value - getattr(earlier, name) for name, value in vars(self).items()})

    def restore(self, earlier: Cost) -> None:
        """Go back to what a copy was taken of."""
        vars(self).update(vars(earlier))

    def copy(self) -> Cost:
        """The counts as they are now."""
        return replace(self)

    @property
    def equivalents(self) -> int:
        """Forward-equivalents, a backward pass counted as two."""
        return self.forward + 2 * self.backward


class CountingHook:
    """A forward hook that counts passes. In a copy of the model it counts nothing: that is another model.

    Args:
        count: the hook itself; None if there is nothing to count.
    """

    def __init__(self, count: Callable[..., None] | None) -> None:
        self.count = count

    def __call__(self, *given: object) -> None:
        """Count, if there is anything to count."""
        if self.count is not None:
            self.count(*given)

    def __deepcopy__(self, memo: dict[int, object]) -> CountingHook:
        return CountingHook(None)
