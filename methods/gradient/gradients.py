"""Gradient methods: one derivative, or its mean along the way from the reference."""

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

# Points held at once by integrated gradients, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


def sizes(subject: Subject, gradients: Tensor) -> Tensor:
    """Sizes of gradients float[B, T, D] in the subject's shape: absolute values, or norms where a step is a feature."""
    return gradients.norm(dim=2) if subject.granularity == "step" else gradients.abs()


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
class Saliency(Explainer):
    """|∂f/∂x|: how steeply the score changes with each feature; of a step as a whole, the gradient's Euclidean norm.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: the score is saturated; and where what is asked is how much a feature contributed, which takes its
        size as well.
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
    the score is smooth. How far it may be believed is known without another run of the model: the sum must be f(x) −
    f(x⁰), and for each value every second node is a quadrature of its own (:meth:`estimated`). Sequences whose sum is
    off by more than the tolerance are asked again with twice the nodes.

    Parameters:
        steps: m, the number of nodes.
        tolerance: of the sum of a sequence's contributions, as a share of |f(x) − f(x⁰)|; 0 asks no sequence again.
        most: nodes beyond which no sequence is asked again.

    Cost: m forward and m backward sequence-equivalents for each sequence; with a tolerance, 2m, 4m, … more for those
        that exceed it.
    Fails where: the straight line to the reference leaves the data; few nodes miss a score that jumps on the way.
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
        """The attributions, and how far each may be off.

        Returns:
            values and errors, both of ``subject.shape``: an error is what a value by every second node differs by,
            which is about the error of those fewer nodes, and so more than that of all.
        """
        view = subject.continuous()
        found, coarse = torch.zeros_like(view.batch.inputs), torch.zeros_like(view.batch.inputs)
        span = view.score - view.reference_score
        rows, nodes = torch.arange(len(view)), self.steps
        while len(rows):
            found[rows], coarse[rows] = _integrated(view, rows, nodes)
            nodes *= 2
            gap = (found[rows].flatten(1).sum(1) - span[rows]).abs()
            again = (gap > self.tolerance * span[rows].abs()) if self.tolerance > 0 and nodes <= self.most else gap < 0
            rows = rows[again]
        return subject.reduced(found), subject.reduced(found - coarse).abs()


def _integrated(view: Subject, rows: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Contributions float[R, T, D] by all nodes, and by every second node."""
    inputs, reference = view.batch.inputs, view.reference
    roots, weights = np.polynomial.legendre.leggauss(steps)
    nodes = torch.from_numpy((roots + 1) / 2).to(inputs.dtype)
    shares = torch.from_numpy(np.stack([weights, _every_second(roots)]) / 2).to(inputs.dtype)
    fine, coarse = torch.empty_like(inputs[rows]), torch.empty_like(inputs[rows])
    each = max(1, _POINTS_AT_ONCE // (steps * inputs[0].numel()))
    for part in torch.arange(len(rows)).split(each):
        own = rows[part]
        points = torch.lerp(reference[own], inputs[own], nodes.view(-1, 1, 1, 1))
        _, gradients = view.gradients(points.flatten(0, 1), own.repeat(steps))
        means = torch.einsum("qm,mbtd->qbtd", shares, gradients.view_as(points))
        fine[part], coarse[part] = means * (inputs[own] - reference[own])
    return fine, coarse


def _every_second(roots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights float64[m] of the interpolatory quadrature on every second of m nodes of [−1, 1]; 0 for the others.

    The moments are those of Legendre's polynomials: ∫P₀ = 2, ∫P_k = 0, which keeps the equations well conditioned.
    """
    kept = np.arange(len(roots) - 1, -1, -2)[::-1]
    moments = np.zeros(len(kept))
    moments[0] = 2
    found = np.zeros(len(roots))
    found[kept] = np.linalg.lstsq(np.polynomial.legendre.legvander(roots[kept], len(kept) - 1).T, moments, rcond=None)[
        0
    ]
    return found
