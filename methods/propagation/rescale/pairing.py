"""Torch function mode that runs a user's module on a sequence and its reference at once, recording DeepLIFT's rules.

Inside :class:`Pairing` every tensor computed from the explained input (the actual side) carries a second tensor: the
same tensor computed from the reference (the reference side). Every operation is done on both sides. On the actual side
autograd does not record the operation itself, but a linear operation whose transpose is the operation's DeepLIFT rule.
Therefore ``torch.autograd.grad`` of a score returns multipliers m with Σ m·(x − x⁰) = f(x) − f(x⁰) exactly. The module
itself is not changed: it runs its own ``forward``.

There are five kinds of operations. *Linear* ones are done on both sides, with torch's own gradient. *Products* and
*nonlinear* ones have a rule in :mod:`.rules`. *Predicates* must give the same result on both sides, or nothing may be
computed from them. *Metadata* is read from the actual side. Any other operation is an error that names it, so that no
plain gradient is used silently.
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
    on_constants,
    out_of_place,
    positional,
    short_name,
    takes_only_form,
    writes,
)

Rule = Callable[..., Any]

_RULES: dict[str, Rule] = {}
_carriers: list[Tensor] = []


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Decorator that registers a rule for operations, by their names.

    The rule is called as ``rule(pairing, operation, *args, **kwargs)``.
    """

    def add(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, function))
        return function

    return add


def reference_of(tensor: Tensor) -> Tensor | None:
    """Reference side of a tensor, of its shape; None if the tensor does not depend on the explained input."""
    reference: Tensor | None = getattr(tensor, "_xrnnbench_reference", None)
    return reference


def pair(actual: Tensor, reference: Tensor) -> Tensor:
    """Attach the reference side to a tensor, until :func:`reference_scope` ends."""
    actual._xrnnbench_reference = reference  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    _carriers.append(actual)
    return actual


@contextmanager
def reference_scope() -> Iterator[None]:
    """Context in which tensors carry reference sides; they are removed at its end.

    They must be removed because some of the tensors are the user's own buffers.
    """
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
    """Identity on one tensor, whose multiplier goes to another tensor of the same shape."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, carrier: Tensor) -> Tensor:
        """Return a copy of the value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[None, Tensor]:
        """Pass the whole multiplier to the carrier."""
        return None, multiplier


class Pairing(TorchFunctionMode):
    """Torch function mode in which every operation is done on the actual and on the reference side.

    An operation without a rule raises :class:`UnsupportedModelError`.
    """

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not any(is_paired(tensor) for tensor in tensors):
            self._refuse_leaks(func, tensors)
            return on_constants(func, args, kwargs, tensors)
        name = short_name(func)
        if name in METADATA or takes_only_form(name, args, is_paired):
            return func(*args, **kwargs)
        if any(is_paired(tensor) and not tensor.is_floating_point() for tensor in tensors):
            raise UnsupportedModelError(_differing_decision(func))
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
        """Do an operation on the actual side and on the reference side, and pair the results."""
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

    def write(self, target: Tensor, result: Tensor) -> Tensor:
        """Write the result of a rule into the target of an in-place operation, on both sides."""
        result_reference = reference_of(result)
        self._prepare_in_place(target)
        target_reference = reference_of(target)
        with torch.no_grad():
            if target_reference is not None:
                target_reference.copy_(result if result_reference is None else result_reference)
        return target.copy_(result)

    @staticmethod
    def _prepare_in_place(target: Tensor) -> None:
        """Make a pair of a constant that an in-place operation is about to change."""
        if reference_of(target) is None:
            pair(target, target.detach().clone())

    def _predicate(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        other_args, other_kwargs = tree_map(_to_reference, (args, kwargs))
        with torch.no_grad():
            actual, reference = func(*args, **kwargs), func(*other_args, **other_kwargs)
        same = torch.equal(actual, reference) if isinstance(actual, Tensor) else actual == reference
        if same:
            return actual
        raise UnsupportedModelError(_differing_decision(func))

    @staticmethod
    def _refuse_leaks(func: Operation, tensors: list[Tensor]) -> None:
        """Refuse a tensor that was computed from the input where the mode did not see it.

        Operations on constants are not recorded inside the mode, so a tensor with a history, but without a reference
        side, is such a tensor.
        """
        if any(tensor.grad_fn is not None and not is_paired(tensor) for tensor in tensors):
            raise UnsupportedModelError(
                f"DeepLIFT lost track of this model before {full_name(func)}: an operation there hides which tensors "
                "it computes from; use integrated-gradients or occlusion."
            )


def _differing_decision(func: Operation) -> str:
    """Error message for a predicate whose result differs between the actual and the reference side."""
    return (
        f"This model makes a decision by {full_name(func)} that differs between the input and the reference: DeepLIFT "
        "cannot attribute such a difference; use occlusion, or a reference for which the decision is the same."
    )


def _to_reference(value: object) -> object:
    if isinstance(value, Tensor):
        other = reference_of(value)
        return value if other is None else other
    return value
