"""Layer-wise relevance propagation for recurrent networks, and the ways to share out gates that are known to fail."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import ParameterError
from ...plugins import register
from ..base import Explainer, Need
from .relevance import Product, Shares, relevances

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@dataclass(frozen=True)
class _Propagation(Explainer):
    """What all of them share; they differ in what becomes of the product of a gate and a signal."""

    product: ClassVar[Product] = "signal"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})

    epsilon: float = 1e-3
    bias_factor: float = 0.0

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and isfinite(self.epsilon)):
            raise ParameterError(f"{self.name}: epsilon={self.epsilon} does not fit (above 0).")
        if not 0 <= self.bias_factor <= 1:
            raise ParameterError(f"{self.name}: bias_factor={self.bias_factor} does not fit (from 0 to 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        shares = Shares(self.epsilon, self.bias_factor, self.product)
        view = subject.continuous()
        found = torch.zeros_like(view.batch.inputs)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs = view.batch.inputs[rows, :steps]
            found[rows, :steps] = relevances(score, inputs, shares, view.score[rows]).values
        return subject.reduced(found)


@register
@dataclass(frozen=True)
class Lrp(_Propagation):
    """Layer-wise relevance propagation (LRP-ε): the score is handed back to the input, and gates get none of it.

    The user's own module is run once. From the explained raw score alone, each sum hands its relevance to its terms in
    proportion to what they add, away from 0 by ε; an elementwise function hands it on as it is; of a product of a gate
    and a signal the signal takes all. A gate is what comes from a sigmoid or a softmax, so that attention weights are
    gates. Fused recurrent layers and attention are taken apart on the fly with their own weights. In layer norm the
    deviation that is divided by is a constant (Ali et al. 2022, arXiv:2202.07304). An operation without a rule, or a
    product of two signals, is an error that names it.

    Parameters:
        epsilon: ε, in the units of the numbers that are summed up; only sums about as small as ε feel it. The default
            is far below the states even of small cells. On the tasks of `quick` all that is handed out stays the same
            to 1 % from 1e-9 to 1e-5; the published code's 0.001 takes up to 15 % of it.
        bias_factor: how much of the share of biases and of ε goes to the terms of a sum. With 1 the relevance of the
            inputs and of constant initial states is the score exactly, a check of the rules and not a better
            explanation: a sum near 0 then hands out many times the score, and ε is better 0.001 or more.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: the influence is a gate's: what only decides whether to let something else through gets nothing; where
        terms of a sum cancel, for they then get many times what they make; and where the model is told by 0, whose
        share of every sum is 0.
    Source: Arras et al. 2017, arXiv:1706.07206; sums by Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation
        58.
    """

    name: ClassVar[str] = "lrp"
    group: ClassVar[str] = "propagation"
    source: ClassVar[str] = "Arras et al. 2017"

    epsilon: float = 1e-6


@register
@dataclass(frozen=True)
class LrpHalf(_Propagation):
    """LRP in which gate and signal get half the relevance of their product each: a negative control, known to fail.

    A gate near 0 gets as much as the signal it shuts out, and hands it to the inputs of its pre-activation, where it
    has no meaning. Otherwise as `lrp`; any product of two factors that depend on the input is shared alike.

    Parameters:
        epsilon: ε; the default is that of the published code.
        bias_factor: how much of the share of biases and of ε goes to the terms of a sum.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: always, on gated cells; and on long sequences relevance grows from step to step until it overflows,
        which is an error.
    Source: Arras et al. 2019, arXiv:1904.11829.
    """

    name: ClassVar[str] = "lrp-half"
    product: ClassVar[Product] = "half"
    source: ClassVar[str] = "Arras et al. 2019"


@register
@dataclass(frozen=True)
class LrpAbs(_Propagation):
    """LRP in which gate and signal get relevance in proportion to the sizes of their values: a control, known to fail.

    Gates lie near 1 when open and signals near 0 when unsure, so that gates get most. Otherwise as `lrp`; any product
    of two factors that depend on the input is shared alike.

    Parameters:
        epsilon: ε; the default is that of the published code.
        bias_factor: how much of the share of biases and of ε goes to the terms of a sum.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: always, on gated cells; and on long sequences relevance grows from step to step until it overflows,
        which is an error.
    Source: Arras et al. 2019, arXiv:1904.11829.
    """

    name: ClassVar[str] = "lrp-abs"
    product: ClassVar[Product] = "abs"
    source: ClassVar[str] = "Arras et al. 2019"


@register
@dataclass(frozen=True)
class LrpProp(_Propagation):
    """LRP in which gate and signal get relevance in proportion to their values: a negative control, known to fail.

    The product is treated as if it were a sum: a gate of 0.5 and a signal of −0.49 get fifty times their product's
    relevance, with opposite signs. Otherwise as `lrp`; any product of two factors that depend on the input is shared
    alike.

    Parameters:
        epsilon: ε, of these proportions too; the default is that of the published code.
        bias_factor: how much of the share of biases and of ε goes to the terms of a sum.

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: always, on gated cells; and on sequences that are not short relevance grows from step to step until it
        overflows, which is an error.
    Source: Arras et al. 2019, arXiv:1904.11829.
    """

    name: ClassVar[str] = "lrp-prop"
    product: ClassVar[Product] = "prop"
    source: ClassVar[str] = "Arras et al. 2019"
