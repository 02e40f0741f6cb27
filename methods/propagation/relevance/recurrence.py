"""Relevance through a recurrent layer, without an autograd graph through time.

One direction of one layer is one autograd function. Forward it runs the cell and keeps its gates and states; backward
it carries relevance from the last step to the first. What a step makes of the relevance of its state is linear in it,
so the shares are taken for all steps at once, before the loop; a step then costs one recurrent matrix product and a few
products in place. All input projections are one product before the forward loop, and all relevance of the inputs is
made by one after the backward loop.

Each pre-activation z = W x + U h + b is one sum of D + H terms, so that with s = R_z / (z + ε sgn z)

    R_x = x ∘ Wᵀ s + Σ_j bias_factor (b_j + ε sgn z_j) / (D + H) s_j

and alike for h: the second term is one number for all x and h of a step.

Rows are in descending order of length; a sequence that has ended (or, read backwards, not begun) keeps its state and
its relevance. Source: Arras et al. 2017, arXiv:1706.07206; Arras et al. 2019, arXiv:1904.11829.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from .tracking import Recorded

if TYPE_CHECKING:
    from ..fused_recurrence import Course, State, Weights
    from .shares import Shares


class Recurrence(Protocol):
    """One kind of cell; made for one run and discarded after its backward pass."""

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """Outputs float[T, B, H] of inputs float[T, B, D] and the final state; keeps what carry needs."""

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Relevance of inputs float[T, B, D] and initial state, from that of outputs and final state."""


class Lstm:
    """c′ = f∘c + i∘g, h = o∘tanh c′ (torch.nn.LSTM), with an optional projection of h.

    c′ is a sum of two terms, each a gate times a signal; h is a gate times a signal.
    """

    def __init__(self, weights: Weights, shares: Shares) -> None:
        self.weights = weights
        self.shares = shares

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, size = self.weights, state[1].shape[1]
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        gates, outputs = _room(pre, course), _room(pre, course, state[0].shape[1])
        cells, squashed = _room(pre, course, size), _room(pre, course, size)
        for visit in course.visits():
            t, n = visit[0], visit[2]
            z, gate, cell, curl = pre[t, :n], gates[t, :n], cells[t, :n], squashed[t, :n]
            z.addmm_(course.entering(outputs, state[0], visit, 1), weights.recurrent.T)
            gate.copy_(z)
            i, f, g, o = gate.chunk(4, dim=1)
            gate[:, : 2 * size].sigmoid_()
            g.tanh_()
            o.sigmoid_()
            torch.mul(f, course.entering(cells, state[1], visit, 1), out=cell)
            cell.addcmul_(i, g)
            torch.tanh(cell, out=curl)
            if weights.projection is None:
                torch.mul(o, curl, out=outputs[t, :n])
            else:
                torch.mm(o * curl, weights.projection.T, out=outputs[t, :n])
        self.kept = inputs.detach().clone(), state, course, pre, gates, cells, squashed, outputs
        return outputs.clone(), (course.final(outputs, 1), course.final(cells, 1))

    def _factors(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Shares for all steps: of c in c′, of pre-activations (i, f, g) in c′ and (o) in h, and of c′ in h.

        Where gates get nothing, the second is of g alone and the others are None: all of h goes to c′.
        """
        _, state, course, pre, gates, cells, squashed, _ = self.kept
        shares, before = self.shares, _before(cells, state[1], course)
        i, f, g, o = gates.chunk(4, dim=-1)
        stable = shares.stable(pre)
        of_c, of_g = shares.of_terms(cells, f * before, i * g)
        if not shares.of_gates:
            return of_c, of_g / stable.chunk(4, dim=-1)[2], None, None
        forget, remembered = shares.of_factors(f, before)
        write, written = shares.of_factors(i, g)
        expose, exposed = shares.of_factors(o, squashed)
        inner = torch.cat([of_g * write, of_c * forget, of_g * written], -1) / stable[..., : -o.shape[-1]]
        return of_c * remembered, inner, expose / stable.chunk(4, dim=-1)[3], exposed

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, begin, course, pre, gates, cells, squashed, hidden = self.kept
        size = cells.shape[-1]
        stays, inner, outer, through = self._factors()
        sums = self._sums(pre, inputs.shape[-1] + hidden.shape[-1])
        before = _before(hidden, begin[0], course)
        projection = self.weights.projection
        shown = gates[..., 3 * size :] * squashed
        made = _room(pre, course, sums[0].rows)
        into, gated = made[..., : inner.shape[-1]], made[..., inner.shape[-1] :]
        r_h, r_c = state[0].clone(), state[1].clone()
        for t in course.order[::-1]:
            n = course.counts[t]
            own, cell = r_h[:n], r_c[:n]
            own += outputs[t, :n]
            exposed = own if projection is None else self._shown(projection, own, hidden[t, :n], shown[t, :n])
            cell += exposed if through is None else exposed * through[t, :n]
            torch.mul(_apart(inner[t, :n], size), cell[:, None], out=_apart(into[t, :n], size))
            if outer is not None:
                torch.mul(exposed, outer[t, :n], out=gated[t, :n])
            cell *= stays[t, :n]
            own.copy_(sums[1].relevance(before[t, :n], made[t, :n], (t, slice(n))))
        return sums[0].relevance(inputs, made), (r_h, r_c)

    def _sums(self, pre: Tensor, terms: int) -> tuple[_Sums, _Sums]:
        """Those of the pre-activations that get relevance, over x and over h."""
        weights, size = self.weights, len(self.weights.input) // 4
        rows = slice(0, 4 * size) if self.shares.of_gates else slice(2 * size, 3 * size)
        even = _even(self.shares, pre[..., rows], _sum(weights.input_bias, weights.recurrent_bias, rows), terms)
        return _Sums(weights.input[rows], even), _Sums(weights.recurrent[rows], even)

    def _shown(self, projection: Tensor, relevance: Tensor, projected: Tensor, shown: Tensor) -> Tensor:
        """Relevance of o∘tanh c′ from that of its projection."""
        scaled = relevance / self.shares.stable(projected)
        found = shown * (scaled @ projection)
        if self.shares.bias_factor:
            found += (scaled * self.shares.kept(projected)).sum(1, keepdim=True) / shown.shape[1]
        return found


class Gru:
    """h′ = (1 − z)∘n + z∘h, n = tanh(W_in x + b_in + r∘(W_hn h + b_hn)) (torch.nn.GRU).

    h′ is a sum of two terms, each a gate times a signal. Where gates get nothing, the pre-activation of n is one sum
    over x and r∘W_hn h, with the bias b_in + r∘b_hn. Where they do, it is a sum of two terms, a = W_in x + b_in and the
    product p = r∘s with s = W_hn h + b_hn, and a and s are sums over x and over h. 1 − z = σ(−pre_z) hands its
    relevance to the pre-activation of z.
    """

    def __init__(self, weights: Weights, shares: Shares) -> None:
        self.weights = weights
        self.shares = shares

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights, size = self.weights, state[0].shape[1]
        own = weights.project_input(inputs, weights.input_bias)
        pre, gates = _room(own, course), _room(own, course)
        recurrent, outputs = _room(own, course), _room(own, course, size)
        bias = weights.recurrent_bias if weights.recurrent_bias is not None else own.new_zeros(3 * size)
        for visit in course.visits():
            t, n = visit[0], visit[2]
            before, z, gate = course.entering(outputs, state[0], visit, 1), pre[t, :n], gates[t, :n]
            torch.addmm(bias, before, weights.recurrent.T, out=recurrent[t, :n])
            r, update, new = gate.chunk(3, dim=1)
            torch.add(own[t, :n, : 2 * size], recurrent[t, :n, : 2 * size], out=z[:, : 2 * size])
            torch.sigmoid(z[:, : 2 * size], out=gate[:, : 2 * size])
            torch.addcmul(own[t, :n, 2 * size :], r, recurrent[t, :n, 2 * size :], out=z[:, 2 * size :])
            torch.tanh(z[:, 2 * size :], out=new)
            torch.lerp(new, before, update, out=outputs[t, :n])
        self.kept = inputs.detach().clone(), state, course, own, recurrent, pre, gates, outputs
        return outputs.clone(), (course.final(outputs, 1),)

    def _factors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Shares for all steps in h′: of h, and of pre-activations as sums over x and as sums over h."""
        _, state, course, own, recurrent, pre, gates, outputs = self.kept
        shares, before = self.shares, _before(outputs, state[0], course)
        r, update, new = gates.chunk(3, dim=-1)
        of_n, of_h = shares.of_terms(outputs, (1 - update) * new, update * before)
        if not shares.of_gates:
            both = of_n / shares.stable(pre.chunk(3, dim=-1)[2])
            return of_h, both, both
        shut, fresh = shares.of_factors(1 - update, new)
        through, stays = shares.of_factors(update, before)
        a, s = own.chunk(3, dim=-1)[2], recurrent.chunk(3, dim=-1)[2]
        z_r, z_z, z_n = pre.chunk(3, dim=-1)
        of_a, of_p = (of_n * fresh * part for part in shares.of_terms(z_n, a, r * s))
        reset, shown = shares.of_factors(r, s)
        gated = [of_p * reset / shares.stable(z_r), (of_n * shut + of_h * through) / shares.stable(z_z)]
        over_x = torch.cat([*gated, of_a / shares.stable(a)], -1)
        over_h = torch.cat([*gated, of_p * shown / shares.stable(s)], -1)
        return of_h * stays, over_x, over_h

    def _sums(self, terms: tuple[int, int]) -> tuple[_Sums, _Sums]:
        """Those of the pre-activations that get relevance, over x and over h, of which there are so many terms."""
        weights, size = self.weights, len(self.weights.input) // 3
        _, _, _, own, recurrent, pre, gates, _ = self.kept
        shares, gated, last = self.shares, slice(2 * size), slice(2 * size, 3 * size)
        own_bias, recurrent_bias = (_sum(bias, None, last) for bias in (weights.input_bias, weights.recurrent_bias))
        if not shares.of_gates:
            bias = own_bias + gates[..., :size] * recurrent_bias
            even = _even(shares, pre[..., last], bias, sum(terms))
            return _Sums(weights.input[last], even), _Sums(weights.recurrent[last], even)
        both = _even(shares, pre[..., gated], _sum(weights.input_bias, weights.recurrent_bias, gated), sum(terms))
        over_x = _even(shares, own[..., last], own_bias, terms[0])
        over_h = _even(shares, recurrent[..., last], recurrent_bias, terms[1])
        return _Sums(weights.input, _joined(both, over_x)), _Sums(weights.recurrent, _joined(both, over_h))

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, begin, course, *_, hidden = self.kept
        stays, over_x, over_h = self._factors()
        sums = self._sums((inputs.shape[-1], hidden.shape[-1]))
        before = _before(hidden, begin[0], course)
        made, size = _room(over_x, course), hidden.shape[-1]
        reset = None if self.shares.of_gates else self.kept[6][..., :size]
        r_h = state[0].clone()
        for t in course.order[::-1]:
            n = course.counts[t]
            own = r_h[:n]
            own += outputs[t, :n]
            torch.mul(_apart(over_x[t, :n], size), own[:, None], out=_apart(made[t, :n], size))
            scaled = (_apart(over_h[t, :n], size) * own[:, None]).flatten(1)
            own *= stays[t, :n]
            own += sums[1].relevance(before[t, :n], scaled, (t, slice(n)), reset)
        return sums[0].relevance(inputs, made), (r_h,)


class Elman:
    """h′ = φ(W_ih x + W_hh h + b), φ = tanh or relu (torch.nn.RNN): one sum."""

    def __init__(self, weights: Weights, shares: Shares, nonlinearity: str) -> None:
        self.weights = weights
        self.shares = shares
        self.function = torch.relu_ if nonlinearity == "relu" else torch.tanh_

    def run(self, inputs: Tensor, state: State, course: Course) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        weights = self.weights
        pre = weights.project_input(inputs, weights.input_bias, weights.recurrent_bias)
        outputs = _room(pre, course)
        for visit in course.visits():
            t, n = visit[0], visit[2]
            z = pre[t, :n].addmm_(course.entering(outputs, state[0], visit, 1), weights.recurrent.T)
            self.function(outputs[t, :n].copy_(z))
        self.kept = inputs.detach().clone(), state, course, pre, outputs
        return outputs.clone(), (course.final(outputs, 1),)

    def carry(self, outputs: Tensor, state: State) -> tuple[Tensor, State]:
        """See :class:`Recurrence`."""
        inputs, begin, course, pre, hidden = self.kept
        weights, before = self.weights, _before(hidden, begin[0], course)
        bias = _sum(weights.input_bias, weights.recurrent_bias, slice(None))
        even = _even(self.shares, pre, bias, inputs.shape[-1] + hidden.shape[-1])
        over_h = _Sums(weights.recurrent, even)
        made, r_h, stable = _room(pre, course), state[0].clone(), self.shares.stable(pre)
        for t in course.order[::-1]:
            n = course.counts[t]
            own = r_h[:n]
            own += outputs[t, :n]
            torch.div(own, stable[t, :n], out=made[t, :n])
            own.copy_(over_h.relevance(before[t, :n], made[t, :n], (t, slice(n))))
        return _Sums(weights.input, even).relevance(inputs, made), (r_h,)


class _Sums:
    """Pre-activations as sums over x or over h.

    Args:
        matrix: float[G·H, X], the weights.
        even: float[T, B, G·H], bias_factor (b + ε sgn z) / N: what each term gets of them; None if nothing.
    """

    def __init__(self, matrix: Tensor, even: Tensor | None) -> None:
        self.matrix = matrix
        self.even = even
        self.rows = len(matrix)

    def relevance(self, values: Tensor, scaled: Tensor, at: Any = ..., gate: Tensor | None = None) -> Tensor:
        """Relevance of the values float[…, X], from R_z / (z + ε sgn z), float[…, G·H], at some steps and rows.

        A gate float[T, B, G·H] multiplies what they add to each sum.
        """
        weighted = scaled if gate is None else scaled * gate[at]
        found = (weighted @ self.matrix).mul_(values)
        return found if self.even is None else found.add_((scaled * self.even[at]).sum(-1, keepdim=True))


def _even(shares: Shares, totals: Tensor, bias: Tensor | float, terms: int) -> Tensor | None:
    return shares.kept(totals, bias) / terms if shares.bias_factor else None


def _joined(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """What the terms of two blocks of sums get, side by side."""
    return None if one is None or other is None else torch.cat([one, other], -1)


def _sum(one: Tensor | None, other: Tensor | None, rows: slice) -> Tensor | float:
    """The sum of the biases that there are."""
    given = [bias[rows] for bias in (one, other) if bias is not None]
    return sum(given, start=0.0)


def _apart(beside: Tensor, size: int) -> Tensor:
    """float[n, G, H] of float[n, G·H], a view."""
    return beside.unflatten(1, (-1, size))


def _room(like: Tensor, course: Course, width: int | None = None) -> Tensor:
    """Room for float[T, B, width]; 0 where a sequence has no such step."""
    make = like.new_empty if course.even else like.new_zeros
    return make(*like.shape[:2], width or like.shape[2])


def _before(buffer: Tensor, initial: Tensor, course: Course) -> Tensor:
    """float[T, B, ·]: the states with which each step began, after the course was run."""
    return torch.cat([initial[None], buffer[:-1]] if course.forwards else [buffer[1:], initial[None]])


class Direction(Recorded):
    """One direction of one layer: values in and out, relevance back."""

    @staticmethod
    def forward(ctx: Any, cell: Recurrence, course: Course, inputs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Outputs float[T, B, H] and the final state."""
        outputs, end = cell.run(inputs, tuple(part.clone() for part in state), course)
        ctx.cell = cell
        return outputs, *end

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        """The relevance of the inputs and of the initial state."""
        inputs, state = ctx.cell.carry(relevance[0], relevance[1:])
        return None, None, inputs, *state
