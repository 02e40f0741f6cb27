"""DeepLIFT's rule for any differentiable operation: its own gradient, integrated along the path between its two sides.

For y = g(z₁, z₂, …) the multipliers are m = ∫₀¹ J(z⁰ + t·δz)ᵀ m_y dt, where J is the operation's Jacobian: with them
Σ m·δz = Σ m_y·δy. They are the integrated gradients of this one operation, equal the rule of products on products, and
are the same with x and x⁰ exchanged. Only this operation is evaluated at the nodes of the path, by its vector–Jacobian
product.

The nodes of a Gauss–Legendre quadrature are doubled until the sum holds to the tolerance and the multipliers no longer
change. Where 64 nodes do not suffice, the integrand changes quickly, most often at an end (a reference of zeros): then
the nodes of the tanh–sinh quadrature are used, which crowd towards both ends. What is missed after that is kept, and
said.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from ....errors import UnsupportedModelError
from ..operations import Operation, full_name
from .pairing import ANY_OPERATION, Missed, Pairing, differing_decision, rule
from .pairs import decide, is_number, is_paired, pair, sides

# Accepted error of the operation's own sum, and accepted change of the multipliers between two quadratures (its square
# root, because doubling the nodes squares the error), as shares of the sum of the contributions' absolute values.
_SUM: Final = {torch.float64: 1e-12, torch.float32: 1e-5}
_CHANGE: Final = {torch.float64: 1e-6, torch.float32: 3e-3}
_ROUGH: Final = 3e-2  # half precision
_ROUNDINGS: Final = 32
_GAUSS: Final = (1, 2, 4, 8, 16, 32, 64)
_TANH_SINH: Final = (0.25, 0.125, 0.0625, 0.03125)

# A node: its distance from the reference and from the actual side, as shares of the path, and its weight.
Node = tuple[float, float, float]


@cache
def _gauss(count: int) -> tuple[Node, ...]:
    """Nodes of the Gauss–Legendre quadrature on [0, 1]."""
    roots, weights = np.polynomial.legendre.leggauss(count)
    return tuple(((1 + root) / 2, (1 - root) / 2, weight / 2) for root, weight in zip(roots, weights, strict=True))


@cache
def _tanh_sinh(step: float) -> tuple[Node, ...]:
    """Nodes of the tanh–sinh quadrature on [0, 1].

    Source: Takahasi & Mori 1974. The distance from the nearer end is computed without cancellation.
    """
    nodes = []
    last = round(3.6 / step)
    for k in range(-last, last + 1):
        s = math.pi / 2 * math.sinh(k * step)
        near, weight = 1 / (1 + math.exp(2 * abs(s))), step * math.pi / 4 * math.cosh(k * step) / math.cosh(s) ** 2
        nodes.append((near, 1 - near, weight) if k <= 0 else (1 - near, near, weight))
    total = sum(weight for _, _, weight in nodes)
    return tuple((start, end, weight / total) for start, end, weight in nodes)


def _quadratures() -> Iterator[tuple[Node, ...]]:
    """Quadratures of more and more nodes."""
    yield from map(_gauss, _GAUSS)
    yield from map(_tanh_sinh, _TANH_SINH)


@dataclass
class _Segment:
    """One call of an operation, from its reference to its actual arguments.

    Attributes:
        call: the operation as a function of the arguments that depend on the input; returns its numbers.
        name: its qualified name.
        actual, reference: these arguments on both sides.
        pairing: where what is missed, and how many numbers are made, is kept.
        own: leaves of the operation's results on the actual side.
        spec: structure of the results.
    """

    call: Callable[..., list[Tensor]]
    name: str
    actual: list[Tensor]
    reference: list[Tensor]
    pairing: Pairing
    heights: list[Tensor] = field(default_factory=list)

    def at(self, node: Node) -> list[Tensor]:
        """Arguments at a node, from the nearer side, so that no small distance is rounded away."""
        start, end, _ = node
        points = []
        for z, z0 in zip(self.actual, self.reference, strict=True):
            delta = (z - z0).masked_fill(z == z0, 0)  # also where both are infinite
            points.append((torch.where(z == z0, z, z0 + start * delta) if start <= end else z - end * delta).detach())
        return points

    def gradients(self, node: Node, multipliers: tuple[Tensor, ...]) -> list[Tensor]:
        """Vector–Jacobian product at a node."""
        with torch.enable_grad():
            points = [point.requires_grad_() for point in self.at(node)]
            values = self.call(*points)
            kept = [(value, m) for value, m in zip(values, multipliers, strict=True) if value.requires_grad]
            found = self.differentiated([value for value, _ in kept], points, [m for _, m in kept])
        self.pairing.integrated += sum(value.numel() for value in values)
        return [torch.zeros_like(point) if each is None else each for each, point in zip(found, points, strict=True)]

    def differentiated(self, values: list[Tensor], points: list[Tensor], multipliers: list[Tensor]) -> Any:
        """Vector–Jacobian product of torch.

        Raises:
            UnsupportedModelError: torch has none for this operation.
        """
        try:
            return torch.autograd.grad(values, points, multipliers, allow_unused=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UnsupportedModelError(
                f"DeepLIFT cannot differentiate {self.name} in this model ({reason}): use occlusion or kernel-shap."
            ) from error

    def integrated(self, nodes: tuple[Node, ...], multipliers: tuple[Tensor, ...]) -> list[Tensor]:
        """Multipliers by one quadrature; 0 where a number is the same on both sides and has no derivative."""
        totals = [torch.zeros_like(z) for z in self.actual]
        for node in nodes:
            for total, gradient in zip(totals, self.gradients(node, multipliers), strict=True):
                total.add_(gradient, alpha=node[2])
        same = [z == z0 for z, z0 in zip(self.actual, self.reference, strict=True)]
        return [total.masked_fill(total.isnan() & equal, 0) for total, equal in zip(totals, same, strict=True)]

    def contributions(self, multipliers: list[Tensor]) -> Tensor:
        """Contributions of all numbers of the arguments, one after the other."""
        return torch.cat([
            _real_product(m, z - z0).masked_fill(z == z0, 0).flatten()
            for m, z, z0 in zip(multipliers, self.actual, self.reference, strict=True)
        ])  # fmt: skip

    def multipliers(self, received: tuple[Tensor, ...]) -> list[Tensor]:
        """Multipliers of the arguments from those of the values, by as many nodes as they need."""
        heights = torch.cat([_real_product(m, h).flatten() for m, h in zip(received, self.heights, strict=True)])
        wanted, rounding = heights.sum(), self._rounding(received)
        precision = heights.dtype
        best, least, before = [torch.zeros_like(z) for z in self.actual], math.inf, None
        used = 0
        for nodes in _quadratures():
            found = self.integrated(nodes, received)
            shares = self.contributions(found)
            used = len(nodes)
            size = shares.abs().sum()
            gap = float((shares.sum() - wanted).abs())
            changed = math.inf if before is None else float((shares - before).abs().sum())
            if gap <= least or not math.isfinite(least):
                best, least = found, gap
            exact = gap <= _SUM.get(precision, _ROUGH) * float(size) + rounding
            if exact and changed <= _CHANGE.get(precision, _ROUGH) * float(size) + rounding:
                return found
            before = shares
        size = self.contributions(best).abs().sum()
        share = least / max(float(size), torch.finfo(precision).tiny)
        self.pairing.missed.append(Missed(self.name, least, share if math.isfinite(share) else math.inf, used))
        return best

    def _rounding(self, received: tuple[Tensor, ...]) -> float:
        """Rounding error of the sum, in absolute size."""
        scale = sum(
            float((m.abs() * size).nan_to_num(0, 0, 0).sum()) for m, size in zip(received, self.sizes, strict=True)
        )
        return _ROUNDINGS * torch.finfo(received[0].dtype).eps * scale

    sizes: list[Tensor] = field(default_factory=list)


def _real_product(multiplier: Tensor, difference: Tensor) -> Tensor:
    """Contributions m·δ; of complex numbers, the real part of m̄·δ."""
    if not (multiplier.is_complex() or difference.is_complex()):
        return multiplier * difference
    return (multiplier.conj() * difference).real


class Integrated(torch.autograd.Function):
    """An operation whose backward pass integrates its gradient along the path."""

    @staticmethod
    def forward(ctx: Any, segment: _Segment, values: list[Tensor], *arguments: Tensor) -> tuple[Tensor, ...]:
        """Return the values, computed elsewhere."""
        ctx.segment = segment
        return tuple(value.clone() for value in values)

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor) -> tuple[Tensor | None, ...]:
        """Multipliers of the arguments."""
        return None, None, *ctx.segment.multipliers(multipliers)


@rule(ANY_OPERATION)
def integrated(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Do an operation on both sides; its multipliers are integrated along the path.

    Raises:
        UnsupportedModelError: it has no derivative, and differs between the two sides.
    """
    leaves, spec = tree_flatten((args, kwargs))
    places = [index for index, leaf in enumerate(leaves) if is_paired(leaf)]

    def results(*points: Tensor) -> tuple[list[Any], TreeSpec]:
        given = list(leaves)
        for index, point in zip(places, points, strict=True):
            given[index] = point
        called, named = tree_unflatten(given, spec)
        return tree_flatten(func(*called, **named))

    def numbers(*points: Tensor) -> list[Tensor]:
        return [leaf for leaf in results(*points)[0] if isinstance(leaf, Tensor) and is_number(leaf)]

    both = [sides(leaves[index]) for index in places]
    actual, reference = [own.clone() for own, _ in both], [other.clone() for _, other in both]
    with torch.enable_grad():
        own, structure = results(*[each.clone().requires_grad_() for each in actual])
    with torch.no_grad():
        other, _ = results(*reference)
    if len(own) != len(other) or any(
        isinstance(a, Tensor) and a.shape != b.shape for a, b in zip(own, other, strict=True)
    ):
        raise UnsupportedModelError(differing_decision(func))
    _refuse_without_derivative(func, own, other)
    found = [leaf for leaf in own if isinstance(leaf, Tensor) and is_number(leaf)]
    others = [leaf for leaf in other if isinstance(leaf, Tensor) and is_number(leaf)]
    values = [leaf.detach() for leaf in found]
    segment = _Segment(numbers, full_name(func), actual, reference, pairing)
    segment.heights = [(a - b).masked_fill(a == b, 0) for a, b in zip(values, others, strict=True)]
    segment.sizes = [a.abs() + b.abs() for a, b in zip(values, others, strict=True)]
    paired = iter(Integrated.apply(segment, values, *[leaves[index] for index in places]) if values else ())
    pairing.numbers += sum(value.numel() for value in values)
    rest = iter(others)
    made = []
    for leaf, counterpart in zip(own, other, strict=True):
        if isinstance(leaf, Tensor) and is_number(leaf):
            made.append(pair(next(paired), next(rest)))
        elif isinstance(leaf, Tensor):
            made.append(decide(leaf, counterpart, None, full_name(func)))
        else:
            made.append(leaf)
    return tree_unflatten(made, structure)


def _refuse_without_derivative(func: Operation, own: list[Any], other: list[Any]) -> None:
    """Refuse results that differ and of which none can be differentiated.

    Raises:
        UnsupportedModelError: naming the operation.
    """
    pairs = list(zip(own, other, strict=True))
    numbers = [(a, b) for a, b in pairs if isinstance(a, Tensor) and is_number(a)]
    if not any(a.requires_grad for a, _ in numbers) and not all(torch.equal(a, b) for a, b in numbers):
        raise UnsupportedModelError(
            f"DeepLIFT has no rule for {full_name(func)} in this model, because it has no derivative: use occlusion or "
            "kernel-shap."
        )
    if any(a != b for a, b in pairs if not isinstance(a, Tensor)):
        raise UnsupportedModelError(differing_decision(func))
