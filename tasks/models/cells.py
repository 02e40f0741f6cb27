"""Step-by-step readers of recurrent layers, for sequences that share prefixes.

The equations of :class:`TorchReader` are those of torch's LSTM, GRU and tanh RNN. The contribution W x + b of a step is
computed separately (:meth:`TorchReader.features`), once for equal steps. tanh(a) is written as 2 σ(2a) − 1, with the
inner 2 within the weights: all gates then go through one σ, which on a CPU is five times faster than tanh and has the
same absolute error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .recurrences.stack import RecurrentStack

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.shared_prefixes import Reader

State = tuple[Tensor, ...]


def reader_of(recurrent: nn.RNNBase | RecurrentStack, direction: int, embedding: nn.Module | None) -> Reader:
    """Reader of one direction of recurrent layers: torch's, or a stack of the layers of this package.

    Args:
        recurrent: the recurrent layer, or stack of layers.
        direction: 0 forwards, 1 backwards.
        embedding: embeds tokens; None for real-valued inputs.
    """
    kind = StackReader if isinstance(recurrent, RecurrentStack) else TorchReader
    return kind(recurrent, direction, embedding)  # type: ignore[arg-type]  # each kind has its own recurrent


@dataclass(frozen=True)
class _Layer:
    """Weights of one layer in one direction, transposed, those of a tanh doubled; G gates of H units.

    Attributes:
        inputs: float[D, G·H], weights of the input.
        bias: float[G·H], added to the product with ``inputs``.
        recurrent: float[H, G·H], weights of the hidden state.
        recurrent_bias: float[H], added to the product with ``recurrent`` where the cell needs a bias of its own there
            (the candidate of a GRU); else empty.
    """

    inputs: Tensor
    bias: Tensor
    recurrent: Tensor
    recurrent_bias: Tensor


class TorchReader:
    """Reader of torch's LSTM, GRU or RNN; see :class:`xrnnbench.tasks.engine.shared_prefixes.Reader`.

    Args:
        recurrent, direction, embedding: see :func:`reader_of`.
    """

    def __init__(self, recurrent: nn.RNNBase, direction: int, embedding: nn.Module | None) -> None:
        self._embedding = embedding
        self._layers = [_layer(recurrent, number, direction) for number in range(recurrent.num_layers)]
        self._cell = _CELLS[type(recurrent)]
        self._states = 2 if isinstance(recurrent, nn.LSTM) else 1

    def begin(self) -> State:
        """Initial state: zeros float[1, H] for each layer (LSTM: for its output and its memory)."""
        zero = [layer.recurrent.new_zeros(1, len(layer.recurrent)) for layer in self._layers]
        return tuple(state for state in zero for _ in range(self._states))

    def features(self, contents: Tensor) -> Tensor:
        """Contribution float[N, G·H] of steps [N(, D)] to the first layer's gates."""
        steps = self._embedding(contents) if self._embedding is not None else contents
        return torch.addmm(self._layers[0].bias, steps, self._layers[0].inputs)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The last layer's outputs float[N, H] and the states after one step; the features are overwritten."""
        states: list[Tensor] = []
        for number, layer in enumerate(self._layers):
            if number:
                features = torch.addmm(layer.bias, states[-self._states], layer.inputs)
            states += self._cell(layer, features, *state[len(states) : len(states) + self._states])
        return states[-self._states], tuple(states)


class StackReader:
    """Reader of a :class:`RecurrentStack`, by the definition of its layers.

    Args:
        recurrent, direction, embedding: see :func:`reader_of`.
    """

    def __init__(self, recurrent: RecurrentStack, direction: int, embedding: nn.Module | None) -> None:
        self._embedding = embedding
        self._layers = recurrent.direction(direction)
        self._sizes = [len(layer.begin()) for layer in self._layers]

    def begin(self) -> State:
        """Initial states [1, …] of all layers."""
        return tuple(part for layer in self._layers for part in layer.begin())

    def features(self, contents: Tensor) -> Tensor:
        """Features float[N, F] of steps [N(, D)] for the first layer."""
        return self._layers[0].features(self._embedding(contents) if self._embedding is not None else contents)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The last layer's outputs float[N, H] and the states after one step."""
        states: list[Tensor] = []
        outputs = features
        for number, (layer, size) in enumerate(zip(self._layers, self._sizes, strict=True)):
            read = layer.features(outputs) if number else features
            outputs, after = layer.advance(read, state[len(states) : len(states) + size])
            states += after
        return outputs, tuple(states)


class GreatestReader:
    """Reader with running max pooling: its outputs are the elementwise maximum of all outputs so far.

    Args:
        reader: reads the outputs.
        width: H, their size.
    """

    def __init__(self, reader: Reader, width: int) -> None:
        self._reader = reader
        self._width = width

    def begin(self) -> State:
        """Initial state of the reader, and the maximum float[1, H] of the outputs, −∞."""
        cell = self._reader.begin()
        return (*cell, cell[0].new_full((1, self._width), -torch.inf))

    def features(self, contents: Tensor) -> Tensor:
        """Features of the reader."""
        return self._reader.features(contents)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The maximum float[N, H] so far, and the states after one step."""
        outputs, cell = self._reader.advance(features, state[:-1])
        greatest = torch.maximum(state[-1], outputs)
        return greatest, (*cell, greatest)


class AttentiveReader:
    """Reader with running attention pooling: its outputs are the attention-weighted mean of all outputs so far.

    The state holds the greatest energy m, the sum of the weights exp(e − m), and the weighted mean, to which each new
    output is added in proportion to its weight. So the state depends on the steps read so far alone.

    Args:
        reader: reads the outputs.
        width: H, their size.
        energy: energies float[N] of the attention, from outputs float[N, H].
    """

    def __init__(self, reader: Reader, width: int, energy: Callable[[Tensor], Tensor]) -> None:
        self._reader = reader
        self._width = width
        self._energy = energy

    def begin(self) -> State:
        """Initial state of the reader, and m float[1, 1], the sum float[1, 1] and the mean float[1, H]."""
        cell = self._reader.begin()
        sums = cell[0].new_zeros(1, 1)
        return (*cell, torch.full_like(sums, -torch.inf), sums, sums.new_zeros(1, self._width))

    def features(self, contents: Tensor) -> Tensor:
        """Features of the reader."""
        return self._reader.features(contents)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """The weighted mean float[N, H] so far, and the states after one step."""
        *cell, greatest, total, mean = state
        outputs, after = self._reader.advance(features, tuple(cell))
        energy = self._energy(outputs)[:, None]
        most = torch.maximum(greatest, energy)
        weight = (energy - most).exp()
        total = (greatest - most).exp() * total + weight
        mean = torch.lerp(mean, outputs, weight / total)
        return mean, (*after, most, total, mean)


def _layer(recurrent: nn.RNNBase, number: int, direction: int) -> _Layer:
    """Weights of one layer of a stack in one direction, copied from torch's layer."""
    suffix = f"_l{number}" + ("_reverse" if direction else "")
    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    inputs, bias, hidden, hidden_bias = (getattr(recurrent, name + suffix).detach().clone() for name in names)
    width = recurrent.hidden_size
    doubled = {nn.LSTM: slice(2 * width, 3 * width), nn.GRU: slice(2 * width, None), nn.RNN: slice(None)}
    for part in (inputs, bias, hidden, hidden_bias):
        part[doubled[type(recurrent)]] *= 2
    summed = 2 * width if isinstance(recurrent, nn.GRU) else len(bias)
    bias[:summed] += hidden_bias[:summed]
    return _Layer(inputs.T.contiguous(), bias, hidden.T.contiguous(), hidden_bias[summed:])


def _lstm(layer: _Layer, gates: Tensor, hidden: Tensor, memory: Tensor) -> State:
    gates.addmm_(hidden, layer.recurrent).sigmoid_()
    input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
    memory = torch.addcmul(forget_gate * memory, input_gate, candidate.sub_(0.5), value=2)
    squashed = (2 * memory).sigmoid_().mul_(2).sub_(1)
    return squashed.mul_(output_gate), memory


def _gru(layer: _Layer, gates: Tensor, hidden: Tensor) -> State:
    width = hidden.shape[1]
    both, candidate = gates[:, : 2 * width], gates[:, 2 * width :]
    both.addmm_(hidden, layer.recurrent[:, : 2 * width]).sigmoid_()
    reset, update = both.chunk(2, 1)
    candidate.addcmul_(reset, torch.addmm(layer.recurrent_bias, hidden, layer.recurrent[:, 2 * width :]))
    candidate.sigmoid_().mul_(2).sub_(1)
    return (torch.addcmul(candidate, update, hidden - candidate),)


def _rnn(layer: _Layer, gates: Tensor, hidden: Tensor) -> State:
    return (gates.addmm_(hidden, layer.recurrent).sigmoid_().mul_(2).sub_(1),)


_CELLS: dict[type[nn.RNNBase], Callable[..., State]] = {nn.LSTM: _lstm, nn.GRU: _gru, nn.RNN: _rnn}
