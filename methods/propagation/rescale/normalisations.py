"""DeepLIFT through normalisations, norms, variances and other composites: in sums, squares, roots and products.

Each function computes its operation under the pairing, in operations that have exact rules in closed form. The path
rule would be exact too, but it converges slowly where the reference is all zeros: a normalised vector then turns from 0
to its full size within the first hundredth of the path.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .elementwise import magnitude
from .pairing import NoClosedForm, Pairing, rule
from .unit_vectors import unit_vector

if TYPE_CHECKING:
    from ..operations import Operation

# Below this ε, a division by the size is a rule of its own: the terms of the product would cancel.
_TINY = 1e-6
# The offset that stands for a lower bound of the size, max(‖z‖, ε): both integrals of 1/size from 0 are then the same.
_CLAMPED = 2 / math.e


def normalised(pairing: Pairing, argument: Tensor, dims: tuple[int, ...], eps: float, *, centre: bool = True) -> Tensor:
    """A tensor, less its mean over some dimensions, over the root of its mean square and ε."""
    if centre:
        with pairing:
            argument = argument - argument.mean(dims, keepdim=True)
    if eps < _TINY and not argument.is_complex():
        scale = math.sqrt(math.prod(argument.shape[dim] for dim in dims))
        unit = unit_vector(pairing, argument, dims, scale**2 * eps)
        with pairing:
            return unit * scale
    with pairing:
        return argument * (argument.square().mean(dims, keepdim=True) + eps).rsqrt()


def _affine(values: Tensor, weight: Any, bias: Any) -> Tensor:
    """Values times a weight plus a bias, where there are such; called under the pairing."""
    values = values if weight is None else values * weight
    return values if bias is None else values + bias


def _by_channel(parameter: Any, values: Tensor) -> Any:
    """A parameter of the channels, the second dimension, in a shape that broadcasts to the values."""
    return None if parameter is None else parameter.reshape(1, -1, *[1] * (values.dim() - 2))


@rule("layer_norm")
def _layer_norm(
    pairing: Pairing, func: Operation, argument: Tensor, shape: Any, weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *_: Any,
) -> Tensor:  # fmt: skip
    values = normalised(pairing, argument, tuple(range(-len(shape), 0)), eps)
    with pairing:
        return _affine(values, weight, bias)


@rule("rms_norm", as_called=True)
def _rms_norm(
    pairing: Pairing, func: Operation, argument: Tensor, normalized_shape: Any, weight: Any = None,
    eps: float | None = None,
) -> Tensor:  # fmt: skip
    eps = torch.finfo(argument.dtype).eps if eps is None else eps
    values = normalised(pairing, argument, tuple(range(-len(normalized_shape), 0)), eps, centre=False)
    with pairing:
        return _affine(values, weight, None)


@rule("group_norm", as_called=True)
def _group_norm(
    pairing: Pairing, func: Operation, argument: Tensor, num_groups: int, weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *_: Any, **__: Any,
) -> Tensor:  # fmt: skip
    grouped = pairing.on_both(torch.reshape, argument, (len(argument), num_groups, -1))
    values = normalised(pairing, grouped, (-1,), eps)
    with pairing:
        values = values.reshape(argument.shape)
        return _affine(values, _by_channel(weight, values), _by_channel(bias, values))


@rule("batch_norm", as_called=True)
def _batch_norm(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Batch norm: linear by its running statistics, else by the statistics of the batch."""
    # torch.batch_norm takes weight and bias first, torch.nn.functional.batch_norm the statistics
    order = ["running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"]
    if func is not F.batch_norm:
        order = [*order[2:4], *order[:2], *order[4:]]
    given = dict(zip(order, args, strict=False)) | kwargs
    mean, deviation = given.get("running_mean"), given.get("running_var")
    if mean is not None and deviation is not None and not given.get("training"):
        result: Tensor = pairing.on_both(func, argument, *args, **kwargs)
        return result
    dims = (0, *range(2, argument.dim()))
    return _of_own_statistics(pairing, argument, dims, given)


@rule("instance_norm", as_called=True)
def _instance_norm(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Instance norm: each channel of each row by its own statistics, or all by running ones."""
    order = ["running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"]
    if func is not F.instance_norm:
        order = [*order[2:4], *order[:2], *order[4:]]
    given = dict(zip(order, args, strict=False)) | kwargs
    if not given.get("use_input_stats", True):
        result: Tensor = pairing.on_both(func, argument, *args, **kwargs)
        return result
    return _of_own_statistics(pairing, argument, tuple(range(2, argument.dim())), given)


def _of_own_statistics(pairing: Pairing, argument: Tensor, dims: tuple[int, ...], given: dict[str, Any]) -> Tensor:
    values = normalised(pairing, argument, dims, given.get("eps", 1e-5))
    with pairing:
        return _affine(values, _by_channel(given.get("weight"), values), _by_channel(given.get("bias"), values))


@rule("local_response_norm", as_called=True)
def _local_response_norm(
    pairing: Pairing, func: Operation, argument: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75,
    k: float = 1.0,
) -> Tensor:  # fmt: skip
    with pairing:
        square = argument.square().reshape(len(argument), argument.shape[1], -1)
        padded = F.pad(square, (0, 0, size // 2, (size - 1) // 2))
        means = padded.unfold(1, size, 1).mean(-1).reshape(argument.shape)
        return argument * (k + alpha * means) ** -beta


@rule("normalize", as_called=True)
def _normalize(
    pairing: Pairing, func: Operation, argument: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12,
    out: Any = None,
) -> Tensor:  # fmt: skip
    if p == 2 and eps > 0 and not argument.is_complex():
        with suppress(NoClosedForm):  # of vectors that are not far above the bound, the product is taken
            return unit_vector(
                pairing, argument, (dim,), (_CLAMPED * eps) ** 2, lambda z: F.normalize(z, 2.0, dim, eps)
            )
    size = vector_norm(pairing, argument, p, (dim,))
    with pairing:
        return argument / size.clamp_min(eps)


@rule("cosine_similarity", as_called=True)
def _cosine_similarity(pairing: Pairing, func: Operation, x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    with pairing:
        x1, x2 = torch.broadcast_tensors(x1, x2)
        return (F.normalize(x1, 2.0, dim, eps) * F.normalize(x2, 2.0, dim, eps)).sum(dim)


def vector_norm(pairing: Pairing, argument: Tensor, order: Any, dims: tuple[int, ...]) -> Tensor:
    """Norm over some dimensions (all, if there are none), which are kept.

    Raises:
        NoClosedForm: there is no closed form of this order.
    """
    dims = dims or tuple(range(argument.dim()))
    if order in {2, "fro", None}:
        return magnitude(argument, dims)
    with pairing:
        if order == 1:
            return argument.abs().sum(dims, keepdim=True)
        if order == math.inf:
            return argument.abs().amax(dims, keepdim=True)
        if order == -math.inf:
            return argument.abs().amin(dims, keepdim=True)
    raise NoClosedForm


def _dims(dim: Any) -> tuple[int, ...]:
    return () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)


@rule("norm", "linalg_norm", "linalg_vector_norm", "linalg_matrix_norm", "frobenius_norm", as_called=True)
def _norm(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Norms of vectors; of a matrix, that of Frobenius. Others are left to the path rule."""
    given = dict(zip(("p", "dim", "keepdim"), args, strict=False)) | kwargs
    order = given.get("ord", given.get("p", 2))
    dims = _dims(given.get("dim"))
    name = func.__name__
    of_matrix = name == "linalg_matrix_norm" or (name == "linalg_norm" and (len(dims) == 2 or argument.dim() == 2))
    if name == "linalg_matrix_norm":
        order, dims = given.get("ord", given.get("p", "fro")), dims or (-2, -1)
    explicit = name != "linalg_norm" or {"ord", "p"} & given.keys()
    if given.get("dtype") or (of_matrix and explicit and order not in {"fro", None}):
        raise NoClosedForm
    value = vector_norm(pairing, argument, order, dims)
    if given.get("keepdim"):
        return value
    with pairing:
        return value.squeeze(dims) if dims else value.reshape(())


@rule("hypot", as_called=True)
def _hypotenuse(pairing: Pairing, func: Operation, left: Any, right: Any) -> Tensor:
    """√(a² + b²), as the norm of (a, b)."""
    with pairing:
        return torch.stack(torch.broadcast_tensors(left, right)).norm(dim=0)


@rule("dist", as_called=True)
def _distance(pairing: Pairing, func: Operation, left: Any, right: Any, p: float = 2) -> Tensor:
    with pairing:
        return torch.linalg.vector_norm(left - right, p)


@rule("pairwise_distance", as_called=True)
def _pairwise_distance(
    pairing: Pairing, func: Operation, x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    with pairing:
        return torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim=keepdim)


@rule("cdist", as_called=True)
def _distances(pairing: Pairing, func: Operation, x1: Any, x2: Any, p: float = 2.0, *_: Any, **__: Any) -> Tensor:
    with pairing:
        return torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


@rule("var", "std", "var_mean", "std_mean", as_called=True)
def _spread(pairing: Pairing, func: Operation, argument: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Variance or standard deviation, with the mean if asked for."""
    name = func.__name__
    if args and isinstance(args[0], bool):
        given = {"unbiased": args[0]} | kwargs
    else:
        given = dict(zip(("dim", "unbiased", "keepdim"), args, strict=False)) | kwargs
    dims = _dims(given.get("dim")) or tuple(range(argument.dim()))
    correction = given.get("correction")
    if correction is None:
        correction = 1 if given.get("unbiased", True) else 0
    count = math.prod(argument.shape[dim] for dim in dims)
    with pairing:
        mean = argument.mean(dims, keepdim=True)
        centred = argument - mean
        if name.startswith("std"):
            value = torch.linalg.vector_norm(centred, 2, dims, keepdim=True) / math.sqrt(count - correction)
        else:
            value = (centred.abs() if centred.is_complex() else centred).square().sum(dims, keepdim=True) / (
                count - correction
            )
        if not given.get("keepdim"):
            value, mean = value.squeeze(dims), mean.squeeze(dims)
    return (value, mean) if name.endswith("_mean") else value


@rule("glu", as_called=True)
def _glu(pairing: Pairing, func: Operation, argument: Tensor, dim: int = -1) -> Tensor:
    with pairing:
        value, gate = argument.chunk(2, dim)
        return value * gate.sigmoid()
