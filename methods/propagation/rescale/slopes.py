"""Secant slopes of elementwise functions: (φ(z) − φ(z⁰)) / (z − z⁰), numerically stable however close the points are.

All functions take and return tensors of one shape and floating dtype. The closed forms need no threshold: tanh(d)/d has
no cancellation, and only at d = 0 its limit is needed. Source: the Rescale rule of Shrikumar et al. 2017, equation 6;
the closed forms follow from the addition theorems.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


def tanh_over(delta: Tensor) -> Tensor:
    """Quotient tanh(d) / d, which is 1 at d = 0."""
    return torch.tanh(delta).div_(delta).nan_to_num_(nan=1.0)


def expm1_over(delta: Tensor) -> Tensor:
    """Quotient (exp(d) − 1) / d, which is 1 at d = 0."""
    return torch.expm1(delta).div_(delta).nan_to_num_(nan=1.0)


def tanh_slope(z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of tanh, from the points z and z0 and the values y = tanh z and y0 = tanh z0."""
    return tanh_over(z - z0).mul_(1 - y * y0)


def sigmoid_slope(z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of the logistic function, from both points and both values."""
    return tanh_over((z - z0) / 2).mul_(y + y0 - 2 * y * y0) / 2


def exp_slope(z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of exp, from both points and both values; 0 where both values are exp(−∞) = 0, as of a masked step.

    It is computed from the larger value down, so that neither factor can overflow.
    """
    difference = z - z0
    delta = -difference.abs()
    slope = (torch.maximum(y, y0) * expm1_over(delta.nan_to_num(nan=0.0))).nan_to_num_(nan=0.0)
    infinite = difference.isinf()
    if infinite.any():  # one side is masked: the multiplier is that of a difference of ±1 (see Chosen)
        slope = torch.where(infinite, (y - y0) * difference.sign(), slope)
    return slope


def secant(function: Function, z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of a smooth function; where the points are too close, the derivative at their midpoint.

    The relative threshold ε^⅓ balances the rounding error of the quotient against the curvature that the midpoint rule
    neglects. In both cases slope · (z − z0) is φ(z) − φ(z0) to rounding.
    """
    near = (z - z0).abs() <= torch.finfo(z.dtype).eps ** (1 / 3) * (1 + z.abs())
    return _quotient_or_derivative(function, near, (z, z0, y, y0))


def singular_secant(function: Function, z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of a function that is smooth but for the point 0, such as √z, near which it bends at all scales.

    Points count as close only relative to their own size. Where the derivative is infinite (z = z0 = 0), the slope is
    0.
    """
    near = (z - z0).abs() <= torch.finfo(z.dtype).eps ** (1 / 3) * z.abs()
    return _quotient_or_derivative(function, near, (z, z0, y, y0)).nan_to_num(nan=torch.nan, posinf=0.0, neginf=0.0)


def _quotient_or_derivative(function: Function, near: Tensor, points: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Quotient of the differences of values and points; where they are near, the derivative at their midpoint."""
    z, z0, y, y0 = points
    delta = z - z0
    quotient = (y - y0) / torch.where(near, torch.ones_like(delta), delta)
    if not near.any():
        return quotient
    with torch.enable_grad():
        middle = ((z + z0) / 2).detach().requires_grad_()
        value = function(middle).sum()
        # of an analytic function, the gradient of the real part is the conjugate of the derivative
        (derivative,) = torch.autograd.grad(value.real if value.is_complex() else value, middle)
    return torch.where(near, derivative.conj().resolve_conj(), quotient)


def jump(function: Function, z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of a step function, which is 0 where both values are equal."""
    return (y - y0) / torch.where(y == y0, torch.ones_like(z), z - z0)


def chord(function: Function, z: Tensor, z0: Tensor, y: Tensor, y0: Tensor) -> Tensor:
    """Secant slope of a piecewise linear function: the quotient where the points differ, its derivative elsewhere.

    Between two points on different sides of a kink no derivative equals the slope, however close they are.
    """
    delta = z - z0
    with torch.enable_grad():
        point = z.detach().clone().requires_grad_()
        (derivative,) = torch.autograd.grad(function(point).sum(), point)
    return torch.where(delta == 0, derivative, (y - y0) / torch.where(delta == 0, torch.ones_like(delta), delta))
