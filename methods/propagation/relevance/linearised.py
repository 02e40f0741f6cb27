"""LRP of any differentiable operation: ε-LRP of its first-order expansion at its own arguments.

    y_j ≈ Σ_i J_ji x_i + c_j,        R_i = x_i Σ_j J_ji R_j / (y_j + ε sgn y_j)

For a linear operation this is LRP-ε itself, by a vector–Jacobian product, whatever the operation. For another one it is
the local expansion of Achtibat et al. 2024, arXiv:2402.05602, section 3, whose constant c_j keeps its share. Where
the operation is homogeneous of degree 1, as norms are, c_j is 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ....errors import UnsupportedModelError
from ..operations import full_name, short_name
from ..parts import by_parts, is_numeric
from .roles import SCALES, Role
from .tracking import ANY_OTHER, METHOD, Recorded, Tracking, refusal, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..operations import Operation
    from .shares import Shares


class Linearised(Recorded):
    """Value whose relevance is distributed by the first-order expansion of the function that computed it."""

    @staticmethod
    def forward(
        ctx: Any, shares: Shares, name: str, value: Tensor, own: Sequence[Tensor], leftover: Tensor, *operands: Tensor
    ) -> Tensor:
        """Return the value.

        Args:
            ctx: torch's context.
            shares: ε.
            name: of what is expanded, for errors.
            value: result of the operation, with its autograd graph.
            own: copies of the operands from which it was computed, leaves of that graph.
            leftover: float[], a constant that receives what no operand does.
            *operands: tensors that depend on the input.
        """
        ctx.value, ctx.own, ctx.stable, ctx.name = value, own, shares.stable(value.detach()), name
        return value.detach().clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Distribute the relevance to the operands, and the rest to the constant.

        Raises:
            UnsupportedModelError: torch has no derivative of the function.
        """
        scaled = by_parts(_finite_ratio, relevance, ctx.stable)
        try:
            gradients = torch.autograd.grad(ctx.value, ctx.own, scaled, retain_graph=True, materialize_grads=True)
        except (RuntimeError, NotImplementedError) as error:
            raise UnsupportedModelError(f"{METHOD} cannot use {ctx.name}: torch has no derivative of it.") from error
        relevances = [by_parts(_product, *pair) for pair in zip(map(Tensor.detach, ctx.own), gradients, strict=True)]
        rest = _total(relevance) - sum(map(_total, relevances))
        return None, None, None, None, rest, *relevances


def _finite_ratio(relevance: Tensor, stable: Tensor) -> Tensor:
    """Relevance divided by its sum; 0 where the sum is not finite, as no rule distributes an infinity."""
    return torch.where(stable.isfinite(), relevance / stable, torch.zeros_like(relevance))


def _product(value: Tensor, gradient: Tensor) -> Tensor:
    """Value times gradient, 0 where one of them is 0, even if the other is infinite there, as a masked value is."""
    return torch.where((value == 0) | (gradient == 0), torch.zeros_like(value), value * gradient)


def _total(relevance: Tensor) -> Tensor:
    """Sum of a tensor's relevance, of real and imaginary parts alike: float[]."""
    return torch.view_as_real(relevance).sum() if relevance.is_complex() else relevance.sum()


def linear_map(
    tracking: Tracking, name: str, total: Callable[..., Tensor], *operands: Tensor, role: Role = Role.SIGNAL
) -> Tensor:
    """Value of a function of tracked tensors, recorded as :class:`Linearised`; ``name`` is that of its constant."""
    own = [operand.detach().clone().requires_grad_() for operand in operands]
    with torch.enable_grad():
        value = total(*own)
    return _recorded(tracking, name, value, own, operands, role)


def _recorded(
    tracking: Tracking, name: str, value: Tensor, own: Sequence[Tensor], operands: Sequence[Tensor], role: Role
) -> Tensor:
    rest = tracking.as_leaf(torch.zeros((), dtype=value.detach().abs().dtype, device=value.device), name)
    return tracking.mark(Linearised.apply(tracking.shares, name, value, own, rest, *operands), role)


@rule(ANY_OTHER)
def linearised(tracking: Tracking, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Do an operation that has no rule of its own.

    Raises:
        UnsupportedModelError: the operation gives no tensor, or nothing by which its result depends smoothly on its
            arguments.
    """
    leaves, form = tree_flatten((args, kwargs))
    places = [place for place, leaf in enumerate(leaves) if tracking.is_tracked(leaf)]
    operands = [leaves[place] for place in places]
    own = [operand.detach().clone().requires_grad_() for operand in operands]
    for place, copy in zip(places, own, strict=True):
        leaves[place] = copy
    own_args, own_kwargs = tree_unflatten(leaves, form)
    try:
        with torch.enable_grad():
            results, shape = tree_flatten(func(*own_args, **own_kwargs))
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise refusal(func, f"(torch says: {reason})") from error
    if not any(isinstance(result, Tensor) and result.requires_grad for result in results):
        raise refusal(func, "which has no derivative")
    if any(isinstance(result, Tensor) and result.layout is not torch.strided for result in results):
        raise refusal(func, "which gives a sparse tensor")
    name, role = f"the expansion of {full_name(func)}", role_after(tracking, short_name(func), *operands)
    values = [
        _recorded(tracking, name, result, own, operands, role)
        if isinstance(result, Tensor) and is_numeric(result) and result.requires_grad
        else result
        for result in results
    ]
    return tree_unflatten(values, shape)


def role_after(tracking: Tracking, name: str, *operands: Tensor) -> Role:
    """Role of the result of a function: a scale by its name, or because all its arguments are scales or gates."""
    if name in SCALES:
        return Role.SCALE
    return min(Role.SCALE, tracking.role_of(operands))
