"""How a task's model came about, in a form that lets it come about again: on other data, or from where it is.

Removing features and asking the same model mixes two things: what the features were worth, and how the model takes to
inputs it has never seen. Training again, or on, with features removed parts them. What that needs of a task is here:
its data, a fresh network by its own recipe, and what stands for absence in any of its sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from ...errors import DataError
from ..data.batch import Batch
from .interpretability import Interpretability
from .training import PLAIN, Recipe, train, tune

if TYPE_CHECKING:
    from .training import Change


@dataclass(frozen=True, eq=False)
class Retraining:
    """What it takes to train a task's model again.

    Whoever has a training loop of his own derives from this class and gives it ``fit`` and ``tune``. Both follow from
    their arguments alone, to the bit, and leave the global random states as they were.

    Attributes:
        train: what the model learnt from.
        test: sequences of the same kind that it did not learn from, with targets like those of the explained ones.
        reference_of: from any batch of such sequences, the shape and dtype of its inputs: what a removed feature is
            replaced with.
        network: a fresh, untrained network, called as (inputs, lengths) or (inputs); its first weights are drawn from
            torch's global generator.
        recipe: how it is trained.
        options: what it is trained for beside its task.

    Raises:
        DataError: the test sequences have targets by step, by which no sequence as a whole is right or wrong.
    """

    train: Batch
    test: Batch
    reference_of: Callable[[Batch], Tensor]
    network: Callable[[], nn.Module]
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10))
    options: Interpretability = PLAIN
    _made: MutableMapping[nn.Module, dict[Hashable, nn.Module]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if self.test.targets.dim() > 1 and not self.test.targets.is_floating_point():
            raise DataError(
                f"The targets of the test sequences have shape {list(self.test.targets.shape)}: give one class or its "
                "values for each sequence."
            )

    def fit(self, batch: Batch, seed: int) -> nn.Module:
        """A fresh network trained on a batch, in evaluation mode.

        Args:
            batch: sequences of the kind of ``train``, with targets of the same kind.
            seed: first weights, order of the minibatches and dropout follow from it.
        """
        return train(self.network, batch, self.recipe, seed, self.options, self.reference_of)

    def tune(self, model: nn.Module, make_batch: Change, seed: int, epochs: int) -> nn.Module:
        """A copy of a model trained on, on ``train`` with inputs changed anew in every minibatch; in evaluation mode.

        Args:
            model: where it sets out from; it is left as it is.
            make_batch: gives the changed minibatch from a minibatch and a generator.
            seed: order of the minibatches, dropout and the generator follow from it.
            epochs: passes over the training data.
        """
        return tune(model, self.train, replace(self.recipe, epochs=epochs), seed, make_batch, self.options)

    def once(self, model: nn.Module, key: Hashable, make: Callable[[], nn.Module]) -> nn.Module:
        """What ``make`` makes of a model; made on first use of the key and kept for as long as the model is."""
        known = self._made.setdefault(model, {})
        if key not in known:
            known[key] = make()
        return known[key]
