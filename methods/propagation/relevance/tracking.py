"""Torch function mode that runs a user's module and makes autograd propagate relevance instead of gradients.

Inside :class:`Tracking` the module runs its own ``forward`` and computes its usual values. For every operation autograd
records the operation's relevance rule. The "gradient" that ``torch.autograd.grad`` of the score passes from operation
to operation is then relevance itself. Operations that only move numbers need no rule, since autograd moves relevance as
it moves gradients. Decisions (comparisons, indices) are constants. Any other operation is expanded to first order
(:mod:`.linearised`), and one that cannot be is an error that names it: no plain gradient is used silently.

Every tensor that depends on the input has a :class:`~.roles.Role`, which decides what it receives in a product.

A constant in a sum with a tensor that depends on the input (an initial state, a column joined to the input) receives
its share of the relevance. :attr:`Tracking.constants` keeps such constants, so that their share can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from ....errors import UnsupportedModelError
from ..operations import (
    METADATA,
    PREDICATES,
    ROUTING,
    Operation,
    full_name,
    on_constants,
    out_of_place,
    positional,
    short_name,
    takes_only_form,
    writes,
)
from ..parts import is_numeric
from .roles import Role

if TYPE_CHECKING:
    from .shares import Shares

Rule = Callable[..., Any]

METHOD: Final = "LRP"
ANY_OTHER: Final = "any other operation"
AFTERWARDS: Final = "after an operation"
LOGARITHMS: Final = frozenset({"log", "logsigmoid", "log_sigmoid", "softplus"})

_RULES: dict[str, Rule] = {}
# Values computed from a number read out of torch could not be distinguished from constants.
_NUMBERS = frozenset({"item", "tolist", "__float__"})
_OUT_OF_PLACE = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__ipow__": "pow"}
# Operations that move numbers of several tensors into one.
_COMPLEX_ROUTING = frozenset({
    "view_as_real", "view_as_complex", "complex", "real.get", "imag.get", "imag", "cfloat", "cdouble", "resolve_conj",
})  # fmt: skip
_JOINING = frozenset({
    "complex",
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "where", "scatter", "index_copy", "copy_",
    "__setitem__", "scatter_", "index_copy_",
})  # fmt: skip


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Decorator that registers a rule for operations, by their names.

    The rule is called as ``rule(tracking, operation, *args, **kwargs)``.
    """

    def add(function: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, function))
        return function

    return add


class Recorded(torch.autograd.Function):
    """Autograd function whose backward pass is a relevance rule; base of all autograd functions of this package."""


class Distributed(Recorded):
    """Value computed elsewhere, whose relevance is distributed to its carriers by fixed shares."""

    @staticmethod
    def forward(ctx: Any, value_and_shares: tuple[Tensor, tuple[Tensor | float, ...]], *carriers: Tensor) -> Tensor:
        """Return the value, a float tensor of the carriers' common shape; shares are of that shape too, or numbers."""
        value, ctx.shares = value_and_shares
        return value

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Distribute the relevance to the carriers by their shares."""
        return None, *(relevance * share for share in ctx.shares)


@dataclass(frozen=True)
class Twin:
    """Tensor through which the relevance of the exponential of another tensor, a logarithm, passes.

    Attributes:
        carrier: tracked tensor of the logarithm's shape, whose values mean nothing.
        scanned: whether the logarithm is one of a sum of exponentials.
    """

    carrier: Tensor
    scanned: bool


class Tracking(TorchFunctionMode):
    """Torch function mode in which autograd records relevance rules.

    Attributes:
        shares: parameters of the rules.
        constants: constants that may receive relevance, each with the name of the operation or layer in which it takes
            part; the "gradients" of the score with respect to them are their relevance.
    """

    def __init__(self, shares: Shares) -> None:
        super().__init__()
        self.shares = shares
        self.constants: list[tuple[str, Tensor]] = []
        # by id; the tensors are kept alive so that no id is reused, and no attribute is set on a user's tensor
        self._marks: dict[int, tuple[Tensor, Role]] = {}
        self._twins: dict[int, tuple[Tensor, Twin]] = {}
        self._aliases: dict[int, tuple[Tensor, Tensor]] = {}

    # ---- marks of tensors ---------------------------------------------------------------------------------------

    def mark(self, tensor: Tensor, role: Role = Role.SIGNAL) -> Tensor:
        """Mark a tensor as one that depends on the explained input, with its role in products.

        Raises:
            UnsupportedModelError: autograd did not record how the tensor was computed.
        """
        if not tensor.requires_grad:
            raise UnsupportedModelError(f"{METHOD} cannot follow a model under torch.inference_mode.")
        self._marks[id(tensor)] = (tensor, role)
        return tensor

    def is_tracked(self, value: object) -> bool:
        """Whether a value depends on the explained input."""
        return isinstance(value, Tensor) and self._mark_of(value) is not None

    def role_of(self, *values: Any) -> Role:
        """Lowest role of the arguments that depend on the input."""
        marks = [self._mark_of(leaf) for leaf in tree_flatten(values)[0] if isinstance(leaf, Tensor)]
        return min((mark[1] for mark in marks if mark is not None), default=Role.GATE)

    def pair(self, logarithm: Tensor, twin: Twin) -> None:
        """Give a logarithm its twin."""
        self._twins[id(logarithm)] = logarithm, twin

    def twin_of(self, value: object) -> Twin | None:
        """Twin of a logarithm; None of any other value."""
        return self._twins[id(value)][1] if id(value) in self._twins else None

    def as_leaf(self, value: Tensor, name: str) -> Tensor:
        """Return a float constant as a leaf whose relevance can be read; any other tensor unchanged."""
        if self.is_tracked(value) or not is_numeric(value):
            return value
        leaf = value.detach().clone().requires_grad_()
        self.constants.append((name, leaf))
        return leaf

    def _mark_of(self, tensor: Tensor) -> tuple[Tensor, Role] | None:
        """Mark of a tensor, or that of its base if it is a view taken before the base was written to."""
        mark = self._marks.get(id(tensor))
        if mark is None and tensor.requires_grad and tensor._base is not None:  # noqa: SLF001  # torch has no other name for it
            return self._marks.get(id(tensor._base))  # noqa: SLF001  # as above
        return mark

    # ---- operations ---------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = self._unwrapped(args, dict(kwargs or {}))
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        self.refuse_leaks(tensors, full_name(func))
        name = short_name(func)
        untracked = not any(map(self.is_tracked, tensors)) or takes_only_form(name, args, self.is_tracked)
        if name in METADATA:
            return func(*args, **kwargs)
        if untracked:
            return on_constants(func, args, kwargs, tensors)
        recording = torch.is_grad_enabled()
        with torch.enable_grad():  # relevance also passes where the module disables gradients
            result = self._dispatch(name, func, args, kwargs)
            if self._twins or name in LOGARITHMS:
                result = _RULES[AFTERWARDS](self, func, args, kwargs, result)
            if not recording:
                self._keep(result)
            return result

    # ---- autograd functions of the module's own --------------------------------------------------------------------

    def _keep(self, result: Any) -> None:
        """Keep an alias of what was computed where gradients are disabled, as in the forward of an autograd function.

        Such a function then replaces the history of its result by its own backward pass, which is no relevance rule.
        """
        for leaf in filter(self.is_tracked, tree_flatten(result)[0]):
            self._aliases.setdefault(id(leaf), (leaf, leaf.view_as(leaf)))

    def _unwrapped(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Arguments in which results of the module's own autograd functions are as their forwards computed them."""
        if not self._aliases:
            return args, kwargs
        unwrapped: tuple[Any, Any] = tree_map(self.unwrap, (args, kwargs))
        return unwrapped

    def unwrap(self, value: Any) -> Any:
        """Result of an autograd function as its forward computed it; any other value unchanged."""
        if id(value) not in self._aliases or value.grad_fn is None or not _foreign(value.grad_fn):
            return value
        return self.mark(self._aliases[id(value)][1], self.role_of(value))

    def _dispatch(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        base_name = _OUT_OF_PLACE.get(name, name[:-1])
        if writes(name) and base_name in _RULES:
            return self.write(args[0], self._by_rule(base_name, out_of_place(base_name), args, kwargs))
        if name in ROUTING or name in _COMPLEX_ROUTING:
            return self.route(func, *args, **kwargs)
        if name in PREDICATES and name not in _NUMBERS:
            with torch.no_grad():
                return func(*args, **kwargs)
        if name in _NUMBERS:
            raise refusal(func, "which reads a number out of torch")
        if writes(name):
            if not hasattr(torch.Tensor, base_name):
                raise refusal(func, "which writes into its argument")
            return self.write(args[0], _RULES[ANY_OTHER](self, out_of_place(base_name), *args, **kwargs))
        return _RULES[ANY_OTHER](self, func, *args, **kwargs)

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        dimension = {"dim": kwargs["dim"]} if "dim" in kwargs else {}  # positional() would pass it second
        args, kwargs = positional(args, {name: value for name, value in kwargs.items() if name != "dim"})
        kwargs |= dimension
        try:
            return _RULES[name](self, func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedModelError(
                f"{METHOD} has no rule for {full_name(func)} as this model calls it ({error})."
            ) from error

    def route(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        """Do an operation that only moves numbers; autograd moves relevance back the same way."""
        role = self.role_of(args, kwargs)
        if writes(short_name(func)):
            self._prepare_in_place(args[0], full_name(func), role)
        if short_name(func) in _JOINING:
            name = full_name(func)
            args, kwargs = tree_map(
                lambda leaf: self.as_leaf(leaf, name) if isinstance(leaf, Tensor) else leaf, (args, kwargs)
            )
        result = func(*args, **kwargs)
        if writes(short_name(func)):
            self._mark_written(args[0], role)
        return self.mark_results(result, role)

    def mark_results(self, result: Any, role: Role) -> Any:
        """Mark all float tensors among the results of an operation, except constants that it returned unchanged."""
        floating = [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor) and is_numeric(leaf)]
        for leaf in [leaf for leaf in floating if leaf.requires_grad] or floating:
            self.mark(leaf, role)
        return result

    def distribute(self, value: Tensor, *carriers: tuple[Tensor, Tensor | float], role: Role = Role.SIGNAL) -> Tensor:
        """Mark a value whose relevance is distributed to carriers by fixed shares.

        Args:
            value: float, of the shape to which the carriers broadcast; it must not be used elsewhere.
            *carriers: tensors, each with its share: float of the value's shape, or a number.
            role: the role of the value.
        """
        spread = [carrier if carrier.shape == value.shape else carrier.expand(value.shape) for carrier, _ in carriers]
        return self.mark(Distributed.apply((value, tuple(share for _, share in carriers)), *spread), role)

    def write(self, target: Tensor, result: Tensor) -> Tensor:
        """Write the result of a rule into the target of an in-place operation."""
        target.copy_(result)
        self._mark_written(target, self.role_of(result))
        return target

    def _prepare_in_place(self, target: Tensor, name: str, role: Role) -> None:
        """Track a constant that an in-place operation is about to change, so that its remaining part gets relevance."""
        if not self.is_tracked(target) and is_numeric(target):
            self.mark(target.add_(self.as_leaf(torch.zeros_like(target), name)), role)

    def _mark_written(self, target: Tensor, role: Role) -> None:
        """Mark the target of an in-place operation, and the tensor of which it is a view; logarithms end there."""
        storage = target.untyped_storage().data_ptr()
        self._twins = {
            key: pair for key, pair in self._twins.items() if pair[0].untyped_storage().data_ptr() != storage
        }
        base = target._base  # noqa: SLF001  # torch has no other name for it
        if base is not None:
            self.mark(base, min(role, self.role_of(base)))
        self.mark(target, role)

    def refuse_leaks(self, tensors: list[Tensor], before: str) -> None:
        """Refuse tensors that were computed where the mode did not see it.

        Raises:
            UnsupportedModelError: a tensor has an autograd history but is not tracked, or its history is a user's own
                autograd function whose forward pass was not seen. Its backward pass is no relevance rule.
        """
        for tensor in tensors:
            history = tensor.grad_fn
            if history is not None and (_foreign(history) or not self.is_tracked(tensor)):
                raise UnsupportedModelError(
                    f"{METHOD} lost track of this model before {before}: an operation there hides which tensors it "
                    "computes from."
                )


def _foreign(history: object) -> bool:
    """Whether a node of autograd's graph is an autograd function from outside this package."""
    return isinstance(history, BackwardCFunction) and not issubclass(history._forward_cls, Recorded)  # type: ignore[attr-defined]  # noqa: SLF001  # how torch finds the class


def refusal(func: Operation, why: str) -> UnsupportedModelError:
    """Error for an operation that has no rule as it is called; ``why`` continues the sentence after its name."""
    why = f", {why}" if why.startswith("which ") else f" {why}"
    return UnsupportedModelError(f"{METHOD} has no rule for {full_name(func)}{why}.")


def detached(value: Any) -> Any:
    """Tensor without its autograd history; any other value unchanged."""
    return value.detach() if isinstance(value, Tensor) else value
