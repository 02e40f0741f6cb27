"""Contextual decomposition of any operation, as one function of all tensors that it takes.

The contribution of the relevant streams of all arguments together is the difference that they make, averaged over both
orders of adding relevant and irrelevant streams, the bias first. This is Murdoch, Liu & Yu 2018, equation 8, for a
function of several tensors; of a linear operation each stream gets exactly its own part.
"""
# ruff: noqa: ANN401  # a rule has the signature of torch's operation

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..operations import short_name
from ..parts import is_numeric
from .following import ANY_OTHER, Following, refusal, rule
from .streams import Parts, Streams, attach, streams_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..operations import Operation

# Counterparts for the amounts inside and outside: how much of each argument an element of the result is made of.
_AMOUNTS: Final[dict[str, Operation]] = {
    "logcumsumexp": torch.cumsum, "cumprod": torch.cumsum, "prod": torch.sum, "interpolate": functional.interpolate,
    "avg_pool2d": functional.avg_pool2d, "adaptive_avg_pool2d": functional.adaptive_avg_pool2d,
    "fold": functional.fold,
}  # fmt: skip

# They scale other tensors, and are not decomposed beside them.
_STATISTICS: Final = frozenset({"var", "std", "norm", "linalg_norm", "linalg_vector_norm"})


def attach_normalised(
    total: Tensor, parts: Parts, inside: Tensor, outside: Tensor, *, weights: bool = False, statistic: bool = False
) -> Tensor:
    """Attach streams to a tensor, with inside and outside normalised to a sum of 1 where they are not both 0."""
    amount = inside + outside
    amount = torch.where(amount > 0, amount, torch.ones_like(amount))
    bias = torch.zeros_like(total) if parts.bias is None else parts.bias
    sides = inside / amount, outside / amount
    return attach(total, Streams(parts.relevant, parts.irrelevant, bias, *sides, weights or statistic, statistic))


@rule(ANY_OTHER)
def jointly_split(following: Following, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Do an operation that has no rule of its own.

    Raises:
        UnsupportedModelError: the operation gives no tensor of numbers, or it fails on a stream.
    """
    leaves, form = tree_flatten((args, kwargs))
    own = {
        place: streams
        for place, leaf in enumerate(leaves)
        if isinstance(leaf, Tensor) and (streams := streams_of(leaf))
    }

    def run(pick: Callable[[Streams], Tensor]) -> list[Any]:
        picked = [pick(own[place]) if place in own else leaf for place, leaf in enumerate(leaves)]
        own_args, own_kwargs = tree_unflatten(picked, form)
        return tree_flatten(func(*own_args, **own_kwargs))[0]

    try:
        results, shape = tree_flatten(func(*args, **kwargs))
        relevant, irrelevant, bias = (
            run(pick)
            for pick in (lambda of: of.parts.without_irrelevant, lambda of: of.irrelevant + of.bias, lambda of: of.bias)
        )
    except RuntimeError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise refusal(func, f"(torch says: {reason})") from error
    if not any(isinstance(result, Tensor) and is_numeric(result) for result in results):
        raise refusal(func, "which gives no tensor of numbers")
    if any(isinstance(result, Tensor) and result.layout is not torch.strided for result in results):
        raise refusal(func, "which gives a sparse tensor")
    for place, total in enumerate(results):
        if isinstance(total, Tensor) and is_numeric(total):
            _attach(
                following,
                func,
                total,
                (relevant[place], irrelevant[place], bias[place]),
                (list(own.values()), args, kwargs),
            )
    return tree_unflatten(results, shape)


def _attach(
    following: Following,
    func: Operation,
    total: Tensor,
    values: tuple[Tensor, Tensor, Tensor],
    call: tuple[list[Streams], tuple[Any, ...], dict[str, Any]],
) -> None:
    """Attach the streams of one result.

    Args:
        following: the mode.
        func: the operation.
        total: the result.
        values: the same without the irrelevant streams, without the relevant ones, and of the bias alone.
        call: streams of the arguments that have some, and all arguments.
    """
    with_relevant, with_irrelevant, bias = values
    gain = total - bias
    relevant = (gain + (with_relevant - with_irrelevant)) / 2
    following.check_defined(func, relevant, total)
    own, args, kwargs = call
    inside, outside = (_amount(func, total, own, side, (args[1:], kwargs)) for side in ("inside", "outside"))
    statistic = short_name(func) in _STATISTICS or all(streams.statistic for streams in own)
    attach_normalised(total, Parts(relevant, gain - relevant, bias), inside, outside, statistic=statistic)


def _amount(
    func: Operation, total: Tensor, own: list[Streams], side: str, rest: tuple[tuple[Any, ...], dict[str, Any]]
) -> Tensor:
    """Amount of the inputs inside or outside the span, float of the shape of the result.

    Where the operation does not say, it is the mean over what the result shares with each argument: all dimensions, or
    those in front.
    """
    amounts: list[Tensor] = [getattr(streams, side) for streams in own]
    name = short_name(func)
    if name in _AMOUNTS and len(amounts) == 1:
        counted: Tensor = _AMOUNTS[name](amounts[0], *rest[0], **rest[1])
        return counted
    means = [_mean_over_shared(amount, total) for amount in amounts]
    return torch.stack(means).mean(0)


def _mean_over_shared(amount: Tensor, total: Tensor) -> Tensor:
    """Mean of an amount over all but its first dimensions that are as long as those of the result, as its shape."""
    shared = 0
    while shared < min(amount.dim(), total.dim()) and amount.shape[shared] == total.shape[shared]:
        shared += 1
    if shared < amount.dim():
        amount = amount.mean(tuple(range(shared, amount.dim())))
    return amount.reshape((*amount.shape, *[1] * (total.dim() - shared))).expand(total.shape)
