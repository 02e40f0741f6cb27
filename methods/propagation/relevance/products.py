"""LRP's rules of products of a gate and a signal: elementwise, bilinear, and composite operations built from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import composite_operations as composites
from .sums import indicator, summed
from .tracking import Tracking, detached, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation

Function = Callable[..., Tensor]


@rule("mul", "multiply", "__mul__", "__rmul__")
def _product(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    value = func(detached(left), detached(right))
    if tracking.is_tracked(left) and tracking.is_tracked(right):
        return _factored(tracking, func, value, left, right)
    argument, by = (left, right) if tracking.is_tracked(left) else (right, left)
    return _weighted(tracking, value, argument, by)


def _factored(tracking: Tracking, func: Operation, value: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Product of two factors that depend on the input."""
    gates, operands = [tracking.is_gate(part) for part in (left, right)], (left, right)
    if left is right:  # a square: every rule gives all relevance to the one factor
        return tracking.distribute(value, (left, 1.0), gate=all(gates))
    if tracking.shares.includes_gates:
        factors = [part.detach().expand(value.shape) for part in operands]
        return tracking.distribute(
            value, *zip(operands, tracking.shares.of_factors(*factors), strict=True), gate=all(gates)
        )
    if gates[0] == gates[1]:
        return tracking.without_rule(value, func, _complaint(gate=gates[0]), left, right, gate=gates[0])
    return tracking.distribute(value, (operands[gates.index(False)], 1.0))


def _complaint(*, gate: bool) -> str:
    """Part of an error message: the kind of a product that has no rule."""
    return "a product of two gates" if gate else "a product of two signals (a gate comes from a sigmoid or a softmax)"


def _weighted(tracking: Tracking, value: Tensor, argument: Tensor, factor: Any) -> Tensor:
    """Constant factor times a tensor that depends on the input.

    Relevance passes unchanged, except where the constant is 0: there it ends.
    """
    scaled = tracking.distribute(value, (argument, 1.0), gate=tracking.is_gate(argument))
    zero = factor == 0
    if not (bool(zero.any()) if isinstance(zero, Tensor) else zero):
        return scaled
    with tracking:
        return torch.where(torch.as_tensor(zero, device=value.device), torch.zeros_like(value), scaled)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(tracking: Tracking, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """Quotient a / b, as the product of a and 1/b; 1/b is a gate if b is one."""
    if kwargs.get("rounding_mode") is not None:
        raise refusal(func, "with rounding")
    value = func(detached(above), detached(below))
    if not tracking.is_tracked(below):
        return tracking.distribute(value, (above, 1.0), gate=tracking.is_gate(above))
    inverse = tracking.distribute(below.detach().reciprocal(), (below, 1.0), gate=tracking.is_gate(below))
    if not tracking.is_tracked(above):
        return _weighted(tracking, value, inverse, above)
    return _factored(tracking, func, value, above, inverse)


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(tracking: Tracking, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(tracking, torch.div, above, below)


def _bilinear(
    tracking: Tracking, func: Operation, call: Function, elementwise: Function, left: Any, right: Any
) -> Tensor:
    """Bilinear operation: products and their sum in one, as a matrix product is.

    Args:
        tracking: the mode.
        func: torch's operation, for error messages.
        call: the operation as a function of its two factors.
        elementwise: the same in elementwise products and a sum, for rules that give relevance to both factors.
        left: one factor.
        right: the other factor.
    """
    tracked = [tracking.is_tracked(part) for part in (left, right)]
    if all(tracked) and tracking.shares.includes_gates:
        with tracking:
            return elementwise(left, right)
    if all(tracked):
        gates = [tracking.is_gate(part) for part in (left, right)]
        if gates[0] == gates[1]:
            value = call(detached(left), detached(right))
            return tracking.without_rule(value, func, _complaint(gate=gates[0]), left, right, gate=gates[0])
        tracked = [not gate for gate in gates]
    if tracked[0]:
        factor = detached(right)
        return summed(tracking, lambda own: call(own, factor), lambda ones: call(ones, indicator(factor)), left)
    factor = detached(left)
    return summed(tracking, lambda own: call(factor, own), lambda ones: call(indicator(factor), ones), right)


def _elementwise_matmul(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product as elementwise products and a sum."""
    if left.dim() == 1:
        return (left * right).sum(0) if right.dim() == 1 else (left.unsqueeze(-1) * right).sum(-2)
    if right.dim() == 1:
        return (left * right).sum(-1)
    return (left.unsqueeze(-1) * right.unsqueeze(-3)).sum(-2)


@rule("matmul", "__matmul__", "mm", "bmm", "mv", "dot")
def _matmul(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    return _bilinear(tracking, func, torch.matmul, _elementwise_matmul, left, right)


@rule("__rmatmul__")
def _reflected_matmul(tracking: Tracking, func: Operation, right: Any, left: Any) -> Tensor:
    return _bilinear(tracking, func, torch.matmul, _elementwise_matmul, left, right)


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
            product = argument @ weight.t()
            return product if bias is None else product + bias
    return summed(tracking, lambda own: func(own, weight, bias), lambda ones: func(ones, indicator(weight)), argument)


@rule("conv1d", "conv2d")
def _convolution(
    tracking: Tracking, func: Operation, argument: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
) -> Tensor:
    if tracking.is_tracked(weight) or tracking.is_tracked(bias):
        raise refusal(func, "with weights that depend on the input")
    return summed(
        tracking,
        lambda own: func(own, weight, bias, *args, **kwargs),
        lambda ones: func(ones, indicator(weight), None, *args, **kwargs),
        argument,
    )


@rule("einsum")
def _einsum(tracking: Tracking, func: Operation, equation: str, *operands: Any) -> Tensor:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    tracked = [part for part in factors if tracking.is_tracked(part)]
    if len(tracked) == 1:
        index = next(index for index, part in enumerate(factors) if part is tracked[0])

        def contract(own: Tensor, others: list[Tensor]) -> Tensor:
            return torch.einsum(equation, *others[:index], own, *others[index + 1 :])

        indicators = [indicator(part) for part in factors]
        return summed(tracking, lambda own: contract(own, factors), lambda ones: contract(ones, indicators), tracked[0])
    if len(factors) != 2 or factors[0] is factors[1]:
        raise refusal(func, "of these tensors (multiply two at a time)")
    return _bilinear(
        tracking, func, lambda left, right: torch.einsum(equation, left, right),
        lambda left, right: _elementwise_einsum(func, equation, left, right), *factors,
    )  # fmt: skip


def _elementwise_einsum(func: Operation, equation: str, left: Tensor, right: Tensor) -> Tensor:
    """Einsum of two tensors as elementwise products and a sum.

    Raises:
        UnsupportedModelError: the equation holds an ellipsis or a repeated label, or has no arrow.
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    one, other = inputs.split(",")
    if "." in equation or not arrow or len({*one}) < len(one) or len({*other}) < len(other):
        raise refusal(func, "with this equation")
    labels = output + "".join(sorted({*one, *other} - {*output}))

    def aligned(part: Tensor, own: str) -> Tensor:
        part = part.permute(*[own.index(label) for label in labels if label in own])
        for place, label in enumerate(labels):
            part = part if label in own else part.unsqueeze(place)
        return part

    product = aligned(left, one) * aligned(right, other)
    return product.sum(tuple(range(len(output), len(labels)))) if len(labels) > len(output) else product


rule("addmm", "baddbmm", "addmv")(composites.added_product)
rule("addcmul")(composites.added_elementwise_product)


@rule("lerp")
def _lerp(tracking: Tracking, func: Operation, start: Any, end: Any, weight: Any) -> Tensor:
    """Interpolation (1 − w)∘start + w∘end: a sum of two gated signals, as in a GRU."""
    with tracking:
        return (1 - weight) * start + weight * end


@rule("glu")
def _glu(tracking: Tracking, func: Operation, argument: Tensor, dim: int = -1) -> Tensor:
    with tracking:
        signal, gate = argument.chunk(2, dim)
        return signal * torch.sigmoid(gate)


@rule("tril", "triu")
def _triangle(tracking: Tracking, func: Operation, argument: Tensor, diagonal: int = 0) -> Tensor:
    with tracking:
        return argument * func(torch.ones_like(argument), diagonal)
