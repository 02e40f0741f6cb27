"""Run a user's module so that relevance, and not the gradient, comes back from its score.

Inside :class:`Tracking` the module runs its own ``forward`` and computes what it always computes. What autograd records
for an operation is its relevance rule: the "gradient" that ``torch.autograd.grad`` of the score hands from operation to
operation is relevance itself. Operations that only move numbers need no rule, since autograd moves relevance as it
moves gradients. Decisions (comparisons, indices) are constants. Anything else is an error that names the operation:
there is no silent gradient.

Products are of a gate and a signal. A *gate* is what comes from a sigmoid or a softmax by operations that move, scale,
shift or add up gates.

A constant that takes part in a sum with what depends on the input (an initial state, a column put beside it) takes its
share of the relevance. :attr:`Tracking.constants` keeps such constants, so that their share can be read.
"""

from __future__ import annotations

from collections.abc import Callable
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
    out_of_place,
    positional,
    short_name,
    writes,
)

if TYPE_CHECKING:
    from .shares import Shares

Rule = Callable[..., Any]

WHO: Final = "LRP"
INSTEAD: Final = "use deeplift, integrated-gradients or occlusion"

_RULES: dict[str, Rule] = {}
# What comes back from a number read out of torch could not be told from a constant.
_NUMBERS = frozenset({"item", "tolist", "__float__"})
_OUT_OF_PLACE = {"__iadd__": "add", "__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__ipow__": "pow"}
# Operations that move numbers of several tensors into one.
_JOINING = frozenset({
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "where", "scatter", "index_copy", "copy_",
    "__setitem__", "scatter_", "index_copy_",
})  # fmt: skip


def rule(*operations: str) -> Callable[[Rule], Rule]:
    """Decorator: the rule for operations of these names, called as ``rule(tracking, operation, *args, **kwargs)``."""

    def add(found: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operations, found))
        return found

    return add


class Recorded(torch.autograd.Function):
    """An autograd function whose backward is a relevance rule: those of this package."""


class Shared(Recorded):
    """A value made elsewhere, whose relevance its carriers get in given shares."""

    @staticmethod
    def forward(ctx: Any, made: tuple[Tensor, tuple[Tensor | float, ...]], *carriers: Tensor) -> Tensor:
        """The value, float of the carriers' one shape; shares are of that shape too, or numbers."""
        value, ctx.shares = made
        return value

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[Tensor | None, ...]:
        """To each carrier its share."""
        return None, *(relevance * share for share in ctx.shares)


class Undecided(Recorded):
    """A value whose relevance no rule shares out: an error, unless it has none (as what only makes gates has)."""

    @staticmethod
    def forward(ctx: Any, made: tuple[Tensor, str], *carriers: Tensor) -> Tensor:
        """The value."""
        value, ctx.complaint = made
        ctx.carriers = len(carriers)
        return value

    @staticmethod
    def backward(ctx: Any, relevance: Tensor) -> tuple[None, ...]:
        """Nothing of nothing.

        Raises:
            UnsupportedModelError: there is relevance to share out.
        """
        if bool((relevance != 0).any()):
            raise UnsupportedModelError(ctx.complaint)
        return None, *[None] * ctx.carriers


class Tracking(TorchFunctionMode):
    """The mode in which autograd records relevance rules.

    Attributes:
        shares: the rules' parameters.
        constants: constants that may get relevance, each with what it takes part in; "gradients" of the score with
            respect to them are their relevance.
    """

    def __init__(self, shares: Shares) -> None:
        super().__init__()
        self.shares = shares
        self.constants: list[tuple[str, Tensor]] = []
        # by identity, and held so that no identity is used twice; nothing is left on a user's tensor
        self._marks: dict[int, tuple[Tensor, bool]] = {}

    # ---- what is known of a tensor ------------------------------------------------------------------------------

    def mark(self, tensor: Tensor, *, gate: bool = False) -> Tensor:
        """Take note that a tensor depends on the explained input, and whether it is a gate.

        Raises:
            UnsupportedModelError: torch recorded nothing of it.
        """
        if not tensor.requires_grad:
            raise UnsupportedModelError(f"{WHO} cannot follow a model under torch.inference_mode: {INSTEAD}.")
        self._marks[id(tensor)] = (tensor, gate)
        return tensor

    def is_tracked(self, value: object) -> bool:
        """Whether a value depends on the explained input."""
        return isinstance(value, Tensor) and self._mark_of(value) is not None

    def is_gate(self, value: object) -> bool:
        """Whether a value depends on the explained input, and is a gate."""
        found = self._mark_of(value) if isinstance(value, Tensor) else None
        return found is not None and found[1]

    def gates_only(self, *values: Any) -> bool:
        """Whether all that depends on the input among some arguments are gates."""
        return all(map(self.is_gate, filter(self.is_tracked, tree_flatten(values)[0])))

    def grounded(self, value: Tensor, name: str) -> Tensor:
        """A constant, as something whose relevance can be read; what depends on the input, as it is."""
        if self.is_tracked(value) or not value.is_floating_point():
            return value
        leaf = value.detach().clone().requires_grad_()
        self.constants.append((name, leaf))
        return leaf

    def _mark_of(self, tensor: Tensor) -> tuple[Tensor, bool] | None:
        """Views of a tensor that was written to depend on what it depends on."""
        found = self._marks.get(id(tensor))
        if found is None and tensor.requires_grad and tensor._base is not None:  # noqa: SLF001  # torch has no other name for it
            return self._marks.get(id(tensor._base))  # noqa: SLF001  # as above
        return found

    # ---- operations ---------------------------------------------------------------------------------------------

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        self.refuse_leaks(tensors, full_name(func))
        name = short_name(func)
        if name in METADATA or not any(map(self.is_tracked, tensors)):
            return func(*args, **kwargs)
        with torch.enable_grad():  # relevance passes where a module wants no gradient, too
            return self._followed(name, func, args, kwargs)

    def _followed(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        plain = _OUT_OF_PLACE.get(name, name[:-1])
        if writes(name) and plain in _RULES:
            return self.write(args[0], self._by_rule(plain, out_of_place(plain), args, kwargs))
        if name in ROUTING:
            return self.route(func, *args, **kwargs)
        if name in PREDICATES and name not in _NUMBERS:
            with torch.no_grad():
                return func(*args, **kwargs)
        raise UnsupportedModelError(f"{WHO} has no rule for the operation {full_name(func)} in this model: {INSTEAD}.")

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        along = {"dim": kwargs.pop("dim")} if "dim" in kwargs else {}  # not always the second, as positional takes it
        args, kwargs = positional(args, kwargs)
        kwargs |= along
        try:
            return _RULES[name](self, func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedModelError(
                f"{WHO} has no rule for {full_name(func)} as this model calls it ({error}): {INSTEAD}."
            ) from error

    def route(self, func: Operation, *args: Any, **kwargs: Any) -> Any:
        """Do an operation that only moves numbers: autograd moves relevance the same way back."""
        gate = self.gates_only(args, kwargs)
        if writes(short_name(func)):
            self._prepare_in_place(args[0], full_name(func), gate=gate)
        if short_name(func) in _JOINING:
            name = full_name(func)
            args, kwargs = tree_map(
                lambda leaf: self.grounded(leaf, name) if isinstance(leaf, Tensor) else leaf, (args, kwargs)
            )
        found = func(*args, **kwargs)
        if writes(short_name(func)):
            self._mark_written(args[0], gate=gate)
        return self.marked(found, gate=gate)

    def marked(self, found: Any, *, gate: bool) -> Any:
        """Take note of all numbers that came out of an operation; not of a constant that it merely gave back."""
        floating = [leaf for leaf in tree_flatten(found)[0] if isinstance(leaf, Tensor) and leaf.is_floating_point()]
        for leaf in [leaf for leaf in floating if leaf.requires_grad] or floating:
            self.mark(leaf, gate=gate)
        return found

    def shared(self, value: Tensor, *carriers: tuple[Tensor, Tensor | float], gate: bool = False) -> Tensor:
        """A value whose relevance goes to tensors in given shares.

        Args:
            value: float, of the shape to which the carriers broadcast; nobody else may hold it.
            carriers: tensors, each with its share: float of the value's shape, or a number.
            gate: whether it is a gate.
        """
        spread = [carrier if carrier.shape == value.shape else carrier.expand(value.shape) for carrier, _ in carriers]
        return self.mark(Shared.apply((value, tuple(share for _, share in carriers)), *spread), gate=gate)

    def undecided(self, value: Tensor, func: Operation, why: str, *carriers: Tensor, gate: bool = False) -> Tensor:
        """A value that may make gates, and is an error if it is ever to share out relevance."""
        complaint = f"{WHO} cannot share out {full_name(func)}, {why}: {INSTEAD}."
        return self.mark(Undecided.apply((value, complaint), *carriers), gate=gate)

    def write(self, target: Tensor, found: Tensor) -> Tensor:
        """Put a result where an operation in place would have put it."""
        target.copy_(found)
        self._mark_written(target, gate=self.is_gate(found))
        return target

    def _prepare_in_place(self, target: Tensor, name: str, *, gate: bool) -> None:
        """A constant that is about to be written to keeps the relevance of what is left of it."""
        if not self.is_tracked(target) and target.is_floating_point():
            self.mark(target.add_(self.grounded(torch.zeros_like(target), name)), gate=gate)

    def _mark_written(self, target: Tensor, *, gate: bool) -> None:
        base = target._base  # noqa: SLF001  # torch has no other name for it
        if base is not None:
            self.mark(base, gate=gate and (self.is_gate(base) or not self.is_tracked(base)))
        self.mark(target, gate=gate)

    def refuse_leaks(self, tensors: list[Tensor], before: str) -> None:
        """Refuse what was computed behind our back.

        Raises:
            UnsupportedModelError: a tensor has a history, yet was not tracked, or its history is somebody's own
                autograd function, whose forward may have been tracked, but whose backward is no rule.
        """
        for tensor in tensors:
            history = tensor.grad_fn
            if history is not None and (_foreign(history) or not self.is_tracked(tensor)):
                raise UnsupportedModelError(
                    f"{WHO} lost track of this model before {before}: an operation there hides what it computes from; "
                    f"{INSTEAD}."
                )


def _foreign(history: object) -> bool:
    """Whether a node of autograd's graph is an autograd function that is none of ours."""
    return isinstance(history, BackwardCFunction) and not issubclass(history._forward_cls, Recorded)  # type: ignore[attr-defined]  # noqa: SLF001  # how torch finds the class


def refusal(func: Operation, why: str) -> UnsupportedModelError:
    """The error that an operation has no rule under some circumstance."""
    return UnsupportedModelError(f"{WHO} has no rule for {full_name(func)} {why}: {INSTEAD}.")


def plain(value: Any) -> Any:
    """A tensor without its history; anything else as it is."""
    return value.detach() if isinstance(value, Tensor) else value
