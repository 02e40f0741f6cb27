"""Contextual decomposition's rules for functions and products.

Each rule takes the :class:`Following` mode, the operation and its arguments, and returns a tensor with its streams
attached. Source: Murdoch, Liu & Yu 2018, section 3.2.2. Attention weights and divisors have the role of the output gate
in the paper: they are not decomposed, and multiply each stream.
"""
# ruff: noqa: ANN401, ARG001, FBT001, FBT002  # a rule has the signature of torch's operation

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import composite_operations as composites
from ..operations import Operation, unary
from .following import Following, is_followed, refusal, rule
from .joint import attach_normalised, jointly_split
from .streams import (
    Bilinear,
    Function,
    Parts,
    Streams,
    attach,
    constant_streams,
    map_linear,
    product,
    split,
    streams_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _streams(tensor: Tensor) -> Streams:
    """Streams of a tensor; a constant is all bias."""
    streams = streams_of(tensor)
    return constant_streams(tensor) if streams is None else streams


# ---- functions of one tensor -----------------------------------------------------------------------------------------


@rule(
    "tanh", "sigmoid", "expit", "exp", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "softplus", "softsign", "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "log_sigmoid", "tanhshrink",
    "softshrink", "hardshrink", "threshold", "clamp", "clamp_min", "clamp_max", "clip", "abs", "absolute", "__abs__",
    "log", "log1p", "log2", "log10", "expm1", "exp2", "sqrt", "rsqrt", "reciprocal", "square", "sin", "cos", "sinh",
    "cosh", "atan", "asinh", "erf", "sign", "round", "floor", "ceil", "trunc", "log_softmax", "_log_softmax",
    "pow", "__pow__", "__rpow__", "float_power",
)  # fmt: skip
def _split(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Function y = φ(z) of one tensor, elementwise or not, by :func:`.streams.split`."""
    if not is_followed(argument) or any(is_followed(other) for other in (*args, *kwargs.values())):
        of_several: Tensor = jointly_split(following, func, argument, *args, **kwargs)
        return of_several
    function, in_place = unary(func, args, kwargs)
    own = _streams(argument)
    value = function(argument)
    parts = split(function, own.parts, value=value)
    following.check_defined(func, parts.relevant, value)
    result = attach_normalised(value, parts, own.inside, own.outside, statistic=own.statistic)
    return following.write(argument, result) if in_place else result


@rule("softmax", "_softmax")
def _softmax(following: Following, func: Operation, energy: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    function, _ = unary(func, args, kwargs)
    own = _streams(energy)
    value = function(energy)
    return attach_normalised(value, split(function, own.parts, value=value), own.inside, own.outside, weights=True)


@rule("logsumexp")
def _logsumexp(following: Following, func: Operation, argument: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    function = partial(torch.logsumexp, dim=dim, keepdim=keepdim)
    own = _streams(argument)
    value = function(argument)
    inside, outside = (torch.sum(part, dim, keepdim) for part in (own.inside, own.outside))
    return attach_normalised(value, split(function, own.parts, value=value), inside, outside)


# ---- products --------------------------------------------------------------------------------------------------------


def _absolute(factor: Any) -> Any:
    """Absolute value of a constant factor; a boolean mask is unchanged."""
    if isinstance(factor, Tensor):
        return factor if factor.dtype == torch.bool else factor.abs()
    return abs(factor)


def _ones(factor: Tensor) -> Tensor:
    """Ones of a factor's shape, real also for a complex factor, as amounts are."""
    return torch.ones_like(factor.real if factor.is_complex() else factor)


def _map_streams(times: Function, amounts: Function, own: Streams, total: Tensor, *, statistic: bool = False) -> Tensor:
    """Apply a linear function without constants to each stream.

    Args:
        times: the function.
        amounts: the same with the constant factor's absolute value, for the inside and outside amounts.
        own: streams of the argument.
        total: the function of the total.
        statistic: whether the results are statistics.
    """
    return attach_normalised(
        total,
        map_linear(times, own.parts),
        amounts(own.inside),
        amounts(own.outside),
        weights=own.weights,
        statistic=statistic,
    )


@rule(
    "mul", "multiply", "__mul__", "__rmul__", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "mv", "dot", "inner",
    "outer", "ger", "kron",
)  # fmt: skip
def _product(following: Following, func: Bilinear, left: Any, right: Any, **kwargs: Any) -> Tensor:
    """Product z = a∘b, or any bilinear form; attention weights are a factor that is not decomposed."""
    total = func(left, right, **kwargs)
    one, other = (streams_of(factor) if isinstance(factor, Tensor) else None for factor in (left, right))
    if one is not None and (other is None or (other.weights and not one.weights)):
        size = _absolute(right)
        return _map_streams(
            lambda part: func(part, right, **kwargs), lambda part: func(part, size, **kwargs), one, total,
            statistic=one.statistic and other is None,
        )  # fmt: skip
    if other is not None and (one is None or (one.weights and not other.weights)):
        size = _absolute(left)
        return _map_streams(
            lambda part: func(left, part, **kwargs), lambda part: func(size, part, **kwargs), other, total,
            statistic=other.statistic and one is None,
        )  # fmt: skip
    if one is None or other is None:  # for the type checker: a rule is called only if an argument is followed
        raise TypeError("no factor depends on the input")
    inside, outside = (
        func(a, _ones(right), **kwargs) + func(_ones(left), b, **kwargs)
        for a, b in ((one.inside, other.inside), (one.outside, other.outside))
    )
    parts = product(one.parts, other.parts, lambda a, b: func(a, b, **kwargs))
    weights, statistic = one.weights and other.weights, one.statistic and other.statistic
    return attach_normalised(total, parts, inside, outside, weights=weights, statistic=statistic)


@rule("__imul__")
def _product_in_place(following: Following, func: Operation, left: Tensor, right: Any) -> Tensor:
    return following.write(left, _product(following, torch.mul, left, right))


@rule("linear", "conv1d", "conv2d", "conv3d")
def _affine(
    following: Following, func: Operation, left: Any, weight: Any, bias: Any = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Affine map: a product plus a bias, which is a constant."""
    weighted = _product(following, lambda a, b: func(a, b, None, *args, **kwargs), left, weight)
    if bias is None:
        return weighted
    if is_followed(bias):
        with following:
            shifted: Tensor = weighted + bias.view(-1, *[1] * (weight.dim() - 2))
        return shifted
    shift = bias.view(-1, *[1] * (weight.dim() - 2))  # channels come before the positions of a convolution
    own = _streams(weighted)
    return attach(weighted + shift, replace(own, bias=own.bias + shift, weights=False))


@rule("einsum")
def _einsum(following: Following, func: Operation, equation: Any, *operands: Any) -> Any:
    factors = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], (list, tuple)) else list(operands)
    if len(factors) > 2:
        return _multilinear(partial(func, equation), factors)
    if len(factors) == 1:
        return following.linear(func, equation, *factors)
    return _product(following, partial(func, equation), *factors)


def _multilinear(call: Callable[..., Tensor], factors: list[Any]) -> Tensor:
    """Product of any number of factors, with the rule of two: a term with an irrelevant factor is irrelevant.

    Attention weights are not decomposed beside a factor that is something else.
    """
    own = [streams_of(factor) for factor in factors]
    whole = not all(streams.weights for streams in own if streams is not None)
    own = [None if streams is not None and streams.weights and whole else streams for streams in own]
    total = call(*factors)
    without = call(*[_part(pair, lambda parts: parts.without_irrelevant) for pair in zip(factors, own, strict=True)])
    bias = call(*[_part(pair, lambda parts: parts.bias) for pair in zip(factors, own, strict=True)])
    sizes = [
        _absolute(factor) if streams is None else _ones(factor) for factor, streams in zip(factors, own, strict=True)
    ]
    amounts = [
        torch.stack([call(*sizes[:place], part, *sizes[place + 1 :]) for part in (streams.inside, streams.outside)])
        for place, streams in enumerate(own)
        if streams is not None
    ]
    inside, outside = torch.stack(amounts).sum(0)
    return attach_normalised(total, Parts(without - bias, total - without, bias), inside, outside, weights=not whole)


def _part(pair: tuple[Any, Streams | None], pick: Callable[[Parts], Any]) -> Any:
    """Part of a factor, or the factor itself if it is not decomposed."""
    factor, streams = pair
    return factor if streams is None else pick(streams.parts)


@rule("glu")
def _glu(following: Following, func: Operation, argument: Tensor, dim: int = -1) -> Tensor:
    with following:
        signal, gate = argument.chunk(2, dim)
        return signal * torch.sigmoid(gate)


rule("addmm", "baddbmm", "addmv")(composites.added_product)
rule("addcmul")(composites.added_elementwise_product)
rule("lerp")(composites.interpolation)


@rule("div", "divide", "true_divide", "__truediv__", "__div__")
def _quotient(following: Following, func: Operation, above: Any, below: Any, **kwargs: Any) -> Tensor:
    """Quotient a / b, whose divisor is not decomposed unless a is a constant.

    In that case it is the product of a and the function 1/b.
    """
    if kwargs.get("rounding_mode") is not None:
        raise refusal(func, "with rounding")
    if not is_followed(above):
        return _product(following, torch.mul, _split(following, torch.reciprocal, below), above)
    own, size = _streams(above), _absolute(below)
    return _map_streams(
        lambda part: func(part, below),
        lambda part: func(part, size),
        own,
        func(above, below),
        statistic=own.statistic and not is_followed(below),
    )


@rule("__rtruediv__", "__rdiv__")
def _reflected_quotient(following: Following, func: Operation, below: Tensor, above: Any) -> Tensor:
    return _quotient(following, torch.div, above, below)


@rule("__itruediv__", "__idiv__")
def _quotient_in_place(following: Following, func: Operation, above: Tensor, below: Any) -> Tensor:
    return following.write(above, _quotient(following, torch.div, above, below))
