"""Attention weights as attributions: plain, times their gradient, times the norm of the state, and permuted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from ...plugins import register
from ..base import Explainer, Need

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class Attention(Explainer):
    """The attention weights with which the model pools its hidden states.

    Cost: 1 forward sequence-equivalent for each sequence.
    Fails where: hidden states carry information from other steps, as recurrent ones do (Jain & Wallace 2019).
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
    """α·∂f/∂α: each attention weight times the gradient of the score with respect to it.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: attention does; the gradient only adds how the model reads the pooled state.
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


@register
@dataclass(frozen=True)
class AttentionNorm(Explainer):
    """α·‖v‖: each attention weight times the norm of the hidden state it weights.

    A large weight on a small vector moves the pooled state little.

    Cost: 1 forward sequence-equivalent for each sequence.
    Fails where: attention does; and where large hidden states cancel or the model does not read them.
    Source: Kobayashi et al. 2020, equation 6, for pooling over recurrent states, which have no value projection.
    """

    name: ClassVar[str] = "attention-norm"
    group: ClassVar[str] = "attention"
    needs: ClassVar[frozenset[Need]] = frozenset({"attention"})
    signed: ClassVar[bool] = False
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Kobayashi et al. 2020"

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        reason = super().applicable(subject)
        return reason or ("" if subject.shows_values else "the model does not show the states its attention averages")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        weights, sizes = subject.attention_values()
        return weights * sizes


@register
@dataclass(frozen=True)
class AttentionPermuted(Explainer):
    """The attention weights in random order, a control that keeps nothing of them but their distribution.

    Cost: 1 forward sequence-equivalent for each sequence.
    Fails where: everywhere, by design.
    Source: Jain & Wallace 2019, section 4.2.1 (attention permutation).
    """

    name: ClassVar[str] = "attention-permuted"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"attention"})
    stochastic: ClassVar[bool] = True
    signed: ClassVar[bool] = False
    granularity: ClassVar[Literal["any", "step"]] = "step"
    source: ClassVar[str] = "Jain & Wallace 2019"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        weights = subject.attention()
        permuted = torch.zeros_like(weights)
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        attended = subject.attended
        if subject.batch.layout is not None:  # attention may cover some of the inputs only
            attended = attended & (weights != 0).any(0)
        for row, seed in enumerate(seeds):
            own = attended[row].nonzero().squeeze(1)
            order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed))
            permuted[row, own] = weights[row, own[order]]
        return permuted
