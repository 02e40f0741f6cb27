"""LRP's rules of elementwise functions, maxima, and operations that insert constants.

An elementwise function of one argument passes its relevance on unchanged, and so does softmax. A maximum passes it to
the largest element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..operations import full_name, unary
from .tracking import Tracking, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation


@rule(
    "tanh", "exp", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardswish", "logsigmoid",
    "log_sigmoid", "tanhshrink", "log", "log1p", "log2", "log10", "expm1", "exp2", "sqrt", "rsqrt", "reciprocal",
    "square", "sin", "cos", "sinh", "cosh", "atan", "asinh", "erf", "relu", "relu6", "leaky_relu", "hardtanh",
    "softshrink", "hardshrink", "threshold", "abs", "absolute", "__abs__", "prelu",
)  # fmt: skip
def _elementwise(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _unary(tracking, func, argument, args, kwargs, gate=False)


@rule("sigmoid", "expit", "hardsigmoid")
def _gate(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _unary(tracking, func, argument, args, kwargs, gate=True)


@rule("neg", "__neg__", "negative", "clamp", "clamp_min", "clamp_max", "clip", "nan_to_num")
def _either(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _unary(tracking, func, argument, args, kwargs, gate=tracking.is_gate(argument))


def _unary(
    tracking: Tracking, func: Operation, argument: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], *, gate: bool
) -> Tensor:
    """Elementwise function y = φ(z), which passes relevance on unchanged."""
    if any(map(tracking.is_tracked, (*args, *kwargs.values()))):
        raise refusal(func, "with a bound that depends on the input")
    function, in_place = unary(func, args, kwargs)
    result = tracking.distribute(function(argument.detach()), (argument, 1.0), gate=gate)
    return tracking.write(argument, result) if in_place else result


@rule("pow", "__pow__", "float_power")
def _power(tracking: Tracking, func: Operation, base: Any, exponent: Any) -> Tensor:
    if tracking.is_tracked(exponent) or not tracking.is_tracked(base):
        raise refusal(func, "with an exponent that depends on the input")
    total = func(base.detach(), exponent)
    return tracking.distribute(total, (base, 1.0))


@rule("softmax", "_softmax")
def _softmax(tracking: Tracking, func: Operation, energy: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Softmax, a gate; where it is used as a signal (a score that is a probability), its normaliser is a constant."""
    return tracking.distribute(func(energy.detach(), *args, **kwargs), (energy, 1.0), gate=True)


@rule("log_softmax", "_log_softmax")
def _log_softmax(tracking: Tracking, func: Operation, energy: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tracking.distribute(func(energy.detach(), *args, **kwargs), (energy, 1.0))


@rule("max", "amax", "min", "amin", "maximum", "minimum", "fmax", "fmin", "topk", "sort", "median", "kthvalue",
      "cummax", "cummin", "max_pool1d", "_max_pool1d", "max_pool1d_with_indices", "max_pool2d",
      "max_pool2d_with_indices", "boolean_dispatch", "adaptive_max_pool1d", "adaptive_max_pool2d")  # fmt: skip
def _maximum(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Maximum and other order statistics: all relevance goes to the selected element, as autograd's gradient does.

    Elements that tie get equal parts, as in autograd.
    """
    gate = tracking.gates_only(args, kwargs)
    args = tuple(tracking.as_leaf(part, full_name(func)) if isinstance(part, Tensor) else part for part in args)
    return tracking.mark_results(func(*args, **kwargs), gate=gate)


@rule("where")
def _chosen(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    dtype = next(part.dtype for part in (*args, *kwargs.values()) if tracking.is_tracked(part))
    args = tuple(torch.as_tensor(part, dtype=dtype) if isinstance(part, (int, float)) else part for part in args)
    chosen: Tensor = tracking.route(func, *args, **kwargs)
    return chosen


@rule("masked_fill")
def _masked_fill(tracking: Tracking, func: Operation, argument: Any, mask: Tensor, value: Any) -> Tensor:
    other = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=argument.dtype, device=argument.device)
    with tracking:
        return torch.where(mask, other, argument)


@rule("pad", "_pad_packed_sequence")
def _padded(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Padding, whose new elements are constants."""
    name, dtype = full_name(func), argument.dtype
    flat, *others = padded if isinstance(padded := func(argument, *args, **kwargs), tuple) else (padded,)
    images = [func(fill(argument.detach()), *args, **kwargs) for fill in (torch.zeros_like, torch.ones_like)]
    zeros, ones = (image[0] if isinstance(image, tuple) else image for image in images)
    new = zeros == ones
    if bool(new.any()):
        flat = torch.where(new, tracking.as_leaf(flat.detach().to(dtype), name), flat)
    tracking.mark(flat, gate=tracking.is_gate(argument))
    return (flat, *others) if others else flat


@rule("detach")
def _detached(tracking: Tracking, func: Operation, argument: Tensor) -> Tensor:
    """Detached tensor, which stays tracked: its values still depend on the input."""
    return tracking.mark(argument.view_as(argument), gate=tracking.is_gate(argument))


@rule("scatter")
def _scattered(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    if "reduce" in kwargs:
        raise refusal(func, "with reduce")
    result: Tensor = tracking.route(func, *args, **kwargs)
    return result


@rule("dropout", "dropout1d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def _dropout(
    tracking: Tracking, func: Operation, argument: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p > 0:
        raise refusal(func, "in training, which is random")
    return argument
