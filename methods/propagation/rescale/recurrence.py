"""Multipliers through a recurrent layer, without an autograd graph through time.

One direction of one layer is one autograd function. Forward it runs the actual and the reference sequences together,
row 2b and row 2b + 1, and keeps what the slopes are made of; backward it carries multipliers from the last step to the
first. All input projections are one matrix product before the loop, all multipliers of the inputs one after it; slopes,
means and products are taken for a block of steps at once, so a step costs one recurrent product and a few in-place
operations.

Formulas: Shrikumar et al. 2017 (Rescale) for elementwise functions; a product a∘b passes m·mean(b) to a and m·mean(a)
    to
b, which is exact and the Shapley split of two factors. "Mean" is the mean of actual and reference.

Rows are in descending order of length and ``counts[t]`` says how many sequences have a step t: a sequence that has
ended (or, read backwards, not begun) keeps its state and its multiplier. What a buffer holds beyond the count is never
read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ..fused_recurrence import Course, State, Weights
from .slopes import tanh_over

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Course", "Direction", "Elman", "Gru", "Lstm", "Recurrence", "State", "Weights"]

_SIDES = 2  # rows of a buffer for each sequence: actual and reference


class Recurrence(Protocol):
    """One kind of cell; made for one run and discarded after its backward pass."""

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """Outputs float[T, 2B, H] and final state, actual and reference rows interleaved; keeps what carry needs."""

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Multipliers of inputs float[T, B, D] and initial state, from those of outputs and final state."""


class Lstm:
    """c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`. Gates overwrite their pre-activations, of which only the difference is kept."""
        weights, size = self.weights, state[1].shape[1]
        gates = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        steps, rows = gates.shape[:2]
        deltas = gates.new_empty(steps, rows // 2, 4 * size)
        cells, squashed = gates.new_empty(steps, rows, size), gates.new_empty(steps, rows, size)
        outputs = gates.new_empty(steps, rows, state[0].shape[1])
        self.kept = course, gates, deltas, cells, squashed, state[1]
        for visit in course.visits():
            t, n = visit[0], 2 * visit[2]
            gate, cell, output = gates[t, :n], cells[t, :n], outputs[t, :n]
            gate.addmm_(course.entering(outputs, state[0], visit, _SIDES), weights.recurrent.T)
            torch.sub(gate[0::2], gate[1::2], out=deltas[t, : n // 2])
            i, f, g, o = gate.chunk(4, dim=1)
            gate[:, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, course.entering(cells, state[1], visit, _SIDES), out=cell)
            cell.addcmul_(i, g)
            torch.tanh(cell, out=squashed[t, :n])
            if weights.projection is None:
                torch.mul(o, squashed[t, :n], out=output)
            else:
                torch.mm(o * squashed[t, :n], weights.projection.T, out=output)
        return outputs, (course.final(outputs, _SIDES), course.final(cells, _SIDES))

    def _factors(self, steps: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For some steps: m_c′ per m_h; pre-activation multipliers (i, f, g) per m_c′ and (o) per m_h; m_c per m_c′."""
        course, gates, deltas, cells, squashed, begin = self.kept
        size = cells.shape[-1]
        own, other = _pairs(gates[_span(steps)])
        after, after0 = _pairs(cells[_span(steps)])
        curl, curl0 = _pairs(squashed[_span(steps)])
        before = _entered(cells, begin, steps, course)
        sums, cross = own + other, own * other
        curve = torch.sub(sums, cross, alpha=2)
        candidates = slice(2 * size, 3 * size)
        curve[..., candidates] = 2 - 2 * cross[..., candidates]
        half = deltas[_span(steps)] * 0.5
        half[..., candidates] *= 2
        slopes = tanh_over(half).mul_(curve).mul_(0.25)
        i, f, g, o = sums.chunk(4, dim=-1)
        slopes[..., :size] *= g
        slopes[..., size : 2 * size] *= before
        slopes[..., candidates] *= i
        slopes[..., 3 * size :] *= curl + curl0
        through = tanh_over(after - after0).mul_(1 - curl * curl0).mul_(o).mul_(0.5)
        return through, slopes[..., : 3 * size].unflatten(-1, (3, size)), slopes[..., 3 * size :], f * 0.5

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, course = self.weights, self.kept[0]
        m_h, m_c = state[0].clone(), state[1].clone()
        size = m_c.shape[1]
        m_pre = _multipliers_of(outputs, 4 * size, course)
        for steps in course.blocks(m_pre[0].nbytes):
            factors = self._factors(steps)
            for t, *factor in _each(steps, *factors):
                n = course.counts[t]
                through, inner, outer, forget = (part[:n] for part in factor)
                hidden, cell, made = m_h[:n], m_c[:n], m_pre[t, :n]
                hidden += outputs[t, :n]
                exposed = hidden if weights.projection is None else hidden @ weights.projection
                cell.addcmul_(exposed, through)
                torch.mul(cell[:, None], inner, out=made[:, : 3 * size].unflatten(1, (3, size)))
                torch.mul(exposed, outer, out=made[:, 3 * size :])
                cell *= forget
                torch.mm(made, weights.recurrent, out=hidden)
        return m_pre @ weights.input, (m_h, m_c)


class Gru:
    """h′ = n + z∘(h − n), n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU)."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`. Gates overwrite their pre-activations, of which only the difference is kept."""
        weights, size = self.weights, state[0].shape[1]
        gates = weights.project_input(inputs, weights.input_bias)
        steps, rows = gates.shape[:2]
        deltas, own = gates.new_empty(steps, rows // 2, 3 * size), gates.new_empty(steps, rows, size)
        outputs = gates.new_empty(steps, rows, size)
        bias = weights.recurrent_bias if weights.recurrent_bias is not None else gates.new_zeros(3 * size)
        self.kept = course, gates, deltas, own, outputs, state[0]
        for visit in course.visits():
            t, n = visit[0], 2 * visit[2]
            gate, before = gates[t, :n], course.entering(outputs, state[0], visit, _SIDES)
            recurrent = torch.addmm(bias, before, weights.recurrent.T)
            own[t, :n] = recurrent[:, 2 * size :]
            r, update, new = gate.chunk(3, dim=1)
            gate[:, : 2 * size] += recurrent[:, : 2 * size]
            torch.sub(gate[0::2, : 2 * size], gate[1::2, : 2 * size], out=deltas[t, : n // 2, : 2 * size])
            gate[:, : 2 * size].sigmoid_()
            new.addcmul_(r, own[t, :n])
            torch.sub(new[0::2], new[1::2], out=deltas[t, : n // 2, 2 * size :])
            new.tanh_()
            torch.lerp(new, before, update, out=outputs[t, :n])
        return outputs, (course.final(outputs, _SIDES),)

    def _factors(self, steps: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """For some steps: pre-activation multipliers of z, n per m_h and of r per that of n; r̄; z̄."""
        course, gates, deltas, recurrent, outputs, begin = self.kept
        size = recurrent.shape[-1]
        gate, gate0 = _pairs(gates[_span(steps)])
        own, own0 = _pairs(recurrent[_span(steps)])
        before = _entered(outputs, begin, steps, course)
        sums, cross = gate + gate0, gate * gate0
        curve = torch.sub(sums, cross, alpha=2)
        curve[..., 2 * size :] = 2 - 2 * cross[..., 2 * size :]
        half = deltas[_span(steps)] * 0.5
        half[..., 2 * size :] *= 2
        slope_r, slope_z, slope_n = tanh_over(half).mul_(curve).mul_(0.5).chunk(3, dim=-1)
        r, update, new = sums.mul_(0.5).chunk(3, dim=-1)
        of_update = before.mul_(0.5).sub_(new).mul_(slope_z)
        return of_update, (1 - update).mul_(slope_n), (own + own0).mul_(0.5).mul_(slope_r), r, update

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        course = self.kept[0]
        m_h = state[0].clone()
        size = m_h.shape[1]
        m_pre = _multipliers_of(outputs, 3 * size, course)
        m_own = outputs.new_empty(len(m_h), 3 * size)
        for steps in course.blocks(m_pre[0].nbytes):
            for t, *factor in _each(steps, *self._factors(steps)):
                n = course.counts[t]
                of_update, of_new, of_reset, reset, update = (part[:n] for part in factor)
                hidden, made, own = m_h[:n], m_pre[t, :n], m_own[:n]
                hidden += outputs[t, :n]
                torch.mul(hidden, of_new, out=made[:, 2 * size :])
                torch.mul(made[:, 2 * size :], of_reset, out=made[:, :size])
                torch.mul(hidden, of_update, out=made[:, size : 2 * size])
                own[:, : 2 * size] = made[:, : 2 * size]
                torch.mul(made[:, 2 * size :], reset, out=own[:, 2 * size :])
                hidden.mul_(update).addmm_(own, self.weights.recurrent)
        return m_pre @ self.weights.input, (m_h,)


class Elman:
    """h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN)."""

    def __init__(self, weights: Weights, nonlinearity: str) -> None:
        self.weights = weights
        self.relu = nonlinearity == "relu"

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights = self.weights
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        outputs = torch.empty_like(pre)
        self.kept = course, pre, outputs
        for visit in course.visits():
            t, n = visit[0], 2 * visit[2]
            z = pre[t, :n].addmm_(course.entering(outputs, state[0], visit, _SIDES), weights.recurrent.T)
            torch.clamp(z, min=0, out=outputs[t, :n]) if self.relu else torch.tanh(z, out=outputs[t, :n])
        return outputs, (course.final(outputs, _SIDES),)

    def _slopes(self, steps: list[int]) -> Tensor:
        _, pre, outputs = self.kept
        z, z0 = _pairs(pre[_span(steps)])
        h, h0 = _pairs(outputs[_span(steps)])
        delta = z - z0
        if self.relu:
            return torch.where(delta == 0, (z > 0).to(delta.dtype), (h - h0) / delta)
        return tanh_over(delta).mul_(1 - h * h0)

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        course = self.kept[0]
        m_h = state[0].clone()
        m_pre = _multipliers_of(outputs, m_h.shape[1], course)
        for steps in course.blocks(m_pre[0].nbytes):
            for t, slope in _each(steps, self._slopes(steps)):
                n = course.counts[t]
                hidden = m_h[:n]
                hidden += outputs[t, :n]
                torch.mul(hidden, slope[:n], out=m_pre[t, :n])
                torch.mm(m_pre[t, :n], self.weights.recurrent, out=hidden)
        return m_pre @ self.weights.input, (m_h,)


def _span(steps: list[int]) -> slice:
    """Steps that follow each other, in either direction, as a slice in rising order."""
    return slice(min(steps), max(steps) + 1)


def _each(steps: list[int], *parts: Tensor) -> Iterator[tuple[Any, ...]]:
    """Each step with its share of what was made for the whole span."""
    low = min(steps)
    return ((t, *(part[t - low] for part in parts)) for t in steps)


def _entered(buffer: Tensor, initial: Tensor, steps: list[int], course: Course) -> Tensor:
    """float[S, B, H]: for steps (last to first), the sum of actual and reference states they began with."""
    low, high = min(steps), max(steps)
    start, stop = (low - 1, high) if course.forwards else (low + 1, high + 2)
    found = buffer.new_empty(high - low + 1, buffer.shape[1] // 2, buffer.shape[2])
    inside = slice(max(start, 0), min(stop, len(buffer)))
    offset = inside.start - start
    count = inside.stop - inside.start
    actual, reference = _pairs(buffer[inside])
    torch.add(actual, reference, out=found[offset : offset + count])
    if count < len(found):
        first, first0 = _pairs(initial)
        found[0 if course.forwards else -1] = first + first0
    return found


def _multipliers_of(outputs: Tensor, width: int, course: Course) -> Tensor:
    """Room for pre-activation multipliers float[T, B, width]; 0 where a sequence has no such step."""
    make = outputs.new_empty if course.even else outputs.new_zeros
    return make(*outputs.shape[:2], width)


class Direction(torch.autograd.Function):
    """One direction of one layer: actual and reference in and out, multipliers back to the actual ones."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Recurrence,
        course: Course,
        references: tuple[Tensor, State],
        inputs: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        """Returns outputs float[T, B, H], the final states, and the same for the reference, which carry no gradient."""
        paired = _interleaved(inputs, references[0], 1)
        begin = tuple(_interleaved(own, other, 0) for own, other in zip(state, references[1], strict=True))
        outputs, end = cell.run(paired, begin, course)
        ctx.cell = cell
        actual = [half.contiguous() for half in (_pairs(outputs)[0], *(_pairs(part)[0] for part in end))]
        reference = [half.contiguous() for half in (_pairs(outputs)[1], *(_pairs(part)[1] for part in end))]
        ctx.mark_non_differentiable(*reference)
        return *actual, *reference

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor) -> tuple[Tensor | None, ...]:
        """The multipliers of the inputs and of the initial state."""
        half = len(multipliers) // 2
        inputs, state = ctx.cell.carry(multipliers[0], multipliers[1:half])
        return None, None, None, inputs, *state


def _interleaved(actual: Tensor, reference: Tensor, dim: int) -> Tensor:
    """Rows 2b (actual) and 2b + 1 (reference): any number of first sequences is one contiguous block."""
    return torch.stack([actual, reference], dim=dim + 1).flatten(dim, dim + 1)


def _pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The actual and the reference rows [..., B, H] of interleaved ones [..., 2B, H]."""
    split = rows.unflatten(-2, (-1, 2))
    return split[..., 0, :], split[..., 1, :]
