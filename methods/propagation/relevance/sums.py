"""LRP-ε rules of sums: additions, reductions, and linear maps with constant weights.

In layer norm the standard deviation is treated as a constant, so that the rest is a sum (Ali et al. 2022,
arXiv:2202.07304).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .tracking import Recorded, Tracking, detached, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation
    from .shares import Shares

Function = Callable[..., Tensor]


class Sum(Recorded):
    """Sum z = L(x, …) + b, with L linear, whose relevance is distributed by LRP-ε."""

    @staticmethod
    def forward(
        ctx: Any, shares: Shares, total: Function, terms: Function, skip_zeros: bool, *operands: Tensor
    ) -> Tensor:
        """Return the sum z.

        Args:
            ctx: torch's context.
            shares: ε and the bias factor.
            total: function that computes z from the operands.
            terms: function that counts terms: from indicators (0 or 1) in the places of the operands it returns the
                number of terms with indicator 1 in each z, or a fixed multiple of that number.
            skip_zeros: whether an operand that is exactly 0 is not a term, as a masked step is not a term of a mean.
            *operands: tensors that depend on the input.
        """
        own = [operand.detach().clone().requires_grad_() for operand in operands]
        with torch.enable_grad():
            value = total(*own)
        ctx.own, ctx.value, ctx.shares = own, value, shares
        ctx.stable = shares.stable(value.detach())
        ctx.bias_shares = None
        if shares.bias_factor:
            bias = total(*map(torch.zeros_like, operands))
            ones = [indicator(part) if skip_zeros else torch.ones_like(part) for part in own]
            with torch.enable_grad():
                counted = terms(*[part.requires_grad_() for part in ones])
            ctx.bias_shares = shares.bias_share(value.detach(), bias), ones, counted
        return value.detach().clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Distribute the relevance to the terms by their shares."""
        scaled = torch.where(ctx.stable.isfinite(), relevance / ctx.stable, torch.zeros_like(relevance))
        gradients = torch.autograd.grad(ctx.value, ctx.own, scaled)
        relevances = [part.detach() * gradient for part, gradient in zip(ctx.own, gradients, strict=True)]
        if ctx.bias_shares is not None:
            bias_share, ones, counted = ctx.bias_shares
            per_term = torch.where(counted == 0, torch.zeros_like(bias_share), bias_share * scaled / counted.detach())
            spread = torch.autograd.grad(counted, ones, per_term)
            indicators = map(detached, ones)
            relevances = [part + share * one for part, share, one in zip(relevances, spread, indicators, strict=True)]
        return None, None, None, None, *relevances


def summed(
    tracking: Tracking,
    total: Function,
    terms: Function,
    *operands: Tensor,
    skip_zeros: bool = False,
    gate: bool = False,
) -> Tensor:
    """Sum z = total(operands), tracked and recorded as :class:`Sum`, whose ``forward`` describes the arguments."""
    value = tracking.mark(Sum.apply(tracking.shares, total, terms, skip_zeros, *operands), gate=gate)
    if not skip_zeros or not tracking.shares.bias_factor:
        return value
    empty = terms(*map(indicator, map(detached, operands))) == 0
    if not bool(empty.any()):
        return value
    constant = value.detach().clone()
    with tracking:  # a sum without any term, to which its bias and stabiliser could be distributed, is a constant
        return torch.where(empty, constant, value)


def indicator(weights: Tensor) -> Tensor:
    """Indicators of terms, of the weights' shape and dtype: 1 where a weight (or a term) is not 0, else 0."""
    return (weights != 0).to(weights.dtype)


@rule("sum", "mean", "cumsum", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d", "adaptive_avg_pool2d")
def _reduced(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Reduction, whose terms all have one weight, so that the operation itself counts the terms."""

    def total(own: Tensor) -> Tensor:
        reduced: Tensor = func(own, *args, **kwargs)
        return reduced

    return summed(tracking, total, total, argument, skip_zeros=True, gate=tracking.is_gate(argument))


@rule("index_add", "scatter_add")
def _added_at(tracking: Tracking, func: Operation, into: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("dim", "index", "source")
    arguments = dict(zip(names, args, strict=False)) | {
        "source" if name == "src" else name: kwargs[name] for name in kwargs
    }
    unsupported = [name for name in arguments if name not in names]
    if unsupported:
        raise refusal(func, f"with {unsupported[0]}")
    parts, tracked = (into, arguments["source"]), [tracking.is_tracked(part) for part in (into, arguments["source"])]

    def added(constants: list[Tensor], own: tuple[Tensor, ...]) -> Tensor:
        operands = iter(own)
        one, other = [next(operands) if moves else part for moves, part in zip(tracked, constants, strict=True)]
        result: Tensor = func(one, arguments["dim"], arguments["index"], other)
        return result

    values = [detached(part) for part in parts]
    zeros = [torch.zeros_like(part) for part in values]
    operands = [part for moves, part in zip(tracked, parts, strict=True) if moves]
    return summed(
        tracking, lambda *own: added(values, own), lambda *ones: added(zeros, ones), *operands, skip_zeros=True
    )


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
    """Value times a number, such as the alpha of an addition."""
    if by == 1:
        return value
    if not tracking.is_tracked(value):
        return value * by
    return tracking.distribute(value.detach() * by, (value, 1.0), gate=tracking.is_gate(value))


def _combined(tracking: Tracking, left: Any, right: Any) -> Tensor:
    """Sum z = a + b of two terms, or of a term and its bias.

    A shifted gate is a gate again, as 1 − σ(z) = σ(−z) is, and passes its relevance on unchanged.
    """
    total = detached(left) + detached(right)
    terms = [part for part in (left, right) if tracking.is_tracked(part)]
    gate = tracking.gates_only(left, right)
    spread = [part.detach().expand(total.shape) for part in terms]
    if len(terms) == 2:
        shares: list[Any] = tracking.shares.of_terms(total, *spread)
    else:
        shares = [1.0] if gate else [tracking.shares.of_shifted(total, spread[0])]
    return tracking.distribute(total, *zip(terms, shares, strict=True), gate=gate)


@rule("diff")
def _differences(
    tracking: Tracking, func: Operation, argument: Tensor, n: int = 1, dim: int = -1, **kwargs: Any
) -> Tensor:
    if n != 1 or kwargs:
        raise refusal(func, "with n other than 1, prepend or append")
    steps = argument.shape[dim]
    with tracking:
        return argument.narrow(dim, 1, steps - 1) - argument.narrow(dim, 0, steps - 1)


@rule("batch_norm")
def _batch_norm(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "training")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    if arguments.get("training") or arguments.get("running_mean") is None:
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
        normalised = (own - own.mean(dims, keepdim=True)) * scale
        normalised = normalised if weight is None else normalised * weight
        return normalised if bias is None else normalised + bias

    def terms(ones: Tensor) -> Tensor:
        return ones.sum(dims, keepdim=True).expand_as(ones)

    return summed(tracking, total, terms, argument)
