"""Choice of recurrent layers by the name of their cell."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from torch import nn

from ....errors import ParameterError
from .cfc import Cfc
from .gru_d import GruD
from .lru import Lru
from .mamba import Mamba
from .min_gru import MinGru
from .stack import RecurrentStack
from .xlstm import MLstm, SLstm

if TYPE_CHECKING:
    from collections.abc import Callable

    from .layer import RecurrentLayer

Recurrent = nn.RNNBase | RecurrentStack

TORCH: Final[dict[str, Callable[..., nn.RNNBase]]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
_LAYERS: Final[dict[str, Callable[[int, int], RecurrentLayer]]] = {
    "mingru": MinGru, "slstm": SLstm, "mlstm": MLstm, "cfc": Cfc, "lru": Lru, "mamba": Mamba,
}  # fmt: skip
# Cost of a step read by a Reader, relative to one of a batch.
_RATES: Final[dict[type[nn.Module], float]] = {
    nn.LSTM: 1.0, nn.GRU: 0.75, nn.RNN: 0.85,
    MinGru: 0.65, SLstm: 0.95, MLstm: 0.85, Cfc: 1.0, Lru: 0.9, Mamba: 1.05, GruD: 0.95,
}  # fmt: skip


def recurrent_layers(
    cell: str, input_size: int, hidden_size: int, *, layers: int = 1, bidirectional: bool = False, measured: int = 0
) -> Recurrent:
    """Recurrent layers of a cell: torch's own, or a stack of the layers of this package.

    Raises:
        ParameterError: there is no such cell.
    """
    if cell in TORCH:
        return TORCH[cell](input_size, hidden_size, num_layers=layers, bidirectional=bidirectional, batch_first=True)
    make = partial(GruD, measured=measured) if cell == "grud" else _LAYERS.get(cell)
    if make is None:
        raise ParameterError(f"cell={cell!r} does not fit (it is one of {', '.join([*TORCH, *_LAYERS])}).")
    return RecurrentStack(make, input_size, hidden_size, layers, bidirectional=bidirectional)


def reading_rate(recurrent: Recurrent) -> float:
    """Cost of reading one step of a row by a reader, relative to one step of a batch."""
    return _RATES[type(recurrent.layers[0] if isinstance(recurrent, RecurrentStack) else recurrent)]
