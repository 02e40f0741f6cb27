"""Training a network from a seed: the same seed gives the same weights, to the bit, on the same machine.

Everything random (first weights, order of the batches, dropout) follows from the seed; the global generator is put
back. Training runs on one thread whatever the caller has set: how a sum is split over threads decides its last bits,
and networks of this size gain nothing from a second one.
"""

from __future__ import annotations

import copy
import functools
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import ParameterError
from ...fingerprints import seed_from
from .interpretability import Interpretability, by_step, masked, misfit, penalty, plain_scores, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..data.batch import Batch
    from .interpretability import ReferenceOf

    Change = Callable[[Batch, torch.Generator], Batch]

# Nothing beside the task.
PLAIN: Final = Interpretability()


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: Adam with a learning rate that falls to zero along a cosine.

    Attributes:
        epochs: passes over the training data, at most.
        learning_rate: of Adam, at the start.
        batch_size: sequences in a minibatch; they are of similar length.
        clip: largest norm of the gradient.
        weight_decay: decoupled (Loshchilov & Hutter 2019).
        enough: stop after an epoch whose mean loss is below this; 0 never stops early. The loss is that of the
            training data, so stopping looks at nothing that is held out; what :class:`Interpretability` adds to it
            does not count.
    """

    epochs: int
    learning_rate: float = 1e-2
    batch_size: int = 64
    clip: float = 1.0
    weight_decay: float = 0.0
    enough: float = 0.0


def train(
    make: Callable[[], nn.Module],
    data: Batch,
    recipe: Recipe,
    seed: int,
    options: Interpretability = PLAIN,
    reference_of: ReferenceOf | None = None,
) -> nn.Module:
    """A trained network in evaluation mode.

    Args:
        make: gives a fresh network; its first weights are drawn from the global generator, seeded here.
        data: what to learn. Its targets choose the loss: int64[B] cross-entropy, float[B, K] squared error,
            int64[B, T] cross-entropy of ``step_scores`` at every step there is; where there is a context, int64[B, U]
            cross-entropy of the produced tokens, in which 0 is padding.
        recipe: how long and how fast.
        seed: the model seed.
        options: what it is trained for beside its task.
        reference_of: what stands for absence in any sequences, for training with masks.

    Raises:
        ParameterError: the network or the data do not serve the options.
    """
    with _reproducible(seed), torch.enable_grad():
        model = make()
        if reason := misfit(options, model, data, reference_of):
            raise ParameterError(f"{type(model).__name__} cannot be trained with {reason}.")
        change = None
        if options.masking and reference_of is not None:
            rng = torch.Generator().manual_seed(seed_from("masks of the batches", seed))
            change = functools.partial(masked, share=options.masking, reference_of=reference_of, rng=rng)
        return _descended(model, data, recipe, seed, options, change)


def tune(
    model: nn.Module, data: Batch, recipe: Recipe, seed: int, make_batch: Change, options: Interpretability = PLAIN
) -> nn.Module:
    """A copy of a network trained on, with inputs that are changed anew in every minibatch; in evaluation mode.

    Args:
        model: where it sets out from; it is left as it is.
        data: what to learn, before it is changed; its targets choose the loss as for :func:`train`.
        recipe: how long and how fast.
        seed: of the order of the batches, of dropout, and of the generator that ``make_batch`` is given.
        make_batch: gives the changed minibatch, of as many sequences, from a minibatch and a generator.
        options: what it was trained for beside its task, and still is; ``make_batch`` takes the place of its masks.
    """
    rng = torch.Generator().manual_seed(seed_from("changes of the batches", seed))
    with _reproducible(seed), torch.enable_grad():
        return _descended(copy.deepcopy(model), data, recipe, seed, options, lambda batch: make_batch(batch, rng))


def _descended(
    model: nn.Module,
    data: Batch,
    recipe: Recipe,
    seed: int,
    options: Interpretability,
    change: Callable[[Batch], Batch] | None = None,
) -> nn.Module:
    """The network after its training, in evaluation mode."""
    model.train()
    order = torch.Generator().manual_seed(seed_from("order of the batches", seed))
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs)
    for _ in range(recipe.epochs):
        batches = (data.select(rows) for rows in minibatches(data.lengths, recipe.batch_size, order))
        if _epoch(model, map(change, batches) if change else batches, recipe, optimizer, options) < recipe.enough:
            break
        schedule.step()
    return model.eval()


def _epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    options: Interpretability,
) -> float:
    """One pass over the data; the mean loss of the task alone."""
    total, count = 0.0, 0
    for batch in batches:
        optimizer.zero_grad()
        if options.penalised:
            found = shown(model, batch)
            loss = _loss(found.scores, batch)
            (loss + penalty(options, found, batch)).backward()
        else:
            loss = _loss(plain_scores(model, batch), batch)
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
        optimizer.step()
        total += float(loss.detach()) * len(batch)
        count += len(batch)
    return total / count


def minibatches(lengths: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Rows in minibatches of similar length, which pad little; who meets whom and who comes first are random."""
    shuffled = torch.randperm(len(lengths), generator=order)
    batches = shuffled[lengths[shuffled].argsort(stable=True)].split(size)
    return [batches[i] for i in torch.randperm(len(batches), generator=order).tolist()]


def _loss(scores: Tensor, batch: Batch) -> Tensor:
    if batch.targets.is_floating_point():
        return F.mse_loss(scores, batch.targets)
    if batch.targets.dim() == 1:
        return F.cross_entropy(scores, batch.targets)
    if by_step(batch):
        return F.cross_entropy(scores[batch.valid], batch.targets[:, : scores.shape[1]][batch.valid])
    return F.cross_entropy(scores.flatten(0, 1), batch.targets.flatten(), ignore_index=0)


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """One thread and a seeded CPU generator on the inside; both as they were on the outside."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        # not torch.manual_seed: that would seed the accelerators as well, and nobody would put them back
        torch.default_generator.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
