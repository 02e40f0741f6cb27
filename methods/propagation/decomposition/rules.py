"""Contextual decomposition's rules for functions and products.

Each takes the following mode, the operation and its arguments, and returns a tensor that carries its streams. Source:
Murdoch, Liu & Yu 2018, section 3.2.2. Attention weights and what divides are what the output gate is in the paper: they
are not decomposed, and weigh the streams as they are.
"""
# ruff: noqa: ANN401, ARG001, FBT001, FBT002  # a rule has the signature of torch's operation

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ....errors import UnsupportedModelError
from .. import composite_operations as decompositions
from ..operations import Operation, full_name, unary
from .following import INSTEAD, WHO, Following, is_followed, rule
from .streams import Bilinear, Function, Parts, Streams, attach, constant, mapped, product, split, streams_of


def refusal(func: Operation, why: str) -> UnsupportedModelError:
    """What is said of an operation whose rule does not hold as it is called."""
    return UnsupportedModelError(f"{WHO} has no rule for {full_name(func)} {why}: {INSTEAD}.")


def _streams(tensor: Tensor) -> Streams:
    found = streams_of(tensor)
    return constant(tensor) if found is None else found


def carried(total: Tensor, parts: Parts, inside: Tensor, outside: Tensor, *, weights: bool = False) -> Tensor:
    """A tensor with its streams, its inside and outside brought to a sum of 1 where there is any."""
    amount = inside + outside
    amount = torch.where(amount > 0, amount, torch.ones_like(amount))
    bias = torch.zeros_like(total) if parts.bias is None else parts.bias
    return attach(total, Streams(parts.relevant, parts.irrelevant, bias, inside / amount, outside / amount, weights))


# ---- functions of one tensor -----------------------------------------------------------------------------------------


def _function(func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Function, bool]:
    """An operation as a function of its first argument, and whether it was to be done in place."""
    if any(is_followed(other) for other in (*args, *kwargs.values())):
        raise refusal(func, "with a second argument that depends on the input")
    return unary(func, args, kwargs)


@rule(
    "tanh", "sigmoid", "expit", "exp", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "log_sigmoid", "tanhshrink",
    "softshrink", "hardshrink", "threshold", "clamp", "clamp_min", "clamp_max", "clip", "abs", "absolute", "__abs__",
    "log", "log1p", "log2", "log10", "expm1", "exp2", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos", "sinh",
    "cosh", "atan", "asinh", "erf", "sign", "round", "floor", "ceil", "trunc", "log_softmax", "_log_softmax",
    "__rpow__",
)  # fmt: skip
def _split(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """y = φ(z): L of the streams, elementwise or not."""
    function, in_place = _function(func, args, kwargs)
    own = _streams(argument)
    value = function(argument)
    parts = split(function, own.parts, value=value)
    if not bool(torch.isfinite(parts.relevant).all()) and bool(torch.isfinite(value).all()):
        raise refusal(func, "where a stream alone lies outside its domain")
    found = carried(value, parts, own.inside, own.outside)
    return following.write(argument, found) if in_place else found


@rule("softmax", "_softmax")
def _softmax(following: Following, func: Operation, energy: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    function, _ = _function(func, args, kwargs)
    own = _streams(energy)
    value = function(energy)
    return carried(value, split(function, own.parts, value=value), own.inside, own.outside, weights=True)


@rule("logsumexp")
def _logsumexp(following: Following, func: Operation, argument: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    function = partial(torch.logsumexp, dim=dim, keepdim=keepdim)
    own = _streams(argument)
    value = function(argument)
    inside, outside = (torch.sum(part, dim, keepdim) for part in (own.inside, own.outside))
    return carried(value, split(function, own.parts, value=value), inside, outside)


@rule("pow", "__pow__", "float_power")
def _power(following: Following, func: Operation, base: Any, exponent: Any) -> Tensor:
    if is_followed(exponent):
        raise refusal(func, "with an exponent that depends on the input")
    return _split(following, func, base, exponent)


# ---- products --------------------------------------------------------------------------------------------------------


def _amount(factor: Any) -> Any:
    """The size of a constant factor."""
    if isinstance(factor, Tensor):
        return factor if factor.dtype == torch.bool else factor.abs()
    return abs(factor)


def _weighed(times: Function, amounts: Function, own: Streams, total: Tensor, *, weights: bool) -> Tensor:
    """A linear function without constants, and what it does to sizes."""
    return carried(total, mapped(times, own.parts), amounts(own.inside), amounts(own.outside), weights=weights)


@rule(
    "mul", "multiply", "__mul__", "__rmul__", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "inner",
    "outer", "ger", "kron",
)  # fmt: skip
def _product(following: Following, func: Bilinear, left: Any, right: Any, **kwargs: Any) -> Tensor:
    """z = a∘b and every other bilinear form; attention weights are a factor that is not decomposed."""
    total = func(left, right, **kwargs)
    one, other = (streams_of(factor) if isinstance(factor, Tensor) else None for factor in (left, right))
    if one is not None and (other is None or (other.weights and not one.weights)):
        size = _amount(right)
        return _weighed(
            lambda part: func(part, right, **kwargs), lambda part: func(part, size, **kwargs), one, total,
            weights=one.weights,
        )  # fmt: skip
    if other is not None and (one is None or (one.weights and not other.weights)):
        size = _amount(left)
        return _weighed(
            lambda part: func(left, part, **kwargs), lambda part: func(size, part, **kwargs), other, total,
            weights=other.weights,
        )  # fmt: skip
    if one is None or other is None:  # one of them is followed, or nobody had called
        raise TypeError("no factor depends on the input")
    inside, outside = (
        func(a, torch.ones_like(right), **kwargs) + func(torch.ones_like(left), b, **kwargs)
        for a, b in ((one.inside, other.inside), (one.outside, other.outside))
    )
    parts = product(one.parts, other.parts, lambda a, b: func(a, b, **kwargs))
    return carried(total, parts, inside, outside, weights=one.weights and other.weights)


@rule("__imul__")
def _product_in_place(following: Following, func: Operation, left: Tensor, right: Any) -> Tensor:
    return following.write(left, _product(following, torch.mul, left, right))


@rule("linear", "conv1d", "conv2d")
def _affine(
    following: Following, func: Operation, left: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
) -> Tensor:
    """A product, and a bias that is a constant."""
    found = _product(following, lambda a, b: func(a, b, None, *args, **kwargs), left, weight)
    if bias is None:
        return found
    shift = bias.view(-1, *[1] * (weight.dim() - 2))  # channels come before the places of a convolution
    if is_followed(bias):
        raise refusal(func, "with a bias that depends on the input")
    own = _streams(found)
    return attach(found + shift, replace(own, bias=own.bias + shift, weights=False))


@rule("einsum")
def _einsum(following: Following, func: Operation, equation: Any, *operands: Any) -> Any:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    if len(factors) > 2:
        raise refusal(func, "of three tensors: multiply two at a time, or")
    if len(factors) == 1:
        return following.linear(func, equation, *factors)
    return _product(following, partial(func, equation), *factors)


rule("addmm", "baddbmm", "addmv")(decompositions.added_product)
rule("addcmul")(decompositions.added_elementwise_product)
rule("lerp")(decompositions.interpolation)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(following: Following, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """What divides is a scale and weighs the streams as it is; only 1/b of a constant is a function of b."""
    if kwargs.get("rounding_mode") is not None:
        raise refusal(func, "with rounding")
    if not is_followed(above):
        return _product(following, torch.mul, _split(following, torch.reciprocal, below), above)
    own, size = _streams(above), _amount(below)
    return _weighed(
        lambda part: func(part, below), lambda part: func(part, size), own, func(above, below), weights=own.weights
    )


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(following: Following, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(following, torch.div, above, below)


@rule("__itruediv__", "__idiv__")
def _quotient_in_place(following: Following, func: Operation, above: Tensor, below: Any) -> Tensor:
    return following.write(above, _quotient(following, torch.div, above, below))
