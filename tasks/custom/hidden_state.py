"""Hidden states that a user's ``forward`` takes as arguments: recognised by name, sized by the recurrent layers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from ...errors import DataError
from ..engine.adapters import StateArgument

if TYPE_CHECKING:
    from collections.abc import Iterator

# Names that people give to a hidden state: hidden, h0, h_0, hx, cx, c0, hc, state, init_state, prev_h, carry, memory.
_NAMES: Final = re.compile(
    r"(.*hidden.*|.*state.*|.*carry.*|memory|h|c|hc|hx|cx|[hc]_?0|[hc]_?(prev|init)|(prev|init)_?[hc]|cell)"
)

Choice = tuple["StateArgument | None", dict[str, Tensor]]


def is_state(name: str) -> bool:
    """Whether a parameter's name is that of a hidden state."""
    return _NAMES.fullmatch(name.lower()) is not None


def states_of(model: nn.Module, name: str, value: object, rows: int, arguments: int) -> list[Choice]:
    """Ways to fill an argument that takes a hidden state, the likeliest first.

    Args:
        model: the module, whose recurrent layers give the sizes.
        name: the parameter.
        value: the state that the user gives: a tensor, or a tuple of tensors, layer-first [layers, B, units] or
            row-first [B, layers, units]; None for zeros.
        rows: B.
        arguments: number of hidden states that forward takes as arguments of their own; an LSTM's (h, c) is one
            argument or two.

    Returns:
        pairs of the argument, None for an ordinary context, and the context that holds a given state, row-first.

    Raises:
        DataError: no layer gives a size, or the given state has no axis of so many rows.
    """
    if value is not None:
        return list(_given(name, value, rows))
    sizes = list(dict.fromkeys(_sizes(model)))
    if not sizes:
        raise DataError(
            f"{type(model).__name__}.forward needs {name!r}, and no recurrent layer of it says how large a state is: "
            f"give it as context={{{name!r}: …}}."
        )
    choices: list[Choice] = []
    for shapes in sizes:
        several = len(shapes) > 1 and arguments == 1
        forms = [several, not several] if len(shapes) > 1 else [False, True]
        for as_tuple in forms:
            own = shapes if as_tuple else shapes[:1]
            choices.append((StateArgument(name, own, several=as_tuple), {}))
    return choices


def _sizes(model: nn.Module) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Sizes of the state of each recurrent layer, without rows: of (h, c) for an LSTM, of h for others."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            layers = module.num_layers * (2 if module.bidirectional else 1)
            hidden = (layers, module.proj_size or module.hidden_size)
            yield (hidden, (layers, module.hidden_size)) if isinstance(module, nn.LSTM) else (hidden,)
        elif isinstance(module, nn.RNNCellBase):
            cell = (module.hidden_size,)
            yield (cell, cell) if isinstance(module, nn.LSTMCell) else (cell,)
    width = getattr(model, "hidden_size", None) or getattr(model, "hidden_dim", None)
    if isinstance(width, int):  # a cell of the user's own
        yield ((width,),)
        yield ((1, width),)


def _given(name: str, value: Any, rows: int) -> Iterator[Choice]:  # noqa: ANN401  # a user's own value
    """Ways to hand over a given state: as it is, and as a state with the rows in the place where torch has them."""
    several = isinstance(value, tuple)
    tensors = [torch.as_tensor(part).detach().cpu().clone() for part in (value if several else (value,))]
    row_first = [_row_first(tensor, rows, name) for tensor in tensors]
    layers = tuple(tuple(tensor.shape[1:]) for tensor in row_first)
    argument = StateArgument(name, layers, several=several, given=True)
    if not several and tensors[0].shape[0] == rows:  # as other context is given, one row for each sequence
        yield None, {name: tensors[0]}
    yield argument, dict(zip(argument.keys, row_first, strict=True))


def _row_first(state: Tensor, rows: int, name: str) -> Tensor:
    """A state [B, …] from one that is layer-first [layers, B, units] or row-first.

    Where both fit, it is layer-first, as in torch.
    """
    if state.dim() == 3 and state.shape[1] == rows:
        return state.transpose(0, 1).contiguous()
    if state.dim() >= 2 and state.shape[0] == rows:
        return state
    raise DataError(
        f"The state {name!r} has shape {list(state.shape)} for {rows} sequences: give it as [layers, {rows}, units] or "
        f"[{rows}, layers, units]."
    )
