"""Gradient methods: one derivative, or its mean along the way from the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..errors import ParameterError
from ..plugins import register
from .base import Explainer, Need

if TYPE_CHECKING:
    from ..tasks.subject import Subject

# Points held at once by integrated gradients, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class GradientXInput(Explainer):
    """x·∂f/∂x: the input times the derivative of the score there; of a token, summed over its embedding.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: the score is saturated, and where x = 0 means something.
    Source: Shrikumar et al. 2016, arXiv:1605.01713.
    """

    name: ClassVar[str] = "gradient-x-input"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    source: ClassVar[str] = "Shrikumar et al. 2016"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        _, gradients = view.gradients(view.batch.inputs)
        return subject.reduced(gradients * view.batch.inputs)


@register
@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """(x − x⁰)·∫₀¹ ∂f/∂x (x⁰ + t(x − x⁰)) dt, by Gauss–Legendre quadrature.

    The quadrature of m nodes is exact for polynomials of degree 2m − 1, where captum's default of the same rule and
    every Riemann sum need more nodes for the same error; what is left shows as the completeness gap.

    Parameters:
        steps: m, the number of nodes.

    Cost: m forward and m backward sequence-equivalents for each sequence.
    Fails where: the straight line to the reference leaves the data.
    Source: Sundararajan, Taly & Yan 2017, equation 1.
    """

    name: ClassVar[str] = "integrated-gradients"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al. 2017"

    steps: int = 32

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ParameterError(f"integrated-gradients: steps={self.steps} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        inputs, reference = view.batch.inputs, view.reference
        roots, weights = np.polynomial.legendre.leggauss(self.steps)
        nodes = torch.from_numpy((roots + 1) / 2).to(inputs.dtype)
        shares = torch.from_numpy(weights / 2).to(inputs.dtype)
        found = torch.empty_like(inputs)
        each = max(1, _POINTS_AT_ONCE // (self.steps * inputs[0].numel()))
        for rows in torch.arange(len(inputs)).split(each):
            points = torch.lerp(reference[rows], inputs[rows], nodes.view(-1, 1, 1, 1))
            _, gradients = view.gradients(points.flatten(0, 1), rows.repeat(self.steps))
            mean = torch.einsum("m,mbtd->btd", shares, gradients.view_as(points))
            found[rows] = mean * (inputs[rows] - reference[rows])
        return subject.reduced(found)
