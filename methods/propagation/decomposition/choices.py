"""Contextual decomposition's rules for maxima and other selections, normalisation and attention.

The selected element of a maximum keeps its streams, as in the max-pooling of Singh, Murdoch & Yu 2019, section 3.1. The
scales of a normalisation and attention weights are not decomposed; they multiply each stream.
"""
# ruff: noqa: ANN401, ARG001, FBT001, FBT002  # a rule has the signature of torch's operation

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import composite_operations as composites
from .following import METHOD, Following, refusal, rule

if TYPE_CHECKING:
    from ..operations import Operation


@rule("max", "min", "amax", "amin")
def _extreme(following: Following, func: Operation, argument: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Maximum or minimum of the totals; the selected element keeps its streams."""
    if isinstance(dim, Tensor):
        return _larger(following, func, argument, dim)
    largest = "max" in func.__name__
    with following:
        if dim is None or dim == ():
            return _extreme_values(argument.flatten(), 0, largest=largest).squeeze(0)
        if isinstance(dim, (tuple, list)):
            places = [place % argument.dim() for place in dim]
            for place in places:
                argument = _extreme_values(argument, place, largest=largest)
            return argument if keepdim else argument.squeeze(places)
        kept = _extreme_values(argument, dim, largest=largest)
        value = kept if keepdim else kept.squeeze(dim)
    if func.__name__ in {"amax", "amin"}:
        return value
    indices = _extreme_indices(argument, dim, largest=largest)
    result_type = torch.return_types.max if largest else torch.return_types.min
    return result_type((value, indices if keepdim else indices.squeeze(dim)))


def _extreme_indices(argument: Tensor, dim: int, *, largest: bool) -> Tensor:
    """Indices of the largest or smallest elements along a dimension, which is kept with size 1."""
    return argument.argmax(dim, keepdim=True) if largest else argument.argmin(dim, keepdim=True)


def _extreme_values(argument: Tensor, dim: int, *, largest: bool) -> Tensor:
    """Largest or smallest elements along a dimension, which is kept with size 1."""
    return argument.gather(dim, _extreme_indices(argument, dim, largest=largest))


@rule("sort", "topk")
def _ordered(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Sorting of the totals, whose order all streams take."""
    ordered = func(argument, *args, **kwargs)
    position = 0 if func.__name__ == "sort" else 1
    dim = args[position] if len(args) > position else kwargs.get("dim", -1)
    with following:
        values = argument.gather(dim, ordered.indices)
    return type(ordered)((values, ordered.indices))


@rule("maximum", "minimum", "fmax", "fmin")
def _larger(following: Following, func: Operation, left: Any, right: Any) -> Tensor:
    first = left >= right if "max" in func.__name__ else left <= right
    with following:
        return torch.where(first, left, right)


@rule("median", "kthvalue", "cummax", "cummin")
def _selected(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Order statistics along a dimension, whose elements keep their streams."""
    found = func(argument, *args, **kwargs)
    if isinstance(found, Tensor):  # the median of all elements
        with following:
            flat = argument.flatten()
            return flat.gather(0, flat.argsort()[(len(flat) - 1) // 2, None]).squeeze(0)
    position = 1 if func.__name__ == "kthvalue" else 0
    dim = args[position] if len(args) > position else kwargs.get("dim", -1)
    kept = found.indices.dim() == argument.dim()
    with following:
        values = argument.gather(dim, found.indices if kept else found.indices.unsqueeze(dim))
        values = values if kept else values.squeeze(dim)
    return type(found)((values, found.indices))


@rule("max_pool2d", "_max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d")
def _max_pool_of_pictures(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    pool = functional.adaptive_max_pool2d if "adaptive" in func.__name__ else functional.max_pool2d
    return_indices = kwargs.pop("return_indices", False)
    _, indices = pool(argument, *args, **kwargs, return_indices=True)
    with following:
        pooled = argument.flatten(-2).gather(-1, indices.flatten(-2)).unflatten(-1, indices.shape[-2:])
    return (pooled, indices) if return_indices else pooled


@rule("max_pool1d", "_max_pool1d", "max_pool1d_with_indices", "boolean_dispatch", "adaptive_max_pool1d")
def _max_pool(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    pool = functional.adaptive_max_pool1d if "adaptive" in func.__name__ else functional.max_pool1d
    return_indices = kwargs.pop("return_indices", False)
    _, indices = pool(argument, *args, **kwargs, return_indices=True)
    with following:
        pooled = argument.gather(-1, indices)
    return (pooled, indices) if return_indices else pooled


@rule("where")
def _where(following: Following, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Selection by a mask computed from totals, linear in the tensors from which it selects."""
    return following.linear(func, *args, **kwargs)


rule("masked_fill", "masked_fill_", "data.get")(_where)


@rule("batch_norm")
def _batch_norm(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Batch norm in evaluation mode: a scale and a shift of each channel."""
    if func is not functional.batch_norm:
        raise refusal(func, "called directly, not through torch.nn.functional.batch_norm")
    bound = inspect.signature(func).bind(argument, *args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    if arguments["training"] or arguments["running_mean"] is None or arguments["running_var"] is None:
        raise refusal(func, "over the batch's own mean and variance")
    scale = (arguments["running_var"] + arguments["eps"]).rsqrt()
    scale = scale if arguments["weight"] is None else scale * arguments["weight"]
    shift = -arguments["running_mean"] * scale
    shift = shift if arguments["bias"] is None else shift + arguments["bias"]
    scale, shift = (part.view(-1, *[1] * (argument.dim() - 2)) for part in (scale, shift))
    with following:
        normalised: Tensor = argument * scale + shift
    return normalised


@rule("layer_norm")
def _layer_norm(
    following: Following, func: Operation, argument: Tensor, shape: Any, weight: Any = None, bias: Any = None,
    eps: float = 1e-5, cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    """Layer norm, whose scale 1/√(variance + ε) of the total multiplies each stream."""
    dims = tuple(range(-len(shape), 0))
    scale = (argument.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    with following:
        normalised: Tensor = (argument - argument.mean(dims, keepdim=True)) * scale
        normalised = normalised if weight is None else normalised * weight
        return normalised if bias is None else normalised + bias


@rule("group_norm")
def _group_norm(
    following: Following, func: Operation, argument: Tensor, num_groups: int, weight: Any = None, bias: Any = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    return _normalised(following, argument, (len(argument), num_groups, -1), eps, (weight, bias))


@rule("instance_norm")
def _instance_norm(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    weight, bias, eps = arguments.get("weight"), arguments.get("bias"), arguments.get("eps", 1e-5)
    if arguments.get("use_input_stats", True):
        return _normalised(following, argument, (*argument.shape[:2], -1), eps, (weight, bias))
    mean, variance = arguments["running_mean"], arguments["running_var"]
    return _batch_norm(following, functional.batch_norm, argument, mean, variance, weight, bias, eps=eps)


def _normalised(
    following: Following, argument: Tensor, grouped: tuple[int, ...], eps: float, affine: tuple[Any, Any]
) -> Tensor:
    """Normalisation of groups of elements, whose scale is that of the total, then a weight and a bias by channel."""
    groups = argument.reshape(grouped)
    scale = (groups.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
    weight, bias = (None if part is None else part.reshape(-1, *[1] * (argument.dim() - 2)) for part in affine)
    with following:
        own = argument.reshape(grouped)
        normalised: Tensor = ((own - own.mean(-1, keepdim=True)) * scale).reshape(argument.shape)
        normalised = normalised if weight is None else normalised * weight
        return normalised if bias is None else normalised + bias


@rule("normalize")
def _normalize(
    following: Following, func: Operation, argument: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Argument divided by a norm, which is that of the total."""
    if out is not None:
        raise refusal(func, "with out")
    size = argument.norm(p, dim, keepdim=True).clamp_min(eps)
    with following:
        normalised: Tensor = argument / size
    return normalised


@rule("rms_norm")
def _rms_norm(
    following: Following, func: Operation, argument: Tensor, shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(argument.dtype).eps if eps is None else eps
    scale = (argument.square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt()
    with following:
        normalised = argument * scale
        return normalised if weight is None else normalised * weight


@rule("scaled_dot_product_attention")
def _attention(following: Following, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with following:
        return composites.scaled_dot_product_attention(METHOD, *args, **kwargs)


@rule("multi_head_attention_forward")
def _heads(following: Following, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    with following:
        return composites.multi_head_attention(METHOD, *args, **kwargs)
