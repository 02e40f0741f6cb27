"""Integrated gradients along time: each step against its reference, in the sequence as far as it had come."""

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
    from ...tasks.subject import Subject

# Points held at once, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class TemporalIntegratedGradients(Explainer):
    """For each step t, integrated gradients of what the model says after t steps, while step t alone moves.

        (x_t − x⁰_t)·∫₀¹ ∂f/∂x_t (x_1, …, x_{t−1}, x⁰_t + s(x_t − x⁰_t)) ds

    by Gauss–Legendre quadrature. The values of a step sum to f(x_1 … x_t) − f(x_1 … x_{t−1}, x⁰_t): what the step did
    when it came. They are not about the last prediction alone, and claim no completeness: that a step's effect was
    undone later is not seen. The class whose score is followed is the one predicted at the end.

    Parameters:
        steps: m, the number of nodes.

    Cost: m · T forward and m · T backward sequence-equivalents for a sequence of T steps.
    Fails where: the model says nothing sensible before the end, for beginnings are all it is asked about; and where a
        step matters only through what comes later.
    Source: Enguehard 2023, arXiv:2306.02968 (time_interpret, ``TemporalIntegratedGradients``), strategy "fixed"; the
        package runs padding as steps, here a sequence ends where it ends.
    """

    name: ClassVar[str] = "temporal-ig"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    source: ClassVar[str] = "Enguehard 2023"

    steps: int = 16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ParameterError(f"temporal-ig: steps={self.steps} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        roots, weights = np.polynomial.legendre.leggauss(self.steps)
        nodes = torch.from_numpy((roots + 1) / 2).to(view.batch.inputs.dtype)
        weight = torch.from_numpy(weights / 2).to(view.batch.inputs.dtype)
        instance, step = view.batch.valid.nonzero(as_tuple=True)
        found = torch.zeros_like(view.batch.inputs)
        each = max(1, _POINTS_AT_ONCE // (self.steps * found[0].numel()))
        for part in torch.arange(len(instance)).split(each):
            found[instance[part], step[part]] = _moved(view, instance[part], step[part], nodes, weight)
        return subject.reduced(found)


def _moved(view: Subject, instance: Tensor, step: Tensor, nodes: Tensor, weight: Tensor) -> Tensor:
    """float[V, D]: the contributions of some steps int64[V], by quadrature with nodes and weights float[m]."""
    actual, absent = view.batch.inputs[instance, step], view.reference[instance, step]
    points = view.batch.inputs[instance].expand(len(nodes), -1, -1, -1).clone()
    place = torch.arange(len(step))
    points[:, place, step] = torch.lerp(absent, actual, nodes[:, None, None])
    of = instance.repeat(len(nodes))
    _, gradients = view.gradients(points.flatten(0, 1), of, (step + 1).repeat(len(nodes)))
    slopes = gradients.view_as(points)[:, place, step]
    return torch.einsum("m,mvd->vd", weight, slopes) * (actual - absent)
