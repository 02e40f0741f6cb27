"""LRU: the linear recurrent unit, a complex diagonal recurrence, with the gated output of its block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import LinearRecurrentLayer, Mixing, State, decays_between, linear_scan


class Lru(LinearRecurrentLayer):
    """Linear recurrent unit: s_t = λ ∘ s_{t−1} + exp(γ) ∘ (B x_t) with complex states, y_t = Re(C s_t) + D x_t.

    λ = exp(−exp(ν) + i exp(θ)) lies within the unit circle whatever ν and θ are, so no state grows without end. There
    are H states. The output is that of the paper's block: h_t = (W₁ g + b₁) ∘ σ(W₂ g + b₂), with g = GELU(y_t); without
    it the whole layer would be linear in the input.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.

    Source: Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", section 3
    (lemma 3.2 for the initial values) and figure 1 (the block: GELU, then a gated linear unit), without normalisation
    and skip connection.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.decay = nn.Parameter(torch.empty(hidden_size))
        self.phase = nn.Parameter(torch.empty(hidden_size))
        self.scale = nn.Parameter(torch.empty(hidden_size))
        # real, then imaginary parts
        self.input = nn.Parameter(torch.empty(2, hidden_size, input_size))
        self.output = nn.Parameter(torch.empty(2, hidden_size, hidden_size))
        self.skip = nn.Parameter(torch.empty(hidden_size, input_size))
        self.gated = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.gated_bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: λ uniform within the unit circle, γ the factor that keeps the states' variance 1."""
        size = self.hidden_size
        with torch.no_grad():
            moduli = torch.rand(size).clamp(1e-4, 1 - 1e-4).sqrt()
            self.decay.copy_((-moduli.log()).log())
            self.phase.copy_((2 * math.pi * torch.rand(size).clamp(min=1e-4)).log())
            self.scale.copy_((1 - moduli.square()).log() / 2)
        nn.init.normal_(self.input, std=(2 * self.input_size) ** -0.5)
        nn.init.normal_(self.output, std=size**-0.5)
        nn.init.normal_(self.skip, std=self.input_size**-0.5)
        for parameter in (self.gated, self.gated_bias):
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: real and imaginary part of s."""
        zero = self.decay.new_zeros(1, self.hidden_size)
        return zero, zero

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: real and imaginary part of exp(γ) B x, and D x."""
        scaled = self.scale.exp()[:, None] * self.input
        return F.linear(inputs, torch.cat([*scaled, self.skip]))

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        real, imaginary, direct = features.chunk(3, -1)
        size, angle = (-self.decay.exp()).exp(), self.phase.exp()
        across, along = size * angle.cos(), size * angle.sin()
        real, imaginary = (
            across * state[0] - along * state[1] + real,
            along * state[0] + across * state[1] + imaginary,
        )
        return self._output(real, imaginary, direct), (real, imaginary)

    def at_once(self, features: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.at_once`."""
        real, imaginary, direct = features.chunk(3, -1)
        update = torch.complex(real, imaginary)
        states = linear_scan(self._logarithm().exp().expand_as(update), update)
        return self._output(states.real, states.imag, direct)

    def mixing(self, inputs: Tensor) -> Mixing:
        """See :meth:`LinearRecurrentLayer.mixing`: a channel is a state, and the weight of s in t is λ^(t − s)."""
        real, imaginary, _ = self.features(inputs).chunk(3, -1)
        weights = decays_between(self._logarithm().expand(len(inputs), -1))
        return Mixing(weights, torch.complex(real, imaginary)[:, :, None])

    def _logarithm(self) -> Tensor:
        """Logarithm of λ, complex[H]."""
        return torch.complex(-self.decay.exp(), self.phase.exp())

    def _output(self, real: Tensor, imaginary: Tensor, direct: Tensor) -> Tensor:
        """Outputs float[…, H] from the states and D x."""
        read = F.linear(real, self.output[0]) - F.linear(imaginary, self.output[1]) + direct
        value, gate = F.linear(F.gelu(read), self.gated, self.gated_bias).chunk(2, -1)
        return value * gate.sigmoid()
