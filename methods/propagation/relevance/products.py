"""LRP's rules of products: elementwise, bilinear, and composite operations built from them.

The factors of the lowest role (:mod:`.roles`) share the relevance of a product equally, each by ε-LRP with the others
as constants; the others receive none. So a signal takes all from a gate (Arras et al. 2017), and two signals, as query
and key of an attention, take half each (Achtibat et al. 2024, arXiv:2402.05602, section 3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import composite_operations as composites
from ..operations import full_name
from ..parts import is_complex
from .linearised import linear_map
from .roles import Role
from .sums import indicator, summed
from .tracking import Tracking, detached, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation

Function = Callable[..., Tensor]


@rule("mul", "multiply", "__mul__", "__rmul__")
def _product(tracking: Tracking, func: Operation, left: Any, right: Any) -> Tensor:
    value = func(detached(left), detached(right))
    if value.is_complex():
        return multilinear(tracking, func, lambda factors: func(*factors), [left, right])
    if tracking.is_tracked(left) and tracking.is_tracked(right):
        return _factored(tracking, value, left, right)
    argument, by = (left, right) if tracking.is_tracked(left) else (right, left)
    return _weighted(tracking, value, argument, by)


def _factored(tracking: Tracking, value: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Product of two factors that depend on the input."""
    role = tracking.role_of(left, right)
    if left is right:  # a square: every rule gives all relevance to the one factor
        return tracking.distribute(value, (left, 1.0), role=role)
    if tracking.shares.includes_gates:
        factors = [part.detach().expand(value.shape) for part in (left, right)]
        return tracking.distribute(
            value, *zip((left, right), tracking.shares.of_factors(*factors), strict=True), role=role
        )
    receivers = receivers_of(tracking, [left, right])
    return tracking.distribute(value, *[(part, 1 / len(receivers)) for part in receivers], role=role)


def receivers_of(tracking: Tracking, factors: list[Any]) -> list[Tensor]:
    """Factors that share the relevance of their product: those of the lowest role."""
    tracked = [part for part in factors if tracking.is_tracked(part)]
    if tracking.shares.includes_gates:
        return tracked
    lowest = tracking.role_of(tracked)
    return [part for part in tracked if tracking.role_of(part) is lowest]


def _weighted(tracking: Tracking, value: Tensor, argument: Tensor, factor: Any) -> Tensor:
    """Constant factor times a tensor that depends on the input.

    Relevance passes unchanged, except where the constant is 0: there it ends.
    """
    scaled = tracking.distribute(value, (argument, 1.0), role=tracking.role_of(argument))
    zero = factor == 0
    if not (bool(zero.any()) if isinstance(zero, Tensor) else zero):
        return scaled
    with tracking:
        return torch.where(torch.as_tensor(zero, device=value.device), torch.zeros_like(value), scaled)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(tracking: Tracking, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """Quotient a / b, as the product of a and 1/b, where 1/b is a gate if b is one, and else a scale."""
    if kwargs.get("rounding_mode") is not None:
        raise refusal(func, "with rounding")
    value = func(detached(above), detached(below))
    if value.is_complex():
        return _complex_quotient(tracking, func, above, below)
    if not tracking.is_tracked(below):
        return tracking.distribute(value, (above, 1.0), role=tracking.role_of(above))
    role = max(Role.SCALE, tracking.role_of(below))
    inverse = tracking.distribute(below.detach().reciprocal(), (below, 1.0), role=role)
    if not tracking.is_tracked(above):
        return _weighted(tracking, value, inverse, above)
    if not tracking.shares.includes_gates and tracking.role_of(above) is role:  # the divisor only normalises
        return tracking.distribute(value, (above, 1.0), role=role)
    return _factored(tracking, value, above, inverse)


def _complex_quotient(tracking: Tracking, func: Operation, above: Any, below: Any) -> Tensor:
    """Quotient of which a part is complex: linear in the dividend, and in 1/b if the dividend is a constant."""
    if tracking.is_tracked(above):
        divisor = detached(below)
        return linear_map(tracking, "the stabiliser of complex products", lambda own: func(own, divisor), above)
    with tracking:
        return torch.reciprocal(below) * above


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(tracking: Tracking, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(tracking, torch.div, above, below)


def multilinear(
    tracking: Tracking,
    func: Operation,
    call: Callable[[list[Any]], Tensor],
    factors: list[Any],
    *,
    signed: bool = False,
) -> Tensor:
    """Value of an operation that is linear in each of its factors.

    Args:
        tracking: the mode.
        func: torch's operation, for the name of the stabiliser's share.
        call: the operation as a function of its factors.
        factors: tensors, some of which depend on the input.
        signed: whether the operation also subtracts, so that it cannot count its own terms: the stabiliser then keeps
            its share.
    """
    receivers = [
        place for place, part in enumerate(factors) if any(part is other for other in receivers_of(tracking, factors))
    ]
    signed = signed or any(map(is_complex, factors))
    name = f"the stabiliser of {full_name(func)}" if signed else ""
    constants = [detached(part) for part in factors]
    parts = [_over_one_factor(tracking, call, constants, (place, factors[place]), name) for place in receivers]
    if len(parts) == 1:
        return parts[0]
    role = tracking.role_of([factors[place] for place in receivers])
    value = parts[0].detach().clone()
    return tracking.distribute(value, *[(part, 1 / len(parts)) for part in parts], role=role)


def _over_one_factor(
    tracking: Tracking,
    call: Callable[[list[Any]], Tensor],
    constants: list[Any],
    factor: tuple[int, Tensor],
    uncounted: str,
) -> Tensor:
    """Multilinear operation as a sum over one factor, given with its place; the others are constants.

    ``uncounted`` is the name of the stabiliser's share where terms are not counted; else it is empty.
    """
    place, argument = factor

    def put(own: Tensor, others: list[Any]) -> Tensor:
        return call([*others[:place], own, *others[place + 1 :]])

    if uncounted:
        return linear_map(tracking, uncounted, lambda own: put(own, constants), argument)
    indicators = [indicator(part) if isinstance(part, Tensor) else part for part in constants]
    return summed(tracking, lambda own: put(own, constants), lambda ones: put(ones, indicators), argument)


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
    if tracking.is_tracked(left) and tracking.is_tracked(right) and tracking.shares.includes_gates:
        with tracking:
            return elementwise(left, right)
    return multilinear(tracking, func, lambda factors: call(*factors), [left, right])


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
            product = argument @ (weight if weight.dim() == 1 else weight.t())
            return product if bias is None else product + bias
    return summed(tracking, lambda own: func(own, weight, bias), lambda ones: func(ones, indicator(weight)), argument)


@rule("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _convolution(
    tracking: Tracking, func: Operation, argument: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
) -> Tensor:
    if tracking.is_tracked(weight) or tracking.is_tracked(bias):
        product = multilinear(tracking, func, lambda factors: func(*factors, None, *args, **kwargs), [argument, weight])
        with tracking:
            return product if bias is None else product + bias.view(-1, *[1] * (weight.dim() - 2))
    return summed(
        tracking,
        lambda own: func(own, weight, bias, *args, **kwargs),
        lambda ones: func(ones, indicator(weight), None, *args, **kwargs),
        argument,
    )


@rule("bilinear")
def _bilinear_layer(
    tracking: Tracking, func: Operation, left: Any, right: Any, weight: Any, bias: Any = None
) -> Tensor:
    product = multilinear(tracking, func, lambda factors: func(*factors), [left, right, weight])
    with tracking:
        return product if bias is None else product + bias


@rule("kron", "tensordot", "vecdot", "linalg_vecdot", "vdot", "cross", "linalg_cross")
def _rarer_product(tracking: Tracking, func: Operation, left: Any, right: Any, *args: Any, **kwargs: Any) -> Tensor:
    if tracking.shares.product in {"abs", "prop"} and tracking.is_tracked(left) and tracking.is_tracked(right):
        raise refusal(func, "of two tensors that depend on the input")
    return multilinear(
        tracking, func, lambda factors: func(*factors, *args, **kwargs), [left, right], signed="cross" in func.__name__
    )


@rule("addbmm", "addr")
def _added_products(
    tracking: Tracking, func: Operation, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    with tracking:
        product = torch.outer(left, right) if func.__name__ == "addr" else torch.bmm(left, right).sum(0)
        total: Tensor = beta * bias + alpha * product
    return total


@rule("linalg_multi_dot", "chain_matmul")
def _chained(tracking: Tracking, func: Operation, *matrices: Any) -> Tensor:
    first, *others = matrices[0] if isinstance(matrices[0], (list, tuple)) else matrices
    with tracking:
        for other in others:
            first = first @ other
    product: Tensor = first
    return product


@rule("einsum")
def _einsum(tracking: Tracking, func: Operation, equation: str, *operands: Any) -> Tensor:
    """Einstein sum of any number of tensors."""
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    if sum(map(tracking.is_tracked, factors)) > 1 and tracking.shares.includes_gates:
        with tracking:
            return _elementwise_einsum(func, equation, factors)
    return multilinear(tracking, func, lambda parts: torch.einsum(equation, *parts), factors)


def _elementwise_einsum(func: Operation, equation: str, factors: list[Tensor]) -> Tensor:
    """Einsum as elementwise products, from left to right, and a sum.

    Raises:
        UnsupportedModelError: the equation holds an ellipsis or a repeated label, or has no arrow.
    """
    inputs, arrow, output = equation.replace(" ", "").partition("->")
    owns = inputs.split(",")
    if "." in equation or not arrow or any(len({*own}) < len(own) for own in owns):
        raise refusal(func, "with this equation")
    labels = output + "".join(sorted({*"".join(owns)} - {*output}))

    def aligned(part: Tensor, own: str) -> Tensor:
        part = part.permute(*[own.index(label) for label in labels if label in own])
        for place, label in enumerate(labels):
            part = part if label in own else part.unsqueeze(place)
        return part

    product, *others = [aligned(part, own) for part, own in zip(factors, owns, strict=True)]
    for other in others:
        product = product * other
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
