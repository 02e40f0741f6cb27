"""Retraining of a task's model, from scratch or by fine-tuning, on data with features removed.

Removing features from the inputs of a trained model mixes two effects: the loss of information, and the model's
reaction to inputs it has never seen. Training with features removed separates them. It needs the task's training data,
fresh networks with the task's recipe, and the reference of any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, MutableMapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from ...errors import DataError
from ..data.batch import Batch
from ..engine.guarded_cache import GuardedCache
from .interpretability import Interpretability
from .training import PLAIN, Recipe, train, tune

if TYPE_CHECKING:
    from .training import Change


@dataclass(frozen=True, eq=False)
class Retraining:
    """Data, network and recipe with which a task's model can be trained again.

    To use another training loop, derive from this class and override ``fit`` and ``tune``. Their results must depend on
    their arguments alone, to the bit, and they must leave the global random states unchanged.

    Attributes:
        train: the training sequences.
        test: held-out sequences of the same kind, with targets like those of the explained ones.
        reference_of: gives the reference of any batch of such sequences, in the shape and dtype of its inputs: the
            values that replace removed features.
        network: creates an untrained network, called as (inputs, lengths) or (inputs); its initial weights are drawn
            from torch's global generator.
        recipe: the hyperparameters of training.
        options: options of training for interpretability.

    Raises:
        DataError: the test sequences have targets by step, which do not say whether a sequence as a whole is right.
    """

    train: Batch
    test: Batch
    reference_of: Callable[[Batch], Tensor]
    network: Callable[[], nn.Module]
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=10))
    options: Interpretability = PLAIN
    _derived: MutableMapping[nn.Module, GuardedCache[Hashable]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if self.test.targets.dim() > 1 and not self.test.targets.is_floating_point():
            raise DataError(
                f"The targets of the test sequences have shape {list(self.test.targets.shape)}: give one class or its "
                "values for each sequence."
            )

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: all but the derived models, which are made again there."""
        return {name: value for name, value in self.__dict__.items() if name != "_derived"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`__getstate__` gave."""
        self.__dict__.update(state, _derived=WeakKeyDictionary())

    def fit(self, batch: Batch, seed: int) -> nn.Module:
        """Train a fresh network on a batch and return it in evaluation mode.

        Args:
            batch: sequences of the kind of ``train``, with targets of the same kind.
            seed: decides initial weights, order of the minibatches and dropout.
        """
        return train(self.network, batch, self.recipe, seed, self.options, self.reference_of)

    def tune(self, model: nn.Module, make_batch: Change, seed: int, epochs: int) -> nn.Module:
        """Fine-tune a copy of a model on changed minibatches of ``train`` and return it in evaluation mode.

        Args:
            model: the model to start from; it is not changed.
            make_batch: makes the changed minibatch from a minibatch and a generator; called anew for every minibatch.
            seed: decides order of the minibatches, dropout and the generator.
            epochs: passes over the training data.
        """
        return tune(model, self.train, replace(self.recipe, epochs=epochs), seed, make_batch, self.options)

    def once(self, model: nn.Module, key: Hashable, make: Callable[[], nn.Module]) -> nn.Module:
        """A model derived from another, made on first use of its key and kept as long as the other exists.

        Args:
            model: the model it is derived from.
            key: identifies the derived model among those of this model.
            make: makes the derived model.
        """
        return self._derived.setdefault(model, GuardedCache()).get(key, make)

    def restore_derived(self) -> bool:
        """Restore derived models that were changed since they were made; returns whether there were any."""
        restored = [cache.restore() for cache in self._derived.values()]
        return any(restored)
