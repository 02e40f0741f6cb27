"""Recurrent layers read step by step, for sequences that share their beginnings.

The equations are those of torch's LSTM, GRU and tanh RNN. What a step contributes on its own, W x + b, is computed
apart (:meth:`Reader.features`), once for equal steps. tanh(a) is written 2 σ(2a) − 1, with the 2 within the weights:
all gates then go through one σ, which on a CPU is five times faster than tanh and as exact in absolute terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

State = tuple[Tensor, ...]


@dataclass(frozen=True)
class _Layer:
    """One layer in one direction: weights transposed, those of a tanh doubled; G gates of H units.

    Attributes:
        inputs: float[D, G·H].
        bias: float[G·H], what is added to the product with ``inputs``.
        recurrent: float[H, G·H].
        beside: float[H], what is added to the product with ``recurrent`` where the cell keeps the two apart (GRU); else
            empty.
    """

    inputs: Tensor
    bias: Tensor
    recurrent: Tensor
    beside: Tensor


class Reader:
    """Step-by-step reading of one layer direction; see :class:`xrnnbench.tasks.engine.shared_prefixes.Reader`.

    Args:
        recurrent: the layer, or stack of them.
        direction: 0, or 1 for the backward one.
        embedding: of tokens.
    """

    def __init__(self, recurrent: nn.RNNBase, direction: int, embedding: nn.Module | None) -> None:
        self._embedding = embedding
        self._layers = [_layer(recurrent, number, direction) for number in range(recurrent.num_layers)]
        self._cell = _CELLS[type(recurrent)]
        self._states = 2 if isinstance(recurrent, nn.LSTM) else 1

    def begin(self) -> State:
        """A state float[1, H] of zeros for each layer (LSTM: its output and its memory)."""
        zero = [layer.recurrent.new_zeros(1, len(layer.recurrent)) for layer in self._layers]
        return tuple(state for state in zero for _ in range(self._states))

    def features(self, contents: Tensor) -> Tensor:
        """float[N, G·H]: what steps [N(, D)] give to the first layer's gates."""
        steps = self._embedding(contents) if self._embedding is not None else contents
        return torch.addmm(self._layers[0].bias, steps, self._layers[0].inputs)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The last layer's outputs float[N, H] and the states after one step; the features are used up."""
        found: list[Tensor] = []
        for number, layer in enumerate(self._layers):
            if number:
                features = torch.addmm(layer.bias, found[-self._states], layer.inputs)
            found += self._cell(layer, features, *state[len(found) : len(found) + self._states])
        return found[-self._states], tuple(found)


class GreatestReader(Reader):
    """Its outputs are the greatest of those so far, value by value: max pooling on the way."""

    def begin(self) -> State:
        """As :class:`Reader`, and the greatest outputs float[1, H]."""
        cell = super().begin()
        return (*cell, torch.full_like(cell[0], -torch.inf))

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`Reader.advance`."""
        outputs, cell = super().advance(features, state[:-1])
        greatest = torch.maximum(state[-1], outputs)
        return greatest, (*cell, greatest)


class AttentiveReader(Reader):
    """Its outputs are those so far, averaged by attention: softmax pooling on the way.

    Kept are the greatest energy m, the sum of the weights exp(e − m), and the mean under them, which takes each new
    output in by its share: what is kept depends on what was read and on nothing that follows.

    Args:
        recurrent, direction, embedding: see :class:`Reader`.
        energy: of the attention, float[N] for outputs float[N, H].
    """

    def __init__(
        self,
        recurrent: nn.RNNBase,
        direction: int,
        embedding: nn.Module | None,
        energy: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(recurrent, direction, embedding)
        self._energy = energy

    def begin(self) -> State:
        """As :class:`Reader`, and m float[1, 1], the sum float[1, 1] and the mean float[1, H]."""
        cell = super().begin()
        sums = cell[0].new_zeros(1, 1)
        return (*cell, torch.full_like(sums, -torch.inf), sums, torch.zeros_like(cell[0]))

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`Reader.advance`."""
        *cell, greatest, total, mean = state
        outputs, after = super().advance(features, tuple(cell))
        energy = self._energy(outputs)[:, None]
        most = torch.maximum(greatest, energy)
        weight = (energy - most).exp()
        total = (greatest - most).exp() * total + weight
        mean = torch.lerp(mean, outputs, weight / total)
        return mean, (*after, most, total, mean)


def _layer(recurrent: nn.RNNBase, number: int, direction: int) -> _Layer:
    suffix = f"_l{number}" + ("_reverse" if direction else "")
    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    inputs, bias, hidden, beside = (getattr(recurrent, name + suffix).detach().clone() for name in names)
    width = recurrent.hidden_size
    doubled = {nn.LSTM: slice(2 * width, 3 * width), nn.GRU: slice(2 * width, None), nn.RNN: slice(None)}
    for part in (inputs, bias, hidden, beside):
        part[doubled[type(recurrent)]] *= 2
    together = 2 * width if isinstance(recurrent, nn.GRU) else len(bias)
    bias[:together] += beside[:together]
    return _Layer(inputs.T.contiguous(), bias, hidden.T.contiguous(), beside[together:])


def _lstm(layer: _Layer, gates: Tensor, hidden: Tensor, memory: Tensor) -> State:
    gates.addmm_(hidden, layer.recurrent).sigmoid_()
    into, kept, new, out = gates.chunk(4, 1)
    memory = torch.addcmul(kept * memory, into, new.sub_(0.5), value=2)
    squashed = (2 * memory).sigmoid_().mul_(2).sub_(1)
    return squashed.mul_(out), memory


def _gru(layer: _Layer, gates: Tensor, hidden: Tensor) -> State:
    width = hidden.shape[1]
    both, new = gates[:, : 2 * width], gates[:, 2 * width :]
    both.addmm_(hidden, layer.recurrent[:, : 2 * width]).sigmoid_()
    reset, update = both.chunk(2, 1)
    new.addcmul_(reset, torch.addmm(layer.beside, hidden, layer.recurrent[:, 2 * width :]))
    new.sigmoid_().mul_(2).sub_(1)
    return (torch.addcmul(new, update, hidden - new),)


def _rnn(layer: _Layer, gates: Tensor, hidden: Tensor) -> State:
    return (gates.addmm_(hidden, layer.recurrent).sigmoid_().mul_(2).sub_(1),)


_CELLS: dict[type[nn.RNNBase], Callable[..., State]] = {nn.LSTM: _lstm, nn.GRU: _gru, nn.RNN: _rnn}
