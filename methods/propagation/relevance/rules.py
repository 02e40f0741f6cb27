"""LRP's rules of elementwise functions, maxima, and operations that insert constants.

An elementwise function of one argument passes its relevance on unchanged, and so does softmax. A maximum passes it to
the largest element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..operations import full_name, unary
from .linearised import linear_map, linearised, role_after
from .roles import Role
from .tracking import Tracking, detached, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation


@rule(
    "tanh", "exp", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "softsign", "hardswish", "logsigmoid",
    "log_sigmoid", "tanhshrink", "log", "log1p", "log2", "log10", "expm1", "exp2", "sqrt", "rsqrt", "reciprocal",
    "square", "sin", "cos", "sinh", "cosh", "atan", "asinh", "erf", "relu", "relu6", "leaky_relu", "hardtanh",
    "softshrink", "hardshrink", "threshold", "abs", "absolute", "__abs__", "prelu",
)  # fmt: skip
def _elementwise(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    role = role_after(tracking, func.__name__, argument)
    return _unary(tracking, func, argument, args, kwargs, role)


@rule("sigmoid", "expit", "hardsigmoid")
def _gate(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _unary(tracking, func, argument, args, kwargs, Role.GATE)


@rule("neg", "__neg__", "negative", "nan_to_num", "conj", "conj_physical")
def _either(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _unary(tracking, func, argument, args, kwargs, tracking.role_of(argument))


@rule("clamp", "clamp_min", "clamp_max", "clip")
def _clamp(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Clamp, which with a bound that depends on the input is a maximum and a minimum."""
    if not any(map(tracking.is_tracked, (*args, *kwargs.values()))):
        return _unary(tracking, func, argument, args, kwargs, tracking.role_of(argument))
    names = ("max",) if func.__name__ == "clamp_max" else ("min", "max")
    bounds = dict(zip(names, args, strict=False)) | kwargs
    with tracking:
        for name, larger in (("min", torch.maximum), ("max", torch.minimum)):
            if bounds.get(name) is not None:
                argument = larger(argument, torch.as_tensor(bounds[name], dtype=argument.dtype))
    return argument


def _unary(
    tracking: Tracking, func: Operation, argument: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], role: Role
) -> Tensor:
    """Elementwise function y = φ(z), which passes relevance on unchanged."""
    if any(map(tracking.is_tracked, (*args, *kwargs.values()))):
        return _expanded(tracking, func, argument, *args, **kwargs)
    function, in_place = unary(func, args, kwargs)
    if argument.is_complex() and "conj" not in func.__name__:
        return linear_map(tracking, f"the expansion of {full_name(func)}", function, argument, role=role)
    value = function(argument.detach()).resolve_conj()
    result = tracking.distribute(value, (argument, 1.0), role=role)
    return tracking.write(argument, result) if in_place else result


def _expanded(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    """Function of several arguments, by its first-order expansion."""
    value: Tensor = linearised(tracking, func, *args, **kwargs)
    return value


@rule("pow", "__pow__", "float_power")
def _power(tracking: Tracking, func: Operation, base: Any, exponent: Any) -> Tensor:
    """Power exp(e · log b): a function of the base; of the exponent, an exponential; of both, of their product."""
    value = func(detached(base), detached(exponent))
    if not tracking.is_tracked(exponent):
        if base.is_complex():
            return _expanded(tracking, func, base, exponent)
        inverse = isinstance(exponent, (int, float)) and exponent < 0
        return tracking.distribute(
            value, (base, 1.0), role=role_after(tracking, "reciprocal" if inverse else "pow", base)
        )
    carriers = [part for part in (base, exponent) if tracking.is_tracked(part)]
    shares = [(part, 1 / len(carriers)) for part in carriers]
    return tracking.distribute(value, *shares, role=role_after(tracking, "exp", *carriers))


@rule("__rpow__")
def _reflected_power(tracking: Tracking, func: Operation, exponent: Any, base: Any) -> Tensor:
    return _power(tracking, torch.pow, base, exponent)


@rule("softmax", "_softmax", "softmin")
def _softmax(tracking: Tracking, func: Operation, energy: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Softmax, a gate; where it is used as a signal (a score that is a probability), its normaliser is a constant.

    Where attention weights are no gates, it is expanded to first order (Achtibat et al. 2024, section 3).
    """
    if not tracking.shares.attention_gates:
        return _expanded(tracking, func, energy, *args, **kwargs)
    return tracking.distribute(func(energy.detach(), *args, **kwargs), (energy, 1.0), role=Role.GATE)


@rule("logsumexp", "logcumsumexp")
def _log_of_sums(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Logarithm of a sum of exponentials: each gets its share of the sum, which is autograd's gradient."""
    return tracking.mark_results(func(*args, **kwargs), Role.SIGNAL)


@rule("prod", "cumprod")
def _product_of_elements(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Product of the elements along a dimension, which share its relevance equally."""
    value, role = func(argument.detach(), *args, **kwargs), tracking.role_of(argument)
    if func.__name__ == "prod":
        return tracking.distribute(value, (argument.mean(*args, **kwargs), 1.0), role=role)
    counts = torch.ones_like(argument).cumsum(*args, **kwargs)
    return tracking.distribute(value, (argument.cumsum(*args, **kwargs) / counts, 1.0), role=role)


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
    role = tracking.role_of(args, kwargs)
    args = tuple(tracking.as_leaf(part, full_name(func)) if isinstance(part, Tensor) else part for part in args)
    return tracking.mark_results(func(*args, **kwargs), role)


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
    tracking.mark(flat, tracking.role_of(argument))
    return (flat, *others) if others else flat


@rule("detach", "data.get")
def _detached(tracking: Tracking, func: Operation, argument: Tensor) -> Tensor:
    """Detached tensor, which stays tracked: its values still depend on the input."""
    return tracking.mark(argument.view_as(argument), tracking.role_of(argument))


@rule("scatter")
def _scattered(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    if kwargs.get("reduce") == "add":
        with tracking:
            argument, *places = args
            added: Tensor = argument.scatter_add(*places, **{key: kwargs[key] for key in kwargs if key != "reduce"})
        return added
    if "reduce" in kwargs:
        return _expanded(tracking, func, *args, **kwargs)
    result: Tensor = tracking.route(func, *args, **kwargs)
    return result


@rule("mH.get", "H.get", "adjoint")
def _adjoint(tracking: Tracking, func: Operation, argument: Tensor) -> Tensor:
    with tracking:
        return argument.conj().transpose(-2, -1)


@rule("polar")
def _polar(tracking: Tracking, func: Operation, size: Tensor, angle: Tensor) -> Tensor:
    """Complex number from its size and angle: two products of real ones."""
    with tracking:
        return torch.complex(size * torch.cos(angle), size * torch.sin(angle))


@rule("dropout", "dropout1d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
def _dropout(
    tracking: Tracking, func: Operation, argument: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p > 0:
        raise refusal(func, "in training, which is random")
    return argument
