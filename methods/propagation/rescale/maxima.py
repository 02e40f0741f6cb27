"""DeepLIFT's rules for maxima and minima: along a dimension, of two tensors, in the windows of a pool, up to each step.

A maximum is credited to its winners: what it is more than the other side's maximum to the winner of the actual side,
what it is less to the winner of the reference, each over its own difference. Source: the max-pool rule of Lundberg &
Lee's Deep SHAP, made symmetric in both sides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..operations import full_name
from .pairing import Pairing, rule
from .pairs import decide, pair, sides
from .softmax import merged_last

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..operations import Operation


class Maximum(torch.autograd.Function):
    """Maximum along a dimension, whose multiplier goes to the largest elements (winners) of both sides."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, reference: Tensor, dim: int) -> Tensor:
        """Maximum of the argument over dim, which is kept with size 1."""
        value, winner = argument.max(dim, keepdim=True)
        value0, winner0 = reference.max(dim, keepdim=True)
        top = torch.maximum(value, value0)
        ctx.dim = dim
        ctx.save_for_backward(
            winner, _share(top - value0, argument - reference, winner, dim),
            winner0, _share(value - top, argument - reference, winner0, dim),
            argument,
        )  # fmt: skip
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None]:
        """Attribute m · max(y − y⁰, 0) to the winner, m · min(y − y⁰, 0) to the reference's winner, each over its δ."""
        winner, share, winner0, share0, argument = ctx.saved_tensors
        multipliers = torch.zeros_like(argument).scatter_add_(ctx.dim, winner, multiplier * share)
        return multipliers.scatter_add_(ctx.dim, winner0, multiplier * share0), None, None


def _share(change: Tensor, delta: Tensor, winner: Tensor, dim: int) -> Tensor:
    """Multiplier of a winner: the change over the winner's δ; 0 where the change is 0."""
    own = delta.nan_to_num(nan=0.0).gather(dim, winner)
    share = torch.where(
        change == 0, torch.zeros_like(change), change / torch.where(own == 0, torch.ones_like(own), own)
    )
    infinite = delta.isinf().gather(dim, winner)
    # one side is masked: the multiplier is that of a difference of ±1 (see Chosen)
    return torch.where(infinite, change * own.sign(), share) if infinite.any() else share


@rule("max", "amax", "min", "amin")
def _maximum(pairing: Pairing, func: Operation, argument: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Maximum or minimum; over several dimensions or all, these are made one."""
    if isinstance(dim, Tensor):
        return _larger(pairing, func, argument, dim)
    low, name = "min" in func.__name__, func.__name__
    if low:
        argument = pairing.on_both(torch.neg, argument)
    whole = argument
    if dim is None and not keepdim:
        value = _kept(pairing, pairing.on_both(torch.flatten, argument), 0, keepdim=False)
    elif not isinstance(dim, int) and (dim is None or len(dim) != 1):
        merged, shape = merged_last(pairing, argument, dim, keepdim=keepdim)
        value = pairing.on_both(torch.reshape, _kept(pairing, merged, -1, keepdim=False), shape)
    else:
        value = _kept(pairing, argument, dim if isinstance(dim, int) else dim[0], keepdim=keepdim)
    value = pairing.on_both(torch.neg, value) if low else value
    if name.startswith("a") or dim is None:
        return value
    indices, others = (side.max(dim, keepdim).indices for side in sides(whole))
    made = torch.return_types.min if low else torch.return_types.max
    return made((value, decide(indices, others, None, full_name(func), (whole, dim))))


def _kept(pairing: Pairing, argument: Tensor, dim: int, *, keepdim: bool) -> Tensor:
    """Maximum along one dimension."""
    other = sides(argument)[1]
    pairing.numbers += argument.numel()
    maximum = pair(Maximum.apply(argument, other, dim), other.amax(dim, keepdim=True))
    return maximum if keepdim else pairing.on_both(torch.squeeze, maximum, dim)


@rule("aminmax", as_called=True)
def _extremes(
    pairing: Pairing, func: Operation, argument: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> Any:
    with pairing:
        dims = () if dim is None else dim
        low, high = argument.amin(dims, keepdim), argument.amax(dims, keepdim)
    return torch.return_types.aminmax((low, high))


@rule("argmax", "argmin", as_called=True)
def _place(
    pairing: Pairing, func: Operation, argument: Tensor, dim: int | None = None, keepdim: bool = False
) -> Tensor:
    """Index of a maximum: a decision among many, of which the scores are known."""
    own, other = (func(side, dim, keepdim) for side in sides(argument))
    choice = (
        None if dim is None else (argument if "max" in func.__name__ else pairing.on_both(torch.neg, argument), dim)
    )
    return decide(own, other, None, full_name(func), choice)


@rule("maximum", "minimum", "fmax", "fmin")
def _larger(pairing: Pairing, func: Operation, left: Any, right: Any) -> Tensor:
    sign = -1 if "min" in func.__name__ else 1
    with pairing:
        left, right = torch.broadcast_tensors(left, right)
        extreme: Tensor = sign * torch.stack([sign * left, sign * right]).amax(0)
    return extreme


class Winners(torch.autograd.Function):
    """Maxima over parts of the last dimension, by the indices of their winners on both sides."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, reference: Tensor, winner: Tensor, winner0: Tensor) -> Tensor:
        """The winners' values, of the shape of the indices."""
        value, value0 = argument.gather(-1, winner), reference.gather(-1, winner0)
        top, delta = torch.maximum(value, value0), argument - reference
        same = winner == winner0
        share = torch.where(same, 1.0, _share(top - value0, delta, winner, -1))
        ctx.save_for_backward(winner, share, winner0, _share(value - top, delta, winner0, -1).masked_fill(same, 0.0))
        ctx.size = argument.shape
        return value

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None]:
        """As :class:`Maximum`."""
        winner, share, winner0, share0 = ctx.saved_tensors
        multipliers = multiplier.new_zeros(ctx.size).scatter_add_(-1, winner, multiplier * share)
        return multipliers.scatter_add_(-1, winner0, multiplier * share0), None, None, None


def _won(argument: Tensor, winner: Tensor, winner0: Tensor) -> Tensor:
    """Pair of the maxima whose winners on both sides are known."""
    other = sides(argument)[1]
    return pair(Winners.apply(argument, other, winner, winner0), other.gather(-1, winner0))


@rule("cummax", "cummin", as_called=True)
def _running(pairing: Pairing, func: Operation, argument: Tensor, dim: int) -> Any:
    """Maximum or minimum up to each step, with its index."""
    low = "min" in func.__name__
    moved = pairing.on_both(torch.movedim, pairing.on_both(torch.neg, argument) if low else argument, dim, -1)
    indices, others = (side.cummax(-1).indices for side in sides(moved))
    won = _won(moved, indices, others)
    value = pairing.on_both(torch.movedim, pairing.on_both(torch.neg, won) if low else won, -1, dim)
    made = torch.return_types.cummin if low else torch.return_types.cummax
    return made((value, decide(indices.movedim(-1, dim), others.movedim(-1, dim), None, full_name(func))))


_PLAIN: Final = {"padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
_POOLS: Final[dict[str, Callable[..., Any]]] = {
    "max_pool1d": F.max_pool1d_with_indices, "max_pool2d": F.max_pool2d_with_indices,
    "max_pool3d": F.max_pool3d_with_indices, "adaptive_max_pool1d": F.adaptive_max_pool1d_with_indices,
    "adaptive_max_pool2d": F.adaptive_max_pool2d_with_indices,
    "adaptive_max_pool3d": F.adaptive_max_pool3d_with_indices,
}  # fmt: skip


@rule(*_POOLS, *(f"{name}_with_indices" for name in _POOLS), *(f"_{name}" for name in _POOLS), as_called=True)
def _max_pool(pairing: Pairing, func: Operation, argument: Tensor, size: Any = None, *args: Any, **kwargs: Any) -> Any:
    """Maximum in windows, of any number of dimensions, padding, dilation and output size."""
    name = func.__name__.removeprefix("_").removesuffix("_with_indices")
    adaptive, dimensions = name.startswith("adaptive"), int(name[-2])
    size = kwargs.pop("output_size" if adaptive else "kernel_size", size)
    options = dict(zip((["return_indices"] if adaptive else ["stride", *_PLAIN]), args, strict=False)) | kwargs
    stride = options.pop("stride", None) or size
    indexed = bool(options.pop("return_indices", False)) or func.__name__.endswith("_with_indices")
    width, jump = (each[0] if isinstance(each, (tuple, list)) else each for each in (size, stride))
    plain = (
        dimensions == 1 and not indexed and all(options.get(key, off) in {off, (off,)} for key, off in _PLAIN.items())
    )
    if plain and not (adaptive and argument.shape[-1] % width):
        width, jump = (argument.shape[-1] // width,) * 2 if adaptive else (width, jump)
        with pairing:
            pooled: Tensor = argument.unfold(-1, width, jump).amax(-1)
        return pooled
    given = {} if adaptive else {"stride": stride} | options
    found = [_POOLS[name](side, size, **given)[1].flatten(-dimensions) for side in sides(argument)]
    won = _won(pairing.on_both(torch.flatten, argument, -dimensions), *found)
    shape = _POOLS[name](argument.detach(), size, **given)[0].shape
    pooled = pairing.on_both(torch.reshape, won, shape)
    if not indexed:
        return pooled
    return pooled, decide(found[0].reshape(shape), found[1].reshape(shape), None, full_name(func))
