"""Streams of contextual decomposition, and their propagation through a function and through a product.

A tensor that depends on the explained input is the sum of three streams. The *relevant* stream is due to the span. The
*irrelevant* stream is due to the other steps and to all interactions with them. The *bias* stream is due to the model's
constants alone. Source: Murdoch, Liu & Yu 2018, section 3.2.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]
Bilinear = Callable[[Tensor, Tensor], Tensor]

# A linear operation acts on these streams without its constants; the bias stream gets the constants.
LINEAR_STREAMS: Final = ("relevant", "irrelevant", "inside", "outside")
STREAMS: Final = (*LINEAR_STREAMS, "bias")


@dataclass(frozen=True)
class Parts:
    """Tensor in three parts: relevant + irrelevant + bias.

    Attributes:
        relevant, irrelevant: float[...].
        bias: float[...], or of fewer dimensions where it is the same for all rows; None where it is 0.
    """

    relevant: Tensor
    irrelevant: Tensor
    bias: Tensor | None = None

    @property
    def without_irrelevant(self) -> Tensor:
        """Sum of relevant and bias: the tensor without its irrelevant stream."""
        return self.relevant if self.bias is None else self.relevant + self.bias

    @property
    def total(self) -> Tensor:
        """Sum of the parts, in an order that makes it :attr:`without_irrelevant` to the bit where irrelevant is 0."""
        return self.without_irrelevant + self.irrelevant


@dataclass(frozen=True)
class Streams:
    """Streams attached to a tensor that depends on the input.

    Attributes:
        relevant, irrelevant, bias: float (or complex), of the tensor's shape; their sum is the tensor.
        inside, outside: float, of the tensor's shape, not negative: how much of the inputs from which an element was
            computed lies inside the span and outside it; both 0 for a constant. For the output of a recurrent layer,
            only the inputs of its own step count. They decide to which side a later recurrent layer assigns the bias of
            a step.
        weights: whether the tensor holds the weights of a softmax, or statistics; both multiply other streams
            undecomposed.
        statistic: whether the tensor holds variances or norms, or is computed from such tensors alone.
    """

    relevant: Tensor
    irrelevant: Tensor
    bias: Tensor
    inside: Tensor
    outside: Tensor
    weights: bool = False
    statistic: bool = False

    @property
    def parts(self) -> Parts:
        """Relevant, irrelevant and bias, which sum to the tensor."""
        return Parts(self.relevant, self.irrelevant, self.bias)


def constant_streams(tensor: Tensor) -> Streams:
    """Streams of a tensor that does not depend on the input: all bias."""
    relevant, irrelevant = torch.zeros_like(tensor), torch.zeros_like(tensor)
    inside, outside = (torch.zeros_like(tensor.real if tensor.is_complex() else tensor) for _ in range(2))
    return Streams(relevant, irrelevant, tensor.detach().clone(), inside, outside)


def split(function: Function, parts: Parts, value: Tensor | None = None) -> Parts:
    """Split L of φ into the contributions of the streams: mean over both orders of adding a and b, the bias c first.

    a is the relevant stream, b the irrelevant one.

    Args:
        function: φ, from tensors to tensors of one shape; elementwise or not.
        parts: the argument of φ.
        value: φ of their sum, if it is known.

    Returns:
        ½[φ(a + c) − φ(c) + φ(a + b + c) − φ(b + c)] for a, symmetrically for b, and φ(c) for the bias; their sum is
        φ(a + b + c). The contribution of a stream that is 0 is exactly 0.
    """
    with_relevant = function(parts.without_irrelevant)
    gain = function(parts.total) if value is None else value
    with_irrelevant, bias = _without_relevant(function, parts)
    if bias is not None:
        gain = gain - bias
    relevant = (gain + (with_relevant - with_irrelevant)).mul_(0.5)
    return Parts(relevant, gain - relevant, bias)


def _without_relevant(function: Function, parts: Parts) -> tuple[Tensor, Tensor | None]:
    """Values φ(b + c) and φ(c), without the relevant stream; the second is None if there is no bias c."""
    if parts.bias is None:
        return function(parts.irrelevant), None
    return function(parts.irrelevant + parts.bias), function(parts.bias)


def product(left: Parts, right: Parts, times: Bilinear | None = None) -> Parts:
    """Product of two factors: terms with an irrelevant factor are irrelevant, bias × bias is bias, others relevant.

    Args:
        left: one factor.
        right: the other factor.
        times: any bilinear form; elementwise multiplication by default.
    """
    one, other = left.without_irrelevant, right.without_irrelevant
    bias = None if left.bias is None else (left.bias, right.relevant)
    relevant = _sum_of_products(times, (left.relevant, other), bias)
    irrelevant = _sum_of_products(times, (left.irrelevant, other + right.irrelevant), (one, right.irrelevant))
    if left.bias is None or right.bias is None:
        return Parts(relevant, irrelevant)
    return Parts(relevant, irrelevant, _sum_of_products(times, (left.bias, right.bias), None))


def _sum_of_products(times: Bilinear | None, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor] | None) -> Tensor:
    """Sum of two products, or one product if the other is None."""
    if times is not None:
        return times(*one) if other is None else times(*one) + times(*other)
    total = torch.mul(*one)
    return total if other is None else torch.addcmul(total, *other)


def add(left: Parts, right: Parts) -> Parts:
    """Sum of two tensors, stream by stream."""
    relevant, irrelevant = left.relevant + right.relevant, left.irrelevant + right.irrelevant
    if left.bias is None or right.bias is None:
        return Parts(relevant, irrelevant, right.bias if left.bias is None else left.bias)
    return Parts(relevant, irrelevant, left.bias + right.bias)


def map_linear(function: Function, parts: Parts) -> Parts:
    """Linear function without constants, applied to each stream."""
    bias = None if parts.bias is None else function(parts.bias)
    return Parts(function(parts.relevant), function(parts.irrelevant), bias)


def complement(parts: Parts) -> Parts:
    """Complement 1 − z; the 1 is a constant and goes to the bias."""
    bias = torch.ones_like(parts.relevant) if parts.bias is None else 1 - parts.bias
    return Parts(-parts.relevant, -parts.irrelevant, bias)


def chunk(parts: Parts, *shares: int) -> list[Parts]:
    """Chunks along the last dimension, with sizes in proportion to the shares."""
    unit = parts.relevant.shape[-1] // sum(shares)
    sizes = [unit * share for share in shares]
    relevant, irrelevant = parts.relevant.split(sizes, -1), parts.irrelevant.split(sizes, -1)
    bias = [None] * len(sizes) if parts.bias is None else parts.bias.split(sizes, -1)
    return [Parts(*three) for three in zip(relevant, irrelevant, bias, strict=True)]


# ---- tensors that carry streams --------------------------------------------------------------------------------------

_carriers: list[tuple[weakref.ref[Tensor], bool]] = []


def attach(tensor: Tensor, streams: Streams) -> Tensor:
    """Attach streams to a tensor, until :func:`stream_scope` ends.

    The tensor is also made to require a gradient, although none is computed: the result of an operation that the mode
    cannot see then has an autograd history, by which it is recognised.
    """
    if not hasattr(tensor, "_xrnnbench_streams"):
        _carriers.append((weakref.ref(tensor), tensor.requires_grad))
    tensor._xrnnbench_streams = streams  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    return tensor.requires_grad_()


def streams_of(tensor: Tensor) -> Streams | None:
    """Streams attached to a tensor; None if it does not depend on the input.

    A view of a constant that was written to afterwards gets its streams from those of its base.
    """
    streams: Streams | None = getattr(tensor, "_xrnnbench_streams", None)
    base = tensor._base if streams is None and tensor._is_view() else None  # noqa: SLF001  # torch's only names for it
    whole: Streams | None = getattr(base, "_xrnnbench_streams", None)
    return streams if base is None or whole is None else _streams_of_view(whole, base, tensor)


def ensure_streams(target: Tensor) -> None:
    """Attach streams to a constant that is about to be written to, and to its base if it is a view."""
    base = target if target._base is None else target._base  # noqa: SLF001  # as above
    if streams_of(target) is None:
        attach(base, constant_streams(base))
    streams = streams_of(target)
    if streams is not None and not hasattr(target, "_xrnnbench_streams"):
        attach(target, streams)


def _streams_of_view(whole: Streams, base: Tensor, view: Tensor) -> Streams:
    """Streams of a view, as views of the streams of its base."""

    def part(stream: Tensor) -> Tensor:
        return stream.as_strided(view.shape, view.stride(), view.storage_offset() - base.storage_offset())

    return Streams(
        **{name: part(getattr(whole, name)) for name in STREAMS}, weights=whole.weights, statistic=whole.statistic
    )


@contextmanager
def stream_scope() -> Iterator[None]:
    """Context in which tensors carry streams; they are removed at its end.

    They must be removed because some of the tensors are the user's own buffers.
    """
    try:
        yield
    finally:
        for carrier, required in _carriers:
            tensor = carrier()
            if tensor is None:
                continue
            tensor.__dict__.pop("_xrnnbench_streams", None)
            if tensor._base is None and tensor.is_leaf:  # noqa: SLF001  # no user holds a view, and results have a history
                tensor.requires_grad_(required)
        _carriers.clear()
