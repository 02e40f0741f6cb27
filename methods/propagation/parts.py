"""Complex tensors as pairs of real ones: the relevance of z = a + ib is R_a + iR_b.

A complex linear map is a real linear map of the real and imaginary parts, and torch's gradient of a complex tensor is
∂/∂a + i∂/∂b. Hence a vector–Jacobian product maps the scaled relevance of both parts, as for real tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def is_numeric(tensor: Tensor) -> bool:
    """Whether a tensor is real or complex floating point, so that it may have relevance."""
    return tensor.is_floating_point() or tensor.is_complex()


def is_complex(value: object) -> bool:
    """Whether a value is a complex tensor or a complex number."""
    return value.is_complex() if isinstance(value, torch.Tensor) else isinstance(value, complex)


def by_parts(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Elementwise real function of tensors; of complex ones, of their real and of their imaginary parts."""
    if not any(tensor.is_complex() for tensor in tensors):
        return function(*tensors)
    pairs = [torch.view_as_real(tensor.resolve_conj()) for tensor in tensors]
    return torch.view_as_complex(function(*pairs).contiguous())
