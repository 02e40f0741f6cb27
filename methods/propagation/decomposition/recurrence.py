"""Streams of contextual decomposition through one direction of a recurrent layer.

The S streams are interleaved in one batch, rows S·v to S·v + S − 1 for row v, so that a step is one recurrent matrix
product. All input projections are one matrix product before the loop. S is 2, relevant and irrelevant: the states of a
layer have no bias stream, because the paper assigns the contribution of the biases in a step to the span if the step
lies in it, and to the rest if it does not. S is 3 where a bias stream enters the layer (the inputs have one, or an
initial state that is not 0). S is 3 also where a step's input is a constant: such a step lies neither inside nor
outside the span, so that its bias remains bias.

Source: Murdoch, Liu & Yu 2018, section 3.2, for the LSTM; GRU and Elman cells by the same split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .streams import Function, Parts, add, chunk, complement, map_linear, product, split

if TYPE_CHECKING:
    from ..fused_recurrence import Schedule, Weights

States = tuple[Parts, ...]


@dataclass(frozen=True)
class Sides:
    """Position of the steps relative to the span: inside, outside, or shares of both.

    Attributes:
        inside, outside: float[T, V, 1], the shares of a step's input that lie inside the span and outside it; they sum
            to 1, or are both 0 where the input is a constant.
        streams: S; 2 only if no step's input is a constant.
    """

    inside: Tensor
    outside: Tensor
    streams: int

    def at(self, step: int, rows: int) -> StepSides:
        """Position of one step, for the first rows."""
        return StepSides(self.inside[step, :rows], self.outside[step, :rows], self.streams)


@dataclass(frozen=True)
class StepSides:
    """Position of one step of n rows: :class:`Sides` at the step, with inside and outside float[n, 1]."""

    inside: Tensor
    outside: Tensor
    streams: int

    def separated(self, interleaved: Tensor, bias: Tensor | None = None) -> Parts:
        """Streams of interleaved rows float[S·n, X]; a bias float[X] is added to the bias stream."""
        relevant, irrelevant, *own_bias = interleaved.unflatten(0, (-1, self.streams)).unbind(1)
        if not own_bias:
            return Parts(relevant, irrelevant, bias)
        return Parts(relevant, irrelevant, own_bias[0] if bias is None else own_bias[0] + bias)

    def interleave(self, parts: Parts, interleaved: Tensor) -> None:
        """Write streams into interleaved rows float[S·n, X]."""
        streams = interleaved.unflatten(0, (-1, self.streams))
        streams[:, 0], streams[:, 1] = parts.relevant, parts.irrelevant
        if parts.bias is not None:
            streams[:, 2] = parts.bias

    def assign_bias(self, parts: Parts) -> Parts:
        """Streams with the bias stream assigned to the side of the span on which the step lies."""
        if parts.bias is None:
            return parts
        relevant = torch.addcmul(parts.relevant, self.inside, parts.bias)
        irrelevant = torch.addcmul(parts.irrelevant, self.outside, parts.bias)
        bias = None if self.streams == 2 else parts.bias * (1 - self.inside - self.outside)
        return Parts(relevant, irrelevant, bias)


class Recurrence(ABC):
    """Recurrent cell on streams, with the weights of one direction of one layer."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        zeros = weights.input.new_zeros(len(weights.input))
        self.input_bias = zeros if weights.input_bias is None else weights.input_bias
        self.recurrent_bias = zeros if weights.recurrent_bias is None else weights.recurrent_bias
        self.bias = self.input_bias + self.recurrent_bias

    def run(self, inputs: Tensor, initial: tuple[Tensor, ...], schedule: Schedule, sides: Sides) -> tuple[Tensor, ...]:
        """Outputs float[T, S·V, H] and final states float[S·V, ·] of inputs float[T, S·V, D] and initial states."""
        width = sides.streams
        projections = self.weights.project_input(inputs)
        buffers = [inputs.new_zeros(*inputs.shape[:2], part.shape[1]) for part in initial]
        for visit in schedule.visits():
            step, count = visit[0], width * visit[2]
            step_sides = sides.at(step, visit[2])
            before = [
                schedule.states_before(buffer, first, visit, width)
                for buffer, first in zip(buffers, initial, strict=True)
            ]
            after = self.step(projections[step, :count], before, step_sides)
            for buffer, parts in zip(buffers, after, strict=True):
                step_sides.interleave(parts, buffer[step, :count])
        return buffers[0], *(schedule.final(buffer, width) for buffer in buffers)

    @abstractmethod
    def step(self, projections: Tensor, before: list[Tensor], step_sides: StepSides) -> States:
        """Return the states after a step.

        Args:
            projections: float[S·n, G·H], the input projections without bias; may be overwritten.
            before: float[S·n, ·] each, the states before the step, the exposed one first.
            step_sides: the position of the step.
        """


class Lstm(Recurrence):
    """LSTM cell c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h.

    The output gate o is not decomposed.
    """

    def step(self, projections: Tensor, before: list[Tensor], step_sides: StepSides) -> States:
        """See :class:`Recurrence`."""
        projections.addmm_(before[0], self.weights.recurrent.T)
        gates, candidate, output = chunk(step_sides.separated(projections, self.bias), 2, 1, 1)
        i, f = chunk(split(torch.sigmoid, gates), 1, 1)
        written = product(i, split(torch.tanh, candidate))
        cell = step_sides.assign_bias(add(written, product(f, step_sides.separated(before[1]))))
        gate = output.total.sigmoid_()
        hidden = map_linear(gate.mul, split(torch.tanh, cell))
        projection = self.weights.projection
        return hidden if projection is None else map_linear(lambda part: part @ projection.T, hidden), cell


class Gru(Recurrence):
    """GRU cell h′ = (1 − z)∘n + z∘h, n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU).

    Both gates are decomposed, because both take part in computing the state, as i and f of an LSTM do; neither only
    exposes it, as o does. All products are bilinear, so that the result does not depend on how h′ is written.
    """

    def step(self, projections: Tensor, before: list[Tensor], step_sides: StepSides) -> States:
        """See :class:`Recurrence`."""
        exposed = step_sides.separated(before[0] @ self.weights.recurrent.T, self.recurrent_bias)
        own, recurrent = chunk(step_sides.separated(projections, self.input_bias), 2, 1), chunk(exposed, 2, 1)
        reset, update = chunk(split(torch.sigmoid, add(own[0], recurrent[0])), 1, 1)
        new = split(torch.tanh, add(own[1], product(reset, recurrent[1])))
        state = add(product(complement(update), new), product(update, step_sides.separated(before[0])))
        return (step_sides.assign_bias(state),)


class Elman(Recurrence):
    """Elman cell h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN)."""

    def __init__(self, weights: Weights, function: Function) -> None:
        super().__init__(weights)
        self.function = function

    def step(self, projections: Tensor, before: list[Tensor], step_sides: StepSides) -> States:
        """See :class:`Recurrence`."""
        projections.addmm_(before[0], self.weights.recurrent.T)
        return (step_sides.assign_bias(split(self.function, step_sides.separated(projections, self.bias))),)
