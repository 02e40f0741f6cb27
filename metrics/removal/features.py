"""Orders of features by priority, with ties broken at random.

A feature is a step of a sequence or a cell (one value of one step). The features of a batch are the columns of
tensors [B, N] with N = T or N = T·D, in the order of time. Where a ranking ties features, every order of them is
equally valid, and :func:`orders` returns several that are drawn at random. A plain ``argsort`` would take tied
features in the order of time, and so credit a method with a preference for early steps that it never stated.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...fingerprints import seed_from


@dataclass(frozen=True, eq=False)
class Orders:
    """M orders of the features of some instances.

    Attributes:
        instance: int64[M], the instance that each order belongs to; ascending, and an instance may have several orders.
        ranks: int64[M, N], the place of each feature, 0 for the first; padding comes last.
    """

    instance: Tensor
    ranks: Tensor

    def numbered(self, instance: Tensor, number: Tensor) -> Tensor:
        """Ranks of several orders of each instance, int64[C, S, N]; its last order where it has fewer.

        Args:
            instance: int64[C].
            number: int64[S], which of the orders, from 0.
        """
        first = torch.searchsorted(self.instance, instance)[:, None]
        last = torch.searchsorted(self.instance, instance, right=True)[:, None] - 1
        return self.ranks[torch.minimum(first + number, last)]


def random_orders(valid: Tensor, instance: Tensor, count: int) -> Orders:
    """Draw random orders of the features of each instance.

    They depend only on the index of the instance and its number of valid features, not on padding or other instances.

    Args:
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to draw for.
        count: orders of each instance.
    """
    keys = torch.full((len(instance), count, valid.shape[1]), torch.inf, dtype=torch.float64)
    for row, number in enumerate(instance.tolist()):
        rng = torch.Generator().manual_seed(seed_from("random order", number))
        drawn = torch.rand(count, int(valid[number].sum()), generator=rng, dtype=torch.float64)
        keys[row, :, valid[number]] = drawn
    return Orders(instance.repeat_interleave(count), _ranks(keys.flatten(0, 1)))


def orders(priority: Tensor, valid: Tensor, instance: Tensor, breaks: int) -> Orders:
    """Orders of descending priority: one for each instance, or ``breaks`` random ones where features are tied.

    Tied features follow each other as in :func:`random_orders`. A constant map is therefore ranked by exactly the
    orders of which a random baseline of the same number consists.

    Args:
        priority: float[B, N] of the whole batch.
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to order.
        breaks: number of orders of an instance with ties.
    """
    priorities, tied = _masked_priority(priority, valid, instance), ties(priority, valid, instance)
    counts = torch.where(tied, breaks, 1)
    shuffled = torch.arange(valid.shape[1]).repeat(int(counts.sum()), 1)
    # instances without ties have one order, however they are shuffled first
    shuffled[tied.repeat_interleave(counts)] = random_orders(valid, instance[tied], breaks).ranks.argsort(1)
    shuffled_priorities = priorities.repeat_interleave(counts, 0).gather(1, shuffled)
    order = shuffled.gather(1, shuffled_priorities.argsort(dim=1, descending=True, stable=True))
    return Orders(instance.repeat_interleave(counts), _inverse(order))


def ties(priority: Tensor, valid: Tensor, instance: Tensor) -> Tensor:
    """Whether an instance has tied features, bool[C], so that :func:`orders` returns several orders of it.

    Args:
        priority: float[B, N] of the whole batch.
        valid: bool[B, N] of the whole batch.
        instance: int64[C].
    """
    ordered = _masked_priority(priority, valid, instance).sort(1, descending=True).values
    last = valid[instance].sum(1)
    within = torch.arange(1, ordered.shape[1]) < last[:, None]
    return ((ordered[:, 1:] == ordered[:, :-1]) & within).any(1)


def mean_by_instance(values: Tensor, instance: Tensor) -> Tensor:
    """Mean of values float64[M, …] over the orders of each instance, float64[C, …], in ascending order of instances."""
    _, place, count = instance.unique(return_inverse=True, return_counts=True)
    total: Tensor = values.new_zeros((len(count), *values.shape[1:])).index_add_(0, place, values)
    mean: Tensor = total / count.view(-1, *[1] * (values.dim() - 1))
    return mean


def _masked_priority(priority: Tensor, valid: Tensor, instance: Tensor) -> Tensor:
    """Priority of the features of some instances, float64[C, N]; −∞ on padding."""
    return priority[instance].double().masked_fill(~valid[instance], -torch.inf)


def _ranks(keys: Tensor) -> Tensor:
    return _inverse(keys.argsort(dim=1, stable=True))


def _inverse(order: Tensor) -> Tensor:
    """Inverse permutation of each row, int64[M, N]: the place of each feature."""
    return torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
