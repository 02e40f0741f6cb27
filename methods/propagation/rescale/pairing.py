"""Torch function mode that runs a user's module on a sequence and its reference at once, recording DeepLIFT's rules.

Inside :class:`Pairing` every tensor computed from the explained input (the actual side) carries a second tensor: the
same tensor computed from the reference (the reference side). Every operation is done on both sides. On the actual side
autograd does not record the operation itself, but a linear operation whose transpose is the operation's DeepLIFT rule.
Therefore ``torch.autograd.grad`` of a score returns multipliers m with Σ m·(x − x⁰) = f(x) − f(x⁰) exactly. The module
itself is not changed: it runs its own ``forward``.

There are five kinds of operations. *Linear* ones are done on both sides, with torch's own gradient. Others have a rule
of their own, in closed form. *Decisions* (comparisons, choices, masks) are step functions (:mod:`.decisions`).
*Metadata* is read from the actual side. Any other operation is integrated along the path from its reference to its
arguments (:mod:`.path`), so that no plain gradient is used silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from ....errors import UnsupportedModelError
from ..operations import (
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
from .linear import LINEAR, without_writing
from .pairs import decide, holder_of, is_number, is_paired, pair, reference_of, standing_in, to_reference, with_holder

Rule = Callable[..., Any]

# Names under which the rules of whole kinds of operations are registered.
ANY_OPERATION: Final = "any operation"
PREDICATE: Final = "a predicate"
ON_DECISIONS: Final = "an operation on decisions"
# Operations whose results are other numbers on every call.
_RANDOM: Final = frozenset({
    "bernoulli", "bernoulli_", "multinomial", "poisson", "normal", "normal_", "gumbel_softmax", "random_", "uniform_",
    "exponential_", "geometric_", "cauchy_", "log_normal_",
})  # fmt: skip
# Operations that hand numbers to something other than torch.
_LEAVING: Final = frozenset(
    {"numpy", "__array__", "__dlpack__", "apply_", "map_", "map2_", "__cuda_array_interface__.get"}
)


_RULES: dict[str, Rule] = {}
_AS_CALLED: set[str] = set()


class NoClosedForm(Exception):  # noqa: N818  # no error: the path rule takes over
    """Raised by a rule that does not cover a call; the operation is then integrated along its path."""


@dataclass(frozen=True)
class Missed:
    """An operation whose path did not reach the tolerance.

    Attributes:
        operation: its name.
        gap: absolute error of its own sum, over all rows together.
        share: the same as a share of the sum of the contributions' absolute values.
        nodes: number of nodes of the path.
    """

    operation: str
    gap: float
    share: float
    nodes: int


def rule(*operations: str, as_called: bool = False) -> Callable[[Rule], Rule]:
    """Decorator that registers a rule for operations, by their names.

    The rule is called as ``rule(pairing, operation, *args, **kwargs)``. Operands and the dimension are made positional,
    unless the rule takes the arguments ``as_called``, of which only ``input`` is.
    """

    def add(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, function))
        _AS_CALLED.update(operations if as_called else ())
        return function

    return add


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

    Attributes:
        missed: operations whose path did not reach the tolerance; they are known after the backward pass.
        numbers: how many numbers the operations of one side made.
        integrated: how many numbers were made at the nodes of paths, in forward and backward passes each.
        dtypes: the precisions that the model computes in.
        stands_in: whether there are stand-ins (:func:`.pairs.standing_in`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.missed: list[Missed] = []
        self.numbers = 0
        self.integrated = 0
        self.dtypes: set[torch.dtype] = set()
        self.stands_in = False

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.stands_in:
            args, kwargs = tree_map(holder_of, (args, kwargs))
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not any(is_paired(tensor) for tensor in tensors):
            self._refuse_leaks(func, tensors)
            return on_constants(func, args, kwargs, tensors)
        name = short_name(func).removeprefix("special_")
        if name in METADATA or takes_only_form(name, args, is_paired):
            return func(*args, **kwargs)
        if torch.is_grad_enabled():
            return self._followed(name, func, args, kwargs, tensors)
        return self._without_gradients(name, func, args, kwargs, tensors)

    def _without_gradients(
        self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> Any:
        """Do an operation whose gradient the model does not want: its value depends on the input all the same."""
        self.stands_in = True
        if writes(name) and not is_paired(args[0]):
            args = (with_holder(args[0]), *args[1:])
        with torch.enable_grad():
            return standing_in(self._followed(name, func, args, kwargs, tensors), args)

    def _followed(
        self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> Any:
        """Do an operation of which an argument depends on the input."""
        _refuse_leaving(name, func)
        if any(is_paired(tensor) and not is_number(tensor) for tensor in tensors):
            return _RULES[ON_DECISIONS](self, func, name, args, kwargs)
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        if name in LINEAR and without_writing(name) not in _RULES:
            return self.on_both(func, *args, **kwargs)
        if writes(name):
            return self._written(without_writing(name), func, args, kwargs)
        kind = PREDICATE if name in PREDICATES else ANY_OPERATION
        return _RULES[kind](self, func, *args, **kwargs)

    def _written(self, base: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """An operation in place: what the operation of the same name returns is written into the first argument."""
        if base in _RULES:
            return self.write(args[0], self._by_rule(base, out_of_place(base), args, kwargs))
        if not hasattr(Tensor, base):
            raise UnsupportedModelError(_no_path(func, "it writes in place in a way that is not known"))
        return self.write(args[0], _RULES[ANY_OPERATION](self, out_of_place(base), *args, **kwargs))

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name not in _AS_CALLED:
            operands, named = positional(args, kwargs)
        else:
            named = {key: value for key, value in kwargs.items() if args or key != "input"}
            operands = args or (kwargs["input"],)
        try:
            return _RULES[name](self, func, *operands, **named)
        except (NoClosedForm, TypeError):  # a call that the closed form does not know
            return _RULES[ANY_OPERATION](self, func, *args, **kwargs)

    def on_both(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        """Do an operation on the actual side and on the reference side, and pair the results."""
        if writes(short_name(func)):
            self._prepare_in_place(args[0])
        other_args, other_kwargs = tree_map(to_reference, (args, kwargs))
        actual = func(*args, **kwargs)
        with torch.no_grad():
            reference = func(*other_args, **other_kwargs)
        return self.paired(func, actual, reference)

    def paired(self, func: Operation, actual: Any, reference: Any) -> Any:
        """Pair the results of an operation, tensors or collections of them, on both sides.

        Raises:
            UnsupportedModelError: the results have different shapes, or are no tensors and differ.
        """
        leaves, _ = tree_flatten(actual)
        others, _ = tree_flatten(reference)
        if len(leaves) != len(others):
            raise UnsupportedModelError(differing_decision(func))
        for own, other in zip(leaves, others, strict=True):
            if not isinstance(own, Tensor):
                continue
            if own.shape != other.shape:
                raise UnsupportedModelError(differing_decision(func))
            if is_number(own):
                self.numbers += own.numel()
                self.dtypes.add(own.dtype)
                pair(own, other)
            elif not torch.equal(own, other):
                decide(own, other, None, full_name(func))
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

    @staticmethod
    def _refuse_leaks(func: Operation, tensors: list[Tensor]) -> None:
        """Refuse a tensor that was computed from the input where the mode did not see it.

        Operations on constants are not recorded inside the mode, so a tensor with a history, but without a reference
        side, is such a tensor.
        """
        if any(tensor.grad_fn is not None and not is_paired(tensor) for tensor in tensors):
            raise UnsupportedModelError(
                f"DeepLIFT lost track of this model before {full_name(func)}: an operation there hides which tensors "
                "it computes from; use occlusion or kernel-shap."
            )


def differing_decision(func: Operation | str) -> str:
    """Error message for a decision whose result differs between the actual and the reference side."""
    name = func if isinstance(func, str) else full_name(func)
    return (
        f"This model makes a decision by {name} that differs between the input and the reference: DeepLIFT "
        "cannot attribute such a difference; use occlusion or kernel-shap, or a reference for which the decision is "
        "the same."
    )


def _no_path(func: Operation, reason: str) -> str:
    """Error message for an operation that cannot be followed."""
    return f"DeepLIFT has no rule for {full_name(func)} in this model, because {reason}: use occlusion or kernel-shap."


def _refuse_leaving(name: str, func: Operation) -> None:
    """Refuse operations that are random, or that hand the input's numbers to something other than torch."""
    if name in _RANDOM:
        raise UnsupportedModelError(_no_path(func, "it draws random numbers"))
    if name in _LEAVING:
        raise UnsupportedModelError(_no_path(func, "it takes the numbers out of torch"))
