"""minGRU: a gated recurrent unit whose gate and candidate read the input alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import LinearRecurrentLayer, Mixing, State, decays_between, linear_scan


class MinGru(LinearRecurrentLayer):
    """minGRU: h_t = (1 − z_t) ∘ h_{t−1} + z_t ∘ g(W_h x_t + b_h), with z_t = σ(W_z x_t + b_z).

    g(a) is a + ½ for a ≥ 0 and σ(a) below: candidates, and with them the states, are positive.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.

    Source: Feng, Tung, Ahmed, Bengio & Hajimirsadeghi 2024, "Were RNNs All We Needed?", section 3.1 (minGRU) and
    appendix B.3 (g, their log-space version).
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        # candidate, then gate
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, uniform up to 1/√H as in torch's layers."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: h."""
        return (self.weight.new_zeros(1, self.hidden_size),)

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: the arguments of g and σ."""
        return F.linear(inputs, self.weight, self.bias)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        candidate, gate = self._read(features)
        hidden = (1 - gate) * state[0] + gate * candidate
        return hidden, (hidden,)

    def at_once(self, features: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.at_once`."""
        candidate, gate = self._read(features)
        return linear_scan(1 - gate, gate * candidate)

    def mixing(self, inputs: Tensor) -> Mixing:
        """See :meth:`LinearRecurrentLayer.mixing`: the weight of step s in t is z_s Π_{s<r≤t} (1 − z_r)."""
        features = self.features(inputs)
        candidate, gate = self._read(features)
        forgotten = F.logsigmoid(-features.chunk(2, -1)[1])
        return Mixing(decays_between(forgotten) * gate, candidate[:, :, None])

    def _read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Candidate g(…) and gate z, float[…, H] each."""
        candidate, gate = features.chunk(2, -1)
        return candidate.relu() + candidate.clamp(max=0).sigmoid(), gate.sigmoid()
