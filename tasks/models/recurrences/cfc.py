"""CfC: a closed-form continuous-time neural network."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import RecurrentLayer, State

# LeCun's scaled tanh, as the authors' code has it.
_OUTER, _INNER = 1.7159, 0.666
_ELAPSED: Final = 1.0


class Cfc(RecurrentLayer):
    """CfC: h_t = σ(−f) ∘ g + (1 − σ(−f)) ∘ h, closed form of a liquid time-constant network, for steps of equal length.

    A backbone u = 1.7159 tanh(0.666 (W [x_t; h_{t−1}] + b)) of H units feeds four heads: g = tanh(W_g u + b_g), h =
    tanh(W_h u + b_h), and f(u) Δt = (W_a u + b_a) Δt + W_b u + b_b, with Δt = 1 between steps. The state is h_t itself.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.

    Source: Hasani et al. 2022, "Closed-form continuous-time neural networks", Nature Machine Intelligence 4: the
    closed-form continuous-time network with the heads f, g and h; time gate and backbone as in the authors' code.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.empty(hidden_size, input_size))
        self.recurrent = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        # g, h, then the two parts a and b of the time gate
        self.heads = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.heads_bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters: weights by Glorot's rule for each matrix, as in the authors' code; biases up to 1/√H."""
        size = self.hidden_size
        for bias in (self.bias, self.heads_bias):
            nn.init.uniform_(bias, -(size**-0.5), size**-0.5)
        bound = (6 / (self.input_size + 2 * size)) ** 0.5  # the two make one matrix [H, D + H]
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.recurrent, -bound, bound)
        nn.init.uniform_(self.heads, -((3 / size) ** 0.5), (3 / size) ** 0.5)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: h."""
        return (self.weight.new_zeros(1, self.hidden_size),)

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: what the backbone reads of the input."""
        return F.linear(inputs, self.weight, self.bias)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        backbone = _OUTER * (_INNER * (features + F.linear(state[0], self.recurrent))).tanh()
        first, second, rate, offset = F.linear(backbone, self.heads, self.heads_bias).chunk(4, 1)
        gate = (-(rate * _ELAPSED + offset)).sigmoid()
        hidden = gate * first.tanh() + (1 - gate) * second.tanh()
        return hidden, (hidden,)
