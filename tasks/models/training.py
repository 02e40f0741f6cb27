"""Training a network from a seed: the same seed gives the same weights, to the bit, on the same machine.

Everything random (initial weights, order of the batches, dropout) follows from the seed; the global generators are
restored. Training runs on one thread whatever the caller has set: how a sum is split over threads decides its last
bits, and networks of this size gain nothing from a second thread.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ParameterError
from ...fingerprints import seed_from
from ..engine.isolation import same_randomness, seed_beside_torch
from .interpretability import (
    Interpretability,
    has_step_targets,
    internals,
    mask_batch,
    penalty,
    training_scores,
    unsupported_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..data.batch import Batch
    from .interpretability import ReferenceOf

    Change = Callable[[Batch, torch.Generator], Batch]

# Training for the task alone.
PLAIN: Final = Interpretability()


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of training: Adam with a learning rate that falls to zero along a cosine.

    Attributes:
        epochs: the most passes over the training data.
        learning_rate: of Adam, at the start.
        batch_size: sequences in a minibatch; they are of similar length.
        clip: largest norm of the gradient.
        weight_decay: decoupled (Loshchilov & Hutter 2019).
        enough: training stops after an epoch whose mean loss is below this value; 0 never stops early. The loss is that
            of the training data, so early stopping uses no held-out data; terms that :class:`Interpretability` adds to
            the loss do not count.
        class_weights: weight of each class in the cross-entropy, for sequences with one class each: ``"balanced"`` for
            n / (K · n_k) (n sequences, n_k of them of class k, K classes), or a number for each class; empty weighs all
            sequences alike. Weights are scaled to a mean of 1 over the training sequences.
    """

    epochs: int
    learning_rate: float = 1e-2
    batch_size: int = 64
    clip: float = 1.0
    weight_decay: float = 0.0
    enough: float = 0.0
    class_weights: Literal["balanced"] | tuple[float, ...] = ()

    def __repr__(self) -> str:
        """Text as in results, where a recipe without class weights is written as before there were any."""
        return f"Recipe({', '.join(f'{name}={value!r}' for name, value in self.parameters().items())})"

    def parameters(self) -> dict[str, Any]:
        """Hyperparameters by name, as results identify them: without class weights if there are none."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value or name != "class_weights"}

    def weights_of(self, targets: Tensor) -> Tensor | None:
        """Weights float32[K] of the classes for training on targets int64[B]; None if all are alike.

        Raises:
            ParameterError: the targets are no classes, one for each sequence; or a class has no weight.
        """
        if not self.class_weights:
            return None
        if targets.is_floating_point() or targets.dim() > 1:
            raise ParameterError("class_weights=… is for sequences with one class each: leave it out.")
        counts = targets.bincount().double()
        if self.class_weights == "balanced":
            weights = 1 / counts.clamp_min(1)
        elif len(self.class_weights) < len(counts):
            raise ParameterError(
                f"class_weights=… has {len(self.class_weights)} weights for {len(counts)} classes: give one for each."
            )
        else:
            weights = torch.tensor(self.class_weights[: len(counts)], dtype=torch.float64)
        return (weights * counts.sum() / (weights * counts).sum()).float()


def train(
    make: Callable[[], nn.Module],
    data: Batch,
    recipe: Recipe,
    seed: int,
    options: Interpretability = PLAIN,
    reference_of: ReferenceOf | None = None,
) -> nn.Module:
    """Train a fresh network and return it in evaluation mode.

    Args:
        make: creates a network; its initial weights are drawn from the global generator, which is seeded here.
        data: training sequences. Their targets choose the loss: int64[B] cross-entropy (weighted by the recipe's class
            weights), float[B, K] squared error,
            int64[B, T] cross-entropy of ``step_scores`` at every step that is no padding; with a context, int64[B, U]
            cross-entropy of the produced tokens, in which 0 is padding.
        recipe: the hyperparameters.
        seed: the model seed.
        options: options of training for interpretability.
        reference_of: gives the reference of any batch, for training with masks.

    Raises:
        ParameterError: the network or the data do not support the options or the class weights.
    """
    with _reproducible(seed), torch.enable_grad():
        model = make()
        if reason := unsupported_option(options, model, data, reference_of):
            raise ParameterError(f"{type(model).__name__} cannot be trained with {reason}.")
        change = None
        if options.masking and reference_of is not None:
            rng = torch.Generator().manual_seed(seed_from("masks of the batches", seed))
            change = functools.partial(mask_batch, share=options.masking, reference_of=reference_of, rng=rng)
        return _descend(model, data, recipe, seed, options, change)


def tune(
    model: nn.Module, data: Batch, recipe: Recipe, seed: int, make_batch: Change, options: Interpretability = PLAIN
) -> nn.Module:
    """Fine-tune a copy of a network on changed minibatches and return it in evaluation mode.

    Args:
        model: the network to start from; it is not changed.
        data: training sequences before the change; their targets choose the loss as for :func:`train`.
        recipe: the hyperparameters.
        seed: of the order of the batches, of dropout, and of the generator that ``make_batch`` is given.
        make_batch: makes the changed minibatch, of as many sequences, from a minibatch and a generator; it is called
            anew for every minibatch.
        options: options of training for interpretability, as in the first training; ``make_batch`` replaces its masks.
    """
    rng = torch.Generator().manual_seed(seed_from("changes of the batches", seed))
    with _reproducible(seed), torch.enable_grad():
        return _descend(copy.deepcopy(model), data, recipe, seed, options, lambda batch: make_batch(batch, rng))


def _descend(
    model: nn.Module,
    data: Batch,
    recipe: Recipe,
    seed: int,
    options: Interpretability,
    change: Callable[[Batch], Batch] | None = None,
) -> nn.Module:
    """Run the gradient descent of a recipe on a network and return it in evaluation mode."""
    model.train()
    order = torch.Generator().manual_seed(seed_from("order of the batches", seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    weights = recipe.weights_of(data.targets)
    for _ in range(recipe.epochs):
        batches: Iterable[Batch] = (data.select(rows) for rows in minibatches(data.lengths, recipe.batch_size, order))
        if change:
            batches = map(change, batches)
        if _epoch(model, batches, recipe, optimizer, options, weights) < recipe.enough:
            break
        schedule.step()
    return model.eval()


def _epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    options: Interpretability,
    weights: Tensor | None,
) -> float:
    """Run one epoch and return the mean loss of the task, without the terms of the options."""
    total, count = 0.0, 0
    for batch in batches:
        optimizer.zero_grad()
        if options.penalised:
            inside = internals(model, batch)
            loss = _loss(inside.scores, batch, weights)
            (loss + penalty(options, inside, batch)).backward()
        else:
            loss = _loss(training_scores(model, batch), batch, weights)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
        count += len(batch)
    return total / count


def minibatches(lengths: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Minibatches of rows of similar length, which need little padding; membership and order are random."""
    shuffled = torch.randperm(len(lengths), generator=order)
    batches = shuffled[lengths[shuffled].argsort(stable=True)].split(size)
    return [batches[i] for i in torch.randperm(len(batches), generator=order).tolist()]


def _loss(scores: Tensor, batch: Batch, weights: Tensor | None) -> Tensor:
    """Loss float[] of a minibatch, chosen by its targets; see :func:`train`."""
    if batch.targets.is_floating_point():
        return F.mse_loss(scores, batch.targets)
    if weights is not None:
        # divided by the number of sequences, not by the sum of their weights as torch does: the mean over minibatches
        # is then the weighted loss of all sequences, also where most minibatches lack a rare class
        return (F.cross_entropy(scores, batch.targets, reduction="none") * weights[batch.targets]).mean()
    if batch.targets.dim() == 1:
        return F.cross_entropy(scores, batch.targets)
    if has_step_targets(batch):
        return F.cross_entropy(scores[batch.valid], batch.targets[:, : scores.shape[1]][batch.valid])
    return F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten(), ignore_index=0)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Context with one thread and seeded generators of torch (CPU), NumPy and Python; all are restored on exit."""
    threads = torch.get_num_threads()
    with same_randomness():
        # not torch.manual_seed: it would also seed the accelerators, whose generators no training draws from
        torch.default_generator.manual_seed(seed)
        seed_beside_torch(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
