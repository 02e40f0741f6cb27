"""DeepLIFT's rules for operations that are not linear: elementwise functions, products, softmax, maxima, normalisation.

Each rule takes the pairing, the operation and its arguments. It returns a paired tensor whose value is that of the
operation and whose multiplier is propagated by the rule. Source: Shrikumar et al. 2017; the rules of products and
softmax are derived in docs/methods.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from .. import composite_operations as composites
from ..operations import Operation, full_name, unary
from .pairing import Carry, Pairing, is_paired, pair, reference_of, rule
from .slopes import chord, exp_slope, secant, sigmoid_slope, tanh_slope

Slope = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


class Scaled(torch.autograd.Function):
    """Elementwise function whose backward pass scales the multiplier by a secant slope."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Return the value, computed elsewhere."""
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None]:
        """Rescale rule: m_z = m_y · slope."""
        return multiplier * ctx.saved_tensors[0], None, None


def _sides(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Actual side, without its autograd graph, and reference side of a tensor; a constant is its own reference."""
    other = reference_of(tensor)
    return tensor.detach(), tensor.detach() if other is None else other


def elementwise(argument: Tensor, function: Callable[[Tensor], Tensor], slope: Slope) -> Tensor:
    """Rescale rule of an elementwise function y = φ(z): m_z = m_y · (φ(z) − φ(z⁰)) / (z − z⁰)."""
    z, z0 = _sides(argument)
    y, y0 = function(z), function(z0)
    return pair(Scaled.apply(argument, y, slope(z, z0, y, y0)), y0)


def _closed_form(function: Callable[[Tensor], Tensor], slope: Slope) -> Callable[..., Tensor]:
    """Rule of an elementwise function whose secant slope has a closed form."""

    def apply(pairing: Pairing, func: Operation, argument: Tensor, **_: Any) -> Tensor:
        return elementwise(argument, function, slope)

    return apply


rule("tanh")(_closed_form(torch.tanh, tanh_slope))
rule("sigmoid", "expit")(_closed_form(torch.sigmoid, sigmoid_slope))
rule("exp")(_closed_form(torch.exp, exp_slope))


def _bound(func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[[Tensor], Tensor], bool]:
    """Elementwise operation as a function of its first argument, and whether ``inplace`` was set.

    Raises:
        UnsupportedModelError: another argument depends on the input.
    """
    if any(is_paired(other) for other in (*args, *kwargs.values())):
        raise UnsupportedModelError(
            f"DeepLIFT has no rule for {full_name(func)} with a bound that depends on the input."
        )
    return unary(func, args, kwargs)


@rule(
    "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardswish", "logsigmoid", "log_sigmoid",
    "tanhshrink", "log", "log1p", "log2", "log10", "expm1", "exp2", "sqrt", "rsqrt", "reciprocal", "square", "sin",
    "cos", "sinh", "cosh", "atan", "asinh", "erf",
)  # fmt: skip
def _smooth(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    function, in_place = _bound(func, args, kwargs)
    result = elementwise(argument, function, partial(secant, function))
    return pairing.write(argument, result) if in_place else result


@rule(
    "relu", "relu6", "leaky_relu", "hardtanh", "hardsigmoid", "softshrink", "hardshrink", "threshold", "clamp",
    "clamp_min", "clamp_max", "clip", "abs", "absolute", "__abs__",
)  # fmt: skip
def _kinked(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    function, in_place = _bound(func, args, kwargs)
    result = elementwise(argument, function, partial(chord, function))
    return pairing.write(argument, result) if in_place else result


@rule("pow", "__pow__", "float_power")
def _power(pairing: Pairing, func: Operation, base: Tensor, exponent: Any) -> Tensor:
    if is_paired(exponent) or not is_paired(base):
        raise UnsupportedModelError(
            f"DeepLIFT has no rule for {full_name(func)} with an exponent that depends on the input."
        )
    return _smooth(pairing, func, base, exponent)


@rule(
    "mul", "multiply", "__mul__", "__rmul__", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot",
    "inner", "outer", "ger", "linear", "conv1d", "kron",
)  # fmt: skip
def _product(pairing: Pairing, func: Operation, left: Any, right: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Product z = a∘b, or any bilinear form: m_a is that of a constant b̄, m_b that of a constant ā.

    The overbar is the mean of the actual and the reference side.
    """
    if not (is_paired(left) and is_paired(right)):
        result: Tensor = pairing.on_both(func, left, right, *args, **kwargs)
        return result
    (a, a0), (b, b0) = _sides(left), _sides(right)
    value, other = func(a, b, *args, **kwargs), func(a0, b0, *args, **kwargs)
    carrier = func(left, (b + b0) / 2, *args, **kwargs) + func((a + a0) / 2, right, *args, **kwargs)
    return pair(Carry.apply(value, carrier), other)


@rule("__imul__")
def _product_in_place(pairing: Pairing, func: Operation, left: Tensor, right: Any) -> Tensor:
    return pairing.write(left, _product(pairing, torch.mul, left, right))


@rule("einsum")
def _einsum(pairing: Pairing, func: Operation, equation: Any, *operands: Any) -> Tensor:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    paired = [index for index, factor in enumerate(factors) if is_paired(factor)]
    if len(paired) == 1:
        result: Tensor = pairing.on_both(func, equation, *factors)
        return result
    if len(paired) > 2:  # there is no rule for a product of three factors
        raise UnsupportedModelError("DeepLIFT has no rule for torch.einsum of three tensors: multiply two at a time.")

    def bilinear(a: Tensor, b: Tensor) -> Tensor:
        return torch.einsum(
            equation, *[{paired[0]: a, paired[1]: b}.get(index, factor) for index, factor in enumerate(factors)]
        )

    return _product(pairing, bilinear, factors[paired[0]], factors[paired[1]])


rule("addmm", "baddbmm", "addmv")(composites.added_product)
rule("addcmul")(composites.added_elementwise_product)
rule("lerp")(composites.interpolation)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(pairing: Pairing, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """Quotient a / b, as the product of a and 1/b."""
    if kwargs.get("rounding_mode") is not None:
        raise UnsupportedModelError(f"DeepLIFT has no rule for {full_name(func)} with rounding.")
    if not is_paired(below):
        result: Tensor = pairing.on_both(func, above, below)
        return result
    return _product(pairing, torch.mul, above, _reciprocal(below))


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(pairing: Pairing, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(pairing, func, above, below)


def _reciprocal(argument: Tensor) -> Tensor:
    """Reciprocal 1/s, with the secant slope −1/(s·s⁰), which is exact without a threshold."""
    return elementwise(argument, torch.reciprocal, lambda _z, _z0, y, y0: -y * y0)


def _logarithmic_means(energy: Tensor, dim: int) -> Tensor:
    """Logarithmic means L = (α − α⁰) / (ln α − ln α⁰) of the weights α = softmax(e); 0 where both weights are masked.

    L lies between the two weights. It replaces the weights in the derivatives of softmax and of logsumexp, which makes
    these exact over any distance: from Σ(α − α⁰) = 0 follows δ logsumexp = ΣL·δe / ΣL, and from this every identity
    used below. Applying the rules of exp, sum and quotient in turn would be exact too. But they split the same
    difference into terms as large as Σexp e / Σexp e⁰, which cancel: a shift of all energies, to which softmax is
    invariant, would swamp the attributions and, in float32, their sum.
    """
    e, e0 = _sides(energy)
    return exp_slope(e.log_softmax(dim), e0.log_softmax(dim), e.softmax(dim), e0.softmax(dim))


class Softmax(torch.autograd.Function):
    """Softmax α = softmax(e) with DeepLIFT's rule: m_e = L∘(m_α − ΣL·m_α / ΣL)."""

    @staticmethod
    def forward(ctx: Any, energy: Tensor, value: Tensor, means: Tensor, dim: int) -> Tensor:
        """Return the value, computed elsewhere; ``means`` are the logarithmic means L."""
        ctx.dim = dim
        ctx.save_for_backward(means)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None]:
        """Derivative of softmax with L in the place of the weights."""
        (means,) = ctx.saved_tensors
        centre = (means * multiplier).sum(ctx.dim, keepdim=True) / means.sum(ctx.dim, keepdim=True)
        return means * (multiplier - centre), None, None, None


class LogSumExp(torch.autograd.Function):
    """Logsumexp log Σ exp e with DeepLIFT's rule, its dimension kept: m_e = m·L / ΣL."""

    @staticmethod
    def forward(ctx: Any, energy: Tensor, value: Tensor, means: Tensor, dim: int) -> Tensor:
        """Return the value, computed elsewhere; ``means`` are the logarithmic means L."""
        ctx.save_for_backward(means / means.sum(dim, keepdim=True))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None]:
        """Distribute the multiplier in proportion to L."""
        return multiplier * ctx.saved_tensors[0], None, None, None


@rule("softmax", "_softmax")
def _softmax(
    pairing: Pairing, func: Operation, energy: Tensor, dim: int | None = None, *_: Any, **kwargs: Any
) -> Tensor:
    if dim is None:
        raise UnsupportedModelError("DeepLIFT needs its dim in a call of softmax: pass dim.")
    e, e0 = _sides(energy)
    return pair(Softmax.apply(energy, e.softmax(dim), _logarithmic_means(energy, dim), dim), e0.softmax(dim))


@rule("log_softmax", "_log_softmax", "logsumexp")
def _log_softmax(
    pairing: Pairing, func: Operation, energy: Tensor, dim: int | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Log-softmax, as e − logsumexp(e), and logsumexp itself."""
    if not isinstance(dim, int) or args:
        raise UnsupportedModelError(
            f"DeepLIFT needs one dim, and no dtype, in a call of {full_name(func)}: pass its dim alone."
        )
    e, e0 = _sides(energy)
    value, other = e.logsumexp(dim, keepdim=True), e0.logsumexp(dim, keepdim=True)
    total = pair(LogSumExp.apply(energy, value, _logarithmic_means(energy, dim), dim), other)
    if func.__name__ != "logsumexp":
        with pairing:
            return energy - total
    return total if kwargs.get("keepdim") else pairing.on_both(torch.squeeze, total, dim)


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
    return torch.where(change == 0, torch.zeros_like(change), change / torch.where(own == 0, torch.ones_like(own), own))


@rule("max", "amax")
def _maximum(pairing: Pairing, func: Operation, argument: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, Tensor):
        return _larger(pairing, func, argument, dim)
    if isinstance(dim, (tuple, list)):
        if len(dim) != 1:
            raise UnsupportedModelError(f"DeepLIFT has no rule for {full_name(func)} over several dimensions.")
        dim = dim[0]
    flat = argument if dim is not None else pairing.on_both(torch.flatten, argument)
    along = 0 if dim is None else dim
    other = _sides(flat)[1]
    maximum = pair(Maximum.apply(flat, other, along), other.amax(along, keepdim=True))
    value = maximum if keepdim else pairing.on_both(torch.squeeze, maximum, along)
    if func.__name__ == "max" and dim is not None:
        # where the winners of the two sides differ, the indices become a pair, and any use of them is refused
        indices, others = argument.detach().max(dim, keepdim).indices, _sides(argument)[1].max(dim, keepdim).indices
        return torch.return_types.max((value, indices if torch.equal(indices, others) else pair(indices, others)))
    return value


@rule("maximum", "minimum", "fmax", "fmin")
def _larger(pairing: Pairing, func: Operation, left: Any, right: Any) -> Tensor:
    sign = -1 if "min" in func.__name__ else 1
    with pairing:
        left, right = torch.broadcast_tensors(left, right)
        extreme: Tensor = sign * torch.stack([sign * left, sign * right]).amax(0)
    return extreme


@rule("max_pool1d", "_max_pool1d", "max_pool1d_with_indices", "boolean_dispatch", "adaptive_max_pool1d")
def _max_pool(
    pairing: Pairing, func: Operation, argument: Tensor, size: Any, stride: Any = None, **kwargs: Any
) -> Tensor:
    steps = argument.shape[-1]
    width, jump = (value[0] if isinstance(value, (tuple, list)) else value for value in (size, stride or size))
    adaptive = "adaptive" in func.__name__
    plain = not any(kwargs.get(name) for name in ("padding", "ceil_mode", "return_indices")) and kwargs.get(
        "dilation", 1
    ) in {1, (1,)}
    if not plain or (adaptive and steps % width):
        raise UnsupportedModelError(
            f"DeepLIFT has no rule for {full_name(func)} with these options: pool with torch.amax."
        )
    if adaptive:
        width = jump = steps // width
    with pairing:
        pooled: Tensor = argument.unfold(-1, width, jump).amax(-1)
    return pooled


@rule("masked_fill", "where")
def _masked(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    """Selection by a mask, linear because both sides have the same mask: a predicate that differs was refused."""
    masked: Tensor = pairing.on_both(func, *args, **kwargs)
    return masked


rule("masked_fill_")(lambda pairing, func, *args, **kwargs: pairing.on_both(func, *args, **kwargs))


@rule("layer_norm")
def _layer_norm(
    pairing: Pairing,
    func: Operation,
    argument: Tensor,
    shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    with pairing:
        centred = argument - argument.mean(dims, keepdim=True)
        normalised: Tensor = centred * (centred.square().mean(dims, keepdim=True) + eps).rsqrt()
        normalised = normalised if weight is None else normalised * weight
        return normalised if bias is None else normalised + bias


@rule("cosine_similarity", "normalize")
def _refused(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    raise UnsupportedModelError(f"DeepLIFT has no rule for {full_name(func)}: write it as products and a square root.")


@rule("scaled_dot_product_attention")
def _attention(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with pairing:
        return composites.scaled_dot_product_attention("DeepLIFT", *args, **kwargs)


@rule("multi_head_attention_forward")
def _heads(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    with pairing:
        return composites.multi_head_attention("DeepLIFT", *args, **kwargs)
