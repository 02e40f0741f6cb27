"""DeepLIFT's rules for decisions: comparisons, casts to whole numbers, and what is computed from them.

A comparison is a step function s of a number z, with values 0 and 1. Like any function of one number it has a secant
slope, (s − s⁰)/(z − z⁰), which is 0 where both sides decide alike. It counts where the decision is used as a number:
multiplied, summed, or to select (:mod:`.selections`). A decision that is used as an index, or in Python's own control
flow, has no such rule: it is an error that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from ....errors import UnsupportedModelError
from ..operations import full_name, short_name
from .elementwise import Scaled
from .pairing import PREDICATE, Pairing, differing_decision, rule
from .pairs import decide, decision_of, is_number, is_paired, pair, sides, to_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..operations import Operation

_COMPARISONS: Final = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "isclose", "less",
    "less_equal", "greater", "greater_equal", "not_equal",
})  # fmt: skip


@rule(PREDICATE)
def predicate(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """A decision: its result where both sides decide alike, else a step function."""
    own, other = both(func, args, kwargs)
    if not isinstance(own, Tensor):
        if own == other:
            return own
        raise UnsupportedModelError(differing_decision(func))
    if own.shape != other.shape:
        raise UnsupportedModelError(differing_decision(func))
    if torch.equal(own, other):
        return own
    return decide(own, other, _step(pairing, func, own, other, args), full_name(func))


def both(func: Operation, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Results of an operation on the actual and on the reference side, without gradients."""
    other_args, other_kwargs = tree_map(to_reference, (args, kwargs))
    with torch.no_grad():
        return func(*args, **kwargs), func(*other_args, **other_kwargs)


def _step(pairing: Pairing, func: Operation, own: Tensor, other: Tensor, args: tuple[Any, ...]) -> Tensor | None:
    """A comparison as a number, a step function of the difference of its operands; None if it is no comparison."""
    if short_name(func) not in _COMPARISONS or len(args) < 2:
        return None
    with pairing:
        difference = args[0] - args[1]
    if difference.is_complex() or not is_paired(difference):
        return None
    return quotient_rule(difference, own, other)


def quotient_rule(argument: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Any values of an elementwise function, as numbers with the rule of a secant slope; 0 where they are equal."""
    z, z0 = sides(argument)
    value, value0 = own.to(z.dtype), other.to(z.dtype)
    delta = z - z0
    slope = (value - value0) / torch.where(value == value0, torch.ones_like(delta), delta)
    return pair(Scaled.apply(argument, value, slope), value0)


@rule("to", "type", "int", "long", "short", "bool", "char", "byte", as_called=True)
def _cast(pairing: Pairing, func: Operation, argument: Any, *args: Any, **kwargs: Any) -> Any:
    """A cast; to whole numbers or booleans it is a step function."""
    if not is_paired(argument):
        return pairing.on_both(func, argument, *args, **kwargs)
    own, other = both(func, (argument, *args), kwargs)
    if not isinstance(own, Tensor) or is_number(own):
        return pairing.on_both(func, argument, *args, **kwargs)
    if torch.equal(own, other):
        return own
    return decide(own, other, None if argument.is_complex() else quotient_rule(argument, own, other), full_name(func))


def number_of(decision: Any) -> Any:
    """A decision as a number with a rule; other values themselves.

    Raises:
        UnsupportedModelError: it has no such rule.
    """
    if not (is_paired(decision) and not is_number(decision)):
        return decision
    known = decision_of(decision)
    if known.number is None:
        raise UnsupportedModelError(differing_decision(known.maker))
    return known.number


def as_numbers(pairing: Pairing, func: Operation, args: Any, kwargs: Any) -> Any:
    """An operation on the numbers that decisions stand for.

    Where torch would go on in a lower precision than that of the scores that decided (``mask.float()`` in a model of
    double precision), the number stays in the higher one, with the rounded values.
    """
    numbers, named = tree_map(number_of, (args, kwargs))
    own, other = both(func, args, kwargs)
    with pairing:
        casts = short_name(func) in _TO_NUMBERS
        found = numbers[0] if casts else func(*numbers, **named)
    if not isinstance(found, Tensor) or found.dtype == own.dtype:
        return found
    if torch.promote_types(found.dtype, own.dtype) != found.dtype:
        return pairing.on_both(torch.Tensor.to, found, own.dtype)
    return quotient_rule(found, own, other)


_TO_NUMBERS: Final = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as"})


def settled(
    pairing: Pairing,
    func: Operation,
    name: str,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    results: tuple[Any, Any],
) -> Any:
    """Decisions made from decisions, with their numbers where there is a rule for these."""
    own, other = results
    leaves, others = tree_flatten(own)[0], tree_flatten(other)[0]
    if len(leaves) != len(others) or not all(isinstance(leaf, Tensor) for leaf in leaves):
        if own == other:
            return own
        raise UnsupportedModelError(differing_decision(func))
    maker = next(
        decision_of(leaf).maker for leaf in tree_flatten((args, kwargs))[0] if is_paired(leaf) and not is_number(leaf)
    )
    numbers = tree_flatten(_numeric(pairing, func, name, args, kwargs, own))[0]
    for index, (leaf, counterpart) in enumerate(zip(leaves, others, strict=True)):
        if leaf.shape != counterpart.shape:
            raise UnsupportedModelError(differing_decision(func))
        number = numbers[index] if len(numbers) == len(leaves) else None
        decide(leaf, counterpart, number if isinstance(number, Tensor) and is_paired(number) else None, maker)
    return own


_LOGIC: Final[dict[str, Callable[..., Any]]] = {
    "not": lambda a: 1 - a,
    "and": lambda a, b: a * b,
    "or": lambda a, b: a + b - a * b,
    "xor": lambda a, b: a + b - 2 * a * b,
}
_LOGICAL: Final = {
    "logical_not": "not", "bitwise_not": "not", "__invert__": "not", "logical_and": "and", "bitwise_and": "and",
    "__and__": "and", "__rand__": "and", "__iand__": "and", "logical_or": "or", "bitwise_or": "or", "__or__": "or",
    "__ror__": "or", "__ior__": "or", "logical_xor": "xor", "bitwise_xor": "xor", "__xor__": "xor", "__rxor__": "xor",
}  # fmt: skip


def _numeric(
    pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], own: Any
) -> Any:
    """The numbers of decisions that are made from decisions; None where there is no rule."""
    operands = [leaf for leaf in tree_flatten((args, kwargs))[0] if is_paired(leaf) and not is_number(leaf)]
    if any(decision_of(leaf).number is None for leaf in operands):
        return None
    dtype = decision_of(operands[0]).number.dtype  # type: ignore[union-attr]  # just checked
    numbers, named = tree_map(lambda value: _as_float(number_of(value), dtype), (args, kwargs))
    if name in _LOGICAL and all(leaf.dtype == torch.bool for leaf in operands):
        with pairing:
            return _LOGIC[_LOGICAL[name]](*numbers)
    if name in {"any", "all"} and operands[0].dtype == torch.bool:
        dims, keepdim = numbers[1] if len(numbers) > 1 else named.get("dim", ()), named.get("keepdim", False)
        with pairing:
            return numbers[0].amax(dims, keepdim) if name == "any" else numbers[0].amin(dims, keepdim)
    if name in _COMPARISONS:
        with pairing:
            difference = numbers[0] - numbers[1]
        return quotient_rule(difference, *both(func, args, kwargs))
    if name in _CASTS:
        return numbers[0] if _agree(numbers[0], own) else None
    return _same_values(pairing, func, numbers, named, own)


_CASTS: Final = frozenset({"to", "type", "int", "long", "short", "bool", "char", "byte", "type_as"})


def _same_values(pairing: Pairing, func: Operation, numbers: Any, named: dict[str, Any], own: Any) -> Any:
    """The operation on numbers, where this gives the values of the operation on decisions; else None."""
    try:
        with pairing:
            found = func(*numbers, **named)
    except (UnsupportedModelError, RuntimeError, TypeError):  # no operation on numbers, such as a shift of bits
        return None
    leaves, wanted = tree_flatten(found)[0], tree_flatten(own)[0]
    same = len(leaves) == len(wanted) and all(map(_agree, leaves, wanted))
    return found if same else None


def _agree(number: Any, decision: Tensor) -> bool:
    """Whether a number holds the values of a decision."""
    return (
        isinstance(number, Tensor)
        and number.shape == decision.shape
        and torch.equal(number.detach(), decision.detach().to(number.dtype))
    )


def _as_float(value: Any, dtype: torch.dtype) -> Any:
    """Constant booleans among the operands as numbers of a type; whole numbers stay indices."""
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype == torch.bool else value
