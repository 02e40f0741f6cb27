"""Temporal integrated gradients: each step against its reference, in the sequence that ends with that step."""

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

# Limit of the points held at once, in numbers: 64 MiB of float32.
_POINTS_AT_ONCE = 1 << 24


@register
@dataclass(frozen=True)
class TemporalIntegratedGradients(Explainer):
    """Integrated gradients of step t alone, for the output of the model after t steps.

        (x_t − x⁰_t)·∫₀¹ ∂f/∂x_t (x_1, …, x_{t−1}, x⁰_t + s(x_t − x⁰_t)) ds

    by Gauss–Legendre quadrature. The values of a step sum to f(x_1 … x_t) − f(x_1 … x_{t−1}, x⁰_t), the effect of the
    step on the output right after it. They do not explain the last prediction alone: an effect that later steps undo
    still counts. Therefore no completeness is claimed. The score is that of the class predicted at the end.

    Parameters:
        steps: m, the number of nodes.

    Cost: m · T forward and m · T backward sequence-equivalents for a sequence of T steps.
    Fails where: the outputs of the model are not meaningful before the end of a sequence, because the method evaluates
        prefixes; and where a step matters only through later steps.
    Source: Enguehard 2023, arXiv:2306.02968 (time_interpret, ``TemporalIntegratedGradients``), strategy "fixed". The
        package runs padding as steps; this method runs the actual length of a sequence.
    """

    name: ClassVar[str] = "temporal-ig"
    group: ClassVar[str] = "temporal"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients", "time"})
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
        values = torch.zeros_like(view.batch.inputs)
        steps_at_once = max(1, _POINTS_AT_ONCE // (self.steps * values[0].numel()))
        for part in torch.arange(len(instance)).split(steps_at_once):
            values[instance[part], step[part]] = _step_contributions(view, instance[part], step[part], nodes, weight)
        return subject.reduced(values)


def _step_contributions(view: Subject, instance: Tensor, step: Tensor, nodes: Tensor, weight: Tensor) -> Tensor:
    """Contributions of some steps int64[V], float[V, D], by quadrature with nodes and weights float[m]."""
    actual, absent = view.batch.inputs[instance, step], view.reference[instance, step]
    points = view.batch.inputs[instance].expand(len(nodes), -1, -1, -1).clone()
    place = torch.arange(len(step))
    points[:, place, step] = torch.lerp(absent, actual, nodes[:, None, None])
    of = instance.repeat(len(nodes))
    _, gradients = view.gradients(points.flatten(0, 1), of, (step + 1).repeat(len(nodes)))
    slopes = gradients.view_as(points)[:, place, step]
    return torch.einsum("m,mvd->vd", weight, slopes) * (actual - absent)
