"""The rules of sums: additions, reductions, and linear maps with constant weights, shared out by LRP-ε.

In layer norm the deviation that is divided by is a constant, so that what is left is a sum (Ali et al. 2022,
arXiv:2202.07304).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .tracking import Recorded, Tracking, plain, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation
    from .shares import Shares

Function = Callable[..., Tensor]


class Sum(Recorded):
    """z = L(x, …) + b, L linear, shared out by LRP-ε."""

    @staticmethod
    def forward(ctx: Any, shares: Shares, total: Function, terms: Function, there: bool, *operands: Tensor) -> Tensor:
        """The total.

        Args:
            ctx: torch's.
            shares: ε and the bias factor.
            total: z of the operands.
            terms: of 0s and 1s in the operands' places, how many terms each z has among the 1s; or a fixed multiple of
                that number.
            there: whether an operand that is exactly 0 is no term, as a masked step is none of a mean.
            *operands: what depends on the input.
        """
        own = [operand.detach().clone().requires_grad_() for operand in operands]
        with torch.enable_grad():
            value = total(*own)
        ctx.own, ctx.value, ctx.shares = own, value, shares
        ctx.stable = shares.stable(value.detach())
        ctx.even = None
        if shares.bias_factor:
            bias = total(*map(torch.zeros_like, operands))
            ones = [ones_of(part) if there else torch.ones_like(part) for part in own]
            with torch.enable_grad():
                counted = terms(*[part.requires_grad_() for part in ones])
            ctx.even = shares.kept(value.detach(), bias), ones, counted
        return value.detach().clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """To each term its share."""
        scaled = torch.where(ctx.stable.isfinite(), relevance / ctx.stable, torch.zeros_like(relevance))
        pulled = torch.autograd.grad(ctx.value, ctx.own, scaled)
        found = [part.detach() * back for part, back in zip(ctx.own, pulled, strict=True)]
        if ctx.even is not None:
            kept, ones, counted = ctx.even
            each = torch.where(counted == 0, torch.zeros_like(kept), kept * scaled / counted.detach())
            spread = torch.autograd.grad(counted, ones, each)
            found = [part + back * one for part, back, one in zip(found, spread, map(plain, ones), strict=True)]
        return None, None, None, None, *found


def summed(
    tracking: Tracking, total: Function, terms: Function, *operands: Tensor, there: bool = False, gate: bool = False
) -> Tensor:
    """z = total(operands), recorded as a sum; see :class:`Sum`."""
    found = tracking.mark(Sum.apply(tracking.shares, total, terms, there, *operands), gate=gate)
    if not there or not tracking.shares.bias_factor:
        return found
    alone = terms(*map(ones_of, map(plain, operands))) == 0
    if not bool(alone.any()):
        return found
    constant = found.detach().clone()
    with tracking:  # what has no term to share out its bias and stabiliser to is a constant
        return torch.where(alone, constant, found)


def ones_of(weights: Tensor) -> Tensor:
    """1 where there is a term, 0 where there is none: of weights, or of terms, as they are not 0 or are."""
    return (weights != 0).to(weights.dtype)


@rule("sum", "mean", "cumsum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _reduced(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """All terms of one total have one weight, so that the operation counts them as it adds them."""

    def total(own: Tensor) -> Tensor:
        found: Tensor = func(own, *args, **kwargs)
        return found

    return summed(tracking, total, total, argument, there=True, gate=tracking.is_gate(argument))


@rule("index_add", "scatter_add")
def _added_at(tracking: Tracking, func: Operation, into: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("dim", "index", "source")
    given = dict(zip(names, args, strict=False)) | {
        "source" if name == "src" else name: kwargs[name] for name in kwargs
    }
    odd = [name for name in given if name not in names]
    if odd:
        raise refusal(func, f"with {odd[0]}")
    parts, moving = (into, given["source"]), [tracking.is_tracked(part) for part in (into, given["source"])]

    def added(constants: list[Tensor], own: tuple[Tensor, ...]) -> Tensor:
        operands = iter(own)
        one, other = [next(operands) if moves else part for moves, part in zip(moving, constants, strict=True)]
        found: Tensor = func(one, given["dim"], given["index"], other)
        return found

    kept = [plain(part) for part in parts]
    none = [torch.zeros_like(part) for part in kept]
    operands = [part for moves, part in zip(moving, parts, strict=True) if moves]
    return summed(tracking, lambda *own: added(kept, own), lambda *ones: added(none, ones), *operands, there=True)


@rule("add", "__add__", "__radd__")
def _added(tracking: Tracking, func: Operation, left: Any, right: Any, *, alpha: float = 1) -> Tensor:
    return _combined(tracking, left, _scaled(tracking, right, alpha))


@rule("sub", "subtract", "__sub__")
def _subtracted(tracking: Tracking, func: Operation, left: Any, right: Any, *, alpha: float = 1) -> Tensor:
    return _combined(tracking, left, _scaled(tracking, right, -alpha))


@rule("rsub", "__rsub__")
def _subtracted_from(tracking: Tracking, func: Operation, left: Any, right: Any, *, alpha: float = 1) -> Tensor:
    return _combined(tracking, right, _scaled(tracking, left, -alpha))


def _scaled(tracking: Tracking, value: Any, by: float) -> Any:
    if by == 1:
        return value
    if not tracking.is_tracked(value):
        return value * by
    return tracking.shared(value.detach() * by, (value, 1.0), gate=tracking.is_gate(value))


def _combined(tracking: Tracking, left: Any, right: Any) -> Tensor:
    """z = a + b: two terms, or a term and its bias; a gate, shifted, is another gate as 1 − σ(z) = σ(−z) is."""
    total = plain(left) + plain(right)
    terms = [part for part in (left, right) if tracking.is_tracked(part)]
    gate = tracking.gates_only(left, right)
    spread = [part.detach().expand(total.shape) for part in terms]
    if len(terms) == 2:
        shares: list[Any] = tracking.shares.of_terms(total, *spread)
    else:
        shares = [1.0] if gate else [tracking.shares.of_shifted(total, spread[0])]
    return tracking.shared(total, *zip(terms, shares, strict=True), gate=gate)


@rule("diff")
def _differences(
    tracking: Tracking, func: Operation, argument: Tensor, n: int = 1, dim: int = -1, **kwargs: Any
) -> Tensor:
    if n != 1 or kwargs:
        raise refusal(func, "of more than neighbours")
    steps = argument.shape[dim]
    with tracking:
        return argument.narrow(dim, 1, steps - 1) - argument.narrow(dim, 0, steps - 1)


@rule("batch_norm")
def _batch_norm(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "training")
    given = dict(zip(names, args, strict=False)) | kwargs
    if given.get("training") or given.get("running_mean") is None:
        raise refusal(func, "with the statistics of the batch")
    return summed(tracking, lambda own: func(own, *args, **kwargs), torch.clone, argument)


@rule("layer_norm")
def _layer_norm(
    tracking: Tracking,
    func: Operation,
    argument: Tensor,
    shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    if tracking.is_tracked(weight) or tracking.is_tracked(bias):
        raise refusal(func, "with a weight that depends on the input")
    dims = tuple(range(-len(shape), 0))
    scale = (argument.detach().var(dims, unbiased=False, keepdim=True) + eps).rsqrt()

    def total(own: Tensor) -> Tensor:
        found = (own - own.mean(dims, keepdim=True)) * scale
        found = found if weight is None else found * weight
        return found if bias is None else found + bias

    def terms(ones: Tensor) -> Tensor:
        return ones.sum(dims, keepdim=True).expand_as(ones)

    return summed(tracking, total, terms, argument)
