"""Implicit attention of linear recurrences as attributions: plain, and times the norm of what is weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ...plugins import register
from ..base import Explainer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class ImplicitAttention(Explainer):
    """The weights with which each earlier step enters the states of a linear recurrence, as attention weights.

    The state of minGRU, mLSTM, LRU and Mamba is linear in the state before, so each state is a weighted sum over the
    steps, as attention is. The absolute weights are averaged over the channels, scaled to sum to 1, and multiplied from
    layer to layer; the states count as the model's pooling reads them. Of other models there is none.

    Cost: 1 forward sequence-equivalent for each sequence, and for n steps n² weights of each channel.
    Fails where: the weights show how much a step may contribute, not what: not its value, sign or class; gates and
        layers behind the recurrence are left out. Those of LRU do not depend on the sequence at all.
    Source: Ali, Zimerman & Wolf 2024, "The Hidden Attention of Mamba Models" (arXiv:2403.01590), section 3, here for
        all recurrences that are linear in their states; layers combined by rollout (Abnar & Zuidema 2020), as there.
    """

    name: ClassVar[str] = "implicit-attention"
    group: ClassVar[str] = "attention"
    signed: ClassVar[bool] = False
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Ali et al. 2024"
    norms: ClassVar[bool] = False

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        reason = super().applicable(subject)
        if reason or subject.implicitly_attentive:
            return reason
        return "the model has no recurrent layers that are linear in their states (minGRU, mLSTM, LRU or Mamba)"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        return subject.implicit_attention(norms=self.norms)


@register
@dataclass(frozen=True)
class ImplicitAttentionNorm(ImplicitAttention):
    """Implicit attention times the norm of the value that each weight weighs.

    A large weight on a small value moves the state little.

    Cost: 1 forward sequence-equivalent for each sequence, and for n steps n² weights of each channel.
    Fails where: implicit attention does, but for the sizes of the values.
    Source: Kobayashi et al. 2020, equation 6, for the weights of Ali et al. 2024.
    """

    name: ClassVar[str] = "implicit-attention-norm"
    source: ClassVar[str] = "Kobayashi et al. 2020"
    norms: ClassVar[bool] = True
