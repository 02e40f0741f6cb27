"""Contextual decomposition's rules for choices, normalisation and attention.

The winner of a maximum takes its streams along, as in the max-pooling of Singh, Murdoch & Yu 2019, section 3.1. The
scales of a normalisation and attention weights are not decomposed, and weigh the streams as they are.
"""
# ruff: noqa: ANN401, ARG001, FBT001, FBT002  # a rule has the signature of torch's operation

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from .. import composite_operations as decompositions
from .following import WHO, Following, rule
from .rules import refusal

if TYPE_CHECKING:
    from ..operations import Operation


@rule("max", "min", "amax", "amin")
def _extreme(following: Following, func: Operation, argument: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The winner of the totals takes its streams along."""
    if isinstance(dim, Tensor):
        return _larger(following, func, argument, dim)
    largest = "max" in func.__name__
    with following:
        if dim is None or dim == ():
            return _won(argument.flatten(), 0, largest=largest).squeeze(0)
        if isinstance(dim, (tuple, list)):
            places = [place % argument.dim() for place in dim]
            for place in places:
                argument = _won(argument, place, largest=largest)
            return argument if keepdim else argument.squeeze(places)
        kept = _won(argument, dim, largest=largest)
        value = kept if keepdim else kept.squeeze(dim)
    if func.__name__ in {"amax", "amin"}:
        return value
    winner = _winner(argument, dim, largest=largest)
    found = torch.return_types.max if largest else torch.return_types.min
    return found((value, winner if keepdim else winner.squeeze(dim)))


def _winner(argument: Tensor, dim: int, *, largest: bool) -> Tensor:
    return argument.argmax(dim, keepdim=True) if largest else argument.argmin(dim, keepdim=True)


def _won(argument: Tensor, dim: int, *, largest: bool) -> Tensor:
    """The largest or smallest along a dimension, which is kept."""
    return argument.gather(dim, _winner(argument, dim, largest=largest))


@rule("sort", "topk")
def _chosen(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The order of the totals is everybody's order."""
    found = func(argument, *args, **kwargs)
    place = 0 if func.__name__ == "sort" else 1
    dim = args[place] if len(args) > place else kwargs.get("dim", -1)
    with following:
        values = argument.gather(dim, found.indices)
    return type(found)((values, found.indices))


@rule("maximum", "minimum", "fmax", "fmin")
def _larger(following: Following, func: Operation, left: Any, right: Any) -> Tensor:
    first = left >= right if "max" in func.__name__ else left <= right
    with following:
        return torch.where(first, left, right)


@rule("max_pool1d", "_max_pool1d", "max_pool1d_with_indices", "boolean_dispatch", "adaptive_max_pool1d")
def _max_pool(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    pool = functional.adaptive_max_pool1d if "adaptive" in func.__name__ else functional.max_pool1d
    shown = kwargs.pop("return_indices", False)
    _, indices = pool(argument, *args, **kwargs, return_indices=True)
    with following:
        found = argument.gather(-1, indices)
    return (found, indices) if shown else found


@rule("where")
def _where(following: Following, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Linear in what is chosen from; the choice is the total's."""
    return following.linear(func, *args, **kwargs)


rule("masked_fill", "masked_fill_", "data.get")(_where)


@rule("batch_norm")
def _batch_norm(following: Following, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In evaluation a scale and a shift of each channel."""
    if func is not functional.batch_norm:
        raise refusal(func, "but for torch.nn.functional.batch_norm")
    given = inspect.signature(func).bind(argument, *args, **kwargs)
    given.apply_defaults()
    named = given.arguments
    if named["training"] or named["running_mean"] is None or named["running_var"] is None:
        raise refusal(func, "over the batch's own mean and variance")
    scale = (named["running_var"] + named["eps"]).rsqrt()
    scale = scale if named["weight"] is None else scale * named["weight"]
    shift = -named["running_mean"] * scale
    shift = shift if named["bias"] is None else shift + named["bias"]
    scale, shift = (part.view(-1, *[1] * (argument.dim() - 2)) for part in (scale, shift))
    with following:
        found: Tensor = argument * scale + shift
    return found


@rule("layer_norm")
def _layer_norm(
    following: Following, func: Operation, argument: Tensor, shape: Any, weight: Any = None, bias: Any = None,
    eps: float = 1e-5, cudnn_enable: bool = True,
) -> Tensor:  # fmt: skip
    """The scale 1/√(variance + ε) is the total's, and weighs the streams as it is."""
    dims = tuple(range(-len(shape), 0))
    scale = (argument.var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    with following:
        found: Tensor = (argument - argument.mean(dims, keepdim=True)) * scale
        found = found if weight is None else found * weight
        return found if bias is None else found + bias


@rule("rms_norm")
def _rms_norm(
    following: Following, func: Operation, argument: Tensor, shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(argument.dtype).eps if eps is None else eps
    scale = (argument.square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt()
    with following:
        found = argument * scale
        return found if weight is None else found * weight


@rule("scaled_dot_product_attention")
def _attention(following: Following, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with following:
        return decompositions.scaled_dot_product_attention(WHO, *args, **kwargs)


@rule("multi_head_attention_forward")
def _heads(following: Following, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    with following:
        return decompositions.multi_head_attention(WHO, *args, **kwargs)
