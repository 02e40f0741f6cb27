"""Gradient × input, saliency and integrated gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ...tasks.engine.agreement import rounding_of
from ...tasks.engine.variants import Given
from ..base import Explainer, Need

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...tasks.subject import Subject

# Limit of the points held at once by integrated gradients, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24
# Nodes of a part of a halved path; the shortest part, as a share of the path, that is halved; and the most parts of a
# path, for which memory is kept.
_PART_NODES = 8
_SHORTEST = 2.0**-20
_PARTS_AT_ONCE = 128


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
        return subject.sizes(gradients)


@register
@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """(x − x⁰)·∫₀¹ ∂f/∂x (x⁰ + t(x − x⁰)) dt, by Gauss–Legendre quadrature, refined where the path bends.

    The quadrature of m nodes is exact for polynomials of degree 2m − 1, and converges faster than any Riemann sum where
    the score is smooth. Its error can be measured, because the values of any part of the path must sum to the
    difference of the scores at its ends. Where they miss the whole difference by more than the tolerance, the path is
    halved again and again in those parts that miss most, until the misses of all parts together meet the tolerance or
    the nodes are used up. A sequence that does not meet it then is named in a warning, and on the board. A second
    quadrature by every second node estimates the error of each value (:meth:`estimated`).

    Parameters:
        steps: m, the number of nodes on the whole path.
        tolerance: largest accepted error of the sum of a sequence's contributions, as a share of |f(x) − f(x⁰)|. With
            0, the path is never halved.
        most: largest number of nodes for one sequence.

    Cost: m forward and m backward sequence-equivalents for each sequence; for those that exceed the tolerance up to
        ``most`` of each, and a forward one for every halving.
    Fails where: the straight line to the reference leaves the data; and where the score jumps along the line, which no
        number of nodes resolves.
    Source: Sundararajan, Taly & Yan 2017, equation 1; adaptive quadrature with completeness as the error estimate.
    """

    name: ClassVar[str] = "integrated-gradients"
    version: ClassVar[int] = 2  # sequences that miss 1 % of their difference are refined by default
    group: ClassVar[str] = "gradient"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Sundararajan et al. 2017"

    steps: int = 32
    tolerance: float = 0.01
    most: int = 1024

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
        rows = torch.arange(len(view))
        values, coarse = _integrated(view, rows, self.steps)
        if self.tolerance > 0 and self.most - self.steps >= 2 * _PART_NODES:
            span = view.score - view.reference_score
            missed = (values.flatten(1).sum(1) - span).abs() > self.tolerance * span.abs() + rounding_of(
                view.score, view.reference_score
            )
            again = rows[missed]
            for part in again.split(max(1, _POINTS_AT_ONCE // (_PARTS_AT_ONCE * view.batch.inputs[0].numel()))):
                if not len(part):
                    break
                path = _HalvedPath(view, part, self.tolerance, self.most - self.steps)
                better = path.gap() < (values[part].flatten(1).sum(1) - span[part]).abs()
                values[part[better]], coarse[part[better]] = (sums[better] for sums in path.sums())
        return subject.reduced(values), subject.reduced(values - coarse).abs()


class _HalvedPath:
    """Paths of some sequences, each in parts that are halved where their values miss the difference of their ends.

    Args:
        view: subject of real-valued inputs.
        rows: int64[R], sequences of the view.
        tolerance: accepted sum of the misses of all parts, as a share of |f(x) − f(x⁰)|.
        nodes: number of nodes that each sequence may use.
    """

    def __init__(self, view: Subject, rows: Tensor, tolerance: float, nodes: int) -> None:
        self.view, self.rows = view, rows
        # each part: its sequence's place, its ends, the scores there, and the contributions along it
        self.place = torch.empty(0, dtype=torch.int64)
        self.ends = torch.empty(0, 2, dtype=torch.float64)
        self.scores = view.score.new_empty(0, 2)
        self.values = view.batch.inputs.new_empty(0, 2, *view.batch.inputs.shape[1:])
        ends = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
        middle = self._at(torch.arange(len(rows)), ends[1:2].expand(len(rows)))
        scores = torch.stack([view.reference_score[rows], middle, view.score[rows]], 1)
        places = torch.arange(len(rows)).repeat_interleave(2)
        pairs = torch.stack([ends[:2], ends[1:]], 1).repeat(len(rows), 1)
        self._add(places, pairs, torch.stack([scores[:, :2], scores[:, 1:]], 1).flatten(0, 1))
        score, reference_score = view.score[rows], view.reference_score[rows]
        accepted = tolerance * (score - reference_score).abs() + rounding_of(score, reference_score)
        left = torch.full((len(rows),), nodes) - 2 * _PART_NODES
        while True:
            chosen = self._to_halve(accepted, left)
            if not len(chosen):
                return
            left -= 2 * _PART_NODES * torch.bincount(self.place[chosen], minlength=len(rows))
            self._halve(chosen)

    def sums(self) -> tuple[Tensor, Tensor]:
        """Contributions float[R, T, D] along the whole paths, by all nodes and by every second node."""
        whole = self.values.new_zeros(len(self.rows), *self.values.shape[1:])
        whole.index_add_(0, self.place, self.values)
        return whole[:, 0], whole[:, 1]

    def gap(self) -> Tensor:
        """Absolute error float[R] of the sum of each sequence's contributions."""
        span = (self.view.score - self.view.reference_score)[self.rows]
        return (self.sums()[0].flatten(1).sum(1) - span).abs()

    def _missed(self) -> Tensor:
        """Absolute error float[P] of the sum of each part's contributions."""
        return (self.values[:, 0].flatten(1).sum(1) - self.scores.diff(dim=1).squeeze(1)).abs()

    def _to_halve(self, accepted: Tensor, left: Tensor) -> Tensor:
        """Parts to halve next, int64: of each sequence that misses more than is accepted, those that miss most.

        They are the fewest whose misses, taken away, would leave an accepted rest, as far as nodes are left.
        """
        missed = self._missed()
        total = torch.zeros_like(accepted).index_add_(0, self.place, missed)
        chosen = []
        for place in (total > accepted).nonzero().flatten().tolist():
            parts = (self.place == place).nonzero().flatten()
            order = parts[missed[parts].argsort(descending=True, stable=True)]
            rest = total[place] - missed[order].cumsum(0)
            affordable = max(int(left[place]), 0) // (2 * _PART_NODES)
            count = min(int((rest > accepted[place]).sum()) + 1, affordable, len(order))
            # a part this short is a jump, which no halving resolves
            chosen.append(order[:count][self.ends[order[:count]].diff(dim=1).squeeze(1) > _SHORTEST])
        return torch.cat(chosen) if chosen else torch.empty(0, dtype=torch.int64)

    def _halve(self, chosen: Tensor) -> None:
        """Replace parts by their halves."""
        place, ends, scores = self.place[chosen], self.ends[chosen], self.scores[chosen]
        middle = ends.mean(1)
        between = self._at(place, middle)
        kept = torch.ones(len(self.place), dtype=torch.bool)
        kept[chosen] = False
        self.place, self.ends, self.scores, self.values = (
            held[kept] for held in (self.place, self.ends, self.scores, self.values)
        )
        pairs = [torch.stack([ends[:, 0], middle], 1), torch.stack([middle, ends[:, 1]], 1)]
        heights = [torch.stack([scores[:, 0], between], 1), torch.stack([between, scores[:, 1]], 1)]
        self._add(place.repeat(2), torch.cat(pairs), torch.cat(heights))

    def _add(self, place: Tensor, ends: Tensor, scores: Tensor) -> None:
        """Add parts, integrated by a few nodes each."""
        fine, coarse = _integrated(self.view, self.rows[place], _PART_NODES, ends)
        self.place = torch.cat([self.place, place])
        self.ends = torch.cat([self.ends, ends])
        self.scores = torch.cat([self.scores, scores])
        self.values = torch.cat([self.values, torch.stack([fine, coarse], 1)])

    def _at(self, place: Tensor, share: Tensor) -> Tensor:
        """Scores float[P] of points at shares float64[P] of the paths of some sequences."""
        rows = self.rows[place]
        inputs, reference = self.view.batch.inputs[rows], self.view.reference[rows]
        points = torch.lerp(reference, inputs, share.to(inputs.dtype).view(-1, 1, 1))
        return self.view.scores(Given(points, rows))


def _integrated(view: Subject, rows: Tensor, steps: int, ends: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Contributions by all nodes and by every second node, float[R, T, D] each.

    Args:
        view: subject of real-valued inputs.
        rows: int64[R], sequences of the view.
        steps: number of nodes.
        ends: float64[R, 2], the part of the path that is integrated, as shares of it; by default the whole path.
    """
    inputs, reference = view.batch.inputs, view.reference
    roots, weights = np.polynomial.legendre.leggauss(steps)
    nodes = torch.from_numpy((roots + 1) / 2)
    shares = torch.from_numpy(np.stack([weights, _every_second(roots)]) / 2).to(inputs.dtype)
    fine, coarse = torch.empty_like(inputs[rows]), torch.empty_like(inputs[rows])
    rows_at_once = max(1, _POINTS_AT_ONCE // (steps * inputs[0].numel()))
    for part in torch.arange(len(rows)).split(rows_at_once):
        chunk = rows[part]
        if ends is None:
            places, length = nodes.to(inputs.dtype).view(-1, 1, 1, 1), None
        else:
            first, length = ends[part, 0], ends[part].diff(dim=1).squeeze(1)
            places = (first + nodes[:, None] * length).to(inputs.dtype)[:, :, None, None]
        points = torch.lerp(reference[chunk], inputs[chunk], places)
        _, gradients = view.gradients(points.flatten(0, 1), chunk.repeat(steps))
        means = torch.einsum("qm,mbtd->qbtd", shares, gradients.view_as(points))
        change = inputs[chunk] - reference[chunk]
        fine[part], coarse[part] = means * (
            change if length is None else change * length.to(inputs.dtype)[:, None, None]
        )
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
