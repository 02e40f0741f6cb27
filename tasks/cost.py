"""What was asked of a model, in sequences."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass
class Cost:
    """Sequence-equivalents so far; one forward is one sequence through the model.

    Attributes:
        forward: sequences that were asked for, whether or not an identical one had been run.
        backward: sequences a gradient was taken for.
        executed: forward sequences that really went through the model, after identical ones were run once.
    """

    forward: int = 0
    backward: int = 0
    executed: int = 0

    def since(self, earlier: Cost) -> Cost:
        """What has been added since a copy was taken."""
        return Cost(self.forward - earlier.forward, self.backward - earlier.backward, self.executed - earlier.executed)

    def copy(self) -> Cost:
        """The counts as they are now."""
        return replace(self)

    @property
    def equivalents(self) -> int:
        """Forward-equivalents, a backward pass counted as two."""
        return self.forward + 2 * self.backward
