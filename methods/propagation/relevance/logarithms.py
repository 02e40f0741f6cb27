"""LRP of recurrences that are computed in logarithms: a sum of logarithms is treated as the product that it stands for.

A scan in logarithms, such as the parallel form of minGRU (Feng et al. 2024, arXiv:2410.01201, appendix B), computes
h = exp(a + logcumsumexp(b − a)), a sum of products of gates and signals. Relevance in proportion to logarithms would
mean nothing. Therefore a logarithm has a *twin*: a tensor through which the relevance of its exponential passes. The
twin of log x is x, that of a sum is the product of the twins, and that of logcumsumexp is their sum. The exponential
of what was scanned in this way hands its relevance to the twin. Only relevance passes through twins, so that their
values, which may overflow, are never computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..operations import ROUTING, positional, short_name, writes
from ..parts import is_numeric
from .products import receivers_of
from .roles import Role
from .tracking import AFTERWARDS, Recorded, Tracking, Twin, rule

if TYPE_CHECKING:
    from ..operations import Operation

_GATES: Final = frozenset({"logsigmoid", "log_sigmoid", "softplus"})
_SUMS: Final = frozenset({"add", "__add__", "__radd__"})
_DIFFERENCES: Final = frozenset({"sub", "subtract", "__sub__", "rsub", "__rsub__"})
_NEGATIONS: Final = frozenset({"neg", "__neg__", "negative"})
_SCANS: Final = frozenset({"logcumsumexp", "logsumexp"})


class _Scanned(Recorded):
    """Sum of exponentials, each of which gets its share of the relevance, by the derivative of the sum's logarithm."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, own: Tensor, carrier: Tensor) -> Tensor:
        """Return the logarithm of the sum, with its autograd graph from a copy of the logarithms of the terms."""
        ctx.value, ctx.own = value, own
        return value.detach().clone()

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[None, None, Tensor]:
        """Hand each term its share."""
        (shares,) = torch.autograd.grad(ctx.value, ctx.own, relevance, retain_graph=True)
        return None, None, shares


@rule(AFTERWARDS)
def _follow(tracking: Tracking, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
    """Give the result of an operation its twin; the exponential of what was scanned passes relevance to the twin."""
    name = short_name(func)
    if name == "exp":
        return _exponential(tracking, args[0] if args else kwargs["input"], result)
    carriers: tuple[Any, ...] = ()
    scanned = False
    if name in ROUTING or name == "where":
        carriers, scanned = _moved(tracking, func, args, kwargs)
    elif isinstance(result, Tensor) and not writes(name):
        twin = _twin(tracking, func, name, positional(args, kwargs))
        carriers, scanned = ((), False) if twin is None else ((twin.carrier,), twin.scanned)
    for own, carrier in zip(tree_flatten(result)[0], carriers, strict=False):
        tracking.pair(own, Twin(carrier, scanned=scanned))
    return result


def _exponential(tracking: Tracking, argument: Tensor, result: Tensor) -> Tensor:
    """Exponential of a logarithm; of one that was scanned, the carrier of relevance is its twin."""
    twin = tracking.twin_of(argument)
    if twin is None or not twin.scanned:
        return result
    return tracking.distribute(
        result.detach().clone(), (twin.carrier, 1.0), role=min(Role.SCALE, tracking.role_of(twin.carrier))
    )


def _moved(
    tracking: Tracking, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], bool]:
    """Carriers of the results of an operation that only moves numbers; none if an argument has no twin."""
    leaves, form = tree_flatten((args, kwargs))
    tracked = [leaf for leaf in leaves if tracking.is_tracked(leaf) and is_numeric(leaf)]
    twins = [tracking.twin_of(leaf) for leaf in tracked]
    if writes(short_name(func)) or not twins or any(twin is None for twin in twins):
        return (), False
    carriers = [leaf if (twin := tracking.twin_of(leaf)) is None else twin.carrier for leaf in leaves]
    own_args, own_kwargs = tree_unflatten(carriers, form)
    with tracking:
        moved = func(*own_args, **own_kwargs)
    return tuple(tree_flatten(moved)[0]), any(twin is not None and twin.scanned for twin in twins)


def _twin(tracking: Tracking, func: Operation, name: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> Twin | None:
    """Twin of the result of an operation; None if it has none."""
    (argument, *rest), kwargs = call
    if name == "log":
        return Twin(argument, scanned=False)
    if name in _GATES:  # log σ(z), or −log σ(−z)
        gate = tracking.distribute(argument.detach().clone(), (argument, 1.0), role=Role.GATE)
        return Twin(gate, scanned=False)
    if name in _SUMS | _DIFFERENCES:
        return None if kwargs else _of_two(tracking, name, argument, rest[0])
    own = tracking.twin_of(argument)
    return None if own is None else _of_one(tracking, func, argument, own, (rest, kwargs))


def _of_one(
    tracking: Tracking, func: Operation, argument: Tensor, own: Twin, rest: tuple[list[Any], dict[str, Any]]
) -> Twin | None:
    """Twin of a function of one logarithm: of its negative, of sums of several, of a sum of exponentials."""
    name = short_name(func)
    if name in _NEGATIONS:
        return Twin(_inverse(tracking, own.carrier), scanned=own.scanned)
    if name == "cumsum":
        counts = torch.ones_like(argument.detach()).cumsum(*rest[0], **rest[1])
        carrier = own.carrier.cumsum(*rest[0], **rest[1]) / counts  # each factor of a product gets an equal share
        return Twin(tracking.mark(carrier, tracking.role_of(own.carrier)), scanned=own.scanned)
    if name not in _SCANS:
        return None
    copy = argument.detach().clone().requires_grad_()
    with torch.enable_grad():
        total = func(copy, *rest[0], **rest[1])
    return Twin(tracking.mark(_Scanned.apply(total, copy, own.carrier)), scanned=True)


def _of_two(tracking: Tracking, name: str, left: Any, right: Any) -> Twin | None:
    """Twin of the sum or difference of two logarithms: the product of theirs; a constant term is a constant factor."""
    if name in {"rsub", "__rsub__"}:
        left, right = right, left
    twins = [tracking.twin_of(part) for part in (left, right)]
    tracked = [tracking.is_tracked(part) for part in (left, right)]
    if any(moves and twin is None for moves, twin in zip(tracked, twins, strict=True)):
        return None
    carriers = [None if twin is None else twin.carrier for twin in twins]
    if name in _DIFFERENCES and carriers[1] is not None:
        carriers[1] = _inverse(tracking, carriers[1])
    factors = [carrier for carrier in carriers if carrier is not None]
    receivers = receivers_of(tracking, factors)
    shape = torch.broadcast_shapes(*[factor.shape for factor in factors])
    value = factors[0].detach().expand(shape).clone()
    role = tracking.role_of(factors)
    carrier = tracking.distribute(value, *[(part, 1 / len(receivers)) for part in receivers], role=role)
    return Twin(carrier, scanned=any(twin is not None and twin.scanned for twin in twins))


def _inverse(tracking: Tracking, carrier: Tensor) -> Tensor:
    """Carrier of a reciprocal, which is a scale at least."""
    role = max(Role.SCALE, tracking.role_of(carrier))
    return tracking.distribute(carrier.detach().clone(), (carrier, 1.0), role=role)
