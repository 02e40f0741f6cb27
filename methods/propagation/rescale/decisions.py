"""DeepLIFT's rules for decisions: comparisons, masks, selections by a mask, and reading at chosen indices.

A comparison is a step function s of a number z, with values 0 and 1. Like any function of one number it has a secant slope,
(s − s⁰)/(z − z⁰), which is 0 where both sides decide alike. It counts where the decision is used as a number: multiplied,
summed, or to select. ``where(c, a, b)`` is c·a + (1 − c)·b, by the rule of products. A decision that is used as an index or in
Python's own control flow has no such rule: it is an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from ....errors import UnsupportedModelError
from ..operations import Operation, full_name, short_name, writes
from .elementwise import Scaled
from .linear import without_writing
from .pairing import (
    ON_DECISIONS,
    PREDICATE,
    Decision,
    Pairing,
    decide,
    decision_of,
    differing_decision,
    is_number,
    is_paired,
    pair,
    rule,
    sides,
    to_reference,
)

_COMPARISONS: Final = frozenset({
    "eq", "ne", "lt", "le", "gt", "ge", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "isclose", "less",
    "less_equal", "greater", "greater_equal", "not_equal",
})  # fmt: skip
# Operations in which a decision is an index, a count of copies or a place, by the position of that argument.
_INDEXED: Final = {
    "__getitem__": 1, "gather": 2, "take_along_dim": 1, "index_select": 2, "embedding": 0, "one_hot": 0, "scatter": 2,
    "scatter_": 2, "scatter_add": 2, "scatter_add_": 2, "index_add": 2, "index_add_": 2, "index_copy": 2,
    "index_copy_": 2, "index_fill": 2, "masked_select": 1, "take": 1, "put": 1, "index_put": 1, "index_put_": 1,
    "nonzero": 0, "repeat_interleave": 1, "embedding_bag": 0, "bincount": 0, "__index__": 0, "masked_scatter": 1,
    "max_unpool1d": 1, "max_unpool2d": 1, "max_unpool3d": 1, "unique": 0, "searchsorted": 1,
}  # fmt: skip
_PYTHON: Final = frozenset({
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "is_nonzero", "equal", "allclose",
})  # fmt: skip


@rule(PREDICATE)
def _predicate(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """A decision: its result where both sides decide alike, else a step function."""
    own, other = _both(func, args, kwargs)
    if not isinstance(own, Tensor):
        if own == other:
            return own
        raise UnsupportedModelError(differing_decision(func))
    if own.shape != other.shape:
        raise UnsupportedModelError(differing_decision(func))
    if torch.equal(own, other):
        return own
    return decide(own, other, _step(pairing, func, own, other, args), full_name(func))


def _both(func: Operation, args: Any, kwargs: Any) -> tuple[Any, Any]:
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
    own, other = _both(func, (argument, *args), kwargs)
    if not isinstance(own, Tensor) or is_number(own):
        return pairing.on_both(func, argument, *args, **kwargs)
    if torch.equal(own, other):
        return own
    return decide(own, other, None if argument.is_complex() else quotient_rule(argument, own, other), full_name(func))


class Chosen(torch.autograd.Function):
    """Selection c·a + (1 − c)·b of numbers by a decision c, with the rule of products.

    A number that is not selected may be infinite or no number; where it would enter the mean, the whole difference is
    credited to the decision. Where the difference itself is infinite (a mask of −∞ before a softmax), the multiplier that
    arrives stands for a difference of ±1, as the softmax makes it.
    """

    @staticmethod
    def forward(
        ctx: Any, number: Tensor, a: Tensor, b: Tensor, value: Tensor, others: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Tensor:
        """Return the value, computed elsewhere; ``others`` are the references of number, a, b and of the value."""
        number0, a0, b0, value0 = others
        mean = (number + number0) / 2
        height = ((a + a0) - (b + b0)) / 2
        infinite = value.isinf() != value0.isinf()
        unsound = (number != number0) & ~torch.isfinite(height)
        jump = torch.where(infinite, (value - value0).sign(), value - value0) * (number - number0)
        height = torch.where(unsound, jump, torch.where(number == number0, torch.zeros_like(height), height))
        ctx.save_for_backward(height, mean.masked_fill(unsound, 0.0), (1 - mean).masked_fill(unsound, 0.0))
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Multipliers of the decision and of both alternatives."""
        height, of_a, of_b = ctx.saved_tensors
        return multiplier * height, multiplier * of_a, multiplier * of_b, None, None


@rule("where", as_called=True)
def _where(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Any:
    """Selection by a condition that both sides share."""
    return pairing.on_both(func, *args, **kwargs)


@rule("masked_fill", "masked_fill_")
def _masked(pairing: Pairing, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    """Masking, linear because both sides have the same mask."""
    masked: Tensor = pairing.on_both(func, *args, **kwargs)
    return masked


def selected(pairing: Pairing, condition: Tensor, a: Any, b: Any) -> Tensor:
    """``torch.where`` of a condition that differs between the two sides."""
    own, other = _both(torch.where, (condition, a, b), {})
    number = _number(condition)
    number = pairing.on_both(torch.Tensor.to, number, own.dtype) if number.dtype != own.dtype else number
    a, b = (each if isinstance(each, Tensor) else torch.tensor(each, dtype=own.dtype) for each in (a, b))
    if not is_number(own):
        if any(is_paired(each) and not is_number(each) for each in (a, b)):
            a, b = (_number(each) if is_paired(each) else each for each in (a, b))
        return decide(own, other, selected_numbers(pairing, number, a, b, number.dtype), "torch.where")
    return selected_numbers(pairing, number, a, b, own.dtype)


def selected_numbers(pairing: Pairing, number: Tensor, a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """c·a + (1 − c)·b of numbers, where c is the number of a decision."""
    with pairing:
        a, b = a.to(dtype), b.to(dtype)
        number, a, b = torch.broadcast_tensors(number, a, b)
    (c, c0), (one, one0), (zero, zero0) = sides(number), sides(a), sides(b)
    value, value0 = torch.where(c != 0, one, zero), torch.where(c0 != 0, one0, zero0)
    pairing.numbers += value.numel()
    return pair(Chosen.apply(number, a, b, value, (c0, one0, zero0, value0)), value0)


def _number(decision: Any) -> Any:
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


@rule(ON_DECISIONS)
def on_decisions(pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation of which an argument is a decision that differs between the two sides."""
    args, kwargs = (args, kwargs) if args or "input" not in kwargs else ((kwargs["input"],), _without_input(kwargs))
    base = without_writing(name) if writes(name) else name
    if base in {"where", "masked_fill"}:
        return _by_mask(pairing, func, base, args, kwargs)
    if name == "__setitem__":
        return _written(pairing, func, *args)
    place = _INDEXED.get(name)
    if place is not None and _decides(args, kwargs, place):
        return _read(pairing, func, name, args, kwargs)
    if name in _PYTHON:
        return _predicate(pairing, func, *args, **kwargs)
    own, other = _both(func, args, kwargs) if not writes(name) else (args[0], None)
    if writes(name):
        if not is_number(args[0]):
            return _settled(pairing, func, base, args, kwargs, _both(getattr(Tensor, base), args, kwargs))
        return pairing.write(args[0], _as_numbers(pairing, getattr(Tensor, base), args, kwargs))
    if isinstance(own, Tensor) and is_number(own):
        return _as_numbers(pairing, func, args, kwargs)
    return _settled(pairing, func, name, args, kwargs, (own, other))


def _without_input(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "input"}


def _decides(args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> bool:
    """Whether the argument at a place, or an index by name, holds a decision."""
    index = args[place] if len(args) > place else [kwargs.get(name) for name in ("index", "indices", "mask", "repeats")]
    return any(is_paired(leaf) and not is_number(leaf) for leaf in tree_flatten(index)[0])


def _as_numbers(pairing: Pairing, func: Operation, args: Any, kwargs: Any) -> Any:
    """An operation on the numbers that decisions stand for.

    Where torch would go on in a lower precision than that of the scores that decided (``mask.float()`` in a model of
    double precision), the number stays in the higher one, with the rounded values.
    """
    numbers, named = tree_map(_number, (args, kwargs))
    own, other = _both(func, args, kwargs)
    with pairing:
        casts = short_name(func) in _TO_NUMBERS
        found = numbers[0] if casts else func(*numbers, **named)
    if not isinstance(found, Tensor) or found.dtype == own.dtype:
        return found
    if torch.promote_types(found.dtype, own.dtype) != found.dtype:
        return pairing.on_both(torch.Tensor.to, found, own.dtype)
    return quotient_rule(found, own, other)


_TO_NUMBERS: Final = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as"})


def _settled(
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
    numbers, named = tree_map(lambda value: _as_float(_number(value), dtype), (args, kwargs))
    if name in _LOGICAL and all(leaf.dtype == torch.bool for leaf in operands):
        with pairing:
            return _LOGIC[_LOGICAL[name]](*numbers)
    if name in {"any", "all"}:
        dims, keepdim = numbers[1] if len(numbers) > 1 else named.get("dim", ()), named.get("keepdim", False)
        with pairing:
            return numbers[0].amax(dims, keepdim) if name == "any" else numbers[0].amin(dims, keepdim)
    if name in _COMPARISONS:
        with pairing:
            difference = numbers[0] - numbers[1]
        return quotient_rule(difference, *_both(func, args, kwargs))
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
    """Constant booleans as numbers of a type, among the operands of a logical operation; whole numbers stay indices."""
    return value.to(dtype) if isinstance(value, Tensor) and value.dtype == torch.bool else value


def _by_mask(pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``where`` and ``masked_fill`` by a mask that differs between the two sides."""
    if name == "masked_fill":
        target = args[0]
        mask = args[1] if len(args) > 1 else kwargs["mask"]
        value = args[2] if len(args) > 2 else kwargs["value"]
        result = selected(pairing, mask, value, target) if is_paired(mask) else pairing.on_both(func, *args, **kwargs)
        return pairing.write(target, result) if writes(short_name(func)) else result
    if func is not torch.where:  # Tensor.where: the condition comes second
        args = (args[1] if len(args) > 1 else kwargs["condition"], args[0], *args[2:])
    given = dict(zip(("condition", "input", "other"), args, strict=False)) | kwargs
    if "other" not in given:
        raise UnsupportedModelError(differing_decision(decision_of(given["condition"]).maker))
    condition, a, b = given["condition"], given.get("input", given.get("self")), given["other"]
    if is_paired(condition):
        return selected(pairing, condition, a, b)
    if any(is_number(each) for each in (a, b) if isinstance(each, Tensor)):
        return pairing.on_both(torch.where, condition, _number(a), _number(b))
    return _settled(pairing, torch.where, "where", (condition, a, b), {}, _both(torch.where, (condition, a, b), {}))


def _written(pairing: Pairing, func: Operation, target: Tensor, index: Any, value: Any) -> None:
    """``target[mask] = number`` by a mask that differs; decisions as values are written as their numbers."""
    if not _decides((index,), {}, 0):
        if is_number(target):
            pairing.on_both(func, target, index, _number(value))
            return
        raise UnsupportedModelError(differing_decision(decision_of(value).maker))
    simple = isinstance(index, Tensor) and index.dtype == torch.bool and not (isinstance(value, Tensor) and value.dim())
    if not simple:
        raise UnsupportedModelError(_as_index(func, index))
    mask = index
    with pairing:
        for _ in range(target.dim() - index.dim()):
            mask = mask.unsqueeze(-1)
    pairing.write(target, selected(pairing, mask, value, target))


def _as_index(func: Operation, index: Any) -> str:
    """Error message for a decision that is used as an index."""
    decision = next(decision_of(leaf) for leaf in tree_flatten(index)[0] if is_paired(leaf) and not is_number(leaf))
    return (
        f"This model makes a decision by {decision.maker} that differs between the input and the reference, and uses it as "
        f"an index in {full_name(func)}: DeepLIFT cannot attribute such a difference; use occlusion or kernel-shap, or a "
        "reference for which the decision is the same."
    )


def _read(pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Reading at chosen indices, where the scores that decided are known and each index was chosen alone.

    Raises:
        UnsupportedModelError: the decision cannot be followed.
    """
    index = args[_INDEXED[name]] if len(args) > _INDEXED[name] else kwargs.get("index", kwargs.get("indices"))
    decision = decision_of(index) if isinstance(index, Tensor) else Decision(None, "")
    values = args[0]
    dim = args[1] if name == "gather" and len(args) > 1 else args[2] if len(args) > 2 else kwargs.get("dim")
    if name not in {"gather", "take_along_dim"} or decision.scores is None or dim is None or not isinstance(dim, int):
        raise UnsupportedModelError(_as_index(func, index if isinstance(index, Tensor) else args[_INDEXED[name]]))
    scores, along = decision.scores, decision.dim % decision.scores.dim()
    aligned = along == dim % values.dim() and scores.dim() == index.dim() == values.dim()
    others = [size for axis, size in enumerate(scores.shape) if axis != along]
    if not aligned or others != [size for axis, size in enumerate(index.shape) if axis != along]:
        raise UnsupportedModelError(_as_index(func, index))
    return _gathered(pairing, func, values, index, dim)


class Gathered(torch.autograd.Function):
    """Numbers read at chosen indices: half by the numbers at both indices, half by the decision between the two.

    With i the index of the actual side and j that of the reference, y − y⁰ = v_i − v⁰_j is the mean of δv_i and δv_j, plus
    the mean of v_i − v_j and v⁰_i − v⁰_j. The latter is due to the decision, a step function of s_i − s_j, the difference
    of the scores by which the index was chosen.
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, scores: Tensor, value: Tensor, places: tuple[Tensor, Tensor, int], share: Tensor
    ) -> Tensor:
        """Return the value, computed elsewhere; ``share`` is the multiplier of s_i, and less it that of s_j."""
        ctx.places, ctx.sizes = places, (values.shape, scores.shape)
        ctx.save_for_backward(share)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, multiplier: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Multipliers of the numbers and of the scores."""
        (share,) = ctx.saved_tensors
        i, j, dim = ctx.places
        of_values = multiplier.new_zeros(ctx.sizes[0])
        of_values.scatter_add_(dim, i, multiplier / 2).scatter_add_(dim, j, multiplier / 2)
        of_scores = share.new_zeros(ctx.sizes[1])
        of_scores.scatter_add_(dim, i, multiplier * share).scatter_add_(dim, j, -multiplier * share)
        return of_values, of_scores, None, None, None


def _gathered(pairing: Pairing, func: Operation, values: Tensor, index: Tensor, dim: int) -> Tensor:
    """Pair of the numbers at chosen indices.

    Raises:
        UnsupportedModelError: the scores at both indices changed alike, so that something else decided.
    """
    scores = decision_of(index).scores
    (v, v0), (s, s0), (i, j) = sides(values), sides(scores), sides(index)  # type: ignore[arg-type]  # known by the caller
    value, value0 = v.gather(dim, i), v0.gather(dim, j)
    turned = (s.gather(dim, i) - s.gather(dim, j)) - (s0.gather(dim, i) - s0.gather(dim, j))
    height = ((value - v.gather(dim, j)) + (v0.gather(dim, i) - value0)) / 2
    if bool(((turned == 0) & (height != 0)).any()):
        raise UnsupportedModelError(_as_index(func, index))
    share = height / turned.masked_fill(turned == 0, 1.0)
    return pair(Gathered.apply(values, scores, value, (i, j, dim), share), value0)
