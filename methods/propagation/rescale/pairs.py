"""Pairs: tensors that carry the same tensor computed from the reference, and decisions with what is known of them.

The reference side is an attribute of ours on the tensor, for as long as one paired run lasts.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names under which a pair carries its reference side, what is known of a decision, and the tensor that holds the rules.
_ATTRIBUTES: Final = (
    "_xrnnbench_reference",
    "_xrnnbench_decision",
    "_xrnnbench_holder",
    "_xrnnbench_stand_in",
)
_carriers: list[Tensor] = []


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
            unpair(tensor)
        _carriers.clear()


def is_paired(value: object) -> bool:
    """Whether a value depends on the explained input."""
    return isinstance(value, Tensor) and reference_of(value) is not None


def is_number(tensor: Tensor) -> bool:
    """Whether a tensor holds real or complex numbers, and not decisions: booleans, indices, counts."""
    return tensor.is_floating_point() or tensor.is_complex()


def sides(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Actual side, without its autograd graph, and reference side of a tensor; a constant is its own reference."""
    other = reference_of(tensor)
    return tensor.detach(), tensor.detach() if other is None else other


def unpair(tensor: Tensor) -> None:
    """Make a constant of a tensor that was a pair."""
    for name in _ATTRIBUTES:
        tensor.__dict__.pop(name, None)


@dataclass(frozen=True)
class Decision:
    """Decision of a model: a tensor of booleans or whole numbers that differs between the two sides.

    Attributes:
        number: the same as a pair of numbers with a rule, for uses as a number; None if there is no such rule.
        maker: the operation that decided, by name.
        scores: the pair of numbers of which elements were chosen, if the decision is a choice of indices.
        dim: the dimension along which they were chosen.
    """

    number: Tensor | None
    maker: str
    scores: Tensor | None = None
    dim: int = 0


def decide(
    actual: Tensor,
    reference: Tensor,
    number: Tensor | None,
    maker: str,
    choice: tuple[Tensor, int] | None = None,
) -> Tensor:
    """Pair of a decision; a constant where both sides decide alike.

    Args:
        actual: booleans or whole numbers.
        reference: the same of the reference, in the same shape.
        number: see :class:`Decision`.
        maker: see :class:`Decision`.
        choice: the scores of which elements were chosen, and the dimension.
    """
    if actual.shape == reference.shape and torch.equal(actual, reference):
        return actual
    scores, dim = (None, 0) if choice is None else choice
    actual._xrnnbench_decision = Decision(number, maker, scores, dim)  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    return pair(actual, reference)


def decision_of(tensor: Tensor) -> Decision:
    """Decision that a tensor holds; one without a rule or a choice where nothing else is known of it."""
    decision: Decision | None = getattr(tensor, "_xrnnbench_decision", None)
    return Decision(None, "an index or a count") if decision is None else decision


def to_reference(value: object) -> object:
    """Reference side of a pair; any other value itself."""
    if isinstance(value, Tensor):
        other = reference_of(value)
        return value if other is None else other
    return value


def holder_of(value: Any) -> Any:
    """The tensor that holds the recorded rules of a stand-in; any other value itself."""
    return getattr(value, "_xrnnbench_holder", value) if isinstance(value, Tensor) else value


def standing_in(results: Any, args: tuple[Any, ...]) -> Any:
    """Results of an operation that the model does without gradients, each replaced by a stand-in.

    Inside ``torch.no_grad`` and in the forward of an autograd function of the user, rules are recorded all the same.
    But when such a function returns a tensor, torch makes its backward the history of that tensor, and the rules would
    be lost. Therefore the model gets a stand-in with the same numbers, of which nothing is recorded, and the tensor
    that holds the rules takes its place whenever an operation reads it.

    Args:
        results: what the operation returned.
        args: its arguments. One that was written in place is its own result, or that of its stand-in.
    """

    def stand_in(value: object) -> object:
        if not (isinstance(value, Tensor) and is_paired(value) and is_number(value)):
            return value
        known: Tensor | None = getattr(value, "_xrnnbench_stand_in", None)
        if known is not None or any(value is given for given in args):
            return value if known is None else known
        return _stand_in_for(value, value.detach())

    return tree_map(stand_in, results)


def _stand_in_for(holder: Tensor, stand_in: Tensor) -> Tensor:
    """Make a tensor with the same memory the stand-in of one that holds rules."""
    reference = reference_of(holder)
    holder._xrnnbench_stand_in = stand_in  # type: ignore[attr-defined]  # noqa: SLF001  # an attribute of ours on it
    stand_in._xrnnbench_holder = holder  # type: ignore[attr-defined]  # noqa: SLF001  # as above
    return stand_in if reference is None else pair(stand_in, reference)


def with_holder(target: Tensor) -> Tensor:
    """The holder of a constant that is about to be written into without gradients; the constant is its stand-in."""
    holder = pair(target.detach(), target.detach().clone())
    _stand_in_for(holder, target)
    return holder
