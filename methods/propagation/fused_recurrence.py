# ruff: noqa: ANN401  # the signatures of torch's operations
"""torch's fused recurrent layers, taken apart on the fly: stacked, bidirectional, packed, projected, and single cells.

A method that follows a module operation by operation meets ``nn.LSTM`` as one operation. Called under the method's own
mode, :func:`layer` and :func:`cell` do the same in plain operations, for which it has rules, and in calls of
:func:`direction`, one direction of one layer, for which it has one as well. The layer's own weights are used as they
lie; nothing is copied into another module, retrained or rewritten.
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

# Intermediate results are made for as many steps at once as keep a dozen of them in a core's own cache.
_CACHE_BYTES = 1 << 20


@dataclass(frozen=True)
class Weights:
    """Parameters of one direction of one layer, as torch lays them out.

    Attributes:
        input: float[G·H, D]. recurrent: float[G·H, H] (H is the projection's size if there is one).
        input_bias, recurrent_bias: float[G·H] or None.
        projection: float[P, H] or None (LSTM only).
    """

    input: Tensor
    recurrent: Tensor
    input_bias: Tensor | None = None
    recurrent_bias: Tensor | None = None
    projection: Tensor | None = None

    def project_input(self, inputs: Tensor, *biases: Tensor | None) -> Tensor:
        """inputs · Wᵀ + biases for all steps in one product: float[T, N, G·H]."""
        bias = sum((bias for bias in biases if bias is not None), start=torch.zeros((), dtype=inputs.dtype))
        flat = inputs.flatten(0, 1)
        if bias.dim() == 0:
            return (flat @ self.input.T).view(*inputs.shape[:2], -1)
        return torch.addmm(bias, flat, self.input.T).view(*inputs.shape[:2], -1)


@dataclass(frozen=True)
class Course:
    """The steps in the order a direction takes them, and how many sequences have each.

    Rows are in descending order of length: a sequence that has ended (or, read backwards, not begun) keeps its state,
    and what a buffer holds beyond the count means nothing. Where a buffer has several rows for each sequence, side by
    side, ``width`` says how many.

    Attributes:
        order: steps, as read. counts: by step, in descending order.
    """

    order: list[int]
    counts: list[int]

    @property
    def even(self) -> bool:
        """Whether all sequences are equally long."""
        return self.counts[0] == self.counts[-1]

    @property
    def forwards(self) -> bool:
        """Whether the first step is read first."""
        return self.order[0] <= self.order[-1]

    def visits(self) -> Iterator[tuple[int, int | None, int]]:
        """Each step, the one read before it (None at the start), and how many sequences have it."""
        for t, previous in zip(self.order, [None, *self.order[:-1]], strict=True):
            yield t, previous, self.counts[t]

    def blocks(self, bytes_per_step: int) -> Iterator[list[int]]:
        """The steps last to first, in runs whose intermediate results stay in the cache."""
        size = max(1, _CACHE_BYTES // bytes_per_step)
        backwards = self.order[::-1]
        return (backwards[start : start + size] for start in range(0, len(backwards), size))

    def entering(self, buffer: Tensor, initial: Tensor, visit: tuple[int, int | None, int], width: int) -> Tensor:
        """The states [width · n, H] with which a step begins.

        Read backwards, sequences begin at different steps: their initial state is put where the step before would have
        left it, which is padding.
        """
        _, previous, n = visit
        if previous is None:
            return initial[: width * n]
        begun = self.counts[previous]
        if begun < n:
            buffer[previous, width * begun : width * n] = initial[width * begun : width * n]
        return buffer[previous, : width * n]

    def final(self, buffer: Tensor, width: int) -> Tensor:
        """The states [width · B, H] after each sequence's last step as read."""
        if self.even or self.order[0] > self.order[-1]:
            return buffer[self.order[-1]].clone()
        counts = torch.tensor(self.counts)
        last = (counts[:, None] > torch.arange(self.counts[0])).sum(0) - 1
        return buffer[last.repeat_interleave(width), torch.arange(width * self.counts[0])]


def direction(kind: str, weights: Weights, course: Course, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    """One direction of one layer: an operation of ours, for which whoever follows a module has a rule.

    Args:
        kind: ``"lstm"``, ``"gru"``, ``"rnn_tanh"`` or ``"rnn_relu"``.
        weights: of this direction.
        course: the order of its steps.
        inputs: float[T, B, D].
        state: float[B, H] each, h and for an LSTM c.

    Returns:
        outputs float[T, B, H], then the final states float[B, H].

    Raises:
        TypeError: no mode is there to have a rule.
    """
    found: tuple[Tensor, ...] = handle_torch_function(
        direction, (inputs, *state), kind, weights, course, inputs, *state
    )
    return found


@dataclass(frozen=True)
class _Stack:
    """One call of a fused layer.

    Attributes:
        kind: as in :func:`direction`.
        weights: torch's flat weights, layer by layer and direction by direction.
        biased, layers, bidirectional: as given to the layer.
    """

    kind: str
    weights: list[Tensor]
    biased: bool
    layers: int
    bidirectional: bool

    def weights_at(self, place: int) -> Weights:
        """The weights of one direction of one layer, by its place in order."""
        each = len(self.weights) // (self.layers * (2 if self.bidirectional else 1))
        own = [weight.detach() for weight in self.weights[place * each : (place + 1) * each]]
        biases = own[2:4] if self.biased else [None, None]
        projection = own[-1] if each in {3, 5} else None
        return Weights(own[0], own[1], biases[0], biases[1], projection)

    def run(self, inputs: Tensor, state: State, counts: list[int]) -> tuple[Tensor, ...]:
        """Outputs float[T, B, ·] and final states float[layers · directions, B, ·]."""
        order = list(range(len(counts)))
        orders = [order, order[::-1]] if self.bidirectional else [order]
        ends: list[list[Tensor]] = [[] for _ in state]
        for layer in range(self.layers):
            found = []
            for way, steps in enumerate(orders):
                place = layer * len(orders) + way
                begin = [part[place] for part in state]
                outputs, *end = direction(self.kind, self.weights_at(place), Course(steps, counts), inputs, *begin)
                found.append(outputs)
                for kept, part in zip(ends, end, strict=True):
                    kept.append(part)
            inputs = found[0] if len(found) == 1 else torch.cat(found, -1)
        return inputs, *(torch.stack(kept) for kept in ends)


def layer(operation: Callable[..., Any], inputs: Tensor, second: Any, third: Any, *args: Any) -> tuple[Tensor, ...]:
    """A fused layer on padded sequences (inputs, hx, weights, …) or packed ones (data, batch_sizes, hx, weights, …)."""
    packed = isinstance(args[0], (list, tuple))
    state, weights = (third, args[0]) if packed else (second, third)
    biased, layers, _dropout, _training, bidirectional = args[1:6] if packed else args[:5]
    stack = _Stack(operation.__name__, list(weights), biased, layers, bidirectional)
    if packed:
        return _run_packed(stack, inputs, second, _tuple(state))
    steps = inputs.transpose(0, 1) if args[5] else inputs
    outputs, *end = stack.run(steps, _tuple(state), [steps.shape[1]] * steps.shape[0])
    return outputs.transpose(0, 1) if args[5] else outputs, *end


def cell(operation: Callable[..., Any], inputs: Tensor, state: Any, *weights: Tensor | None) -> Any:
    """A single cell is a layer of one step."""
    flat = [weight for weight in weights if weight is not None]
    biased = len(flat) > 2  # two matrices, then biases
    stack = _Stack(operation.__name__.removesuffix("_cell"), flat, biased, 1, bidirectional=False)
    _, *end = stack.run(inputs.unsqueeze(0), tuple(part.unsqueeze(0) for part in _tuple(state)), [len(inputs)])
    found = tuple(part.squeeze(0) for part in end)
    return found if stack.kind == "lstm" else found[0]


def _tuple(state: Any) -> State:
    return tuple(state) if isinstance(state, (list, tuple)) else (state,)


def _run_packed(stack: _Stack, data: Tensor, sizes: Tensor, state: State) -> tuple[Tensor, ...]:
    counts = sizes.tolist()
    lengths = (sizes[:, None] > torch.arange(counts[0])).sum(0)
    padded = pad_packed_sequence(PackedSequence(data, sizes))[0]
    outputs, *end = stack.run(padded, state, counts)
    return pack_padded_sequence(outputs, lengths).data, *end
