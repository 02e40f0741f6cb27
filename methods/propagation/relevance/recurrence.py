"""LRP relevance through a recurrent layer, without an autograd graph through time.

One direction of one layer is one autograd function. The forward pass runs the cell and saves its gates and states. The
backward pass propagates relevance from the last step to the first. A step is linear in the relevance of its state, so
the shares are computed for all steps at once, before the loop. Therefore a step costs one recurrent matrix product and
a few in-place products. All input projections are one matrix product before the forward loop, and the relevance of all
inputs is one matrix product after the backward loop.

Each pre-activation z = W x + U h + b is one sum of D + H terms, so that with s = R_z / (z + ε sgn z)

    R_x = x ∘ Wᵀ s + Σ_j bias_factor (b_j + ε sgn z_j) / (D + H) s_j

and likewise for h: the second term is one number for all x and h of a step.

Rows are in descending order of length. A sequence that has ended (or, read backwards, not started) keeps its state and
its relevance. Source: Arras et al. 2017, arXiv:1706.07206; Arras et al. 2019, arXiv:1904.11829.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from .tracking import Recorded

if TYPE_CHECKING:
    from ..fused_recurrence import Schedule, State, Weights
    from .shares import Shares


class Recurrence(Protocol):
    """Recurrent cell with forward and backward pass; one object serves one run and is discarded afterwards."""

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """Forward pass: outputs float[T, B, H] and final state of inputs float[T, B, D].

        It saves the values that :meth:`backpropagate` needs.
        """

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Backward pass: relevance of inputs float[T, B, D] and initial state from that of outputs and final state.

        Args:
            outputs: float[T, B, H], the relevance of the outputs.
            state: float[B, H] each, the relevance of the final state.
        """


class Lstm:
    """LSTM cell c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h.

    c′ is a sum of two terms, each a gate times a signal; h is a gate times a signal.
    """

    def __init__(self, weights: Weights, shares: Shares) -> None:
        self.weights = weights
        self.shares = shares

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, size = self.weights, state[1].shape[1]
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        gates, outputs = _buffer(pre, schedule), _buffer(pre, schedule, state[0].shape[1])
        cells, squashed = _buffer(pre, schedule, size), _buffer(pre, schedule, size)
        for visit in schedule.visits():
            t, n = visit[0], visit[2]
            z, gate, cell, tanh_c = pre[t, :n], gates[t, :n], cells[t, :n], squashed[t, :n]
            z.addmm_(schedule.states_before(outputs, state[0], visit, 1), weights.recurrent.T)
            gate.copy_(z)
            i, f, g, o = gate.chunk(4, dim=1)
            gate[:, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, schedule.states_before(cells, state[1], visit, 1), out=cell)
            cell.addcmul_(i, g)
            torch.tanh(cell, out=tanh_c)
            if weights.projection is None:
                torch.mul(o, tanh_c, out=outputs[t, :n])
            else:
                torch.mm(o * tanh_c, weights.projection.T, out=outputs[t, :n])
        self.saved = inputs.detach().clone(), state, schedule, pre, gates, cells, squashed, outputs
        return outputs.clone(), (schedule.final(outputs, 1), schedule.final(cells, 1))

    def _factors(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Factors between relevances at all steps, float[T, B, ·] each.

        If gates receive no relevance, the second holds g alone and the last two are None: c′ gets all relevance of h.

        Returns:
            R_c per R_c′; R_z / (z + ε sgn z) per R_c′ for the pre-activations z of i, f, g; the same per R_h for o; and
            R_c′ per R_h.
        """
        _, state, schedule, pre, gates, cells, squashed, _ = self.saved
        shares, before = self.shares, _states_before(cells, state[1], schedule)
        i, f, g, o = gates.chunk(4, dim=-1)
        stable = shares.stable(pre)
        of_c, of_g = shares.of_terms(cells, f * before, i * g)
        if not shares.includes_gates:
            return of_c, of_g / stable.chunk(4, dim=-1)[2], None, None
        forget, remembered = shares.of_factors(f, before)
        write, written = shares.of_factors(i, g)
        expose, exposed = shares.of_factors(o, squashed)
        inner = torch.cat([of_g * write, of_c * forget, of_g * written], -1) / stable[..., : -o.shape[-1]]
        return of_c * remembered, inner, expose / stable.chunk(4, dim=-1)[3], exposed

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, initial, schedule, pre, gates, cells, squashed, hidden = self.saved
        size = cells.shape[-1]
        of_previous, inner, outer, of_cell = self._factors()
        maps = self._linear_maps(pre, inputs.shape[-1] + hidden.shape[-1])
        before = _states_before(hidden, initial[0], schedule)
        projection = self.weights.projection
        unprojected = gates[..., 3 * size :] * squashed
        scaled = _buffer(pre, schedule, maps[0].rows)
        into, gated = scaled[..., : inner.shape[-1]], scaled[..., inner.shape[-1] :]
        r_h, r_c = state[0].clone(), state[1].clone()
        for t in schedule.order[::-1]:
            n = schedule.counts[t]
            own, cell = r_h[:n], r_c[:n]
            own += outputs[t, :n]
            exposed = (
                own if projection is None else self._unprojected(projection, own, hidden[t, :n], unprojected[t, :n])
            )
            cell += exposed if of_cell is None else exposed * of_cell[t, :n]
            torch.mul(_by_gate(inner[t, :n], size), cell[:, None], out=_by_gate(into[t, :n], size))
            if outer is not None:
                torch.mul(exposed, outer[t, :n], out=gated[t, :n])
            cell *= of_previous[t, :n]
            own.copy_(maps[1].relevance(before[t, :n], scaled[t, :n], (t, slice(n))))
        return maps[0].relevance(inputs, scaled), (r_h, r_c)

    def _linear_maps(self, pre: Tensor, terms: int) -> tuple[_Linear, _Linear]:
        """Linear maps over x and over h in the pre-activations that receive relevance; ``terms`` is D + H."""
        weights, size = self.weights, len(self.weights.input) // 4
        rows = slice(0, 4 * size) if self.shares.includes_gates else slice(2 * size, 3 * size)
        bias_shares = _bias_shares(
            self.shares, pre[..., rows], _bias_sum(weights.input_bias, weights.recurrent_bias, rows), terms
        )
        return _Linear(weights.input[rows], bias_shares), _Linear(weights.recurrent[rows], bias_shares)

    def _unprojected(self, projection: Tensor, relevance: Tensor, projected: Tensor, unprojected: Tensor) -> Tensor:
        """Relevance of ``unprojected`` = o∘tanh c′ from that of ``projected``, its projection."""
        scaled = relevance / self.shares.stable(projected)
        relevances = unprojected * (scaled @ projection)
        if self.shares.bias_factor:
            relevances += (scaled * self.shares.bias_share(projected)).sum(1, keepdim=True) / unprojected.shape[1]
        return relevances


class Gru:
    """GRU cell h′ = (1 − z)∘n + z∘h, n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU).

    h′ is a sum of two terms, each a gate times a signal. If gates receive no relevance, the pre-activation of n is one
    sum over x and r∘W_hn h, with the bias b_in + r∘b_hn. If they do, it is a sum of two terms: a = W_in x + b_in and
    the product p = r∘s with s = W_hn h + b_hn; a and s are sums over x and over h. 1 − z = σ(−pre_z) passes its
    relevance on to the pre-activation of z.
    """

    def __init__(self, weights: Weights, shares: Shares) -> None:
        self.weights = weights
        self.shares = shares

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, size = self.weights, state[0].shape[1]
        own = weights.project_input(inputs, weights.input_bias)
        pre, gates = _buffer(own, schedule), _buffer(own, schedule)
        recurrent, outputs = _buffer(own, schedule), _buffer(own, schedule, size)
        bias = weights.recurrent_bias if weights.recurrent_bias is not None else own.new_zeros(3 * size)
        for visit in schedule.visits():
            t, n = visit[0], visit[2]
            before, z, gate = schedule.states_before(outputs, state[0], visit, 1), pre[t, :n], gates[t, :n]
            torch.addmm(bias, before, weights.recurrent.T, out=recurrent[t, :n])
            r, update, new = gate.chunk(3, dim=1)
            torch.add(own[t, :n, : 2 * size], recurrent[t, :n, : 2 * size], out=z[:, : 2 * size])
            torch.sigmoid(z[:, : 2 * size], out=gate[:, : 2 * size])
            torch.addcmul(own[t, :n, 2 * size :], r, recurrent[t, :n, 2 * size :], out=z[:, 2 * size :])
            torch.tanh(z[:, 2 * size :], out=new)
            torch.lerp(new, before, update, out=outputs[t, :n])
        self.saved = inputs.detach().clone(), state, schedule, own, recurrent, pre, gates, outputs
        return outputs.clone(), (schedule.final(outputs, 1),)

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Factors between relevances at all steps, float[T, B, ·] each.

        Returns:
            R_h per R_h′; and R_z / (z + ε sgn z) per R_h′, of the pre-activations z as sums over x and as sums over h.
        """
        _, state, schedule, own, recurrent, pre, gates, outputs = self.saved
        shares, before = self.shares, _states_before(outputs, state[0], schedule)
        r, update, new = gates.chunk(3, dim=-1)
        of_n, of_h = shares.of_terms(outputs, (1 - update) * new, update * before)
        if not shares.includes_gates:
            both = of_n / shares.stable(pre.chunk(3, dim=-1)[2])
            return of_h, both, both
        shut, fresh = shares.of_factors(1 - update, new)
        through, previous = shares.of_factors(update, before)
        a, s = own.chunk(3, dim=-1)[2], recurrent.chunk(3, dim=-1)[2]
        z_r, z_z, z_n = pre.chunk(3, dim=-1)
        of_a, of_p = (of_n * fresh * part for part in shares.of_terms(z_n, a, r * s))
        reset, shown = shares.of_factors(r, s)
        gated = [of_p * reset / shares.stable(z_r), (of_n * shut + of_h * through) / shares.stable(z_z)]
        over_x = torch.cat([*gated, of_a / shares.stable(a)], -1)
        over_h = torch.cat([*gated, of_p * shown / shares.stable(s)], -1)
        return of_h * previous, over_x, over_h

    def _linear_maps(self, terms: tuple[int, int]) -> tuple[_Linear, _Linear]:
        """Linear maps over x and over h in the pre-activations that receive relevance; ``terms`` are D and H."""
        weights, size = self.weights, len(self.weights.input) // 3
        _, _, _, own, recurrent, pre, gates, _ = self.saved
        shares, gated, last = self.shares, slice(2 * size), slice(2 * size, 3 * size)
        own_bias, recurrent_bias = (
            _bias_sum(bias, None, last) for bias in (weights.input_bias, weights.recurrent_bias)
        )
        if not shares.includes_gates:
            bias = own_bias + gates[..., :size] * recurrent_bias
            bias_shares = _bias_shares(shares, pre[..., last], bias, sum(terms))
            return _Linear(weights.input[last], bias_shares), _Linear(weights.recurrent[last], bias_shares)
        both = _bias_shares(
            shares, pre[..., gated], _bias_sum(weights.input_bias, weights.recurrent_bias, gated), sum(terms)
        )
        over_x = _bias_shares(shares, own[..., last], own_bias, terms[0])
        over_h = _bias_shares(shares, recurrent[..., last], recurrent_bias, terms[1])
        return _Linear(weights.input, _concatenated(both, over_x)), _Linear(
            weights.recurrent, _concatenated(both, over_h)
        )

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, initial, schedule, *_, hidden = self.saved
        of_previous, over_x, over_h = self._factors()
        maps = self._linear_maps((inputs.shape[-1], hidden.shape[-1]))
        before = _states_before(hidden, initial[0], schedule)
        scaled_x, size = _buffer(over_x, schedule), hidden.shape[-1]
        reset = None if self.shares.includes_gates else self.saved[6][..., :size]
        r_h = state[0].clone()
        for t in schedule.order[::-1]:
            n = schedule.counts[t]
            own = r_h[:n]
            own += outputs[t, :n]
            torch.mul(_by_gate(over_x[t, :n], size), own[:, None], out=_by_gate(scaled_x[t, :n], size))
            scaled_h = (_by_gate(over_h[t, :n], size) * own[:, None]).flatten(1)
            own *= of_previous[t, :n]
            own += maps[1].relevance(before[t, :n], scaled_h, (t, slice(n)), reset)
        return maps[0].relevance(inputs, scaled_x), (r_h,)


class Elman:
    """Elman cell h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN): one sum."""

    def __init__(self, weights: Weights, shares: Shares, nonlinearity: str) -> None:
        self.weights = weights
        self.shares = shares
        self.function = torch.relu_ if nonlinearity == "relu" else torch.tanh_

    def run(self, inputs: Tensor, state: State, schedule: Schedule) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights = self.weights
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        outputs = _buffer(pre, schedule)
        for visit in schedule.visits():
            t, n = visit[0], visit[2]
            z = pre[t, :n].addmm_(schedule.states_before(outputs, state[0], visit, 1), weights.recurrent.T)
            self.function(outputs[t, :n].copy_(z))
        self.saved = inputs.detach().clone(), state, schedule, pre, outputs
        return outputs.clone(), (schedule.final(outputs, 1),)

    def backpropagate(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, initial, schedule, pre, hidden = self.saved
        weights, before = self.weights, _states_before(hidden, initial[0], schedule)
        bias = _bias_sum(weights.input_bias, weights.recurrent_bias, slice(None))
        bias_shares = _bias_shares(self.shares, pre, bias, inputs.shape[-1] + hidden.shape[-1])
        over_h = _Linear(weights.recurrent, bias_shares)
        scaled, r_h, stable = _buffer(pre, schedule), state[0].clone(), self.shares.stable(pre)
        for t in schedule.order[::-1]:
            n = schedule.counts[t]
            own = r_h[:n]
            own += outputs[t, :n]
            torch.div(own, stable[t, :n], out=scaled[t, :n])
            own.copy_(over_h.relevance(before[t, :n], scaled[t, :n], (t, slice(n))))
        return _Linear(weights.input, bias_shares).relevance(inputs, scaled), (r_h,)


class _Linear:
    """Linear map from x or from h to pre-activations, with the backward rule of LRP-ε.

    Args:
        matrix: float[G·H, X], the weights.
        bias_shares: float[T, B, G·H], bias_factor (b + ε sgn z) / N, which each term gets; None if the factor is 0.
    """

    def __init__(self, matrix: Tensor, bias_shares: Tensor | None) -> None:
        self.matrix = matrix
        self.bias_shares = bias_shares
        self.rows = len(matrix)

    def relevance(self, values: Tensor, scaled: Tensor, at: Any = ..., gate: Tensor | None = None) -> Tensor:
        """Relevance float[…, X] of the values of x or h.

        Args:
            values: float[…, X].
            scaled: float[…, G·H], R_z / (z + ε sgn z).
            at: index of the steps and rows of ``values`` in [T, B].
            gate: float[T, B, G·H], by which each sum of products is multiplied; None for no gate.
        """
        weighted = scaled if gate is None else scaled * gate[at]
        relevances = (weighted @ self.matrix).mul_(values)
        return (
            relevances
            if self.bias_shares is None
            else relevances.add_((scaled * self.bias_shares[at]).sum(-1, keepdim=True))
        )


def _bias_shares(shares: Shares, totals: Tensor, bias: Tensor | float, terms: int) -> Tensor | None:
    """Equal shares of bias and stabiliser, bias_factor (b + ε sgn z) / N; None if the bias factor is 0."""
    return shares.bias_share(totals, bias) / terms if shares.bias_factor else None


def _concatenated(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Bias shares of two blocks of pre-activations, concatenated; None if there are none."""
    return None if one is None or other is None else torch.cat([one, other], -1)


def _bias_sum(one: Tensor | None, other: Tensor | None, rows: slice) -> Tensor | float:
    """Sum of the rows of the biases that are not None; 0.0 if both are."""
    biases = [bias[rows] for bias in (one, other) if bias is not None]
    return sum(biases, start=0.0)


def _by_gate(flat: Tensor, size: int) -> Tensor:
    """View float[n, G, H] of float[n, G·H]: one row for each gate."""
    return flat.unflatten(1, (-1, size))


def _buffer(like: Tensor, schedule: Schedule, width: int | None = None) -> Tensor:
    """Buffer float[T, B, width]; 0 where a sequence does not have the step."""
    allocate = like.new_empty if schedule.equal_lengths else like.new_zeros
    return allocate(*like.shape[:2], width or like.shape[2])


def _states_before(buffer: Tensor, initial: Tensor, schedule: Schedule) -> Tensor:
    """States before each step, float[T, B, ·], from the buffer that the forward pass has filled."""
    return torch.cat([initial[None], buffer[:-1]] if schedule.forwards else [buffer[1:], initial[None]])


class Direction(Recorded):
    """One direction of one layer as an autograd function, whose backward pass propagates relevance."""

    @staticmethod
    def forward(ctx: Any, cell: Recurrence, schedule: Schedule, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run the cell: outputs float[T, B, H] and final state."""
        outputs, end = cell.run(inputs, tuple(part.clone() for part in state), schedule)
        ctx.cell = cell
        return outputs, *end

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        """Relevance of the inputs and of the initial state."""
        inputs, state = ctx.cell.backpropagate(relevance[0], relevance[1:])
        return None, None, inputs, *state
