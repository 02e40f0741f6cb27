"""The rules of products: a gate and a signal, elementwise or summed up at once, and what they are taken apart into."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import composite_operations as decompositions
from .sums import ones_of, summed
from .tracking import Tracking, plain, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation

Function = Callable[..., Tensor]


@rule("mul", "multiply", "__mul__", "__rmul__")
def _product(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    value = func(plain(left), plain(right))
    if tracking.is_tracked(left) and tracking.is_tracked(right):
        return _factored(tracking, func, value, left, right)
    argument, by = (left, right) if tracking.is_tracked(left) else (right, left)
    return _weighted(tracking, value, argument, by)


def _factored(tracking: Tracking, func: Operation, value: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """A product of two factors that depend on the input."""
    gates, moving = [tracking.is_gate(part) for part in (left, right)], (left, right)
    if left is right:  # a square: however it is shared, it comes to one
        return tracking.shared(value, (left, 1.0), gate=all(gates))
    if tracking.shares.of_gates:
        factors = [part.detach().expand(value.shape) for part in moving]
        return tracking.shared(value, *zip(moving, tracking.shares.of_factors(*factors), strict=True), gate=all(gates))
    if gates[0] == gates[1]:
        return tracking.undecided(value, func, _two(gate=gates[0]), left, right, gate=gates[0])
    return tracking.shared(value, (moving[gates.index(False)], 1.0))


def _two(*, gate: bool) -> str:
    return "a product of two gates" if gate else "a product of two signals (a gate comes from a sigmoid or a softmax)"


def _weighted(tracking: Tracking, value: Tensor, argument: Tensor, by: Any) -> Tensor:
    """A constant times what depends on the input: relevance passes as it is, but not through a 0."""
    found = tracking.shared(value, (argument, 1.0), gate=tracking.is_gate(argument))
    zero = by == 0
    if not (bool(zero.any()) if isinstance(zero, Tensor) else zero):
        return found
    with tracking:
        return torch.where(torch.as_tensor(zero, device=value.device), torch.zeros_like(value), found)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(tracking: Tracking, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """a / b: what is divided by is a gate, if anything is."""
    if kwargs.get("rounding_mode") is not None:
        raise refusal(func, "with rounding")
    value = func(plain(above), plain(below))
    if not tracking.is_tracked(below):
        return tracking.shared(value, (above, 1.0), gate=tracking.is_gate(above))
    inverse = tracking.shared(below.detach().reciprocal(), (below, 1.0), gate=tracking.is_gate(below))
    if not tracking.is_tracked(above):
        return _weighted(tracking, value, inverse, above)
    return _factored(tracking, func, value, above, inverse)


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(tracking: Tracking, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(tracking, torch.div, above, below)


def _bilinear(tracking: Tracking, func: Operation, call: Function, apart: Function, left: Any, right: Any) -> Tensor:
    """Products that are summed up at once, as matrix products are.

    ``call`` is the operation of its two factors, and ``apart`` the same as products and a sum, for rules that share
    between both factors.
    """
    moving = [tracking.is_tracked(part) for part in (left, right)]
    if all(moving) and tracking.shares.of_gates:
        with tracking:
            return apart(left, right)
    if all(moving):
        gates = [tracking.is_gate(part) for part in (left, right)]
        if gates[0] == gates[1]:
            value = call(plain(left), plain(right))
            return tracking.undecided(value, func, _two(gate=gates[0]), left, right, gate=gates[0])
        moving = [not gate for gate in gates]
    if moving[0]:
        by = plain(right)
        return summed(tracking, lambda own: call(own, by), lambda ones: call(ones, ones_of(by)), left)
    by = plain(left)
    return summed(tracking, lambda own: call(by, own), lambda ones: call(ones_of(by), ones), right)


def _outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """matmul as products and a sum."""
    if left.dim() == 1:
        return (left * right).sum(0) if right.dim() == 1 else (left.unsqueeze(-1) * right).sum(-2)
    if right.dim() == 1:
        return (left * right).sum(-1)
    return (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2)


@rule("matmul", "__matmul__", "mm", "bmm", "mv", "dot")
def _matmul(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    return _bilinear(tracking, func, torch.matmul, _outer_sum, left, right)


@rule("__rmatmul__")
def _reflected_matmul(tracking: Tracking, func: Operation, right: Any, left: Any) -> Tensor:
    return _bilinear(tracking, func, torch.matmul, _outer_sum, left, right)


@rule("outer", "ger")
def _outer(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    with tracking:
        return left.unsqueeze(1) * right.unsqueeze(0)


@rule("inner")
def _inner(tracking: Tracking, func: Operation, left: Tensor, right: Tensor) -> Tensor:
    with tracking:
        return left @ right.transpose(-1, -2) if right.dim() == 2 else left @ right


@rule("linear")
def _linear(tracking: Tracking, func: Operation, argument: Any, weight: Any, bias: Any = None) -> Tensor:
    if tracking.is_tracked(weight) or tracking.is_tracked(bias):
        with tracking:
            found = argument @ weight.t()
            return found if bias is None else found + bias
    return summed(tracking, lambda own: func(own, weight, bias), lambda ones: func(ones, ones_of(weight)), argument)


@rule("conv1d", "conv2d")
def _convolution(
    tracking: Tracking, func: Operation, argument: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
) -> Tensor:
    if tracking.is_tracked(weight) or tracking.is_tracked(bias):
        raise refusal(func, "with weights that depend on the input")
    return summed(
        tracking,
        lambda own: func(own, weight, bias, *args, **kwargs),
        lambda ones: func(ones, ones_of(weight), None, *args, **kwargs),
        argument,
    )


@rule("einsum")
def _einsum(tracking: Tracking, func: Operation, equation: str, *operands: Any) -> Tensor:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    moving = [part for part in factors if tracking.is_tracked(part)]
    if len(moving) == 1:
        place = next(place for place, part in enumerate(factors) if part is moving[0])

        def with_it(own: Tensor, others: list[Tensor]) -> Tensor:
            return torch.einsum(equation, *others[:place], own, *others[place + 1 :])

        counted = [ones_of(part) for part in factors]
        return summed(tracking, lambda own: with_it(own, factors), lambda ones: with_it(ones, counted), moving[0])
    if len(factors) != 2 or factors[0] is factors[1]:
        raise refusal(func, "of these tensors (multiply two at a time)")
    return _bilinear(
        tracking, func, lambda left, right: torch.einsum(equation, left, right),
        lambda left, right: _einsum_apart(func, equation, left, right), *factors,
    )  # fmt: skip


def _einsum_apart(func: Operation, equation: str, left: Tensor, right: Tensor) -> Tensor:
    """einsum of two tensors as products and a sum."""
    given, arrow, wanted = equation.replace(" ", "").partition("->")
    one, other = given.split(",")
    if "." in equation or not arrow or len({*one}) < len(one) or len({*other}) < len(other):
        raise refusal(func, "with this equation")
    labels = wanted + "".join(sorted({*one, *other} - {*wanted}))

    def placed(part: Tensor, own: str) -> Tensor:
        part = part.permute(*[own.index(label) for label in labels if label in own])
        for place, label in enumerate(labels):
            part = part if label in own else part.unsqueeze(place)
        return part

    product = placed(left, one) * placed(right, other)
    return product.sum(tuple(range(len(wanted), len(labels)))) if len(labels) > len(wanted) else product


rule("addmm", "baddbmm", "addmv")(decompositions.added_product)
rule("addcmul")(decompositions.added_elementwise_product)


@rule("lerp")
def _lerp(tracking: Tracking, func: Operation, start: Any, end: Any, weight: Any) -> Tensor:
    """(1 − w)∘start + w∘end: two gated signals, as in a GRU."""
    with tracking:
        return (1 - weight) * start + weight * end


@rule("glu")
def _gated(tracking: Tracking, func: Operation, argument: Tensor, dim: int = -1) -> Tensor:
    with tracking:
        signal, gate = argument.chunk(2, dim)
        return signal * torch.sigmoid(gate)


@rule("tril", "triu")
def _triangle(tracking: Tracking, func: Operation, argument: Tensor, diagonal: int = 0) -> Tensor:
    with tracking:
        return argument * func(torch.ones_like(argument), diagonal)
