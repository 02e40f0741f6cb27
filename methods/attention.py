"""Attention as explanation: the weights, and the weights times their effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..plugins import register
from .base import Explainer, Need

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..tasks.subject import Subject


@register
@dataclass(frozen=True)
class Attention(Explainer):
    """The attention weights with which the model pooled its states.

    Cost: 1 forward sequence-equivalent for each sequence.
    Fails where: states carry information from other steps, as recurrent states do (Jain & Wallace 2019).
    Source: Bahdanau et al. 2015.
    """

    name: ClassVar[str] = "attention"
    group: ClassVar[str] = "attention"
    needs: ClassVar[frozenset[Need]] = frozenset({"attention"})
    signed: ClassVar[bool] = False
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Bahdanau et al. 2015"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        return subject.attention()


@register
@dataclass(frozen=True)
class AttentionGradient(Explainer):
    """α·∂f/∂α: each attention weight times what a little more of it would do to the score.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: attention does; the gradient only adds how the pooled states are read.
    Source: Serrano & Smith 2019, section 4 (their ranking by the product of gradient and weight).
    """

    name: ClassVar[str] = "attention-gradient"
    group: ClassVar[str] = "attention"
    needs: ClassVar[frozenset[Need]] = frozenset({"attention", "gradients"})
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Serrano & Smith 2019"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        weights, gradients = subject.attention_gradients()
        return weights * gradients
