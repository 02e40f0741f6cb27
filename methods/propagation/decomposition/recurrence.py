"""Streams through one direction of a recurrent layer.

The streams lie beside each other in one batch, rows S·v to S·v + S − 1 for row v, so that a step is one recurrent
matrix product; all input projections are one product before the loop. S is 2, relevant and irrelevant: a layer's states
have no bias stream, because the paper gives what the biases make in a step to the span if the step lies in it and to
the rest if it does not. S is 3 where a bias stream comes in from outside (the inputs have one, or an initial state that
is not 0), or where a step's input is a constant, on neither side of any span, so that its bias stays what it is.

Source: Murdoch, Liu & Yu 2018, section 3.2, for the LSTM; GRU and Elman cells by the same split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .streams import Function, Parts, complement, cut, mapped, plus, product, split

if TYPE_CHECKING:
    from ..fused_recurrence import Course, Weights

States = tuple[Parts, ...]


@dataclass(frozen=True)
class Sides:
    """On which side of the span the steps lie.

    Attributes:
        inside, outside: float[T, V, 1]: the shares of a step's input that lie inside the span and outside it; they sum
            to 1, or are both 0 where the input is a constant.
        streams: S; 2 only if no step's input is a constant.
    """

    inside: Tensor
    outside: Tensor
    streams: int

    def at(self, step: int, rows: int) -> Moment:
        """One step, of the first rows."""
        return Moment(self.inside[step, :rows], self.outside[step, :rows], self.streams)


@dataclass(frozen=True)
class Moment:
    """One step of n rows: :class:`Sides` of it, with inside and outside float[n, 1]."""

    inside: Tensor
    outside: Tensor
    streams: int

    def apart(self, beside: Tensor, bias: Tensor | None = None) -> Parts:
        """The streams of float[S·n, X], and a bias float[X] added to theirs."""
        relevant, irrelevant, *alone = beside.unflatten(0, (-1, self.streams)).unbind(1)
        if not alone:
            return Parts(relevant, irrelevant, bias)
        return Parts(relevant, irrelevant, alone[0] if bias is None else alone[0] + bias)

    def together(self, parts: Parts, beside: Tensor) -> None:
        """Write the streams where they lie beside each other, float[S·n, X]."""
        streams = beside.unflatten(0, (-1, self.streams))
        streams[:, 0], streams[:, 1] = parts.relevant, parts.irrelevant
        if parts.bias is not None:
            streams[:, 2] = parts.bias

    def settled(self, parts: Parts) -> Parts:
        """What the biases made, given to the side on which the step lies."""
        if parts.bias is None:
            return parts
        relevant = torch.addcmul(parts.relevant, self.inside, parts.bias)
        irrelevant = torch.addcmul(parts.irrelevant, self.outside, parts.bias)
        stays = None if self.streams == 2 else parts.bias * (1 - self.inside - self.outside)
        return Parts(relevant, irrelevant, stays)


class Recurrence(ABC):
    """One kind of cell, with the weights of one direction of one layer."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        none = weights.input.new_zeros(len(weights.input))
        self.input_bias = none if weights.input_bias is None else weights.input_bias
        self.recurrent_bias = none if weights.recurrent_bias is None else weights.recurrent_bias
        self.bias = self.input_bias + self.recurrent_bias

    def run(self, inputs: Tensor, begin: tuple[Tensor, ...], course: Course, sides: Sides) -> tuple[Tensor, ...]:
        """Outputs float[T, S·V, H] and final states float[S·V, ·] of inputs float[T, S·V, D] and initial states."""
        width = sides.streams
        given = self.weights.project_input(inputs)
        buffers = [inputs.new_zeros(*inputs.shape[:2], part.shape[1]) for part in begin]
        for visit in course.visits():
            step, count = visit[0], width * visit[2]
            moment = sides.at(step, visit[2])
            before = [
                course.entering(buffer, first, visit, width) for buffer, first in zip(buffers, begin, strict=True)
            ]
            after = self.step(given[step, :count], before, moment)
            for buffer, parts in zip(buffers, after, strict=True):
                moment.together(parts, buffer[step, :count])
        return buffers[0], *(course.final(buffer, width) for buffer in buffers)

    @abstractmethod
    def step(self, given: Tensor, before: list[Tensor], moment: Moment) -> States:
        """The states after a step.

        Args:
            given: float[S·n, G·H], the projections of its inputs, without bias; may be written to.
            before: float[S·n, ·] each, the states before it, the exposed one first.
            moment: the step.
        """


class Lstm(Recurrence):
    """c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h; o is not decomposed."""

    def step(self, given: Tensor, before: list[Tensor], moment: Moment) -> States:
        """See :class:`Recurrence`."""
        given.addmm_(before[0], self.weights.recurrent.T)
        gates, candidate, output = cut(moment.apart(given, self.bias), 2, 1, 1)
        i, f = cut(split(torch.sigmoid, gates), 1, 1)
        written = product(i, split(torch.tanh, candidate))
        cell = moment.settled(plus(written, product(f, moment.apart(before[1]))))
        gate = output.total.sigmoid_()
        hidden = mapped(gate.mul, split(torch.tanh, cell))
        projection = self.weights.projection
        return hidden if projection is None else mapped(lambda part: part @ projection.T, hidden), cell


class Gru(Recurrence):
    """h′ = (1 − z)∘n + z∘h, n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU).

    Both gates are decomposed, for both take part in making the state, as i and f do; none only shows it, as o does. All
    that is multiplied is bilinear, so that it does not matter how h′ is written.
    """

    def step(self, given: Tensor, before: list[Tensor], moment: Moment) -> States:
        """See :class:`Recurrence`."""
        exposed = moment.apart(before[0] @ self.weights.recurrent.T, self.recurrent_bias)
        own, recurrent = cut(moment.apart(given, self.input_bias), 2, 1), cut(exposed, 2, 1)
        reset, update = cut(split(torch.sigmoid, plus(own[0], recurrent[0])), 1, 1)
        new = split(torch.tanh, plus(own[1], product(reset, recurrent[1])))
        made = plus(product(complement(update), new), product(update, moment.apart(before[0])))
        return (moment.settled(made),)


class Elman(Recurrence):
    """h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN)."""

    def __init__(self, weights: Weights, function: Function) -> None:
        super().__init__(weights)
        self.function = function

    def step(self, given: Tensor, before: list[Tensor], moment: Moment) -> States:
        """See :class:`Recurrence`."""
        given.addmm_(before[0], self.weights.recurrent.T)
        return (moment.settled(split(self.function, moment.apart(given, self.bias))),)
