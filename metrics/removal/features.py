"""Features as flat rows: which ones a sequence has, and in which orders a ranking takes them.

A feature is a step of a sequence or a cell (one value of one step); a batch's features are the columns of
[B, N] tensors with N = T or N = T·D, in the order of time. Where a ranking cannot tell features apart, every order
of them is as good as any other: :func:`orders` then returns several, drawn at random. An ``argsort`` alone would
take tied features in the order of time and so credit a method with a preference for early steps that it never stated.
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
        instance: int64[M], the instance each order belongs to; not descending, and an instance may have several.
        ranks: int64[M, N], the place of each feature, 0 for the first; what is padding comes last.
    """

    instance: Tensor
    ranks: Tensor


def random_orders(valid: Tensor, instance: Tensor, count: int) -> Orders:
    """Some random orders of each instance's features.

    They depend on the number of the instance and of its valid features only, not on padding or on other instances.

    Args:
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to draw for.
        count: orders of each.
    """
    keys = torch.full((len(instance), count, valid.shape[1]), torch.inf, dtype=torch.float64)
    for row, number in enumerate(instance.tolist()):
        rng = torch.Generator().manual_seed(seed_from("random order", number))
        drawn = torch.rand(count, int(valid[number].sum()), generator=rng, dtype=torch.float64)
        keys[row, :, valid[number]] = drawn
    return Orders(instance.repeat_interleave(count), _ranks(keys.flatten(0, 1)))


def orders(priority: Tensor, valid: Tensor, instance: Tensor, breaks: int) -> Orders:
    """The order of falling priority of each instance; where features are tied, as many orders as there are breaks.

    Tied features follow each other as in :func:`random_orders`, so that a constant map is ranked by exactly the
    orders that a random baseline of the same number is made of.

    Args:
        priority: float[B, N] of the whole batch.
        valid: bool[B, N] of the whole batch.
        instance: int64[C], the instances to order.
        breaks: orders of an instance with ties.
    """
    chosen, tied = _chosen(priority, valid, instance), ties(priority, valid, instance)
    wanted = torch.where(tied, breaks, 1)
    shuffled = torch.arange(valid.shape[1]).repeat(int(wanted.sum()), 1)
    # the others have one order, whatever they are shuffled to first
    shuffled[tied.repeat_interleave(wanted)] = random_orders(valid, instance[tied], breaks).ranks.argsort(1)
    rows = chosen.repeat_interleave(wanted, 0).gather(1, shuffled)
    order = shuffled.gather(1, rows.argsort(dim=1, descending=True, stable=True))
    return Orders(instance.repeat_interleave(wanted), _inverse(order))


def ties(priority: Tensor, valid: Tensor, instance: Tensor) -> Tensor:
    """bool[C]: whether two features of an instance share their priority, so that :func:`orders` gives several orders.

    Args:
        priority: float[B, N] of the whole batch.
        valid: bool[B, N] of the whole batch.
        instance: int64[C].
    """
    ordered = _chosen(priority, valid, instance).sort(1, descending=True).values
    last = valid[instance].sum(1)
    within = torch.arange(1, ordered.shape[1]) < last[:, None]
    return ((ordered[:, 1:] == ordered[:, :-1]) & within).any(1)


def mean_by_instance(values: Tensor, instance: Tensor) -> Tensor:
    """float64[C, …]: the mean over the orders of each instance, for values float64[M, …] of ascending instances."""
    _, place, count = instance.unique(return_inverse=True, return_counts=True)
    total: Tensor = values.new_zeros((len(count), *values.shape[1:])).index_add_(0, place, values)
    mean: Tensor = total / count.view(-1, *[1] * (values.dim() - 1))
    return mean


def _chosen(priority: Tensor, valid: Tensor, instance: Tensor) -> Tensor:
    """float64[C, N]: the priority of the features of some instances, −∞ for padding."""
    return priority[instance].double().masked_fill(~valid[instance], -torch.inf)


def _ranks(keys: Tensor) -> Tensor:
    return _inverse(keys.argsort(dim=1, stable=True))


def _inverse(order: Tensor) -> Tensor:
    """int64[M, N]: the place of each feature in a row of features in order."""
    return torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
