"""The streams of contextual decomposition, and the two ways in which they are split: by a function and by a product.

A tensor that depends on the explained input is the sum of a *relevant* stream (made by the span that is looked at), an
*irrelevant* one (everything else, and all interactions with it) and a *bias* stream (what the model's constants made
alone). Source: Murdoch, Liu & Yu 2018, section 3.2.
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

# What a linear operation does to every one of these it does without its constants; the bias stream gets them.
LINEAR_STREAMS: Final = ("relevant", "irrelevant", "inside", "outside")
STREAMS: Final = (*LINEAR_STREAMS, "bias")


@dataclass(frozen=True)
class Parts:
    """A tensor in three: relevant + irrelevant + bias.

    Attributes:
        relevant, irrelevant: float[...].
        bias: float[...], or of fewer dimensions where it is the same for all rows; None where it is 0.
    """

    relevant: Tensor
    irrelevant: Tensor
    bias: Tensor | None = None

    @property
    def kept(self) -> Tensor:
        """relevant + bias: what would be there without the irrelevant stream."""
        return self.relevant if self.bias is None else self.relevant + self.bias

    @property
    def total(self) -> Tensor:
        """The sum; in this order, so that it is :attr:`kept` to the last bit where nothing is irrelevant."""
        return self.kept + self.irrelevant


@dataclass(frozen=True)
class Streams:
    """What a tensor that depends on the input carries.

    Attributes:
        relevant, irrelevant, bias: float, the tensor's shape; their sum is the tensor.
        inside, outside: float, the tensor's shape, 0 or positive: how much of the inputs that an element was computed
            from lies inside the span and outside it; both 0 for a constant. Of a recurrent layer's output only the
            inputs of its own step count. They say on which side of a later recurrent layer a step's bias falls.
        weights: whether these are the weights of a softmax, which weigh other streams as they are.
    """

    relevant: Tensor
    irrelevant: Tensor
    bias: Tensor
    inside: Tensor
    outside: Tensor
    weights: bool = False

    @property
    def parts(self) -> Parts:
        """The three that add up."""
        return Parts(self.relevant, self.irrelevant, self.bias)


def constant(tensor: Tensor) -> Streams:
    """The streams of what does not depend on the input: all bias."""
    relevant, irrelevant, inside, outside = (torch.zeros_like(tensor) for _ in LINEAR_STREAMS)
    return Streams(relevant, irrelevant, tensor.detach().clone(), inside, outside)


def split(function: Function, parts: Parts, value: Tensor | None = None) -> Parts:
    """L: what each stream adds to φ, the mean over both orders of the other two with the bias always first.

    Args:
        function: φ, from tensors to tensors of one shape; elementwise or not.
        parts: its argument.
        value: φ of their sum, if it is known.

    Returns:
        ½[φ(a + c) − φ(c) + φ(a + b + c) − φ(b + c)] for a, symmetrically for b, and φ(c); their sum is φ(a + b + c).
        Exactly 0 for a stream that is 0.
    """
    with_relevant = function(parts.kept)
    gain = function(parts.total) if value is None else value
    with_irrelevant, alone = _beside_nothing(function, parts)
    if alone is not None:
        gain = gain - alone
    relevant = (gain + (with_relevant - with_irrelevant)).mul_(0.5)
    return Parts(relevant, gain - relevant, alone)


def _beside_nothing(function: Function, parts: Parts) -> tuple[Tensor, Tensor | None]:
    """φ(b + c) and φ(c)."""
    if parts.bias is None:
        return function(parts.irrelevant), None
    return function(parts.irrelevant + parts.bias), function(parts.bias)


def product(left: Parts, right: Parts, times: Bilinear | None = None) -> Parts:
    """A product of two: relevant where nothing irrelevant is a factor and something relevant is, bias × bias apart.

    Args:
        left: one factor.
        right: the other.
        times: any bilinear form; elementwise multiplication by default.
    """
    kept, other = left.kept, right.kept
    bias = None if left.bias is None else (left.bias, right.relevant)
    relevant = _summed(times, (left.relevant, other), bias)
    irrelevant = _summed(times, (left.irrelevant, other + right.irrelevant), (kept, right.irrelevant))
    if left.bias is None or right.bias is None:
        return Parts(relevant, irrelevant)
    return Parts(relevant, irrelevant, _summed(times, (left.bias, right.bias), None))


def _summed(times: Bilinear | None, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor] | None) -> Tensor:
    """The sum of two products."""
    if times is not None:
        return times(*one) if other is None else times(*one) + times(*other)
    found = torch.mul(*one)
    return found if other is None else torch.addcmul(found, *other)


def plus(left: Parts, right: Parts) -> Parts:
    """The sum of two, stream by stream."""
    relevant, irrelevant = left.relevant + right.relevant, left.irrelevant + right.irrelevant
    if left.bias is None or right.bias is None:
        return Parts(relevant, irrelevant, right.bias if left.bias is None else left.bias)
    return Parts(relevant, irrelevant, left.bias + right.bias)


def mapped(function: Function, parts: Parts) -> Parts:
    """A linear function of each stream."""
    alone = None if parts.bias is None else function(parts.bias)
    return Parts(function(parts.relevant), function(parts.irrelevant), alone)


def complement(parts: Parts) -> Parts:
    """1 − z: the 1 is a constant and goes to the bias."""
    alone = torch.ones_like(parts.relevant) if parts.bias is None else 1 - parts.bias
    return Parts(-parts.relevant, -parts.irrelevant, alone)


def cut(parts: Parts, *shares: int) -> list[Parts]:
    """Along the last dimension, in pieces of these shares."""
    unit = parts.relevant.shape[-1] // sum(shares)
    sizes = [unit * share for share in shares]
    relevant, irrelevant = parts.relevant.split(sizes, -1), parts.irrelevant.split(sizes, -1)
    bias = [None] * len(sizes) if parts.bias is None else parts.bias.split(sizes, -1)
    return [Parts(*three) for three in zip(relevant, irrelevant, bias, strict=True)]


# ---- tensors that carry streams --------------------------------------------------------------------------------------

_carriers: list[tuple[weakref.ref[Tensor], bool]] = []


def attach(tensor: Tensor, streams: Streams) -> Tensor:
    """Let a tensor carry streams, until :func:`remembering` ends.

    It also says that it requires a gradient, though nobody will ask for one: what an operation that cannot be followed
    makes of it then shows where it came from.
    """
    if not hasattr(tensor, "_xrnnbench_streams"):
        _carriers.append((weakref.ref(tensor), tensor.requires_grad))
    tensor._xrnnbench_streams = streams  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    return tensor.requires_grad_()


def streams_of(tensor: Tensor) -> Streams | None:
    """What a tensor carries; None if it does not depend on the input.

    A view that was taken of a constant, which something was then written to, finds its streams in what it views.
    """
    found: Streams | None = getattr(tensor, "_xrnnbench_streams", None)
    base = tensor._base if found is None and tensor._is_view() else None  # noqa: SLF001  # torch's only names for it
    whole: Streams | None = getattr(base, "_xrnnbench_streams", None)
    return found if base is None or whole is None else _viewed(whole, base, tensor)


def prepare(target: Tensor) -> None:
    """A constant that is about to be written to carries streams from here on, and so does what it is a view of."""
    base = target if target._base is None else target._base  # noqa: SLF001  # as above
    if streams_of(target) is None:
        attach(base, constant(base))
    found = streams_of(target)
    if found is not None and not hasattr(target, "_xrnnbench_streams"):
        attach(target, found)


def _viewed(whole: Streams, base: Tensor, view: Tensor) -> Streams:
    def part(stream: Tensor) -> Tensor:
        return stream.as_strided(view.shape, view.stride(), view.storage_offset() - base.storage_offset())

    return Streams(**{name: part(getattr(whole, name)) for name in STREAMS}, weights=whole.weights)


@contextmanager
def remembering() -> Iterator[None]:
    """Tensors carry streams inside; outside none does, for some of them are the user's own buffers."""
    try:
        yield
    finally:
        for reference, required in _carriers:
            tensor = reference()
            if tensor is None:
                continue
            tensor.__dict__.pop("_xrnnbench_streams", None)
            if tensor._base is None and tensor.is_leaf:  # noqa: SLF001  # views are nobody's, results have a history
                tensor.requires_grad_(required)
        _carriers.clear()
