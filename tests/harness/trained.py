"""A task that trains a small model in a blink, loaded as a file; every training is written down as in small.py."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xrnnbench.tasks.builtin.synthetic.adding import Adding
from xrnnbench.tasks.models.training import Recipe


@dataclass(frozen=True)
class Blink(Adding):
    """Adding, hardly learnt."""

    name: ClassVar[str] = "blink"
    recipe: ClassVar[Recipe] = Recipe(epochs=1)

    hidden: int = 3
    sequences: int = 64
    instances: int = 6

    def competence(self, model, data):
        """Never under its gate, so that nothing is left out."""
        found = super().competence(model, data)
        return type(found)(found.measure, found.score, found.baseline - 10, found.baseline - 20)

    def _train(self, seed):
        if path := os.environ.get("XRNNBENCH_TEST_CALLS"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"train-{self.name}-{seed}\n")
        return super()._train(seed)


@dataclass(frozen=True)
class Wink(Blink):
    """The same again, for boards of more than one task."""

    name: ClassVar[str] = "wink"
