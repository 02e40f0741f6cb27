"""Agreement of scores that must be equal but for rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

# Accepted difference of a score, as a share of the spread of its output; rounding stays far below.
_TOLERANCE: Final = {torch.float64: 1e-6, torch.float32: 1e-4}
_ROUGH: Final = 1e-2  # scores in half precision
# Rounding of a score, in units of its last place.
_ROUNDINGS: Final = 256


def spread_of(seen: Tensor) -> Tensor:
    """Range float[K] of each output over some scores float[N, K]."""
    return seen.amax(0) - seen.amin(0)


def allowed_differences(seen: Tensor, dtype: torch.dtype, tolerance: float | None = None) -> Tensor:
    """Largest difference float64[K] of two scores that counts as rounding, for each output.

    Args:
        seen: float[N, K], scores of different sequences, which give the spread and the size of each output.
        dtype: the precision in which the scores are computed.
        tolerance: share of the spread; by default 1e-4, and 1e-6 in double precision.
    """
    share = _TOLERANCE.get(dtype, _ROUGH) if tolerance is None else tolerance
    seen = seen.double()
    return share * spread_of(seen) + _ROUNDINGS * torch.finfo(dtype).eps * seen.abs().amax(0)


def rounding_of(left: Tensor, right: Tensor) -> Tensor:
    """Rounding error, of their shape, of the difference of scores."""
    return torch.finfo(left.dtype).eps * _ROUNDINGS * (left.abs() + right.abs())


def agree(left: Tensor, right: Tensor, allowed: Tensor) -> bool:
    """Whether scores float[N, K] are equal but for rounding float64[K]."""
    return left.shape == right.shape and bool(((left.double() - right.double()).abs() <= allowed).all())
