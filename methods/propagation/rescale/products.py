"""DeepLIFT's rules for products: each factor is multiplied by the mean of the other one.

The rule is exact for anything that is linear in each of two factors, complex numbers included. It gives the Shapley
values of the two factors, and equals the path rule. Products of more factors are integrated along their path.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import composite_operations as composites
from .elementwise import elementwise
from .pairing import Carry, NoClosedForm, Pairing, rule
from .pairs import is_paired, pair, sides

if TYPE_CHECKING:
    from ..operations import Operation

# Ratio of the two sides of a denominator above which the quotient takes the path rule.
_FAR = 1e4


@rule(
    "mul", "multiply", "__mul__", "__rmul__", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot",
    "inner", "outer", "ger", "linear", "conv1d", "kron", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
    "conv_transpose3d", "conv_tbc", "vdot", "linalg_vecdot", "linalg_matmul", "tensordot",
)  # fmt: skip
def product(pairing: Pairing, func: Operation, left: Any, right: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Product z = a∘b, or any bilinear form: m_a is that of a constant b̄, m_b that of a constant ā.

    The overbar is the mean of the actual and the reference side.
    """
    if not (is_paired(left) and is_paired(right)):
        result: Tensor = pairing.on_both(func, left, right, *args, **kwargs)
        return result
    if any(is_paired(other) for other in (*args, *kwargs.values())):  # a bias of which the carrier would hold two
        raise NoClosedForm
    (a, a0), (b, b0) = sides(left), sides(right)
    value, other = func(a, b, *args, **kwargs), func(a0, b0, *args, **kwargs)
    carrier = func(left, (b + b0) / 2, *args, **kwargs) + func((a + a0) / 2, right, *args, **kwargs)
    pairing.numbers += value.numel()
    return pair(Carry.apply(value, carrier), other)


@rule("__imul__")
def _product_in_place(pairing: Pairing, func: Operation, left: Tensor, right: Any) -> Tensor:
    return pairing.write(left, product(pairing, torch.mul, left, right))


@rule("einsum")
def _einsum(pairing: Pairing, func: Operation, equation: Any, *operands: Any) -> Tensor:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    paired = [index for index, factor in enumerate(factors) if is_paired(factor)]
    if len(paired) == 1:
        result: Tensor = pairing.on_both(func, equation, *factors)
        return result
    if len(paired) > 2 or not isinstance(equation, str):
        raise NoClosedForm

    def bilinear(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum(
            equation, *[{paired[0]: a, paired[1]: b}.get(index, factor) for index, factor in enumerate(factors)]
        )

    return product(pairing, bilinear, factors[paired[0]], factors[paired[1]])


rule("addmm", "baddbmm", "addmv")(composites.added_product)
rule("addcmul")(composites.added_elementwise_product)
rule("lerp")(composites.interpolation)


@rule("div", "divide", "true_divide", "__truediv__", "__div__", as_called=True)
def quotient(pairing: Pairing, func: Operation, above: Any, below: Any = None, **kwargs: Any) -> Tensor:
    """Quotient a / b, as the product of a and 1/b; rounded by a step function, if asked for."""
    below = kwargs.get("other", below)
    rounding = {None: None, "floor": torch.floor, "trunc": torch.trunc}[kwargs.get("rounding_mode")]
    if rounding is not None:
        with pairing:
            return rounding(above / below)
    if not is_paired(below):
        result: Tensor = pairing.on_both(func, above, below)
        return result
    if is_paired(above) and _far_apart(below):
        with pairing:
            above, below = torch.broadcast_tensors(above, below)
        (a, a0), (b, b0) = sides(above), sides(below)
        pairing.numbers += a.numel()
        return pair(Quotient.apply(above, below, a / b, (a0, b0)), a0 / b0)
    return product(pairing, torch.mul, above, _reciprocal(below))


def _far_apart(below: Tensor) -> bool:
    """Whether a denominator is so much smaller on one side that the two terms of the product rule would cancel."""
    b, b0 = sides(below)
    return not b.is_complex() and bool(_extreme(b, b0).any())


def _extreme(b: Tensor, b0: Tensor) -> Tensor:
    small, large = torch.minimum(b.abs(), b0.abs()), torch.maximum(b.abs(), b0.abs())
    return (small > 0) & (b.sign() == b0.sign()) & (large > _FAR * small)


class Quotient(torch.autograd.Function):
    """Quotient a/b; where b is far smaller on one side, by the path: m_a = m·∫dt/b = m·ln(b/b⁰)/(b − b⁰).

    The product of a and 1/b would credit a with a change as large as 1/b of the small side, and b with almost the
    opposite.
    """

    @staticmethod
    def forward(ctx: Any, above: Tensor, below: Tensor, value: Tensor, others: tuple[Tensor, Tensor]) -> Tensor:
        """Return the value, computed elsewhere; ``others`` are the references of a and b."""
        (a0, b0), far = others, _extreme(below, others[1])
        delta = torch.where(far, below - b0, torch.ones_like(below))
        of_above = torch.where(far, (below / b0).abs().log() / delta, (1 / below + 1 / b0) / 2)
        rest = value - a0 / b0 - of_above * (above - a0)
        of_below = torch.where(far, rest / delta, -(above + a0) / 2 / (below * b0))
        ctx.save_for_backward(of_above, of_below)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Multipliers of numerator and denominator."""
        of_above, of_below = ctx.saved_tensors
        return multiplier * of_above, multiplier * of_below, None, None


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(pairing: Pairing, func: Operation, below: Tensor, above: Any) -> Tensor:
    return quotient(pairing, func, above, below)


@rule("floor_divide", "__floordiv__", as_called=True)
def _whole_quotient(pairing: Pairing, func: Operation, above: Any, below: Any) -> Tensor:
    return quotient(pairing, func, above, below, rounding_mode="floor")


@rule("__rfloordiv__")
def _reflected_whole_quotient(pairing: Pairing, func: Operation, below: Tensor, above: Any) -> Tensor:
    return quotient(pairing, func, above, below, rounding_mode="floor")


def _reciprocal(argument: Tensor) -> Tensor:
    """Reciprocal 1/s, with the secant slope −1/(s·s⁰), which is exact without a threshold."""
    return elementwise(argument, torch.reciprocal, lambda _z, _z0, y, y0: -y * y0)


@rule("addcdiv", as_called=True)
def _added_quotient(
    pairing: Pairing, func: Operation, bias: Any, above: Any, below: Any, *, value: float = 1
) -> Tensor:
    with pairing:
        total: Tensor = bias + value * torch.div(above, below)
    return total


@rule("addr", "addbmm", as_called=True)
def _added_sum_of_products(
    pairing: Pairing, func: Operation, bias: Any, left: Any, right: Any, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    with pairing:
        products = torch.outer(left, right) if func.__name__ == "addr" else torch.bmm(left, right).sum(0)
        total: Tensor = alpha * products if beta == 0 else beta * bias + alpha * products
    return total


@rule("multi_dot", "linalg_multi_dot", "chain_matmul", as_called=True)
def _chain(pairing: Pairing, func: Operation, *matrices: Any, **kwargs: Any) -> Tensor:
    """Product of several matrices, two at a time."""
    chain = list(matrices[0]) if isinstance(matrices[0], (list, tuple)) else list(matrices)
    with pairing:
        total: Tensor = chain[0]
        for matrix in chain[1:]:
            total = total @ matrix
    return total


@rule("embedding", as_called=True)
def _rows(pairing: Pairing, func: Operation, indices: Tensor, weight: Tensor, *_: Any, **__: Any) -> Tensor:
    """Rows of a weight that depends on the input; the options of an embedding change gradients and no value."""
    rows: Tensor = pairing.on_both(F.embedding, indices, weight)
    return rows


@rule("polar", as_called=True)
def _polar(pairing: Pairing, func: Operation, size: Any, angle: Any) -> Tensor:
    """Complex numbers of given sizes and angles: size·exp(i·angle)."""
    with pairing:
        number: Tensor = size * torch.exp(1j * angle)
    return number


@rule("ldexp", as_called=True)
def _scaled_by_power(pairing: Pairing, func: Operation, factor: Any, exponent: Any) -> Tensor:
    with pairing:
        number: Tensor = factor * torch.exp(exponent * math.log(2))
    return number
