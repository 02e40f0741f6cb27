"""LRP's rules of normalisations: statistics are constants, so that what remains is a sum and a scale.

In layer, group and instance norm the standard deviation is a constant (Ali et al. 2022, arXiv:2202.07304), and so are
the root mean square and the norm by which rms_norm and normalize divide. Variances, deviations and norms that a model
computes itself are scales (:mod:`.roles`), so that a signal divided by one keeps all its relevance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .roles import Role
from .sums import summed
from .tracking import Tracking, refusal, rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..operations import Operation


@rule("batch_norm")
def _batch_norm(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "training")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    if arguments.get("training") or arguments.get("running_mean") is None:
        raise refusal(func, "with the statistics of the batch, by which sequences influence each other")
    return summed(tracking, lambda own: func(own, *args, **kwargs), torch.clone, argument)


@rule("layer_norm")
def _layer_norm(
    tracking: Tracking,
    func: Operation,
    argument: Tensor,
    shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    dims = tuple(range(-len(shape), 0))
    return _normalised(tracking, argument, lambda own: own, dims, eps, (weight, bias))


@rule("group_norm")
def _group_norm(
    tracking: Tracking,
    func: Operation,
    argument: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    affine = _of_channels(weight, argument), _of_channels(bias, argument)
    grouped = (len(argument), num_groups, -1)
    return _normalised(tracking, argument, lambda own: own.reshape(grouped), (-1,), eps, affine)


@rule("instance_norm")
def _instance_norm(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    names = ("running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps")
    arguments = dict(zip(names, args, strict=False)) | kwargs
    if not arguments.get("use_input_stats", True):
        return summed(tracking, lambda own: func(own, *args, **kwargs), torch.clone, argument)
    channels = (*argument.shape[:2], -1)
    weight, bias = (_of_channels(arguments.get(name), argument) for name in ("weight", "bias"))
    eps = arguments.get("eps", 1e-5)
    return _normalised(tracking, argument, lambda own: own.reshape(channels), (-1,), eps, (weight, bias))


def _of_channels(part: Tensor | None, argument: Tensor) -> Tensor | None:
    """Weight or bias float[C] in a shape that broadcasts to an argument float[B, C, …]."""
    return None if part is None else part.reshape(-1, *[1] * (argument.dim() - 2))


def _normalised(
    tracking: Tracking,
    argument: Tensor,
    grouped: Callable[[Tensor], Tensor],
    dims: tuple[int, ...],
    eps: float,
    affine: tuple[Tensor | None, Tensor | None],
) -> Tensor:
    """Normalisation of groups of elements to mean 0 and variance 1, then a weight and a bias.

    Args:
        tracking: the mode.
        argument: float of any shape.
        grouped: puts each group along ``dims``.
        dims: dimensions of a group.
        eps: added to the variance.
        affine: weight and bias, each None or of a shape that broadcasts to the argument.
    """
    scale = (grouped(argument.detach()).var(dims, unbiased=False, keepdim=True) + eps).rsqrt()
    dynamic = any(map(tracking.is_tracked, affine))
    weight, bias = (None, None) if dynamic else affine

    def total(own: Tensor) -> Tensor:
        groups = grouped(own)
        normalised = ((groups - groups.mean(dims, keepdim=True)) * scale).reshape(own.shape)
        normalised = normalised if weight is None else normalised * weight
        return normalised if bias is None else normalised + bias

    def terms(ones: Tensor) -> Tensor:
        groups = grouped(ones)
        return groups.sum(dims, keepdim=True).expand_as(groups).reshape(ones.shape)

    value = summed(tracking, total, terms, argument)
    if not dynamic:
        return value
    with tracking:  # a weight or a bias that depends on the input, as in adaptive layer norm
        value = value if affine[0] is None else value * affine[0]
        return value if affine[1] is None else value + affine[1]


@rule("rms_norm")
def _rms_norm(
    tracking: Tracking, func: Operation, argument: Tensor, shape: Any, weight: Any = None, eps: float | None = None
) -> Tensor:
    eps = torch.finfo(argument.dtype).eps if eps is None else eps
    scale = (argument.detach().square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt()
    with tracking:
        normalised = argument * scale
        return normalised if weight is None else normalised * weight


@rule("normalize", "local_response_norm")
def _normalize(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Argument divided by a norm, which is a constant."""
    return tracking.distribute(func(argument.detach(), *args, **kwargs), (argument, 1.0))


@rule("var", "std", "var_mean", "std_mean")
def _spread(tracking: Tracking, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Variance as a mean of squares of deviations, and its root; both are scales."""
    if args and isinstance(args[0], bool):  # torch's form without dimensions
        kwargs["unbiased"], args = args[0], args[1:]
    arguments = dict(zip(("dim", "unbiased", "keepdim"), args, strict=False)) | kwargs
    dims, keepdim = arguments.get("dim"), arguments.get("keepdim", False)
    dims = list(range(argument.dim())) if dims is None else dims
    value = func(argument.detach(), *args, **kwargs)
    with tracking:
        mean = argument.mean(dims, keepdim=True)
        squares = (argument - mean).square().sum(dims, keepdim=keepdim)
    spread = tracking.distribute(value[0] if isinstance(value, tuple) else value, (squares, 1.0), role=Role.SCALE)
    if not isinstance(value, tuple):
        return spread
    with tracking:
        return spread, mean.reshape(value[1].shape)


@rule("cosine_similarity")
def _cosine(tracking: Tracking, func: Operation, left: Any, right: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Cosine of two vectors: their product, divided by their norms."""
    with tracking:
        sizes = [part.norm(dim=dim).clamp_min(eps) for part in (left, right)]
        return (left * right).sum(dim) / (sizes[0] * sizes[1])
