"""Weights of variable selection as attributions, of networks that select their inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...errors import UnsupportedModelError
from ...plugins import register
from ..base import Explainer, Need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class VariableSelection(Explainer):
    """The weights with which a network selects the variables of each step, as the Temporal Fusion Transformer does.

    The weights of the variables of one step sum to 1. A model shows them by ``forward_with_selection``, which returns
    its scores and the weights by the names of inputs, in their shapes.

    Cost: 1 forward sequence-equivalent for each sequence.
    Fails where: later layers mix steps or read a variable that has a small weight; the weights are the same for every
        output and every horizon.
    Source: Lim et al. 2021, equations 6 to 8.
    """

    name: ClassVar[str] = "variable-selection"
    group: ClassVar[str] = "attention"
    needs: ClassVar[frozenset[Need]] = frozenset({"selection"})
    signed: ClassVar[bool] = False
    source: ClassVar[str] = "Lim et al. 2021"

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        reason = super().applicable(subject)
        return reason or ("" if subject.granularity == "cell" else "it weighs variables, and whole steps are explained")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        weights = subject.selection()
        if weights.shape != subject.shape:
            raise UnsupportedModelError(f"{subject.label} selects variables, and its steps are explained.")
        return weights
