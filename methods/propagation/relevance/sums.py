"""LRP-ε rules of sums: additions, reductions, and linear maps with constant weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .linearised import linear_map, linearised
from .roles import Role
from .tracking import Recorded, Tracking, detached, rule

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
    role: Role = Role.SIGNAL,
) -> Tensor:
    """Sum z = total(operands), tracked and recorded as :class:`Sum`, whose ``forward`` describes the arguments.

    A complex sum is one of real and imaginary parts, whose terms are not counted: the stabiliser keeps its share.
    """
    if any(map(torch.is_complex, operands)):
        return linear_map(tracking, "the stabiliser of complex sums", total, *operands, role=role)
    value = tracking.mark(Sum.apply(tracking.shares, total, terms, skip_zeros, *operands), role)
    if not tracking.shares.bias_factor:
        return value
    empty = terms(*map(indicator if skip_zeros else torch.ones_like, map(detached, operands))) == 0
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

    return summed(tracking, total, total, argument, skip_zeros=True, role=tracking.role_of(argument))


@rule("index_add", "scatter_add")
def _added_at(tracking: Tracking, func: Operation, into: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("dim", "index", "source")
    arguments = dict(zip(names, args, strict=False)) | {
        "source" if name == "src" else name: kwargs[name] for name in kwargs
    }
    if any(name not in names for name in arguments):
        added: Tensor = linearised(tracking, func, into, *args, **kwargs)
        return added
    parts, tracked = (into, arguments["source"]), [tracking.is_tracked(part) for part in (into, arguments["source"])]

    def total(constants: list[Tensor], own: tuple[Tensor, ...]) -> Tensor:
        operands = iter(own)
        one, other = [next(operands) if moves else part for moves, part in zip(tracked, constants, strict=True)]
        result: Tensor = func(one, arguments["dim"], arguments["index"], other)
        return result

    values = [detached(part) for part in parts]
    zeros = [torch.zeros_like(part) for part in values]
    operands = [part for moves, part in zip(tracked, parts, strict=True) if moves]
    return summed(
        tracking, lambda *own: total(values, own), lambda *ones: total(zeros, ones), *operands, skip_zeros=True
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
    return tracking.distribute(value.detach() * by, (value, 1.0), role=tracking.role_of(value))


def _combined(tracking: Tracking, left: Any, right: Any) -> Tensor:
    """Sum z = a + b of two terms, or of a term and its bias.

    A shifted gate is a gate again, as 1 − σ(z) = σ(−z) is, and passes its relevance on unchanged.
    """
    total = detached(left) + detached(right)
    terms = [part for part in (left, right) if tracking.is_tracked(part)]
    if total.is_complex():
        return _complex_sum(tracking, terms, left, right)
    role = tracking.role_of(left, right)
    spread = [part.detach().expand(total.shape) for part in terms]
    if len(terms) == 2:
        shares: list[Any] = tracking.shares.of_terms(total, *spread)
    else:
        shares = [1.0] if role is Role.GATE else [tracking.shares.of_shifted(total, spread[0])]
    return tracking.distribute(total, *zip(terms, shares, strict=True), role=role)


def _complex_sum(tracking: Tracking, terms: list[Tensor], left: Any, right: Any) -> Tensor:
    """Sum of two terms, of which one at least is complex, or of a term and its bias."""

    def total(*own: Tensor) -> Tensor:
        operands = iter(own)
        one, other = [next(operands) if tracking.is_tracked(part) else part for part in (left, right)]
        added: Tensor = one + other
        return added

    name, role = "the stabiliser of complex sums", tracking.role_of(terms)
    return linear_map(tracking, name, total, *terms, role=role)


@rule("diff")
def _differences(
    tracking: Tracking, func: Operation, argument: Tensor, n: int = 1, dim: int = -1, *args: Any, **kwargs: Any
) -> Tensor:
    if n != 1 or args or kwargs:
        differences: Tensor = linearised(tracking, func, argument, n, dim, *args, **kwargs)
        return differences
    steps = argument.shape[dim]
    with tracking:
        return argument.narrow(dim, 1, steps - 1) - argument.narrow(dim, 0, steps - 1)
