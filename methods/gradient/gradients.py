"""Gradient × input, saliency and integrated gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...tasks.subject import Subject

# Limit of the points held at once by integrated gradients, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


def sizes(subject: Subject, gradients: Tensor) -> Tensor:
    """Sizes of gradients float[B, T, D], in the subject's shape.

    The size of a cell is its absolute value; where a step is one feature, its size is the Euclidean norm of the step.
    """
    return gradients.norm(dim=2) if subject.granularity == "step" else gradients.abs()


@register
@dataclass(frozen=True)
class GradientXInput(Explainer):
    """x·∂f/∂x: the input times the gradient of the score; for a token, summed over its embedding.

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
class Saliency(Explainer):
    """|∂f/∂x|: the absolute gradient of the score; where a step is one feature, the Euclidean norm of its gradient.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: the score is saturated; and as a measure of how much a feature contributed, which depends on the size
        of the feature as well.
    Source: Simonyan, Vedaldi & Zisserman 2014, section 3; the norm over an embedding: Li et al. 2016, section 5.
    """

    name: ClassVar[str] = "saliency"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Simonyan et al. 2014"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        _, gradients = view.gradients(view.batch.inputs)
        return sizes(subject, gradients)


@register
@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """(x − x⁰)·∫₀¹ ∂f/∂x (x⁰ + t(x − x⁰)) dt, by Gauss–Legendre quadrature.

    The quadrature of m nodes is exact for polynomials of degree 2m − 1, and converges faster than any Riemann sum where
    the score is smooth. Two estimates of its error need no further run of the model: the sum of the values must be
    f(x) − f(x⁰), and every second node gives a second quadrature of each value (:meth:`estimated`). Sequences whose sum
    is off by more than the tolerance are computed again with twice the nodes.

    Parameters:
        steps: m, the number of nodes.
        tolerance: largest accepted error of the sum of a sequence's contributions, as a share of |f(x) − f(x⁰)|. With
            0, no sequence is computed again.
        most: largest number of nodes with which a sequence is computed again.

    Cost: m forward and m backward sequence-equivalents for each sequence; with a tolerance, 2m, 4m, … more for those
        that exceed it.
    Fails where: the straight line to the reference leaves the data; and where the score jumps along the line, which few
        nodes miss.
    Source: Sundararajan, Taly & Yan 2017, equation 1.
    """

    name: ClassVar[str] = "integrated-gradients"
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al. 2017"

    steps: int = 32
    tolerance: float = 0.0
    most: int = 512

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ParameterError(f"integrated-gradients: steps={self.steps} does not fit (at least 1).")
        if self.tolerance < 0:
            raise ParameterError(f"integrated-gradients: tolerance={self.tolerance} does not fit (0 or more).")
        if self.most < self.steps:
            raise ParameterError(f"integrated-gradients: most={self.most} does not fit (at least steps={self.steps}).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        return self.estimated(subject)[0]

    def estimated(self, subject: Subject) -> tuple[Tensor, Tensor]:
        """Attribution with an error estimate of each value.

        Returns:
            values and errors, both of ``subject.shape``. An error is the absolute difference to the quadrature by every
            second node. It estimates the error of the fewer nodes, and so overestimates that of all nodes.
        """
        view = subject.continuous()
        values, coarse = torch.zeros_like(view.batch.inputs), torch.zeros_like(view.batch.inputs)
        span = view.score - view.reference_score
        rows, nodes = torch.arange(len(view)), self.steps
        while len(rows):
            values[rows], coarse[rows] = _integrated(view, rows, nodes)
            nodes *= 2
            gap = (values[rows].flatten(1).sum(1) - span[rows]).abs()
            again = (gap > self.tolerance * span[rows].abs()) if self.tolerance > 0 and nodes <= self.most else gap < 0
            rows = rows[again]
        return subject.reduced(values), subject.reduced(values - coarse).abs()


def _integrated(view: Subject, rows: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Contributions by all nodes and by every second node, float[R, T, D] each.

    Args:
        view: subject of real-valued inputs.
        rows: int64[R], sequences of the view.
        steps: number of nodes.
    """
    inputs, reference = view.batch.inputs, view.reference
    roots, weights = np.polynomial.legendre.leggauss(steps)
    nodes = torch.from_numpy((roots + 1) / 2).to(inputs.dtype)
    shares = torch.from_numpy(np.stack([weights, _every_second(roots)]) / 2).to(inputs.dtype)
    fine, coarse = torch.empty_like(inputs[rows]), torch.empty_like(inputs[rows])
    rows_at_once = max(1, _POINTS_AT_ONCE // (steps * inputs[0].numel()))
    for part in torch.arange(len(rows)).split(rows_at_once):
        chunk = rows[part]
        points = torch.lerp(reference[chunk], inputs[chunk], nodes.view(-1, 1, 1, 1))
        _, gradients = view.gradients(points.flatten(0, 1), chunk.repeat(steps))
        means = torch.einsum("qm,mbtd->qbtd", shares, gradients.view_as(points))
        fine[part], coarse[part] = means * (inputs[chunk] - reference[chunk])
    return fine, coarse


def _every_second(roots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the interpolatory quadrature on every second of m nodes of [−1, 1], float64[m]; 0 for the others.

    The weights solve the moment equations of Legendre's polynomials, ∫P₀ = 2 and ∫P_k = 0. In this basis the equations
    are well conditioned.
    """
    kept = np.arange(len(roots) - 1, -1, -2)[::-1]
    moments = np.zeros(len(kept))
    moments[0] = 2
    equations = np.polynomial.legendre.legvander(roots[kept], len(kept) - 1).T
    weights = np.zeros(len(roots))
    weights[kept] = np.linalg.lstsq(equations, moments, rcond=None)[0]
    return weights
