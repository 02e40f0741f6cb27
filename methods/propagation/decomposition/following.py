"""Torch function mode that runs a user's module on the streams of every tensor that depends on the explained input.

Inside :class:`Following` the module runs its own ``forward``. The tensors that it sees are the totals, so that all its
decisions are the usual ones. Each total carries :class:`~.streams.Streams`, and every operation is done on these too:
*linear* operations stream by stream, with their constants added to the bias stream; others by a rule (:mod:`.rules`).
*Predicates* and *metadata* read the total. Any other operation is split as a function of all its arguments
(:mod:`.joint`). A number read out of torch is an error that names the operation, because values computed from it could
not be distinguished from constants.
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
    takes_only_form,
    writes,
)
from ..parts import is_complex, is_numeric
from .streams import STREAMS, Streams, attach, ensure_streams, streams_of

Rule = Callable[..., Any]
RuleT = TypeVar("RuleT", bound=Rule)

METHOD: Final = "contextual-decomposition"
ANY_OTHER: Final = "any other operation"

_RULES: dict[str, Rule] = {}
_NUMBERS = frozenset({"item", "tolist", "__float__"})
_SUMS = (
    "add", "__add__", "__radd__", "add_", "__iadd__", "sub", "subtract", "__sub__", "__rsub__", "rsub", "sub_",
    "__isub__",
)  # fmt: skip
# Positions of the arguments that are added, not multiplied or counted.
_ADDEND_POSITIONS: Final = {
    "__setitem__": (2,), "fill_": (1,), "pad": (3,), "_pad_packed_sequence": (3,), "masked_fill": (2,),
    "masked_fill_": (2,), "scatter": (3,), "scatter_": (3,), "where": (0, 1, 2), **dict.fromkeys(_SUMS, (0, 1)),
}  # fmt: skip
_ADDEND_NAMES: Final = ("value", "other", "src", "padding_value")


def _neighbour_sums(
    amount: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None
) -> Tensor:
    """Counterpart of :func:`torch.diff` for non-negative amounts: sums of neighbouring elements."""
    amount = torch.cat([part for part in (prepend, amount, append) if part is not None], dim)
    for _ in range(n):
        rest = amount.shape[dim] - 1
        amount = amount.narrow(dim, 1, rest) + amount.narrow(dim, 0, rest)
    return amount


# Counterparts of operations that subtract or negate, for the non-negative amounts inside and outside.
_UNSIGNED: Final[dict[str, Operation]] = {
    **dict.fromkeys(("sub", "subtract", "__sub__", "__rsub__", "rsub"), torch.add),
    **dict.fromkeys(("sub_", "__isub__"), torch.Tensor.add_),
    **dict.fromkeys(("neg", "__neg__"), torch.clone),
    "neg_": torch.Tensor.contiguous,
    "diff": _neighbour_sums,
}


def rule(*operations: str) -> Callable[[RuleT], RuleT]:
    """Decorator that registers a rule for operations, by their names.

    The rule is called as ``rule(following, operation, *args, **kwargs)``.
    """

    def add(function: RuleT) -> RuleT:
        _RULES.update(dict.fromkeys(operations, function))
        return function

    return add


def refusal(func: Operation, why: str) -> UnsupportedModelError:
    """Error for an operation that has no rule as it is called; ``why`` continues the sentence after its name."""
    why = f", {why}" if why.startswith("which ") else f" {why}"
    return UnsupportedModelError(f"{METHOD} has no rule for {full_name(func)}{why}.")


def is_followed(value: object) -> bool:
    """Whether a value depends on the explained input."""
    return isinstance(value, Tensor) and streams_of(value) is not None


class Following(TorchFunctionMode):
    """Torch function mode in which every operation is done on the total and on its streams.

    An operation that no rule can split raises :class:`UnsupportedModelError`.

    Attributes:
        undefined: what to say of operations that are not defined for one of the streams, if that reaches the score; a
            divisor, which is not decomposed, may have such streams.
    """

    def __init__(self) -> None:
        super().__init__()
        self.undefined: list[str] = []

    def __torch_function__(self, func: Operation, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401  # an operation takes and returns anything
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        # no gradients are recorded in this mode: a tensor that has a history was computed where the mode did not see it
        if any(not is_followed(tensor) and tensor.grad_fn is not None for tensor in tensors):
            raise UnsupportedModelError(
                f"{METHOD} lost track of this model before {full_name(func)}: an operation there hides which tensors "
                "it computes from."
            )
        with torch.no_grad():
            return self._dispatch(func, args, kwargs) if any(map(is_followed, tensors)) else func(*args, **kwargs)

    def _dispatch(self, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        name = short_name(func)
        if name in METADATA or takes_only_form(name, args, is_followed):
            return func(*args, **kwargs)
        if name in _RULES:
            return self._by_rule(name, func, args, kwargs)
        if writes(name) and name[:-1] in _RULES:
            return self.write(args[0], self._by_rule(name[:-1], out_of_place(name[:-1]), args, kwargs))
        if name in LINEAR:
            return self.linear(func, *args, **kwargs)
        if name in _NUMBERS:
            raise refusal(func, "which reads a number out of torch")
        return func(*args, **kwargs) if name in PREDICATES else self._any_other(name, func, args, kwargs)

    def _any_other(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        if not writes(name):
            return _RULES[ANY_OTHER](self, func, *args, **kwargs)
        if not hasattr(torch.Tensor, name[:-1]):
            raise refusal(func, "which writes into its argument")
        return self.write(args[0], _RULES[ANY_OTHER](self, out_of_place(name[:-1]), *args, **kwargs))

    def _by_rule(self, name: str, func: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # as above
        dimension = {"dim": kwargs["dim"]} if "dim" in kwargs else {}  # positional() would pass it second
        args, kwargs = positional(args, {name: value for name, value in kwargs.items() if name != "dim"})
        kwargs |= dimension
        try:
            return _RULES[name](self, func, *args, **kwargs)
        except TypeError as error:
            raise UnsupportedModelError(
                f"{METHOD} has no rule for {full_name(func)} as this model calls it ({error})."
            ) from error

    def linear(self, func: Operation, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as above
        """Do a linear operation on the total and on each stream, and attach the resulting streams to its result."""
        name = short_name(func)
        followed = [streams_of(leaf) for leaf in tree_flatten((args, kwargs))[0] if is_followed(leaf)]
        if writes(name):
            ensure_streams(args[0])
        results = {}
        for stream in STREAMS:
            operation = _UNSIGNED.get(name, func) if stream in {"inside", "outside"} else func
            own_args, own_kwargs = _arguments(name, stream, args, kwargs)
            results[stream] = tree_flatten(operation(*own_args, **own_kwargs))[0]
            if stream in {"inside", "outside"}:  # amounts are real, also those of complex tensors
                results[stream] = [leaf.real if is_complex(leaf) else leaf for leaf in results[stream]]
        total = func(*args, **kwargs)
        weights, statistic = (
            all(getattr(streams, flag) for streams in followed if streams is not None)
            for flag in ("weights", "statistic")
        )
        for index, leaf in enumerate(tree_flatten(total)[0]):
            if isinstance(leaf, Tensor) and is_numeric(leaf):
                own = {stream: leaves[index] for stream, leaves in results.items()}
                attach(leaf, Streams(**own, weights=weights, statistic=statistic))
        return total

    def check_defined(self, func: Operation, part: Tensor, total: Tensor) -> None:
        """Note an operation one of whose streams is not finite, although its result is."""
        if not bool(torch.isfinite(part).all()) and bool(torch.isfinite(total).all()):
            self.undefined.append(str(refusal(func, "where one of the streams lies outside its domain")))

    def write(self, target: Tensor, result: Tensor) -> Tensor:
        """Write the result of a rule into the target of an in-place operation, in the total and in each stream."""
        ensure_streams(target)
        target_streams, streams = streams_of(target), streams_of(result)
        if target_streams is None or streams is None:  # for the type checker: both tensors have streams
            raise TypeError("nothing to write")
        for stream in STREAMS:
            getattr(target_streams, stream).copy_(getattr(streams, stream))
        return attach(
            target.copy_(result), replace(target_streams, weights=streams.weights, statistic=streams.statistic)
        )


def _arguments(
    name: str, stream: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of a linear operation for one stream: constants that are added go to the bias stream alone."""

    def of_stream(value: object) -> object:
        if not isinstance(value, Tensor):
            return value
        streams = streams_of(value)
        if streams is not None:
            return getattr(streams, stream)
        return torch.zeros_like(value) if stream != "bias" and is_numeric(value) else value

    own_args, own_kwargs = tree_map(of_stream, (args, kwargs))
    if stream == "bias" or name not in _ADDEND_POSITIONS:
        return own_args, own_kwargs
    own_args = tuple(
        _zeroed(value) if position in _ADDEND_POSITIONS[name] else value for position, value in enumerate(own_args)
    )
    own_kwargs = {key: _zeroed(value) if key in _ADDEND_NAMES else value for key, value in own_kwargs.items()}
    if "alpha" in own_kwargs and stream in {"inside", "outside"}:
        own_kwargs["alpha"] = abs(own_kwargs["alpha"])
    return own_args, own_kwargs


def _zeroed(value: object) -> object:
    """Zero in the place of a constant that is added, a number or an integer tensor; any other value unchanged."""
    if isinstance(value, Tensor):
        return value if is_numeric(value) or value.dtype == torch.bool else torch.zeros_like(value)
    return 0 if isinstance(value, (int, float)) else value
