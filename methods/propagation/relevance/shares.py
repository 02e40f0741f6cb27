"""LRP's shares: the fractions of a number's relevance that go to the terms of a sum and the factors of a product.

Sums follow LRP-ε (Bach et al. 2015, equation 58, with the bias factor of Arras et al. 2017): z_j = Σ_i z_ij + b_j gives

    R_i = Σ_j (z_ij + bias_factor · (b_j + ε sgn z_j) / N) / (z_j + ε sgn z_j) · R_j,    sgn 0 = +1,

where N is the number of terms of the sum. Products of a gate and a signal follow one of four rules (Arras et al. 2019).
The factors of any other product share its relevance equally (Achtibat et al. 2024, arXiv:2402.05602, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..parts import by_parts

Product = Literal["signal", "half", "abs", "prop"]


@dataclass(frozen=True)
class Shares:
    """Parameters of LRP's rules in one run.

    Attributes:
        epsilon: ε, the stabiliser: it moves every sum away from 0.
        bias_factor: fraction of the relevance of the bias and of ε that goes to the terms of the sum: 1 keeps all of
            it, 0 drops it.
        product: rule for gate · signal: the signal gets all relevance (``"signal"``), both get half (``"half"``), or
            both get it in proportion to the absolute values (``"abs"``) or to the values themselves (``"prop"``).
        attention_gates: whether the result of a softmax is a gate; if not, it is a signal, and softmax distributes its
            relevance by its first-order expansion.
    """

    epsilon: float = 1e-6
    bias_factor: float = 0.0
    product: Product = "signal"
    attention_gates: bool = True

    @property
    def includes_gates(self) -> bool:
        """Whether gates receive relevance."""
        return self.product != "signal"

    def sign(self, total: Tensor) -> Tensor:
        """Signed stabiliser ε sgn z, of z's shape and dtype; of a complex z, that of each part."""
        if total.is_complex():
            return by_parts(self.sign, total)
        epsilon = torch.full((), self.epsilon, dtype=total.dtype, device=total.device)
        return torch.where(total >= 0, epsilon, -epsilon)

    def stable(self, total: Tensor) -> Tensor:
        """Stabilised denominator z + ε sgn z."""
        return total + self.sign(total)

    def bias_share(self, total: Tensor, bias: Tensor | float = 0.0) -> Tensor:
        """Contribution bias_factor · (b + ε sgn z) of bias and stabiliser, which the terms of a sum share equally."""
        return self.bias_factor * (bias + self.sign(total))

    def of_terms(self, total: Tensor, *terms: Tensor) -> list[Tensor]:
        """Shares of the relevance of z that its terms get, of z's shape each; 0 where z is not finite."""
        bias_share = self.bias_share(total) / len(terms)
        stable = self.stable(total)
        return [torch.where(total.isfinite(), (term + bias_share) / stable, torch.zeros_like(total)) for term in terms]

    def of_shifted(self, total: Tensor, term: Tensor) -> Tensor:
        """Share of the relevance of z = term + b that the one term gets, of z's shape; 0 where z is not finite."""
        share = (term + self.bias_share(total, total - term)) / self.stable(total)
        return torch.where(total.isfinite(), share, torch.zeros_like(total))

    def of_factors(self, gate: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of the relevance of gate · signal that gate and signal get, for the rules that include gates."""
        if self.product == "half":
            half = torch.full_like(gate, 0.5)
            return half, half
        if self.product == "prop":
            gates, signals = self.of_terms(gate + signal, gate, signal)
            return gates, signals
        tiny = torch.finfo(gate.dtype).tiny  # so that two zeros get equal shares
        sizes = gate.abs() + tiny, signal.abs() + tiny
        return sizes[0] / (sizes[0] + sizes[1]), sizes[1] / (sizes[0] + sizes[1])
