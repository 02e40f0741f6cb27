"""DeepLIFT's rules for selections: by a mask that differs between the two sides, and at indices that were chosen.

``where(c, a, b)`` is c·a + (1 − c)·b, by the rule of products, where c is the number of a decision
(:mod:`.decisions`). A mask that both sides share selects as a constant does. Reading at the index of a maximum is a
selection too, where the scores that decided are known; any other use of an index that differs is an error that names
what chose it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from ....errors import UnsupportedModelError
from ..operations import full_name, short_name, writes
from .decisions import as_numbers, both, number_of, predicate, settled
from .linear import without_writing
from .pairing import ON_DECISIONS, Pairing, differing_decision, rule
from .pairs import decide, decision_of, is_number, is_paired, pair, reference_of, sides, unpair

if TYPE_CHECKING:
    from ..operations import Operation

# Operations in which a decision is an index, a count of copies or a place, by the position of that argument.
_INDEXED: Final = {
    "__getitem__": 1, "gather": 2, "take_along_dim": 1, "index_select": 2, "embedding": 0, "one_hot": 0, "scatter": 2,
    "scatter_": 2, "scatter_add": 2, "scatter_add_": 2, "index_add": 2, "index_add_": 2, "index_copy": 2,
    "index_copy_": 2, "index_fill": 2, "masked_select": 1, "take": 1, "put": 1, "index_put": 1, "index_put_": 1,
    "nonzero": 0, "repeat_interleave": 1, "embedding_bag": 0, "bincount": 0, "__index__": 0, "masked_scatter": 1,
    "max_unpool1d": 1, "max_unpool2d": 1, "max_unpool3d": 1, "unique": 0, "searchsorted": 1,
}  # fmt: skip
_PYTHON: Final = frozenset({
    "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "is_nonzero", "equal",
    "allclose",
})  # fmt: skip


class Chosen(torch.autograd.Function):
    """Selection c·a + (1 − c)·b of numbers by a decision c, with the rule of products.

    A number that is not selected may be infinite or no number; where it would enter the mean, the whole difference is
    credited to the decision. Where the difference itself is infinite (a mask of −∞ before a softmax), the multiplier
    that arrives stands for a difference of ±1, as the softmax makes it.
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
    """``torch.where`` of a condition that differs between the two sides.

    Between two constants of a lower precision than that of the scores that decided, the result has the higher one.
    """
    own, other = both(torch.where, (condition, a, b), {})
    number = number_of(condition)
    a, b = (each if isinstance(each, Tensor) else torch.tensor(each, dtype=own.dtype) for each in (a, b))
    if not is_number(own):
        if any(is_paired(each) and not is_number(each) for each in (a, b)):
            a, b = (number_of(each) if is_paired(each) else each for each in (a, b))
        return decide(own, other, selected_numbers(pairing, number, a, b, number.dtype), "torch.where")
    dtype = own.dtype if own.is_complex() else torch.promote_types(own.dtype, number.dtype)
    number = number if number.dtype == dtype else pairing.on_both(torch.Tensor.to, number, dtype)
    return selected_numbers(pairing, number, a, b, dtype)


def selected_numbers(pairing: Pairing, number: Tensor, a: Tensor, b: Tensor, dtype: torch.dtype) -> Tensor:
    """c·a + (1 − c)·b of numbers, where c is the number of a decision."""
    with pairing:
        a, b = a.to(dtype), b.to(dtype)
        number, a, b = torch.broadcast_tensors(number, a, b)
    (c, c0), (one, one0), (zero, zero0) = sides(number), sides(a), sides(b)
    value, value0 = torch.where(c != 0, one, zero), torch.where(c0 != 0, one0, zero0)
    pairing.numbers += value.numel()
    return pair(Chosen.apply(number, a, b, value, (c0, one0, zero0, value0)), value0)


@rule(ON_DECISIONS)
def on_decisions(pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation of which an argument is a decision that differs between the two sides."""
    args, kwargs = (args, kwargs) if args or "input" not in kwargs else ((kwargs["input"],), _without_input(kwargs))
    writing = writes(name) or name in _WRITTEN
    base = without_writing(name) if writing else name
    if base in {"where", "masked_fill"}:
        return _by_mask(pairing, func, base, args, kwargs)
    if name == "__setitem__":
        return _written(pairing, func, *args)
    if name in _INDEXED and _decides(args, kwargs, _INDEXED[name]):
        return _read(pairing, func, name, args, kwargs)
    if name in _PYTHON:
        return predicate(pairing, func, *args, **kwargs)
    operation = getattr(Tensor, _WRITTEN.get(name, base)) if writing else func
    own, other = both(operation, args, kwargs)
    if isinstance(own, Tensor) and is_number(own):
        result = as_numbers(pairing, operation, args, kwargs)
        return pairing.write(args[0], result) if writing else result
    result = settled(pairing, operation, _WRITTEN.get(name, base), args, kwargs, (own, other))
    return _overwritten(args[0], result) if writing else result


_WRITTEN: Final = {"__iand__": "__and__", "__ior__": "__or__", "__ixor__": "__xor__"}


def _overwritten(target: Tensor, result: Tensor) -> Tensor:
    """A decision into which another was written, on both sides."""
    other, known = reference_of(result), decision_of(result)
    target.copy_(result)
    unpair(target)
    return target if other is None else decide(target, other, known.number, known.maker)


def _without_input(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "input"}


def _decides(args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> bool:
    """Whether the argument at a place, or an index by name, holds a decision."""
    index = args[place] if len(args) > place else [kwargs.get(name) for name in ("index", "indices", "mask", "repeats")]
    return any(is_paired(leaf) and not is_number(leaf) for leaf in tree_flatten(index)[0])


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
        return pairing.on_both(torch.where, condition, number_of(a), number_of(b))
    return settled(pairing, torch.where, "where", (condition, a, b), {}, both(torch.where, (condition, a, b), {}))


def _written(pairing: Pairing, func: Operation, target: Tensor, index: Any, value: Any) -> None:
    """``target[mask] = number`` by a mask that differs; decisions as values are written as their numbers."""
    if not _decides((index,), {}, 0):
        if is_number(target):
            pairing.on_both(func, target, index, number_of(value))
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
        f"This model makes a decision by {decision.maker} that differs between the input and the reference, and uses "
        f"it as an index in {full_name(func)}: DeepLIFT cannot attribute such a difference; use occlusion or "
        "kernel-shap, or a reference for which the decision is the same."
    )


def _read(pairing: Pairing, func: Operation, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Reading at chosen indices, where the scores that decided are known and each index was chosen alone.

    Raises:
        UnsupportedModelError: the decision cannot be followed.
    """
    place = _INDEXED[name]
    index = args[place] if len(args) > place else kwargs.get("index", kwargs.get("indices"))
    if name not in {"gather", "take_along_dim"} or not isinstance(index, Tensor):
        raise UnsupportedModelError(_as_index(func, index))
    values, scores, along = args[0], decision_of(index).scores, decision_of(index).dim
    dim = kwargs.get("dim", args[1] if name == "gather" else args[2] if len(args) > 2 else None)
    if scores is None or dim is None or not scores.dim() == index.dim() == values.dim():
        raise UnsupportedModelError(_as_index(func, index))
    others = [
        [size for axis, size in enumerate(each.shape) if axis != along % scores.dim()] for each in (scores, index)
    ]
    if along % scores.dim() != dim % values.dim() or others[0] != others[1]:
        raise UnsupportedModelError(_as_index(func, index))
    return _gathered(func, values, scores, index, dim)


class Gathered(torch.autograd.Function):
    """Numbers read at chosen indices: half by the numbers at both indices, half by the decision between the two.

    With i the index of the actual side and j that of the reference, y − y⁰ = v_i − v⁰_j is the mean of δv_i and δv_j,
    plus the mean of v_i − v_j and v⁰_i − v⁰_j. The latter is due to the decision, a step function of s_i − s_j, the
    difference of the scores by which the index was chosen.
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


def _gathered(func: Operation, values: Tensor, scores: Tensor, index: Tensor, dim: int) -> Tensor:
    """Pair of the numbers at chosen indices.

    Raises:
        UnsupportedModelError: the scores at both indices changed alike, so that something else decided.
    """
    (v, v0), (s, s0), (i, j) = sides(values), sides(scores), sides(index)
    value, value0 = v.gather(dim, i), v0.gather(dim, j)
    turned = (s.gather(dim, i) - s.gather(dim, j)) - (s0.gather(dim, i) - s0.gather(dim, j))
    height = ((value - v.gather(dim, j)) + (v0.gather(dim, i) - value0)) / 2
    if bool(((turned == 0) & (height != 0)).any()):
        raise UnsupportedModelError(_as_index(func, index))
    share = height / turned.masked_fill(turned == 0, 1.0)
    return pair(Gathered.apply(values, scores, value, (i, j, dim), share), value0)
