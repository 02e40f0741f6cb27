"""DeepLIFT through a division of a vector by its own size: the path rule in closed form.

For y = z/√(‖z‖² + ε) the integral of the Jacobian along z(s) = z_m + s·δ is elementary, where z_m is the point of the
line that is closest to 0, and s runs over an interval of length 1. With r(s) = √(s² + w²) and w² = (‖z_m‖² + ε)/‖δ‖²:

    m_z = { L·m − [(z_m·m)·K₀ + (δ·m)·K₁]·z_m/‖δ‖² − [(z_m·m)·K₁ + (δ·m)·K₂]·δ/‖δ‖² } / ‖δ‖,
    L = ∫ ds/r,   K_k = ∫ s^k ds/r³.

The product of z and 1/‖z‖ has a rule too, but where the reference is 0 and ε is tiny, its terms are as large as 1/√ε
and cancel. Here all terms are of the size of y, but for L, which grows with the logarithm of 1/ε.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .pairing import NoClosedForm, Pairing
from .pairs import pair, sides

if TYPE_CHECKING:
    from collections.abc import Callable

# Below this share of the size, a difference is so small that the derivative at the midpoint is exact to rounding.
_SMALL = 1e-12
_ROUNDINGS = 256


class Unit(torch.autograd.Function):
    """A vector over its own size, y = z·(‖z‖²/n + ε)^−½ over some dimensions."""

    @staticmethod
    def forward(
        ctx: Any, argument: Tensor, value: Tensor, reference: Tensor, dims: tuple[int, ...], offset: float
    ) -> Tensor:
        """Return the value, computed elsewhere; ``offset`` is n·ε, and the value is z over √(‖z‖² + n·ε)."""
        ctx.dims, ctx.offset = dims, offset
        ctx.save_for_backward(argument.clone(), reference)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, None, None, None, None]:
        """The integral of the Jacobian along the path, in closed form."""
        z, z0 = ctx.saved_tensors
        return _integral(z, z0, multiplier, ctx.dims, ctx.offset), None, None, None, None


def _integral(z: Tensor, z0: Tensor, multiplier: Tensor, dims: tuple[int, ...], offset: float) -> Tensor:
    """Multipliers of z from those of z over √(‖z‖² + offset)."""

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dims, keepdim=True)

    delta = z - z0
    square = dot(delta, delta)
    middle = (z + z0) / 2
    size = dot(middle, middle) + offset
    still = square <= _SMALL**2 * size
    square = torch.where(still, torch.ones_like(square), square)
    # the closest point is found from the nearer end
    nearer = dot(z, z) < dot(z0, z0)
    end = torch.where(nearer, z, z0)
    closest = end - delta * (dot(end, delta) / square)
    s0, s1 = dot(z0, delta) / square, dot(z, delta) / square
    w2 = (dot(closest, closest) + offset) / square
    r0, r1 = (s0.square() + w2).sqrt(), (s1.square() + w2).sqrt()
    crossing = (s0 < 0) & (s1 > 0)
    w = w2.sqrt()
    # ∫ds/r and ∫ds/r³, without cancellation where both ends are on the same side of the closest point
    one_sided = (s1 + s0) / (s1 * r0 + s0 * r1)
    length = torch.where(crossing, torch.asinh(s1 / w) - torch.asinh(s0 / w), torch.asinh(one_sided))
    k0 = torch.where(crossing, (s1 * r0 - s0 * r1) / w2, one_sided) / (r0 * r1)
    k1 = (s1 + s0) / ((r0 + r1) * r0 * r1)
    k2 = length - w2 * k0
    of_closest, of_delta = dot(closest, multiplier), dot(delta, multiplier)
    moved = (
        length * multiplier
        - ((of_closest * k0 + of_delta * k1) * closest + (of_closest * k1 + of_delta * k2) * delta) / square
    )
    derivative = (multiplier - dot(middle, multiplier) / size * middle) / size.sqrt()
    return torch.where(still, derivative, moved / square.sqrt())


def unit_vector(
    pairing: Pairing,
    argument: Tensor,
    dims: tuple[int, ...],
    offset: float,
    function: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Pair of z/√(‖z‖² + offset), or of an operation that is this but for vectors as small as √offset.

    Args:
        pairing: the mode.
        argument: the vectors z.
        dims: the dimensions of a vector.
        offset: 0 or more.
        function: the operation; by default the formula itself.

    Raises:
        NoClosedForm: the operation differs from the formula here, or the numbers are complex.
    """
    if argument.is_complex():
        raise NoClosedForm
    z, z0 = sides(argument)
    smooth = [side / (side.square().sum(dims, keepdim=True) + offset).sqrt() for side in (z, z0)]
    value, value0 = smooth if function is None else map(function, (z, z0))
    rounding = _ROUNDINGS * torch.finfo(z.dtype).eps
    if not all(torch.allclose(*both, rtol=rounding, atol=0.0) for both in zip(smooth, (value, value0), strict=True)):
        raise NoClosedForm
    pairing.numbers += z.numel()
    return pair(Unit.apply(argument, value, z0, dims, offset), value0)
