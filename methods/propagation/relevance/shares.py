"""How the relevance of a number is shared out among what it was made from.

Sums are shared out by LRP-ε (Bach et al. 2015, equation 58, with the bias factor of Arras et al. 2017):
z_j = Σ_i z_ij + b_j gives

    R_i = Σ_j (z_ij + bias_factor · (b_j + ε sgn z_j) / N) / (z_j + ε sgn z_j) · R_j,    sgn 0 = +1,

where N is the number of terms of the sum. Products of a gate and a signal are shared out in one of four ways (Arras et
al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Product = Literal["signal", "half", "abs", "prop"]


@dataclass(frozen=True)
class Shares:
    """The rules of one run.

    Attributes:
        epsilon: ε, added to every sum away from 0.
        bias_factor: how much of the share of the bias and of ε goes to the terms of the sum: 1 keeps all of it in, 0
            drops it.
        product: who gets the relevance of gate · signal: the signal all of it, both half, or both in proportion to the
            sizes of their values (``"abs"``) or to the values themselves (``"prop"``).
    """

    epsilon: float = 1e-6
    bias_factor: float = 0.0
    product: Product = "signal"

    @property
    def of_gates(self) -> bool:
        """Whether a gate gets anything."""
        return self.product != "signal"

    def sign(self, total: Tensor) -> Tensor:
        """ε sgn z, of z's shape and dtype."""
        epsilon = torch.full((), self.epsilon, dtype=total.dtype, device=total.device)
        return torch.where(total >= 0, epsilon, -epsilon)

    def stable(self, total: Tensor) -> Tensor:
        """z + ε sgn z: what is divided by."""
        return total + self.sign(total)

    def kept(self, total: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """bias_factor · (b + ε sgn z): what the terms of a sum share equally."""
        return self.bias_factor * (bias + self.sign(total))

    def of_terms(self, total: Tensor, *terms: Tensor) -> list[Tensor]:
        """What share of the relevance of z each of its terms gets, of z's shape; 0 where z is not finite."""
        even = self.kept(total) / len(terms)
        stable = self.stable(total)
        return [torch.where(total.isfinite(), (term + even) / stable, torch.zeros_like(total)) for term in terms]

    def of_shifted(self, total: Tensor, term: Tensor) -> Tensor:
        """What share of the relevance of z = term + b the one term gets, of z's shape; 0 where z is not finite."""
        share = (term + self.kept(total, total - term)) / self.stable(total)
        return torch.where(total.isfinite(), share, torch.zeros_like(total))

    def of_factors(self, gate: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """What share of the relevance of gate · signal each factor gets, for the ways that give gates any."""
        if self.product == "half":
            half = torch.full_like(gate, 0.5)
            return half, half
        if self.product == "prop":
            gates, signals = self.of_terms(gate + signal, gate, signal)
            return gates, signals
        least = torch.finfo(gate.dtype).tiny  # two zeros share alike
        sizes = gate.abs() + least, signal.abs() + least
        return sizes[0] / (sizes[0] + sizes[1]), sizes[1] / (sizes[0] + sizes[1])
