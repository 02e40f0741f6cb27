"""DeepLIFT's rules for orders: sort, topk, the k-th value, median and quantiles; and for choices by their indices.

Where both sides have the same order, an ordered value is that of one element, and takes its multiplier. Where the
orders differ, the values are sorted by a network that exchanges two at a time (Batcher's odd-even merge). Each exchange
makes the larger and the smaller of two numbers, which have the rule of a maximum: all multipliers lie between 0 and 1,
and the sum is exact whatever ties there are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..operations import Operation, full_name
from .pairing import NoClosedForm, Pairing, rule
from .pairs import decide, pair, sides


@lru_cache(maxsize=64)
def _exchanges(count: int) -> tuple[tuple[Tensor, Tensor], ...]:
    """Layers of a network that sorts so many numbers: places int64[C] of the numbers that each layer exchanges.

    Source: Batcher 1968, odd-even merge sort.
    """
    layers = []
    run = 1
    while run < count:
        step = run
        while step >= 1:
            first = [
                start + offset
                for start in range(step % run, count - step, 2 * step)
                for offset in range(min(step, count - start - step))
                if (start + offset) // (2 * run) == (start + offset + step) // (2 * run)
            ]
            if first:
                layers.append((torch.tensor(first), torch.tensor(first) + step))
            step //= 2
        run *= 2
    return tuple(layers)


class Sorted(torch.autograd.Function):
    """Numbers sorted along the last dimension, in rising order, by a network of exchanges."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, reference: Tensor) -> Tensor:
        """Sorted numbers of the argument; the shares of each exchange are kept."""
        own, other = argument.clone(), reference.clone()
        ctx.layers = []
        for first, second in _exchanges(argument.shape[-1]):
            pairs = own[..., first], own[..., second], other[..., first], other[..., second]
            low, low0, high, high0, shares = _exchanged(*pairs)
            own[..., first], own[..., second] = low, high
            other[..., first], other[..., second] = low0, high0
            ctx.layers.append((first, second, shares))
        return own

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None]:
        """Multipliers through the exchanges, from the last to the first."""
        multipliers = multiplier.clone()
        for first, second, (low_a, low_b, high_a, high_b) in reversed(ctx.layers):
            low, high = multipliers[..., first], multipliers[..., second]
            multipliers[..., first] = low * low_a + high * high_a
            multipliers[..., second] = low * low_b + high * high_b
        return multipliers, None


def _exchanged(a: Tensor, b: Tensor, a0: Tensor, b0: Tensor) -> tuple[Any, ...]:
    """The smaller and the larger of two numbers on both sides.

    Returns:
        smaller and its reference, larger and its reference, and the shares of a and b in the smaller and in the larger.
    """
    wins, wins0 = a > b, a0 > b0
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    low0, high0 = torch.minimum(a0, b0), torch.maximum(a0, b0)
    same = wins == wins0
    # of the larger one: what it gained is credited to the winner of the actual side, what it lost to the other side's
    gained, lost = (high - high0).clamp_min(0), (high - high0).clamp_max(0)
    high_a = torch.where(same, wins.to(a.dtype), _over(torch.where(wins, gained, lost), a - a0))
    high_b = torch.where(same, 1 - wins.to(a.dtype), _over(torch.where(wins, lost, gained), b - b0))
    # of the smaller one: what it lost is credited to the loser of the actual side, what it gained to the other side's
    gained, lost = (low - low0).clamp_min(0), (low - low0).clamp_max(0)
    low_a = torch.where(same, 1 - wins.to(a.dtype), _over(torch.where(wins, gained, lost), a - a0))
    low_b = torch.where(same, wins.to(a.dtype), _over(torch.where(wins, lost, gained), b - b0))
    return low, low0, high, high0, (low_a, low_b, high_a, high_b)


def _over(change: Tensor, delta: Tensor) -> Tensor:
    """A change over a difference; 0 where the change is 0, and the sign of an infinite difference times the change."""
    share = change / torch.where(change == 0, torch.ones_like(delta), delta)
    return torch.where(delta.isinf(), change * delta.sign(), share)


def _ordered(pairing: Pairing, argument: Tensor, dim: int, *, descending: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Sorted values along a dimension, and the indices of the actual and of the reference side."""
    if argument.dim() == 0 or any(side.isnan().any() for side in sides(argument)):
        raise NoClosedForm
    pairing.numbers += argument.numel()
    indices, others = (
        torch.sort(side, dim=dim, descending=descending, stable=True).indices for side in sides(argument)
    )
    if torch.equal(indices, others):
        return pairing.on_both(torch.gather, argument, dim, indices), indices, others
    moved = pairing.on_both(torch.movedim, argument, dim, -1)
    other = sides(moved)[1]
    network = pair(Sorted.apply(moved, other), other.sort(-1).values)
    if descending:
        network = pairing.on_both(torch.flip, network, [-1])
    return pairing.on_both(torch.movedim, network, -1, dim), indices, others


def _some(pairing: Pairing, argument: Tensor, dim: int, ranks: slice) -> Tensor:
    """Values of some ranks along a dimension."""
    return pairing.on_both(torch.narrow, argument, dim, ranks.start, ranks.stop - ranks.start)


@rule("sort", "msort", as_called=True)
def _sort(
    pairing: Pairing, func: Operation, argument: Tensor, dim: int = -1, descending: bool = False, **kwargs: Any
) -> Any:
    if func.__name__ == "msort":
        return _ordered(pairing, argument, 0, descending=False)[0]
    values, indices, others = _ordered(pairing, argument, dim, descending=kwargs.get("descending", descending))
    return torch.return_types.sort((values, decide(indices, others, None, full_name(func), (argument, dim))))


@rule("argsort", as_called=True)
def _argsort(
    pairing: Pairing, func: Operation, argument: Tensor, dim: int = -1, descending: bool = False, **kwargs: Any
) -> Tensor:
    own, other = (func(side, dim=dim, descending=descending, **kwargs) for side in sides(argument))
    return decide(own, other, None, full_name(func), (argument, dim))


@rule("topk", as_called=True)
def _topk(
    pairing: Pairing,
    func: Operation,
    argument: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,  # noqa: A002  # torch's own name
) -> Any:
    values, indices, others = _ordered(pairing, argument, dim, descending=largest)
    ranks = slice(0, k)
    chosen = decide(indices.narrow(dim, 0, k), others.narrow(dim, 0, k), None, full_name(func), (argument, dim))
    return torch.return_types.topk((_some(pairing, values, dim, ranks), chosen))


@rule("kthvalue", as_called=True)
def _kth(pairing: Pairing, func: Operation, argument: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    return torch.return_types.kthvalue(_of_rank(pairing, func, argument, k - 1, dim, keepdim=keepdim))


@rule("median", "nanmedian", as_called=True)
def _median(pairing: Pairing, func: Operation, argument: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    if dim is None:
        flat = pairing.on_both(torch.flatten, argument)
        return _of_rank(pairing, func, flat, (flat.numel() - 1) // 2, 0, keepdim=False)[0]
    if argument.dim() == 0:
        raise NoClosedForm
    rank = (argument.shape[dim] - 1) // 2
    return torch.return_types.median(_of_rank(pairing, func, argument, rank, dim, keepdim=keepdim))


def _of_rank(
    pairing: Pairing, func: Operation, argument: Tensor, rank: int, dim: int, *, keepdim: bool
) -> tuple[Tensor, Tensor]:
    """Value of one rank along a dimension, in rising order from 0, and its index."""
    values, indices, others = _ordered(pairing, argument, dim, descending=False)
    value = _some(pairing, values, dim, slice(rank, rank + 1))
    sided = [each.narrow(dim, rank, 1) for each in (indices, others)]
    if not keepdim:
        value = pairing.on_both(torch.squeeze, value, dim)
        sided = [each.squeeze(dim) for each in sided]
    return value, decide(sided[0], sided[1], None, full_name(func), (argument, dim))


@rule("quantile", "nanquantile", as_called=True)
def _quantile(
    pairing: Pairing,
    func: Operation,
    argument: Tensor,
    q: Any,
    dim: int | None = None,
    keepdim: bool = False,
    *,
    interpolation: str = "linear",
) -> Tensor:
    """Quantiles, between the two sorted values that are next to each."""
    if interpolation != "linear" or argument.dim() == 0:
        raise NoClosedForm
    wanted = torch.as_tensor(q, dtype=argument.dtype)
    along = 0 if dim is None else dim
    if dim is None:
        argument = pairing.on_both(torch.flatten, argument)
    values, _, _ = _ordered(pairing, argument, along, descending=False)
    places = wanted.flatten() * (argument.shape[along] - 1)
    below = places.floor().long()
    above, share = (below + 1).clamp_max(argument.shape[along] - 1), places - places.floor()
    with pairing:
        moved = values.movedim(along, -1)
        found = torch.lerp(moved[..., below], moved[..., above], share).movedim(-1, 0)
        if keepdim and dim is not None:
            found = found.unsqueeze(along + 1 if along >= 0 else along)
        return found if wanted.dim() else found.squeeze(0)
