"""Subtraction in one channel, where only the order of the two numbers decides the sign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import torch

from ....fingerprints import seed_from
from ....plugins import register
from ...data.batch import Batch, Names, Truth
from ...models.networks import RecurrentNet
from ...models.training import Recipe
from ...trained import Dataset, background, held_out
from .adding import Adding, draw_numbers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...data.batch import Semantics

# The probability that a number is left out, so that models learn the rule for one or both missing.
_MISSING: Final = 0.2


@register
@dataclass(frozen=True)
class Order(Adding):
    """Difference of two numbers in one channel among zeros, the first less the second: :class:`Adding` by order alone.

    A sequence has 4 to 10 steps and one channel. Two numbers of size 0.5 to 1, with random signs, are at two random
    steps; everything else is 0. The model, an LSTM read out after its last step, returns a − b, where a is the number
    that comes first (regression, one output). The rule reads the non-zero values: a single number is the first and
    keeps its sign; without any the output is 0. So that models learn this, each number is left out of one in five
    training and test sequences; the explained sequences have both.

    Truth, signed and about the one output. The two readings differ, as they answer different questions:

    * ``coefficient``: derivative × input, a at its step, −b at its own, 0 elsewhere. These are the effects of the
      numbers while both are there.
    * ``shapley``: the Shapley values against zeros, a − b at the first step and 0 at the second. With v(∅) = 0,
      v(a) = a, v(b) = b, as b alone is the first, and v(a, b) = a − b, the first is worth
      ½ [v(a) − v(∅)] + ½ [v(a, b) − v(b)] = a − b and the second ½ [v(b) − v(∅)] + ½ [v(a, b) − v(a)] = 0: the second
      number subtracts as much after the first as it adds alone.

    A method that removes one step at a time has a third result: without a the output is b, so the effect of a is
    a − 2b, and that of b is −b. All three hold for the rule, and for the model as far as it has learnt the rule; hence
    the high gate.

    Source: generated; the rule is that of ``subtracting`` in one channel.
    """

    name: ClassVar[str] = "order"
    source: ClassVar[str] = "generated; the rule after Arras et al. 2019, section 4.1, in one channel"
    coefficients: ClassVar[tuple[float, float]] = (1.0, -1.0)
    recipe: ClassVar[Recipe] = Recipe(epochs=60, learning_rate=2e-2, batch_size=100)

    hidden: int = 24

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        train, test = self._generate(self.sequences, "train"), self._generate(1000, "test")
        both = ((test.inputs != 0).sum((1, 2)) == 2).nonzero().flatten()
        return Dataset(
            train=train,
            test=test,
            explained=held_out(test.select(both), self.instances, self.name),
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=Names(features=("number",), outputs=(self._formula,)),
        )

    def network(self) -> nn.Module:
        """An LSTM, read out after its last step."""
        return RecurrentNet(1, self.hidden, 1, cell=self.cell, layers=self.layers, pooling="last")

    def _generate(self, count: int, part: str) -> Batch:
        """Sequences of a part, ``"train"`` or ``"test"``; those of the test set have truths."""
        rng = torch.Generator().manual_seed(seed_from(self.name, part))
        lengths, places, numbers = draw_numbers(count, rng)
        places = places.sort(1).values
        numbers = numbers.masked_fill(torch.rand(count, 2, generator=rng) < _MISSING, 0.0)
        first, second = numbers.unbind(1)
        # where the first number is missing, the second takes its place and keeps its sign
        coefficients = torch.stack([first, torch.where(first == 0, second, -second)], 1)
        shapley = torch.stack([torch.where(first == 0, 0.0, first - second), second.masked_fill(first != 0, 0.0)], 1)
        inputs = self._placed(lengths, places, numbers)[:, :, None]
        targets = coefficients.sum(1, keepdim=True)
        if part != "test":
            return Batch(inputs, lengths, targets)
        truths = {
            "coefficient": self._truth(self._placed(lengths, places, coefficients), "coefficient"),
            "shapley": self._truth(self._placed(lengths, places, shapley), "shapley"),
        }
        return Batch(inputs, lengths, targets, truths)

    def _truth(self, values: Tensor, semantics: Semantics) -> Truth:
        """A signed truth about the one output from its values float[N, T]."""
        return Truth(values, semantics, output=self._formula, signed=True)

    @staticmethod
    def _placed(lengths: Tensor, places: Tensor, values: Tensor) -> Tensor:
        """Sequences float[N, T] with the values float[N, 2] at their places int64[N, 2], and zeros elsewhere."""
        return torch.zeros(len(places), int(lengths.max())).scatter(1, places, values)
