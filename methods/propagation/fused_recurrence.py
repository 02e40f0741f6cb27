# ruff: noqa: ANN401  # the signatures of torch's operations
"""Decomposition of torch's fused recurrent layers: stacked, bidirectional, packed, projected, and single cells.

A method that runs a module operation by operation sees ``nn.LSTM`` as one operation. :func:`layer` and :func:`cell`
compute the same result in plain operations and in calls of :func:`direction`, which runs one direction of one layer.
Called under the method's own mode, they need only the rules that the method has for these. The layer's own weights are
used in place; nothing is copied into another module, retrained or rewritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.overrides import handle_torch_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

State = tuple[Tensor, ...]

LAYERS: Final = ("lstm", "gru", "rnn_tanh", "rnn_relu")
CELLS: Final = ("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")

# Intermediate results are computed for blocks of steps, so small that a dozen such results stay in a core's own cache.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Weights:
    """Parameters of one direction of one layer, in torch's layout; G is the number of gates.

    Attributes:
        input: float[G·H, D].
        recurrent: float[G·H, H] (its second H is the projection's size if there is a projection).
        input_bias, recurrent_bias: float[G·H] or None.
        projection: float[P, H] or None (LSTM only).
    """

    input: Tensor
    recurrent: Tensor
    input_bias: Tensor | None = None
    recurrent_bias: Tensor | None = None
    projection: Tensor | None = None

    def project_input(self, inputs: Tensor, *biases: Tensor | None) -> Tensor:
        """Input projections inputs · Wᵀ + biases of all steps in one matrix product: float[T, N, G·H]."""
        bias = sum((bias for bias in biases if bias is not None), start=torch.zeros((), dtype=inputs.dtype))
        flat = inputs.flatten(0, 1)
        if bias.dim() == 0:
            return (flat @ self.input.T).view(*inputs.shape[:2], -1)
        return torch.addmm(bias, flat, self.input.T).view(*inputs.shape[:2], -1)


@dataclass(frozen=True)
class Schedule:
    """Steps in the order in which a direction reads them, and the number of sequences that have each step.

    Rows are in descending order of length. A sequence that has ended (or, read backwards, not started) keeps its state,
    and the rows of a buffer beyond the count are undefined. A buffer may have several adjacent rows for each sequence;
    ``width`` is their number.

    Attributes:
        order: the steps, in reading order.
        counts: number of sequences by step, in descending order.
    """

    order: list[int]
    counts: list[int]

    @property
    def equal_lengths(self) -> bool:
        """Whether all sequences have the same length."""
        return self.counts[0] == self.counts[-1]

    @property
    def forwards(self) -> bool:
        """Whether the direction reads the first step first."""
        return self.order[0] <= self.order[-1]

    def visits(self) -> Iterator[tuple[int, int | None, int]]:
        """Triples of a step, the step read before it (None at the start), and the number of sequences that have it."""
        for t, previous in zip(self.order, [None, *self.order[:-1]], strict=True):
            yield t, previous, self.counts[t]

    def blocks(self, bytes_per_step: int) -> Iterator[list[int]]:
        """Blocks of steps, last read first, so small that their intermediate results stay in the cache."""
        size = max(1, _BLOCK_BYTES // bytes_per_step)
        backwards = self.order[::-1]
        return (backwards[start : start + size] for start in range(0, len(backwards), size))

    def states_before(self, buffer: Tensor, initial: Tensor, visit: tuple[int, int | None, int], width: int) -> Tensor:
        """States float[width · n, H] before a step.

        Read backwards, sequences start at different steps. Their initial state is written into the buffer at the step
        read before, which is padding for them.

        Args:
            buffer: float[T, width · B, H], the states after each step.
            initial: float[width · B, H], the initial states.
            visit: the step, as :meth:`visits` gives it.
            width: rows for each sequence.
        """
        _, previous, n = visit
        if previous is None:
            return initial[: width * n]
        started = self.counts[previous]
        if started < n:
            buffer[previous, width * started : width * n] = initial[width * started : width * n]
        return buffer[previous, : width * n]

    def final(self, buffer: Tensor, width: int) -> Tensor:
        """States float[width · B, H] after the step that each sequence reads last."""
        if self.equal_lengths or self.order[0] > self.order[-1]:
            return buffer[self.order[-1]].clone()
        counts = torch.tensor(self.counts)
        last = (counts[:, None] > torch.arange(self.counts[0])).sum(0) - 1
        return buffer[last.repeat_interleave(width), torch.arange(width * self.counts[0])]


def direction(kind: str, weights: Weights, schedule: Schedule, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    """One direction of one recurrent layer, as a single operation for which each propagation method has a rule.

    Args:
        kind: ``"lstm"``, ``"gru"``, ``"rnn_tanh"`` or ``"rnn_relu"``.
        weights: of this direction.
        schedule: the order of its steps.
        inputs: float[T, B, D].
        *state: float[B, H] each, h and for an LSTM c.

    Returns:
        outputs float[T, B, H], then the final states float[B, H].

    Raises:
        TypeError: no torch function mode with a rule for it is active.
    """
    results: tuple[Tensor, ...] = handle_torch_function(
        direction, (inputs, *state), kind, weights, schedule, inputs, *state
    )
    return results


@dataclass(frozen=True)
class _Stack:
    """Stacked recurrent layer of one call of torch's fused operation.

    Attributes:
        kind: as in :func:`direction`.
        weights: torch's flat weights, layer by layer and direction by direction.
        biased, layers, bidirectional: torch's arguments ``has_biases``, ``num_layers`` and ``bidirectional``.
    """

    kind: str
    weights: list[Tensor]
    biased: bool
    layers: int
    bidirectional: bool

    def weights_at(self, index: int) -> Weights:
        """Weights of one direction of one layer, by its index in the flat order."""
        per_direction = len(self.weights) // (self.layers * (2 if self.bidirectional else 1))
        tensors = [weight.detach() for weight in self.weights[index * per_direction : (index + 1) * per_direction]]
        biases = tensors[2:4] if self.biased else [None, None]
        projection = tensors[-1] if per_direction in {3, 5} else None
        return Weights(tensors[0], tensors[1], biases[0], biases[1], projection)

    def run(self, inputs: Tensor, state: State, counts: list[int]) -> tuple[Tensor, ...]:
        """Outputs float[T, B, ·] and final states float[layers · directions, B, ·] of inputs float[T, B, D]."""
        order = list(range(len(counts)))
        orders = [order, order[::-1]] if self.bidirectional else [order]
        finals: list[list[Tensor]] = [[] for _ in state]
        for layer in range(self.layers):
            by_direction = []
            for number, steps in enumerate(orders):
                index = layer * len(orders) + number
                initial = [part[index] for part in state]
                outputs, *final = direction(
                    self.kind, self.weights_at(index), Schedule(steps, counts), inputs, *initial
                )
                by_direction.append(outputs)
                for collected, part in zip(finals, final, strict=True):
                    collected.append(part)
            inputs = by_direction[0] if len(by_direction) == 1 else torch.cat(by_direction, -1)
        return inputs, *(torch.stack(collected) for collected in finals)


def layer(operation: Callable[..., Any], inputs: Tensor, second: Any, third: Any, *args: Any) -> tuple[Tensor, ...]:
    """Fused layer in plain operations, on padded or packed sequences.

    Args:
        operation: torch's fused operation, such as ``torch.lstm``.
        inputs: padded sequences float[T, B, D] (float[B, T, D] if batch_first), or the data of packed ones.
        second: hx of padded sequences, batch_sizes of packed ones.
        third: weights for padded sequences, hx for packed ones.
        *args: the remaining arguments of the operation, for packed sequences the weights first.

    Returns:
        outputs in the layout of the inputs, then the final states float[layers · directions, B, ·].
    """
    packed = isinstance(args[0], (list, tuple))
    state, weights = (third, args[0]) if packed else (second, third)
    biased, layers, _dropout, _training, bidirectional = args[1:6] if packed else args[:5]
    stack = _Stack(operation.__name__, list(weights), biased, layers, bidirectional)
    if packed:
        return _run_packed(stack, inputs, second, _as_tuple(state))
    steps = inputs.transpose(0, 1) if args[5] else inputs
    outputs, *final = stack.run(steps, _as_tuple(state), [steps.shape[1]] * steps.shape[0])
    return outputs.transpose(0, 1) if args[5] else outputs, *final


def cell(operation: Callable[..., Any], inputs: Tensor, state: Any, *weights: Tensor | None) -> Any:
    """Single recurrent cell, run as a layer of one step."""
    flat = [weight for weight in weights if weight is not None]
    biased = len(flat) > 2  # two matrices, then biases
    stack = _Stack(operation.__name__.removesuffix("_cell"), flat, biased, 1, bidirectional=False)
    _, *final = stack.run(inputs.unsqueeze(0), tuple(part.unsqueeze(0) for part in _as_tuple(state)), [len(inputs)])
    states = tuple(part.squeeze(0) for part in final)
    return states if stack.kind == "lstm" else states[0]


def _as_tuple(state: Any) -> State:
    """State as a tuple: (h, c) of an LSTM, (h,) of other cells."""
    return tuple(state) if isinstance(state, (list, tuple)) else (state,)


def _run_packed(stack: _Stack, data: Tensor, sizes: Tensor, state: State) -> tuple[Tensor, ...]:
    """Packed data of the outputs, then the final states, of packed sequences."""
    counts = sizes.tolist()
    lengths = (sizes[:, None] > torch.arange(counts[0])).sum(0)
    padded = pad_packed_sequence(PackedSequence(data, sizes))[0]
    outputs, *final = stack.run(padded, state, counts)
    return pack_padded_sequence(outputs, lengths).data, *final
