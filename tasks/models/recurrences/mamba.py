"""Mamba: the block around a selective state-space model."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import LinearRecurrentLayer, Mixing, State, linear_scan

# As in the paper, the block is twice as wide as its outputs, and its convolution reads four steps at once. A channel
# has four states, not 16: the layers of the tasks are small, and the time grows with the states.
_EXPANSION: Final = 2
_STATES: Final = 4
_WINDOW: Final = 4
# The step sizes begin between these, log-uniform.
_STEP_SIZES: Final = (1e-3, 1e-1)


class Mamba(LinearRecurrentLayer):
    """Mamba block: a short convolution, then a state-space model whose step size and matrices depend on the input.

    [x; z] = W_in x_t + b_in, E = 2H channels each; u = SiLU(convolution of x over the last four steps); [δ; B; C] = W_x
    u with 4 states, and Δ = softplus(W_Δ δ + b_Δ). In each channel e: s_t = exp(Δ_e A_e) ∘ s_{t−1} + Δ_e B u_e, with
    A = −exp(A_log), and y_e = Cᵀ s_t + D_e u_e. The output is W_out (y ∘ SiLU(z)), H units.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`; the two may differ, unlike in the paper.

    Source: Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", algorithm 2, figure 3 and
    section 3.6 (initial values), without normalisation and skip connection. The bias of W_in, an option of the authors'
    code, is needed without these: where the input is 0, z would be 0 and shut the output.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.channels = _EXPANSION * hidden_size
        self.rank = math.ceil(hidden_size / 16)
        self.input = nn.Parameter(torch.empty(2 * self.channels, input_size))
        self.input_bias = nn.Parameter(torch.empty(2 * self.channels))
        self.window = nn.Parameter(torch.empty(self.channels, _WINDOW))
        self.window_bias = nn.Parameter(torch.empty(self.channels))
        # δ, B and C
        self.selection = nn.Parameter(torch.empty(self.rank + 2 * _STATES, self.channels))
        self.step_size = nn.Parameter(torch.empty(self.channels, self.rank))
        self.step_size_bias = nn.Parameter(torch.empty(self.channels))
        self.decay = nn.Parameter(torch.empty(self.channels, _STATES))
        self.skip = nn.Parameter(torch.empty(self.channels))
        self.output = nn.Parameter(torch.empty(hidden_size, self.channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: matrices as torch's linear layers, the state-space model as in the paper."""
        nn.init.uniform_(self.input_bias, -(self.input_size**-0.5), self.input_size**-0.5)
        for weight in (self.input, self.window, self.window_bias, self.selection, self.output):
            fan = weight.shape[1] if weight.dim() == 2 else _WINDOW
            nn.init.uniform_(weight, -(fan**-0.5), fan**-0.5)
        nn.init.uniform_(self.step_size, -(self.rank**-0.5), self.rank**-0.5)
        nn.init.ones_(self.skip)
        low, high = map(math.log, _STEP_SIZES)
        with torch.no_grad():
            sizes = (low + (high - low) * torch.rand(self.channels)).exp()
            self.step_size_bias.copy_(sizes + (-(-sizes).expm1()).log())  # softplus of it is the size
            self.decay.copy_(torch.arange(1, _STATES + 1).log().expand_as(self.decay))

    @property
    def values_per_step(self) -> int:
        """See :attr:`RecurrentLayer.values_per_step`."""
        return self.channels * _STATES

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: the states s, and the last three steps of x."""
        return (
            self.decay.new_zeros(1, self.channels, _STATES),
            self.decay.new_zeros(1, _WINDOW - 1, self.channels),
        )

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: x and z."""
        return F.linear(inputs, self.input, self.input_bias)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        states, before = state
        entered, gate = features.chunk(2, -1)
        steps = torch.cat([before.expand(len(features), -1, -1), entered[:, None]], 1)
        read = F.silu((steps * self.window.T).sum(1) + self.window_bias)
        decay, update, shown = self._selected(read)
        states = decay * states + update
        mixed = (states * shown[:, None]).sum(-1)
        return self._output(mixed, read, gate), (states, steps[:, 1:])

    def at_once(self, features: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.at_once`."""
        read, gate = self._convolved(features)
        decay, update, shown = self._selected(read)
        mixed = (linear_scan(decay, update) @ shown[..., None]).squeeze(-1)
        return self._output(mixed, read, gate)

    def mixing(self, inputs: Tensor) -> Mixing:
        """See :meth:`LinearRecurrentLayer.mixing`: the weight of s in t is C_tᵀ exp(A Σ_{s<r≤t} Δ_r) Δ_s B_s.

        The values are u: what the convolution has read. Source: Ali, Zimerman & Wolf 2024, section 3.
        """
        read, _ = self._convolved(self.features(inputs)[None])
        size, enter, shown = (part[0] for part in self._chosen(read))
        passed = size.cumsum(0)
        weights = read.new_zeros(len(inputs), len(inputs), self.channels)
        for step in range(len(inputs)):
            kept = ((passed[step] - passed[: step + 1])[..., None] * -self.decay.exp()).exp()
            weights[step, : step + 1] = size[: step + 1] * (kept * (enter[: step + 1] * shown[step])[:, None]).sum(-1)
        return Mixing(weights, read[0][:, :, None])

    def _convolved(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What the convolution has read, u, and the gate z, of all steps: float[B, T, E] each."""
        entered, gate = features.chunk(2, -1)
        padded, steps = F.pad(entered, (0, 0, _WINDOW - 1, 0)), features.shape[1]
        parts = [padded[:, place : place + steps] * self.window[:, place] for place in range(_WINDOW)]
        return F.silu(sum(parts[1:], parts[0]) + self.window_bias), gate

    def _chosen(self, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes Δ float[…, E], and B and C float[…, 4], chosen by what was read, float[…, E]."""
        low, enter, shown = F.linear(read, self.selection).split([self.rank, _STATES, _STATES], -1)
        return F.softplus(F.linear(low, self.step_size, self.step_size_bias)), enter, shown

    def _selected(self, read: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decay and update of the states float[…, E, 4], and C float[…, 4]."""
        size, enter, shown = self._chosen(read)
        decay = (size[..., None] * -self.decay.exp()).exp()
        return decay, (size * read)[..., None] * enter[..., None, :], shown

    def _output(self, mixed: Tensor, read: Tensor, gate: Tensor) -> Tensor:
        """Outputs float[…, H]."""
        return F.linear((mixed + self.skip * read) * F.silu(gate), self.output)
