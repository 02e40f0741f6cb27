"""The two memory cells of xLSTM: sLSTM (scalar memory, memory mixing) and mLSTM (matrix memory)."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import LinearRecurrentLayer, Mixing, RecurrentLayer, State

# The stabiliser before the first step: exp of it is 0, yet differences with it are numbers, unlike those with −∞.
_NOTHING: Final = -1e30
# exp(±80) is a number in float32.
_LARGEST_EXPONENT: Final = 80.0
# The forget gates begin between σ(3) and σ(6), as in the authors' code: nearly open.
_FORGET_BIAS: Final = (3.0, 6.0)
# Steps that mLSTM computes at once: the time grows with their square, and with their number it falls.
_AT_ONCE: Final = 32


class SLstm(RecurrentLayer):
    """sLSTM: an LSTM with exponential input gates, and a normaliser that keeps its memory an average.

    With a = W x_t + R h_{t−1} + b in four parts i, f, z, o: c_t = f′ ∘ c_{t−1} + i′ ∘ tanh z and n_t = f′ ∘ n_{t−1} +
    i′; h_t = σ(o) ∘ c_t / n_t. The gates are stabilised: m_t = max(log σ(f) + m_{t−1}, i), i′ = exp(i − m_t) and f′ =
    exp(log σ(f) + m_{t−1} − m_t); m cancels in c/n. One head, so R is a full matrix.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.

    Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", equations 8 to 17, with the sigmoid forget gate.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        # gates in the order i, f, z, o
        self.weight = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.recurrent = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, uniform up to 1/√H as in torch's layers; forget gates begin nearly open."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            self.bias[self.hidden_size : 2 * self.hidden_size] = torch.linspace(*_FORGET_BIAS, self.hidden_size)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: h, c, n and m."""
        zero = self.weight.new_zeros(1, self.hidden_size)
        return zero, zero, zero, torch.full_like(zero, _NOTHING)

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: W x + b."""
        return F.linear(inputs, self.weight, self.bias)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        hidden, memory, count, greatest = state
        enter, forget, candidate, show = (features + F.linear(hidden, self.recurrent)).chunk(4, 1)
        kept = F.logsigmoid(forget) + greatest
        greatest = torch.maximum(kept, enter)
        keep, take = (kept - greatest).exp(), (enter - greatest).exp()
        memory = keep * memory + take * candidate.tanh()
        count = keep * count + take
        hidden = show.sigmoid() * memory / count
        return hidden, (hidden, memory, count, greatest)


class MLstm(LinearRecurrentLayer):
    """mLSTM: a matrix memory with exponential gates, C_t = f′ C_{t−1} + i′ v_t k_tᵀ, read by a query.

    q = W_q x + b_q, k = (W_k x + b_k)/√d, v = W_v x + b_v and o = σ(W_o x + b_o) have H units in heads of d; each head
    has a gate i = w_iᵀ x + b_i and f = w_fᵀ x + b_f. n_t = f′ n_{t−1} + i′ k_t, and h_t = o ∘ C_t q / max(|n_tᵀ q|, 1).
    The gates are stabilised as those of :class:`SLstm`; the 1 becomes exp(−m_t). There are four heads where four
    divides H, else two or one.

    All steps at once: h_t = o_t ∘ Σ_s S_ts v_s / max(|Σ_s S_ts|, exp(−m_t)), with S_ts = q_tᵀ k_s exp(F_t − F_s + i_s −
    m_t), where F_t is the sum of log σ(f) up to t, and m_t the maximum of F_t − F_s + i_s over s ≤ t.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.

    Source: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", equations 19 to 27, with the sigmoid forget
    gate; all steps at once: their appendix A, in parts of 32 steps.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.heads = math.gcd(4, hidden_size)
        # query, key, value and output gate of H units each, then input and forget gate of each head
        self.weight = nn.Parameter(torch.empty(4 * hidden_size + 2 * self.heads, input_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size + 2 * self.heads))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: as in torch's layers; the gates of the memory begin as in the authors' code."""
        gates = self.weight[4 * self.hidden_size :], self.bias[4 * self.hidden_size :]
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)
        with torch.no_grad():
            gates[0].zero_()
            gates[1][: self.heads].normal_(std=0.1)
            gates[1][self.heads :] = torch.linspace(*_FORGET_BIAS, self.heads)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: C, n and m of each head."""
        width = self.hidden_size // self.heads
        memory = self.weight.new_zeros(1, self.heads, width, width)
        return memory, memory[..., 0], torch.full_like(memory[..., 0, 0], _NOTHING)

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: q, k √d, v, the argument of o, i and f."""
        return F.linear(inputs, self.weight, self.bias)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        memory, count, greatest = state
        query, key, value, show, enter, forget = self._parts(features)
        kept = F.logsigmoid(forget) + greatest
        greatest = torch.maximum(kept, enter)
        keep, take = (kept - greatest).exp()[..., None], (enter - greatest).exp()[..., None]
        memory = keep[..., None] * memory + (take * value)[..., None] * key[..., None, :]
        count = keep * count + take * key
        seen = torch.maximum((count * query).sum(-1).abs(), _floor(greatest))[..., None]
        read = (memory @ query[..., None]).squeeze(-1) / seen
        return show * read.flatten(-2), (memory, count, greatest)

    def at_once(self, features: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.at_once`: some steps at once, from the state after those before them."""
        state = self.begin()
        outputs = []
        for part in features.split(_AT_ONCE, 1):
            read, state = self._advance_several(part, state)
            outputs.append(read)
        return torch.cat(outputs, 1)

    def mixing(self, inputs: Tensor) -> Mixing:
        """See :meth:`LinearRecurrentLayer.mixing`: a channel is a head, its values are vectors v."""
        query, key, value, _, enter, forget = self._parts(self.features(inputs)[None])
        weights, greatest = self._weights(query, key, enter, F.logsigmoid(forget).cumsum(1), self.begin()[2])
        weights = weights / torch.maximum(weights.sum(-1).abs(), _floor(greatest))[..., None]
        return Mixing(weights[0].permute(1, 2, 0), value[0])

    def _advance_several(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Outputs float[B, t, H] and the states after t steps, from features float[B, t, F] and the states before."""
        memory, count, before = state
        query, key, value, show, enter, forget = self._parts(features)
        total = F.logsigmoid(forget).cumsum(1)
        weights, greatest = self._weights(query, key, enter, total, before)
        # what was there before, as each step finds it
        kept = (total.transpose(1, 2) + before[..., None] - greatest).exp()
        asked = query.transpose(1, 2)
        found = weights @ value.transpose(1, 2) + kept[..., None] * (asked @ memory.transpose(-2, -1))
        counted = weights.sum(-1) + kept * (asked @ count[..., None]).squeeze(-1)
        outputs = found / torch.maximum(counted.abs(), _floor(greatest))[..., None]
        # what is there after them
        keep, most = kept[..., -1, None], greatest[..., -1]
        take = (total[:, -1:] - total + enter - most[:, None]).exp()[..., None] * key
        memory = keep[..., None] * memory + value.permute(0, 2, 3, 1) @ take.transpose(1, 2)
        return show * outputs.transpose(1, 2).flatten(-2), (memory, keep * count + take.sum(1), most)

    @staticmethod
    def _weights(query: Tensor, key: Tensor, enter: Tensor, total: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Weights S float[B, heads, t, t] of t steps in each other, and their stabilisers m float[B, heads, t].

        Queries and keys are float[B, t, heads, d]; the arguments of the input gates, and the sums of log σ(f) up to
        each step, float[B, t, heads]; the stabiliser before the first of the steps is float[B, heads].
        """
        sums, steps = total.transpose(1, 2), total.shape[1]
        exponents = sums[..., None] + (enter - total).transpose(1, 2)[..., None, :]
        later = torch.ones(steps, steps, dtype=torch.bool, device=total.device).triu(1)
        exponents = exponents.masked_fill(later, -torch.inf)
        greatest = torch.maximum(exponents.amax(-1), sums + before[..., None])
        products = query.transpose(1, 2) @ key.permute(0, 2, 3, 1)
        return products * (exponents - greatest[..., None]).exp(), greatest

    def _parts(self, features: Tensor) -> tuple[Tensor, ...]:
        """q, k and v float[…, heads, d], o float[…, H], and the gates i and f float[…, heads]."""
        sizes = [self.hidden_size] * 4 + [self.heads] * 2
        query, key, value, show, enter, forget = features.split(sizes, -1)
        width = self.hidden_size // self.heads
        query, key, value = (part.unflatten(-1, (self.heads, width)) for part in (query, key, value))
        return query, key / math.sqrt(width), value, show.sigmoid(), enter, forget


def _floor(greatest: Tensor) -> Tensor:
    """exp(−m), the least normaliser of a memory that is stabilised by m, within what is a number."""
    return (-greatest.clamp(-_LARGEST_EXPONENT, _LARGEST_EXPONENT)).exp()
