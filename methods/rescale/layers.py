"""torch's fused recurrent layers, taken apart on the fly: stacked, bidirectional, packed, projected, and single cells.

The layer's own weights are used as they lie; nothing is copied into another module, retrained or rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from .pairing import Pairing, pair, reference_of, rule
from .recurrence import Course, Direction, Elman, Gru, Lstm, Recurrence, State, Weights

if TYPE_CHECKING:
    from ..operations import Operation

_STATES = {"lstm": 2, "gru": 1, "rnn_tanh": 1, "rnn_relu": 1}


@dataclass(frozen=True)
class Stack:
    """One call of a fused layer.

    Attributes:
        kind: ``"lstm"``, ``"gru"``, ``"rnn_tanh"`` or ``"rnn_relu"``.
        weights: torch's flat weights, layer by layer and direction by direction.
        biased, layers, bidirectional: as given to the layer.
    """

    kind: str
    weights: list[Tensor]
    biased: bool
    layers: int
    bidirectional: bool

    def cell(self, place: int) -> Recurrence:
        """The recurrence of one direction of one layer, by its place in order."""
        each = len(self.weights) // (self.layers * (2 if self.bidirectional else 1))
        own = [weight.detach() for weight in self.weights[place * each : (place + 1) * each]]
        biases = own[2:4] if self.biased else [None, None]
        projection = own[-1] if each in {3, 5} else None
        weights = Weights(own[0], own[1], biases[0], biases[1], projection)
        if self.kind == "lstm":
            return Lstm(weights)
        return Gru(weights) if self.kind == "gru" else Elman(weights, self.kind.removeprefix("rnn_"))

    def run(self, inputs: Tensor, state: tuple[Tensor, ...], counts: list[int]) -> tuple[Tensor, ...]:
        """Paired outputs float[T, B, ·] and final states float[layers · directions, B, ·], of paired inputs."""
        directions = 2 if self.bidirectional else 1
        ends: list[list[Tensor]] = [[] for _ in state]
        for layer in range(self.layers):
            found = []
            for direction in range(directions):
                place = layer * directions + direction
                begin = tuple(_chosen(part, place) for part in state)
                outputs, *end = self._direction(place, inputs, begin, counts, backwards=direction == 1)
                found.append(outputs)
                for kept, part in zip(ends, end, strict=True):
                    kept.append(part)
            inputs = found[0] if directions == 1 else _joined(torch.cat, found, -1)
        return inputs, *(_joined(torch.stack, kept, 0) for kept in ends)

    def _direction(
        self, place: int, inputs: Tensor, begin: State, counts: list[int], *, backwards: bool
    ) -> list[Tensor]:
        order = list(range(len(inputs)))
        references = _other(inputs), tuple(_other(part) for part in begin)
        found = Direction.apply(
            self.cell(place), Course(order[::-1] if backwards else order, counts), references, inputs, *begin
        )
        half = len(found) // 2
        return [pair(own, other) for own, other in zip(found[:half], found[half:], strict=True)]


@rule("lstm", "gru", "rnn_tanh", "rnn_relu")
def _fused(
    pairing: Pairing, func: Operation, inputs: Tensor, second: Any, third: Any, *args: Any
) -> tuple[Tensor, ...]:
    """A fused layer on padded sequences (inputs, hx, weights, …) or packed ones (data, batch_sizes, hx, weights, …)."""
    packed = isinstance(args[0], (list, tuple))
    state, weights = (third, args[0]) if packed else (second, third)
    biased, layers, _dropout, _training, bidirectional = args[1:6] if packed else args[:5]
    state = tuple(state) if isinstance(state, (list, tuple)) else (state,)
    stack = Stack(func.__name__, list(weights), biased, layers, bidirectional)
    if packed:
        return _run_packed(pairing, stack, inputs, second, state)
    batch_first = args[5]
    steps = pairing.on_both(torch.transpose, inputs, 0, 1) if batch_first else inputs
    outputs, *end = stack.run(steps, state, [steps.shape[1]] * steps.shape[0])
    if batch_first:
        outputs = pairing.on_both(torch.transpose, outputs, 0, 1)
    return outputs, *end


def _run_packed(pairing: Pairing, stack: Stack, data: Tensor, sizes: Tensor, state: State) -> tuple[Tensor, ...]:
    counts = sizes.tolist()
    lengths = (sizes[:, None] > torch.arange(counts[0])).sum(0)
    padded = pairing.on_both(lambda side: pad_packed_sequence(PackedSequence(side, sizes))[0], data)
    outputs, *end = stack.run(padded, state, counts)
    return pairing.on_both(lambda side: pack_padded_sequence(side, lengths).data, outputs), *end


@rule("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def _cell(pairing: Pairing, func: Operation, inputs: Tensor, state: Any, *weights: Tensor | None) -> Any:
    """A single cell is a layer of one step."""
    own = tuple(state) if isinstance(state, (list, tuple)) else (state,)
    flat = [weight for weight in weights if weight is not None]
    stack = Stack(
        func.__name__.removesuffix("_cell"), flat, len(flat) > 2, 1, bidirectional=False
    )  # two matrices, then biases
    step = pairing.on_both(torch.unsqueeze, inputs, 0)
    begin = tuple(_lifted(pairing, part) for part in own)
    _, *end = stack.run(step, begin, [len(inputs)])
    found = tuple(pairing.on_both(torch.squeeze, part, 0) for part in end)
    return found if stack.kind == "lstm" else found[0]


def _lifted(pairing: Pairing, part: Tensor) -> Tensor:
    found: Tensor = pairing.on_both(torch.unsqueeze, part, 0) if reference_of(part) is not None else part[None]
    return found


def _other(part: Tensor) -> Tensor:
    """The reference side; of a constant, the constant."""
    found = reference_of(part)
    return part.detach() if found is None else found


def _chosen(part: Tensor, place: int) -> Tensor:
    return pair(part[place], _other(part)[place])


def _joined(how: Any, parts: list[Tensor], dim: int) -> Tensor:
    return pair(how(parts, dim), how([_other(part) for part in parts], dim))
