"""DeepLIFT's rules for softmax, log-softmax and logsumexp, by the logarithmic means of the weights.

Energies of −∞ mask a weight. Where both sides mask the same, they take no part. Where one side does, the weight appears
or disappears by a decision: its difference is credited to the decision that masked (:class:`.selections.Chosen`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import composite_operations as composites
from .pairing import NoClosedForm, Pairing, rule
from .pairs import pair, sides
from .slopes import exp_slope

if TYPE_CHECKING:
    from ..operations import Operation


def _logarithmic_means(energy: Tensor, dim: int) -> Tensor:
    """Logarithmic means L = (α − α⁰) / (ln α − ln α⁰) of the weights α = softmax(e); 0 where both weights are masked.

    L lies between the two weights. It replaces the weights in the derivatives of softmax and of logsumexp, which makes
    these exact over any distance: from Σ(α − α⁰) = 0 follows δ logsumexp = ΣL·δe / ΣL, and from this every identity
    used below. Applying the rules of exp, sum and quotient in turn would be exact too. But they split the same
    difference into terms as large as Σexp e / Σexp e⁰, which cancel: a shift of all energies, to which softmax is
    invariant, would swamp the attributions and, in float32, their sum.
    """
    e, e0 = sides(energy)
    return exp_slope(e.log_softmax(dim), e0.log_softmax(dim), e.softmax(dim), e0.softmax(dim))


class Softmax(torch.autograd.Function):
    """Softmax α = softmax(e) with DeepLIFT's rule: m_e = L∘(m_α − ΣL·m_α / ΣL)."""

    @staticmethod
    def forward(ctx: Any, energy: Tensor, value: Tensor, means: Tensor, dim: int, jumps: Tensor | None) -> Tensor:
        """Return the value, computed elsewhere; ``means`` are the logarithmic means L, ``jumps`` see :func:`_jumps`."""
        ctx.dim, ctx.jumps = dim, jumps
        ctx.save_for_backward(means)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Derivative of softmax with L in the place of the weights."""
        (means,) = ctx.saved_tensors
        total = means.sum(ctx.dim, keepdim=True)
        centre = (means * multiplier).sum(ctx.dim, keepdim=True) / total
        if ctx.jumps is None:
            return means * (multiplier - centre), None, None, None, None
        # where both sides have no weight in common, Σ(α − α⁰) = 0 makes any centre exact
        centre = torch.where(total == 0, torch.zeros_like(centre), centre)
        return (means + ctx.jumps) * (multiplier - centre), None, None, None, None


class LogSumExp(torch.autograd.Function):
    """Logsumexp log Σ exp e with DeepLIFT's rule, its dimension kept: m_e = m·L / ΣL."""

    @staticmethod
    def forward(ctx: Any, energy: Tensor, value: Tensor, means: Tensor, dim: int, jumps: Tensor | None) -> Tensor:
        """Return the value, computed elsewhere; ``means`` are the logarithmic means L, ``jumps`` see :func:`_jumps`."""
        total = means.sum(dim, keepdim=True)
        ctx.save_for_backward(means / total if jumps is None else (means + jumps) / total)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None, None]:
        """Distribute the multiplier in proportion to L."""
        return multiplier * ctx.saved_tensors[0], None, None, None, None


def _jumps(energy: Tensor, dim: int) -> Tensor | None:
    """(α − α⁰)·sgn(e − e⁰) of the weights that only one side masks, 0 of others; None if there are none.

    A weight that is masked on one side has the logarithmic mean 0 and an infinite difference of energies. The product
    of both has the limit α − α⁰, whatever the finite number that stands for −∞.
    """
    e, e0 = sides(energy)
    one = e.isinf() != e0.isinf()
    if not one.any():
        return None
    change = (e.softmax(dim) - e0.softmax(dim)) * (e - e0).sign()
    return torch.where(one, change, torch.zeros_like(change))


def _means_and_jumps(energy: Tensor, dim: int) -> tuple[Tensor, Tensor | None]:
    """Logarithmic means, 0 of the weights that one side masks, and the jumps of these."""
    means, jumps = _logarithmic_means(energy, dim), _jumps(energy, dim)
    return (means if jumps is None else means.masked_fill(jumps != 0, 0.0)), jumps


def _whole_dim(func: Operation, energy: Tensor, dim: int | None) -> int:
    """The dimension of a call, which older code leaves out: torch then takes one by the number of dimensions."""
    if dim is None:
        return 0 if energy.dim() in {0, 1, 3} else 1
    return dim


@rule("softmax", "_softmax", "softmin", as_called=True)
def _softmax(
    pairing: Pairing, func: Operation, energy: Tensor, dim: int | None = None, *_: Any, **kwargs: Any
) -> Tensor:
    along = _whole_dim(func, energy, kwargs.get("dim", dim))
    if kwargs.get("dtype") is not None:
        energy = pairing.on_both(torch.Tensor.to, energy, kwargs["dtype"])
    if func.__name__ == "softmin":
        energy = pairing.on_both(torch.neg, energy)
    e, e0 = sides(energy)
    pairing.numbers += e.numel()
    means, jumps = _means_and_jumps(energy, along)
    return pair(Softmax.apply(energy, e.softmax(along), means, along, jumps), e0.softmax(along))


@rule("log_softmax", "_log_softmax", as_called=True)
def _log_softmax(
    pairing: Pairing, func: Operation, energy: Tensor, dim: int | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Log-softmax, as e − logsumexp(e)."""
    along = _whole_dim(func, energy, kwargs.get("dim", dim))
    dtype = kwargs.get("dtype", next((each for each in args if isinstance(each, torch.dtype)), None))
    if dtype is not None:
        energy = pairing.on_both(torch.Tensor.to, energy, dtype)
    total = _total(pairing, energy, along)
    with pairing:
        return energy - total


def _total(pairing: Pairing, energy: Tensor, dim: int) -> Tensor:
    """Logsumexp along one dimension, which is kept."""
    e, e0 = sides(energy)
    value, other = e.logsumexp(dim, keepdim=True), e0.logsumexp(dim, keepdim=True)
    pairing.numbers += e.numel()
    means, jumps = _means_and_jumps(energy, dim)
    return pair(LogSumExp.apply(energy, value, means, dim, jumps), other)


@rule("logsumexp", as_called=True)
def _logsumexp(pairing: Pairing, func: Operation, energy: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Logsumexp; over several dimensions, these are made one."""
    if isinstance(dim, (tuple, list)):
        merged, shape = merged_last(pairing, energy, dim, keepdim=keepdim)
        return pairing.on_both(torch.reshape, _total(pairing, merged, -1), shape)
    total = _total(pairing, energy, dim)
    return total if keepdim else pairing.on_both(torch.squeeze, total, dim)


def merged_last(pairing: Pairing, argument: Tensor, dims: Any, *, keepdim: bool) -> tuple[Tensor, list[int]]:
    """A tensor whose given dimensions (all, if there are none) are merged into a last one, and a result's shape."""
    count = argument.dim()
    chosen = sorted({dim % max(count, 1) for dim in dims} & set(range(count))) if dims else list(range(count))
    others = [dim for dim in range(count) if dim not in chosen]
    shape = [1 if dim in chosen else argument.shape[dim] for dim in range(count) if keepdim or dim not in chosen]
    moved = pairing.on_both(torch.permute, argument, [*others, *chosen])
    return pairing.on_both(torch.flatten, moved, len(others)), shape


@rule("logaddexp", "logaddexp2", as_called=True)
def _log_of_sum(pairing: Pairing, func: Operation, left: Any, right: Any) -> Tensor:
    """log (exp a + exp b), as a logsumexp."""
    unit = torch.log(torch.tensor(2.0, dtype=torch.float64)).item() if func.__name__.endswith("2") else 1.0
    with pairing:
        left, right = torch.broadcast_tensors(left, right)
        total: Tensor = (torch.stack([left, right]) * unit).logsumexp(0) / unit
    return total


@rule("scaled_dot_product_attention", as_called=True)
def _attention(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    with pairing:
        return composites.scaled_dot_product_attention("DeepLIFT", *args, **kwargs)


@rule("multi_head_attention_forward", as_called=True)
def _heads(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Attention of several heads in products and a softmax; with added keys and values, by the path rule."""
    given = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs).arguments
    added = [given.get(name) for name in ("bias_k", "bias_v", "static_k", "static_v")]
    if any(each is not None for each in added) or given.get("add_zero_attn"):
        raise NoClosedForm
    with pairing:
        return composites.multi_head_attention("DeepLIFT", *args, **kwargs)
