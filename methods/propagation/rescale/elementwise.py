"""DeepLIFT's rules for functions of single numbers: secant slopes, also of step functions and of complex numbers.

Source: the Rescale rule of Shrikumar et al. 2017, equation 6. A function φ that is analytic takes complex numbers as
well: its slope s is complex, and with torch's convention (a multiplier m stands for Re Σ m̄·δ) the rule is m_z = m_y·s̄.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..operations import Operation, unary
from .pairing import NoClosedForm, Pairing, rule
from .pairs import is_paired, pair, sides
from .slopes import chord, exp_slope, jump, secant, sigmoid_slope, singular_secant, tanh_slope

Slope = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Function = Callable[[Tensor], Tensor]


class Scaled(torch.autograd.Function):
    """Elementwise function whose backward pass scales the multiplier by a secant slope."""

    @staticmethod
    def forward(ctx: Any, argument: Tensor, value: Tensor, slope: Tensor) -> Tensor:
        """Return the value, computed elsewhere."""
        ctx.save_for_backward(slope)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None]:
        """Rescale rule: m_z = m_y · slope. A value that is not used has the multiplier 0, whatever its slope."""
        (slope,) = ctx.saved_tensors
        scaled = multiplier * slope.conj()
        if not torch.isfinite(slope).all():
            scaled = scaled.masked_fill(multiplier == 0, 0)
        return scaled, None, None


def elementwise(argument: Tensor, function: Function, slope: Slope) -> Tensor:
    """Rescale rule of an elementwise function y = φ(z): m_z = m_y · (φ(z) − φ(z⁰)) / (z − z⁰)."""
    z, z0 = sides(argument)
    y, y0 = function(z), function(z0)
    return pair(Scaled.apply(argument, y, slope(z, z0, y, y0)), y0)


def _closed_form(function: Function, slope: Slope) -> Callable[..., Tensor]:
    """Rule of an elementwise function whose secant slope has a closed form for real numbers."""

    def apply(pairing: Pairing, func: Operation, argument: Tensor, **_: Any) -> Tensor:
        pairing.numbers += argument.numel()
        return elementwise(argument, function, partial(secant, function) if argument.is_complex() else slope)

    return apply


rule("tanh")(_closed_form(torch.tanh, tanh_slope))
rule("sigmoid", "expit")(_closed_form(torch.sigmoid, sigmoid_slope))
rule("exp")(_closed_form(torch.exp, exp_slope))


def _bound(func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Function, bool]:
    """Elementwise operation as a function of its first argument, and whether ``inplace`` was set.

    Raises:
        NoClosedForm: another argument depends on the input.
    """
    if any(is_paired(other) for other in (*args, *kwargs.values())):
        raise NoClosedForm
    return unary(func, args, kwargs)


def _by_slope(slope: Callable[..., Tensor], *, real: bool = False) -> Callable[..., Tensor]:
    """Rule of elementwise functions by one kind of slope; ``real`` if it is for real numbers only."""

    def apply(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not is_paired(argument) or (real and argument.is_complex()):
            raise NoClosedForm
        function, in_place = _bound(func, args, kwargs)
        pairing.numbers += argument.numel()
        result = elementwise(argument, function, partial(slope, function))
        if result.shape != argument.shape:
            raise NoClosedForm
        return pairing.write(argument, result) if in_place else result

    return apply


smooth = _by_slope(secant)
singular = _by_slope(singular_secant)
kinked = _by_slope(chord, real=True)

rule(
    "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardswish", "logsigmoid", "log_sigmoid",
    "tanhshrink", "log1p", "expm1", "exp2", "reciprocal", "square", "sin", "cos", "sinh", "cosh", "atan", "arctan",
    "asinh", "arcsinh", "erf", "tan", "asin", "arcsin", "acos", "arccos", "acosh", "arccosh", "atanh", "arctanh",
    "erfc", "erfinv", "erfcx", "lgamma", "gammaln", "digamma", "psi", "mvlgamma", "i0", "i0e", "i1", "i1e", "sinc",
    "logit", "ndtr", "ndtri", "log_ndtr", "entr",
)(smooth)  # fmt: skip
rule("log", "log2", "log10", "sqrt", "rsqrt")(singular)
rule(
    "relu", "relu6", "leaky_relu", "hardtanh", "hardsigmoid", "softshrink", "hardshrink", "threshold", "_threshold",
    "nan_to_num", "frac",
)(kinked)  # fmt: skip
rule("floor", "ceil", "round", "trunc", "fix", "sign", "sgn", "heaviside")(_by_slope(jump, real=True))


@rule("polygamma", as_called=True)
def _polygamma(pairing: Pairing, func: Operation, *args: Any) -> Tensor:
    """Polygamma of a whole order, which torch takes before the argument, and a tensor's own method after it."""
    order, argument = args if isinstance(args[0], int) else args[::-1]
    result: Tensor = smooth(pairing, torch.Tensor.polygamma, argument, order)
    return result


@rule("angle")
def _angle(pairing: Pairing, func: Operation, argument: Tensor) -> Tensor:
    """Angle of real numbers, 0 or π; that of complex ones is left to the path rule."""
    result: Tensor = _by_slope(jump, real=True)(pairing, func, argument)
    return result


@rule("fmod", "remainder", "__mod__", as_called=True)
def _remainder(pairing: Pairing, func: Operation, argument: Any, divisor: Any) -> Tensor:
    """Remainder a − b·⌊a/b⌋, of a fmod with the quotient rounded towards 0."""
    if not is_paired(divisor) and getattr(divisor, "numel", lambda: 1)() == 1:
        result: Tensor = kinked(pairing, func, argument, divisor)
        return result
    rounded = torch.trunc if func.__name__ == "fmod" else torch.floor
    with pairing:
        left: Tensor = argument - divisor * rounded(argument / divisor)
    return left


@rule("__rmod__")
def _reflected_remainder(pairing: Pairing, func: Operation, divisor: Tensor, argument: Any) -> Tensor:
    return _remainder(pairing, torch.remainder, argument, divisor)


@rule("abs", "absolute", "__abs__")
def _absolute(pairing: Pairing, func: Operation, argument: Tensor, **kwargs: Any) -> Tensor:
    if not argument.is_complex():
        result: Tensor = kinked(pairing, func, argument, **kwargs)
        return result
    return magnitude(argument, ())


class Magnitude(torch.autograd.Function):
    """Euclidean norm ‖z‖ with the rule m_z = m·(z + z⁰) / (‖z‖ + ‖z⁰‖), because δ‖z‖² = Re (z + z⁰)̄·δz.

    It is the square, the sum and the square root in turn, without their singularity at 0, where the multiplier is 0.
    """

    @staticmethod
    def forward(ctx: Any, argument: Tensor, value: Tensor, total: Tensor, size: Tensor) -> Tensor:
        """Return the value, computed elsewhere; ``total`` is z + z⁰, ``size`` is ‖z‖ + ‖z⁰‖."""
        ctx.save_for_backward(total / size.masked_fill(size == 0, 1))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None]:
        """Distribute the multiplier."""
        return multiplier * ctx.saved_tensors[0], None, None, None


def magnitude(argument: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Euclidean norm over some dimensions, which are kept with size 1; over none, the absolute value of each number."""
    z, z0 = sides(argument)
    size, size0 = (
        side.abs() if not dims else torch.linalg.vector_norm(side, dim=dims, keepdim=True) for side in (z, z0)
    )
    return pair(Magnitude.apply(argument, size, z + z0, size + size0), size0)


@rule("clamp", "clip", as_called=True)
def _clamped(pairing: Pairing, func: Operation, argument: Tensor, *bounds: Any, **kwargs: Any) -> Tensor:
    """Clamp, as a maximum and a minimum where a bound depends on the input."""
    low = kwargs.get("min", bounds[0] if bounds else None)
    high = kwargs.get("max", bounds[1] if len(bounds) > 1 else None)
    if not (is_paired(low) or is_paired(high)):
        result: Tensor = kinked(pairing, func, argument, *bounds, **kwargs)
        return result
    with pairing:
        for bound, extreme in ((low, torch.maximum), (high, torch.minimum)):
            if bound is not None:
                argument = extreme(argument, bound if isinstance(bound, Tensor) else torch.tensor(bound).to(argument))
    return argument


@rule("clamp_min", "clamp_max", as_called=True)
def _clamped_once(pairing: Pairing, func: Operation, argument: Tensor, *bound: Any, **kwargs: Any) -> Tensor:
    name = func.__name__.removesuffix("_").removeprefix("clamp_")
    return _clamped(pairing, torch.clamp, argument, **{name: bound[0] if bound else kwargs[name]})


@rule("pow", "__pow__", "float_power")
def _power(pairing: Pairing, func: Operation, base: Any, exponent: Any) -> Tensor:
    if is_paired(exponent) and not is_paired(base) and getattr(base, "shape", exponent.shape) == exponent.shape:
        return elementwise(exponent, partial(torch.pow, base), partial(secant, partial(torch.pow, base)))
    if is_paired(exponent):
        raise NoClosedForm
    singular_at_0 = not isinstance(exponent, int | float) or exponent < 1 or exponent != int(exponent)
    result: Tensor = (singular if singular_at_0 else smooth)(pairing, func, base, exponent)
    return result


@rule("__rpow__")
def _reflected_power(pairing: Pairing, func: Operation, exponent: Tensor, base: Any) -> Tensor:
    return _power(pairing, torch.pow, base, exponent)


@rule("prelu", as_called=True)
def _prelu(pairing: Pairing, func: Operation, argument: Tensor, weight: Tensor) -> Tensor:
    """Parametric ReLU: what is above 0, and the weight of the channel times what is below."""
    if weight.numel() > 1:
        weight = weight.reshape(1, -1, *[1] * (argument.dim() - 2)) if argument.dim() > 1 else weight
    with pairing:
        return argument.clamp_min(0) + weight * argument.clamp_max(0)


@rule("rrelu", as_called=True)
def _rrelu(
    pairing: Pairing,
    func: Operation,
    argument: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Randomised leaky ReLU in evaluation, where its slope is the mean of its bounds."""
    if any(args) or kwargs.get("training") or kwargs.get("inplace"):
        raise NoClosedForm
    with pairing:
        return F.leaky_relu(argument, (lower + upper) / 2)


@rule("detach", "data.get", "detach_")
def _detached(pairing: Pairing, func: Operation, argument: Tensor) -> Tensor:
    """Detaching changes gradients and no value: the value depends on the input as before."""
    same: Tensor = pairing.on_both(torch.clone, argument)
    return same


@rule("xlogy", "xlog1py", as_called=True)
def _times_logarithm(pairing: Pairing, func: Operation, factor: Any, argument: Any) -> Tensor:
    """x·log y, 0 where x is a constant 0."""
    with pairing:
        if not is_paired(factor):
            factor = torch.as_tensor(factor, dtype=argument.dtype)
            argument = argument.masked_fill(factor == 0, 1.0)
        product: Tensor = factor * (argument.log1p() if "1p" in func.__name__ else argument.log())
    return product
