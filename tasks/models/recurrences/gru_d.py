"""GRU-D: a gated recurrent unit for measurements with gaps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import RecurrentLayer, State


class GruD(RecurrentLayer):
    """GRU-D: the last measurement decays towards the mean, and the state towards 0, as the time since then grows.

    The first 3P features of a step are P values x (the last one measured, 0 the mean), P masks m (1 if measured at this
    step, else 0) and P times δ since the last measurement; further ones are plain inputs. With γ_x = exp(−max(0, w ∘ δ
    + b)) and γ_h = exp(−max(0, W_γ δ + b_γ)): x̂ = m ∘ x + (1 − m) ∘ γ_x ∘ x and ĥ = γ_h ∘ h_{t−1}; then a GRU reads x̂,
    the masks and the further features: z, r = σ(W x̂ + U ĥ + V m + b), h̃ = tanh(W x̂ + U (r ∘ ĥ) + V m + b), h_t = (1 −
    z) ∘ ĥ + z ∘ h̃. The times may be standardised: b and b_γ take up the shift.

    Args:
        input_size, hidden_size: see :class:`RecurrentLayer`.
        measured: P, the number of measured parameters; at least 1.

    Raises:
        ValueError: the features are fewer than 3P.

    Source: Che, Purushotham, Cho, Sontag & Liu 2018, "Recurrent Neural Networks for Multivariate Time Series with
    Missing Values", Scientific Reports 8, the model with trainable decays, with the mean 0.
    """

    def __init__(self, input_size: int, hidden_size: int, measured: int) -> None:
        super().__init__(input_size, hidden_size)
        if not 1 <= measured <= input_size // 3:
            raise ValueError(f"GRU-D reads values, masks and times of {measured} parameters, not {input_size} features")
        self.measured = measured
        read = input_size - measured  # all but the times
        # gates in the order r, z, candidate
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, read))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        self.recurrent = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.value_decay = nn.Parameter(torch.empty(measured))
        self.value_decay_bias = nn.Parameter(torch.empty(measured))
        self.state_decay = nn.Parameter(torch.empty(hidden_size, measured))
        self.state_decay_bias = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def extra_repr(self) -> str:
        """The sizes, as in ``GruD(115, 32, measured=37)``."""
        return f"{super().extra_repr()}, measured={self.measured}"

    def reset_parameters(self) -> None:
        """Draw new parameters, uniform up to 1/√H as in torch's layers."""
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(self.hidden_size**-0.5), self.hidden_size**-0.5)

    def begin(self) -> State:
        """See :meth:`RecurrentLayer.begin`: h."""
        return (self.weight.new_zeros(1, self.hidden_size),)

    def features(self, inputs: Tensor) -> Tensor:
        """See :meth:`RecurrentLayer.features`: W x̂ + V m + b of the gates, and γ_h."""
        size = self.measured
        values, masks, times, others = inputs.split([size, size, size, self.input_size - 3 * size], -1)
        kept = (-(self.value_decay * times + self.value_decay_bias).relu()).exp()
        estimates = (masks + (1 - masks) * kept) * values
        gates = F.linear(torch.cat([estimates, masks, others], -1), self.weight, self.bias)
        return torch.cat([gates, (-F.linear(times, self.state_decay, self.state_decay_bias).relu()).exp()], -1)

    def advance(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`RecurrentLayer.advance`."""
        size = self.hidden_size
        gates, candidate, decay = features.split([2 * size, size, size], -1)
        hidden = decay * state[0]
        reset, update = (gates + F.linear(hidden, self.recurrent[: 2 * size])).sigmoid().chunk(2, -1)
        candidate = (candidate + F.linear(reset * hidden, self.recurrent[2 * size :])).tanh()
        hidden = (1 - update) * hidden + update * candidate
        return hidden, (hidden,)
