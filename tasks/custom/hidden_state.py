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

# Names that people give to a hidden state: hidden, hid, h0, h_n, hx, hc, cx, rnn_hxs, init_state, prev_h, carry.
_NAMES: Final = re.compile(
    r".*hid(den)?(_.*|s)?|.*state.*|.*carry.*|memory|cell|prev|init|initial"
    r"|((rnn|lstm|gru|prev|init|initial|last|start)_?)?[hc]{1,2}_?(0|n|t|x|xs|s|in|c|prev|init)?[0-9]?|s0|z0"
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
    sizes = list(dict.fromkeys(_sizes(model)))
    if value is not None:
        return _given(name, value, rows, sizes)
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


def _given(name: str, value: Any, rows: int, sizes: list[tuple[tuple[int, ...], ...]]) -> list[Choice]:  # noqa: ANN401  # a user's own value
    """Ways to hand over a given state: as a state with its rows where torch has them, and as other context is.

    Raises:
        DataError: the value has no axis of so many rows.
    """
    several = isinstance(value, tuple)
    tensors = [torch.as_tensor(part).detach().cpu().clone() for part in (value if several else (value,))]
    choices: list[Choice] = []
    row_first = [_row_first(tensor, rows) for tensor in tensors]
    if all(tensor is not None for tensor in row_first):
        states = [tensor for tensor in row_first if tensor is not None]
        argument = StateArgument(name, tuple(tuple(each.shape[1:]) for each in states), several=several, given=True)
        choices.append((argument, dict(zip(argument.keys, states, strict=True))))
    if not several and tensors[0].dim() > 0 and len(tensors[0]) == rows:  # one row for each sequence
        plain: Choice = (None, {name: tensors[0]})
        # a state of the size that a layer has is handed over as torch has it; anything else is context first
        sized = {own for shapes in sizes for own in shapes}
        is_sized = bool(choices) and all(
            size in sized for argument, _ in choices if argument for size in argument.sizes
        )
        choices = [*choices, plain] if is_sized else [plain, *choices]
    if not choices:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise DataError(
            f"The context {name!r} has shape {shapes} for {rows} sequences: give one row for each, or a hidden state "
            f"as [layers, {rows}, units]."
        )
    return choices


def _row_first(state: Tensor, rows: int) -> Tensor | None:
    """A state [B, …] from one that is layer-first [layers, B, units] or row-first; None if it is neither.

    Where both fit, it is layer-first, as in torch.
    """
    if state.dim() == 3 and state.shape[1] == rows:
        return state.transpose(0, 1).contiguous()
    return state if state.dim() >= 2 and state.shape[0] == rows else None
