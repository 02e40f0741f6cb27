"""DeepLIFT multipliers through a recurrent layer, without an autograd graph through time.

One direction of one layer is one autograd function. The forward pass runs the actual and the reference sequences
together, in rows 2b and 2b + 1, and saves the values from which slopes are computed. The backward pass propagates
multipliers from the last step to the first. All input projections are one matrix product before the loop, and all
multipliers of the inputs are one after it. Slopes, means and products are computed for a block of steps at once.
Therefore a step costs one recurrent matrix product and a few in-place operations.

Formulas: Shrikumar et al. 2017 (Rescale) for elementwise functions. A product a∘b passes m·mean(b) to a and m·mean(a)
to b, which is exact and the Shapley split of two factors. "Mean" is the mean of actual and reference.

Rows are in descending order of length, and ``counts[t]`` is the number of sequences that have a step t. A sequence that
has ended (or, read backwards, not started) keeps its state and its multiplier. Rows of a buffer beyond the count are
never read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from ..fused_recurrence import Schedule, State, Weights
from .slopes import tanh_over

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Direction", "Elman", "Gru", "Lstm", "Recurrence", "Schedule", "State", "Weights"]

_SIDES = 2  # rows of a buffer for each sequence: actual and reference


class Recurrence(Protocol):
    """Recurrent cell with forward and backward pass; one object serves one run and is discarded afterwards."""

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """Forward pass: outputs float[T, 2B, H] and final state, with actual and reference rows interleaved.

        It saves the values that :meth:`backpropagate` needs.
        """

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Backward pass: multipliers of inputs float[T, B, D] and initial state from those of outputs and final state.

        Args:
            outputs: float[T, B, H], the multipliers of the outputs.
            state: float[B, H] each, the multipliers of the final state.
        """


class Lstm:
    """LSTM cell c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`. Gates overwrite their pre-activations, of which only the difference is saved."""
        weights, size = self.weights, state[1].shape[1]
        gates = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        steps, rows = gates.shape[:2]
        deltas = gates.new_empty(steps, rows // 2, 4 * size)
        cells, squashed = gates.new_empty(steps, rows, size), gates.new_empty(steps, rows, size)
        outputs = gates.new_empty(steps, rows, state[0].shape[1])
        self.saved = schedule, gates, deltas, cells, squashed, state[1]
        for visit in schedule.visits():
            t, n = visit[0], 2 * visit[2]
            gate, cell, output = gates[t, :n], cells[t, :n], outputs[t, :n]
            gate.addmm_(schedule.states_before(outputs, state[0], visit, _SIDES), weights.recurrent.T)
            torch.sub(gate[0::2], gate[1::2], out=deltas[t, : n // 2])
            i, f, g, o = gate.chunk(4, dim=1)
            gate[:, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, schedule.states_before(cells, state[1], visit, _SIDES), out=cell)
            cell.addcmul_(i, g)
            torch.tanh(cell, out=squashed[t, :n])
            if weights.projection is None:
                torch.mul(o, squashed[t, :n], out=output)
            else:
                torch.mm(o * squashed[t, :n], weights.projection.T, out=output)
        return outputs, (schedule.final(outputs, _SIDES), schedule.final(cells, _SIDES))

    def _factors(self, steps: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Factors between multipliers at some steps: float[S, B, ·] each.

        Returns:
            m_c′ per m_h; multipliers of the pre-activations of i, f, g per m_c′, float[S, B, 3, H]; that of o per m_h;
            m_c per m_c′.
        """
        schedule, gates, deltas, cells, squashed, initial = self.saved
        size = cells.shape[-1]
        own, other = _pairs(gates[_span(steps)])
        after, after0 = _pairs(cells[_span(steps)])
        tanh_c, tanh_c0 = _pairs(squashed[_span(steps)])
        before = _summed_states_before(cells, initial, steps, schedule)
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
        slopes[..., 3 * size :] *= tanh_c + tanh_c0
        through = tanh_over(after - after0).mul_(1 - tanh_c * tanh_c0).mul_(o).mul_(0.5)
        return through, slopes[..., : 3 * size].unflatten(-1, (3, size)), slopes[..., 3 * size :], f * 0.5

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, schedule = self.weights, self.saved[0]
        m_h, m_c = state[0].clone(), state[1].clone()
        size = m_c.shape[1]
        m_pre = _new_multipliers(outputs, 4 * size, schedule)
        for steps in schedule.blocks(m_pre[0].nbytes):
            factors = self._factors(steps)
            for t, *factor in _by_step(steps, *factors):
                n = schedule.counts[t]
                through, inner, outer, forget = (part[:n] for part in factor)
                hidden, cell, pre = m_h[:n], m_c[:n], m_pre[t, :n]
                hidden += outputs[t, :n]
                exposed = hidden if weights.projection is None else hidden @ weights.projection
                cell.addcmul_(exposed, through)
                torch.mul(cell[:, None], inner, out=pre[:, : 3 * size].unflatten(1, (3, size)))
                torch.mul(exposed, outer, out=pre[:, 3 * size :])
                cell *= forget
                torch.mm(pre, weights.recurrent, out=hidden)
        return m_pre @ weights.input, (m_h, m_c)


class Gru:
    """GRU cell h′ = n + z∘(h − n), n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU)."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`. Gates overwrite their pre-activations, of which only the difference is saved."""
        weights, size = self.weights, state[0].shape[1]
        gates = weights.project_input(inputs, weights.input_bias)
        steps, rows = gates.shape[:2]
        deltas, own = gates.new_empty(steps, rows // 2, 3 * size), gates.new_empty(steps, rows, size)
        outputs = gates.new_empty(steps, rows, size)
        bias = weights.recurrent_bias if weights.recurrent_bias is not None else gates.new_zeros(3 * size)
        self.saved = schedule, gates, deltas, own, outputs, state[0]
        for visit in schedule.visits():
            t, n = visit[0], 2 * visit[2]
            gate, before = gates[t, :n], schedule.states_before(outputs, state[0], visit, _SIDES)
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
        return outputs, (schedule.final(outputs, _SIDES),)

    def _factors(self, steps: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Factors between multipliers at some steps: float[S, B, H] each.

        Returns:
            multipliers of the pre-activations of z and of n per m_h; that of r per that of n; the means r̄ and z̄.
        """
        schedule, gates, deltas, recurrent, outputs, initial = self.saved
        size = recurrent.shape[-1]
        gate, gate0 = _pairs(gates[_span(steps)])
        own, own0 = _pairs(recurrent[_span(steps)])
        before = _summed_states_before(outputs, initial, steps, schedule)
        sums, cross = gate + gate0, gate * gate0
        curve = torch.sub(sums, cross, alpha=2)
        curve[..., 2 * size :] = 2 - 2 * cross[..., 2 * size :]
        half = deltas[_span(steps)] * 0.5
        half[..., 2 * size :] *= 2
        slope_r, slope_z, slope_n = tanh_over(half).mul_(curve).mul_(0.5).chunk(3, dim=-1)
        r, update, new = sums.mul_(0.5).chunk(3, dim=-1)
        of_update = before.mul_(0.5).sub_(new).mul_(slope_z)
        return of_update, (1 - update).mul_(slope_n), (own + own0).mul_(0.5).mul_(slope_r), r, update

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        schedule = self.saved[0]
        m_h = state[0].clone()
        size = m_h.shape[1]
        m_pre = _new_multipliers(outputs, 3 * size, schedule)
        m_own = outputs.new_empty(len(m_h), 3 * size)
        for steps in schedule.blocks(m_pre[0].nbytes):
            for t, *factor in _by_step(steps, *self._factors(steps)):
                n = schedule.counts[t]
                of_update, of_new, of_reset, reset, update = (part[:n] for part in factor)
                hidden, pre, own = m_h[:n], m_pre[t, :n], m_own[:n]
                hidden += outputs[t, :n]
                torch.mul(hidden, of_new, out=pre[:, 2 * size :])
                torch.mul(pre[:, 2 * size :], of_reset, out=pre[:, :size])
                torch.mul(hidden, of_update, out=pre[:, size : 2 * size])
                own[:, : 2 * size] = pre[:, : 2 * size]
                torch.mul(pre[:, 2 * size :], reset, out=own[:, 2 * size :])
                hidden.mul_(update).addmm_(own, self.weights.recurrent)
        return m_pre @ self.weights.input, (m_h,)


class Elman:
    """Elman cell h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN)."""

    def __init__(self, weights: Weights, nonlinearity: str) -> None:
        self.weights = weights
        self.relu = nonlinearity == "relu"

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights = self.weights
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        outputs = torch.empty_like(pre)
        self.saved = schedule, pre, outputs
        for visit in schedule.visits():
            t, n = visit[0], 2 * visit[2]
            z = pre[t, :n].addmm_(schedule.states_before(outputs, state[0], visit, _SIDES), weights.recurrent.T)
            torch.clamp(z, min=0, out=outputs[t, :n]) if self.relu else torch.tanh(z, out=outputs[t, :n])
        return outputs, (schedule.final(outputs, _SIDES),)

    def _slopes(self, steps: list[int]) -> Tensor:
        """Secant slopes of φ at some steps, float[S, B, H]."""
        _, pre, outputs = self.saved
        z, z0 = _pairs(pre[_span(steps)])
        h, h0 = _pairs(outputs[_span(steps)])
        delta = z - z0
        if self.relu:
            return torch.where(delta == 0, (z > 0).to(delta.dtype), (h - h0) / delta)
        return tanh_over(delta).mul_(1 - h * h0)

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        schedule = self.saved[0]
        m_h = state[0].clone()
        m_pre = _new_multipliers(outputs, m_h.shape[1], schedule)
        for steps in schedule.blocks(m_pre[0].nbytes):
            for t, slope in _by_step(steps, self._slopes(steps)):
                n = schedule.counts[t]
                hidden = m_h[:n]
                hidden += outputs[t, :n]
                torch.mul(hidden, slope[:n], out=m_pre[t, :n])
                torch.mm(m_pre[t, :n], self.weights.recurrent, out=hidden)
        return m_pre @ self.weights.input, (m_h,)


def _span(steps: list[int]) -> slice:
    """Consecutive steps, in either direction, as a slice in ascending order."""
    return slice(min(steps), max(steps) + 1)


def _by_step(steps: list[int], *parts: Tensor) -> Iterator[tuple[Any, ...]]:
    """Tuples of a step and its slices of tensors [S, ...] that were computed for a whole block of steps."""
    low = min(steps)
    return ((t, *(part[t - low] for part in parts)) for t in steps)


def _summed_states_before(buffer: Tensor, initial: Tensor, steps: list[int], schedule: Schedule) -> Tensor:
    """Sums of the actual and the reference states before each of some consecutive steps: float[S, B, H]."""
    low, high = min(steps), max(steps)
    start, stop = (low - 1, high) if schedule.forwards else (low + 1, high + 2)
    sums = buffer.new_empty(high - low + 1, buffer.shape[1] // 2, buffer.shape[2])
    inside = slice(max(start, 0), min(stop, len(buffer)))
    offset = inside.start - start
    count = inside.stop - inside.start
    actual, reference = _pairs(buffer[inside])
    torch.add(actual, reference, out=sums[offset : offset + count])
    if count < len(sums):
        first, first0 = _pairs(initial)
        sums[0 if schedule.forwards else -1] = first + first0
    return sums


def _new_multipliers(outputs: Tensor, width: int, schedule: Schedule) -> Tensor:
    """Buffer float[T, B, width] for multipliers of pre-activations; 0 where a sequence does not have the step."""
    allocate = outputs.new_empty if schedule.equal_lengths else outputs.new_zeros
    return allocate(*outputs.shape[:2], width)


class Direction(torch.autograd.Function):
    """One direction of one layer as an autograd function on both sides; multipliers go to the actual side."""

    @staticmethod
    def forward(
        ctx: Any,
        cell: Recurrence,
        schedule: Schedule,
        references: tuple[Tensor, State],
        inputs: Tensor,
        *state: Tensor,
    ) -> tuple[Tensor, ...]:
        """Run the cell: outputs float[T, B, H] and final states, then both of the reference, without a gradient."""
        paired = _interleaved(inputs, references[0], 1)
        initial = tuple(_interleaved(own, other, 0) for own, other in zip(state, references[1], strict=True))
        outputs, end = cell.run(paired, initial, schedule)
        ctx.cell = cell
        actual = [half.contiguous() for half in (_pairs(outputs)[0], *(_pairs(part)[0] for part in end))]
        reference = [half.contiguous() for half in (_pairs(outputs)[1], *(_pairs(part)[1] for part in end))]
        ctx.mark_non_differentiable(*reference)
        return *actual, *reference

    @staticmethod
    def backward(ctx: Any, *multipliers: Tensor) -> tuple[Tensor | None, ...]:
        """Multipliers of the inputs and of the initial state."""
        half = len(multipliers) // 2
        inputs, state = ctx.cell.backpropagate(multipliers[0], multipliers[1:half])
        return None, None, None, inputs, *state


def _interleaved(actual: Tensor, reference: Tensor, dim: int) -> Tensor:
    """Rows 2b (actual) and 2b + 1 (reference), so that any number of first sequences is one contiguous block."""
    return torch.stack([actual, reference], dim=dim + 1).flatten(dim, dim + 1)


def _pairs(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Actual and reference rows, float[..., B, H] each, of interleaved rows float[..., 2B, H]."""
    split = rows.unflatten(-2, (-1, 2))
    return split[..., 0, :], split[..., 1, :]
