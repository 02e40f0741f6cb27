"""Run a user's module on a sequence and its reference at once, with multipliers in the place of gradients.

Inside :class:`Pairing` every tensor computed from the explained input carries a second one: what the module computes
from the reference. An operation is done on both. What autograd records on the actual side is not the operation but a
linear one whose transpose is the operation's DeepLIFT rule, so that ``torch.autograd.grad`` of a score returns
multipliers m with Σ m·(x − x⁰) = f(x) − f(x⁰) exactly. The module itself is not touched: it runs its own ``forward``.

An operation is *linear* (done on both sides, autograd as it is), a *product* or *nonlinear* (a rule in
:mod:`.rules`), a *predicate* (must come out the same on both sides, or nothing may be computed from it), or *metadata*.
Anything else is an error that names the operation: there is no silent gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from ....errors import UnsupportedModelError
from ..operations import (
    LINEAR,
    METADATA,
    PREDICATES,
    Operation,
    full_name,
    out_of_place,
    positional,
    short_name,
    writes,
)

Rule = Callable[..., Any]

_RULES: dict[str, Rule] = {}
_carriers: list[Tensor] = []


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule for operations of these names, called as ``rule(pairing, operation, *args, **kwargs)``."""

    def add(found: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, found))
        return found

    return add


def reference_of(tensor: Tensor) -> Tensor | None:
    """What the reference has in this tensor's place; None if it does not depend on the explained input."""
    found: Tensor | None = getattr(tensor, "_xrnnbench_reference", None)
    return found


def pair(actual: Tensor, reference: Tensor) -> Tensor:
    """Let a tensor carry its reference, until :func:`remembering` ends."""
    actual._xrnnbench_reference = reference  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    _carriers.append(actual)
    return actual


@contextmanager
def remembering() -> Iterator[None]:
    """Tensors carry references inside; outside none does, for some of them are the user's own buffers."""
    try:
        yield
    finally:
        for tensor in _carriers:
            tensor.__dict__.pop("_xrnnbench_reference", None)
        _carriers.clear()


def is_paired(value: object) -> bool:
    """Whether a value depends on the explained input."""
    return isinstance(value, Tensor) and reference_of(value) is not None


class Carry(torch.autograd.Function):
    """Has the value of one tensor and passes its multiplier on to another of the same shape."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        """The value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[None, Tensor]:
        """All to the carrier."""
        return None, multiplier


class Pairing(TorchFunctionMode):
    """The mode in which operations are done on the actual and the reference side at once."""

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not any(is_paired(tensor) for tensor in tensors):
            self._refuse_leaks(func, tensors)
            return func(*args, **kwargs)
        name = short_name(func)
        if name in METADATA:
            return func(*args, **kwargs)
        if any(is_paired(tensor) and not tensor.is_floating_point() for tensor in tensors):
            raise UnsupportedModelError(_decides(func))
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        if writes(name) and name[:-1] in _RULES:
            return self.write(args[0], self._by_rule(name[:-1], out_of_place(name[:-1]), args, kwargs))
        if name in LINEAR:
            return self.on_both(func, *args, **kwargs)
        if name in PREDICATES:
            return self._predicate(func, *args, **kwargs)
        raise UnsupportedModelError(
            f"DeepLIFT has no rule for the operation {full_name(func)} in this model: use integrated-gradients or "
            "occlusion."
        )

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = positional(args, kwargs)
        try:
            return _RULES[name](self, func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedModelError(
                f"DeepLIFT has no rule for {full_name(func)} as this model calls it ({error}): use "
                "integrated-gradients or occlusion."
            ) from error

    def on_both(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        """Do an operation on the actual side and on the reference side, and pair what comes out."""
        if writes(short_name(func)):
            self._prepare_in_place(args[0])
        other_args, other_kwargs = tree_map(_to_reference, (args, kwargs))
        actual = func(*args, **kwargs)
        with torch.no_grad():
            reference = func(*other_args, **other_kwargs)
        leaves, _ = tree_flatten(actual)
        others, _ = tree_flatten(reference)
        for own, other in zip(leaves, others, strict=True):
            if isinstance(own, Tensor) and (own.is_floating_point() or not torch.equal(own, other)):
                pair(own, other)
        return actual

    def write(self, target: Tensor, found: Tensor) -> Tensor:
        """Put a result with a rule where an operation in place would have put it, on both sides."""
        other = reference_of(found)
        self._prepare_in_place(target)
        kept = reference_of(target)
        with torch.no_grad():
            if kept is not None:
                kept.copy_(found if other is None else other)
        return target.copy_(found)

    @staticmethod
    def _prepare_in_place(target: Tensor) -> None:
        """A constant that is about to be written to becomes a pair of constants."""
        if reference_of(target) is None:
            pair(target, target.detach().clone())

    def _predicate(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        other_args, other_kwargs = tree_map(_to_reference, (args, kwargs))
        with torch.no_grad():
            actual, reference = func(*args, **kwargs), func(*other_args, **other_kwargs)
        same = torch.equal(actual, reference) if isinstance(actual, Tensor) else actual == reference
        if same:
            return actual
        raise UnsupportedModelError(_decides(func))

    @staticmethod
    def _refuse_leaks(func: Operation, tensors: list[Tensor]) -> None:
        """Parameters need no gradient in here: what does, yet has no reference, was computed behind our back."""
        if any(tensor.requires_grad and not is_paired(tensor) for tensor in tensors):
            raise UnsupportedModelError(
                f"DeepLIFT lost track of this model before {full_name(func)}: an operation there hides what it "
                "computes from; use integrated-gradients or occlusion."
            )


def _decides(func: Operation) -> str:
    return (
        f"This model decides by {full_name(func)} on its input, and decides otherwise for the reference: DeepLIFT "
        "cannot share the difference out; use occlusion, or a reference that decides alike."
    )


def _to_reference(value: object) -> object:
    if isinstance(value, Tensor):
        other = reference_of(value)
        return value if other is None else other
    return value
