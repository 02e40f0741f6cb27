"""Run a user's module with three streams beside every tensor that depends on the explained input.

Inside :class:`Following` the module runs its own ``forward``; the tensors that it sees are the totals, so that whatever
it decides it decides as ever. Each of them carries :class:`~.streams.Streams`, on which every operation is done too:
*linear* ones stream by stream, the constants in them going to the bias; others by a rule (:mod:`.rules`). *Predicates*
and *metadata* read the total. Anything else is an error that names the operation, and so is a number read out of torch,
for what comes back from it could not be told from a constant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

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
from .streams import STREAMS, Streams, attach, prepare, streams_of

Rule = Callable[..., Any]
RuleT = TypeVar("RuleT", bound=Rule)

WHO: Final = "contextual-decomposition"
INSTEAD: Final = "use deeplift, integrated-gradients or occlusion"

_RULES: dict[str, Rule] = {}
_NUMBERS = frozenset({"item", "tolist", "__float__"})
_SUMS = (
    "add", "__add__", "__radd__", "add_", "__iadd__", "sub", "subtract", "__sub__", "__rsub__", "rsub", "sub_",
    "__isub__",
)  # fmt: skip
# Where the numbers stand that are added, not multiplied or counted.
_ADDED: Final = {
    "__setitem__": (2,), "fill_": (1,), "pad": (3,), "_pad_packed_sequence": (3,), "masked_fill": (2,),
    "masked_fill_": (2,), "scatter": (3,), "scatter_": (3,), "where": (0, 1, 2), **dict.fromkeys(_SUMS, (0, 1)),
}  # fmt: skip
_ADDED_BY_NAME: Final = ("value", "other", "src", "padding_value")


def _neighbours(
    amount: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """:func:`torch.diff` of sizes: the sums of neighbours."""
    amount = torch.cat([part for part in (prepend, amount, append) if part is not None], dim)
    for _ in range(n):
        rest = amount.shape[dim] - 1
        amount = amount.narrow(dim, 1, rest) + amount.narrow(dim, 0, rest)
    return amount


# What does to the sizes of its arguments what an operation with a sign does to them.
_UNSIGNED: Final[dict[str, Operation]] = {
    **dict.fromkeys(("sub", "subtract", "__sub__", "__rsub__", "rsub"), torch.add),
    **dict.fromkeys(("sub_", "__isub__"), torch.Tensor.add_),
    **dict.fromkeys(("neg", "__neg__"), torch.clone),
    "neg_": torch.Tensor.contiguous,
    "diff": _neighbours,
}


def rule(*operations: str) -> Callable[[RuleT], RuleT]:
    """Decorator: the rule for operations of these names, called as ``rule(following, operation, *args, **kwargs)``."""

    def add(found: RuleT) -> RuleT:
        _RULES.update(dict.fromkeys(operations, found))
        return found

    return add


def is_followed(value: object) -> bool:
    """Whether a value depends on the explained input."""
    return isinstance(value, Tensor) and streams_of(value) is not None


class Following(TorchFunctionMode):
    """The mode in which every operation is done on the total and on its streams."""

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401  # an operation takes and gives anything
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        # nobody records gradients in here: a tensor that has a history all the same was made where nobody looked
        if any(not is_followed(tensor) and tensor.grad_fn is not None for tensor in tensors):
            raise UnsupportedModelError(
                f"{WHO} lost track of this model before {full_name(func)}: an operation there hides "
                f"what it computes from; {INSTEAD}."
            )
        with torch.no_grad():
            return self._followed(func, args, kwargs) if any(map(is_followed, tensors)) else func(*args, **kwargs)

    def _followed(self, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        name = short_name(func)
        if name in METADATA:
            return func(*args, **kwargs)
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        if writes(name) and name[:-1] in _RULES:
            return self.write(args[0], self._by_rule(name[:-1], out_of_place(name[:-1]), args, kwargs))
        if name in LINEAR:
            return self.linear(func, *args, **kwargs)
        if name in PREDICATES and name not in _NUMBERS:
            return func(*args, **kwargs)
        raise UnsupportedModelError(f"{WHO} has no rule for the operation {full_name(func)} in this model: {INSTEAD}.")

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        args, kwargs = positional(args, kwargs)
        try:
            return _RULES[name](self, func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedModelError(
                f"{WHO} has no rule for {full_name(func)} as this model calls it ({error}): {INSTEAD}."
            ) from error

    def linear(self, func: Operation, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as above
        """Do an operation on the total and on each stream, and let what comes out carry what came of these."""
        name = short_name(func)
        followed = [streams_of(leaf) for leaf in tree_flatten((args, kwargs))[0] if is_followed(leaf)]
        if writes(name):
            prepare(args[0])
        made = {}
        for stream in STREAMS:
            operation = _UNSIGNED.get(name, func) if stream in {"inside", "outside"} else func
            own_args, own_kwargs = _arguments(name, stream, args, kwargs)
            made[stream] = tree_flatten(operation(*own_args, **own_kwargs))[0]
        total = func(*args, **kwargs)
        weights = all(streams is not None and streams.weights for streams in followed)
        for place, leaf in enumerate(tree_flatten(total)[0]):
            if isinstance(leaf, Tensor) and leaf.is_floating_point():
                attach(leaf, Streams(**{stream: leaves[place] for stream, leaves in made.items()}, weights=weights))
        return total

    def write(self, target: Tensor, found: Tensor) -> Tensor:
        """Put a result with a rule where an operation in place would have put it, on the total and on each stream."""
        prepare(target)
        kept, streams = streams_of(target), streams_of(found)
        if kept is None or streams is None:  # neither can be: the one was prepared, the other came from a rule
            raise TypeError("nothing to write")
        for stream in STREAMS:
            getattr(kept, stream).copy_(getattr(streams, stream))
        return attach(target.copy_(found), replace(kept, weights=streams.weights))


def _arguments(
    name: str, stream: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A linear operation's arguments for one stream: constants that are added go to the bias alone."""

    def chosen(value: object) -> object:
        if not isinstance(value, Tensor):
            return value
        streams = streams_of(value)
        if streams is not None:
            return getattr(streams, stream)
        return torch.zeros_like(value) if stream != "bias" and value.is_floating_point() else value

    own_args, own_kwargs = tree_map(chosen, (args, kwargs))
    if stream == "bias" or name not in _ADDED:
        return own_args, own_kwargs
    own_args = tuple(_without(value) if place in _ADDED[name] else value for place, value in enumerate(own_args))
    own_kwargs = {key: _without(value) if key in _ADDED_BY_NAME else value for key, value in own_kwargs.items()}
    if "alpha" in own_kwargs and stream in {"inside", "outside"}:
        own_kwargs["alpha"] = abs(own_kwargs["alpha"])
    return own_args, own_kwargs


def _without(value: object) -> object:
    """0 for a number that is added, as a tensor or not; a mask is none."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() or value.dtype == torch.bool else torch.zeros_like(value)
    return 0 if isinstance(value, (int, float)) else value
