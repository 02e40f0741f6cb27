"""Layer-wise relevance propagation for recurrent networks, and the rules for gates that are known to fail."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ..base import Explainer, Need
from .advice import advised
from .relevance import Product, Shares, relevances

if TYPE_CHECKING:
    from torch import nn

    from ...tasks.subject import Subject


_LATER: Final[dict[str, object]] = {"products": "gates", "constant": ()}


@dataclass(frozen=True)
class _Propagation(Explainer):
    """Base class of the LRP methods, which differ in the rule for the product of a gate and a signal."""

    product: ClassVar[Product] = "signal"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})

    epsilon: float = 1e-3
    bias_factor: float = 0.0

    def __post_init__(self) -> None:
        if not (self.epsilon > 0 and isfinite(self.epsilon)):
            raise ParameterError(f"{self.name}: epsilon={self.epsilon} does not fit (it must be above 0 and finite).")
        if not 0 <= self.bias_factor <= 1:
            raise ParameterError(f"{self.name}: bias_factor={self.bias_factor} does not fit (it must be from 0 to 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        attributions = torch.zeros_like(view.batch.inputs)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs = view.batch.inputs[rows, :steps]
            try:
                attributions[rows, :steps] = self._relevance(score, inputs, view.score[rows])
            except UnsupportedModelError as error:
                raise advised(error, subject, self.name) from error
        return subject.reduced(attributions)

    def _relevance(self, score: nn.Module, inputs: Tensor, expected: Tensor) -> Tensor:
        """Relevance float[B, T, D] of inputs of that shape for their scores float[B]."""
        return relevances(score, inputs, Shares(self.epsilon, self.bias_factor, self.product), expected).values


@register
@dataclass(frozen=True)
class Lrp(_Propagation):
    """Layer-wise relevance propagation (LRP-ε): the score is propagated back to the input, and gates receive nothing.

    The user's own module is run once. Relevance starts from the explained raw score alone. A sum distributes its
    relevance to its terms in proportion to their values, with the sum moved away from 0 by ε. An elementwise function
    passes it on unchanged. In a product of a gate and a signal, the signal receives all of it. A gate is the result of
    a sigmoid or a softmax, so that attention weights are gates; exponentials, softplus, norms and divisors are gates
    to any other signal. Two signals (query and key, state and read-out) receive half each (Achtibat et al. 2024,
    arXiv:2402.05602). Fused recurrent layers and attention are decomposed into elementary operations with their own
    weights, during the run. In normalisations the statistics are constants (Ali et al. 2022, arXiv:2202.07304). Any
    other differentiable operation is expanded to first order; for a linear one, complex numbers included, this is the
    rule of a sum. An operation without a derivative is an error that names it.

    Parameters:
        epsilon: ε, in the units of the terms of a sum; it matters only for sums about as small as ε. The default
            is far below the states even of small cells. On the tasks of `quick` the relevance of all inputs together
            stays the same to 1 % from 1e-9 to 1e-5; the published code's 0.001 absorbs up to 15 % of it.
        bias_factor: fraction of the relevance of biases and of ε that goes to the terms of a sum. With 1 the relevance
            of the inputs and of constant initial states sums to the score exactly, which is a check of the rules and
            not a better explanation: a sum near 0 then distributes many times the score, and ε should be 0.001 or more.
        products: ``gates``: attention weights are gates, and their softmax receives no relevance (Arras et al. 2017).
            ``half``: they are signals, which share half each with the values, and softmax is expanded to first order
            (Achtibat et al. 2024, section 3). Sigmoids and exponentials stay gates.
        constant: modules whose outputs are constants, by their names, or ends of names: with ``constant=x_proj`` the
            parameters of the selective state spaces of Mamba receive nothing (Jafari et al. 2024, arXiv:2406.07592).

    Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
    Fails where: the influence is that of a gate, for an input that only decides whether something else passes receives
        nothing; where terms of a sum cancel, for they then receive many times their contribution; and where an input of
        0 informs the model, for its share of every sum is 0.
    Source: Arras et al. 2017, arXiv:1706.07206; sums by Bach et al. 2015, doi:10.1371/journal.pone.0130140, equation
        58.
    """

    name: ClassVar[str] = "lrp"
    group: ClassVar[str] = "propagation"
    source: ClassVar[str] = "Arras et al. 2017"

    epsilon: float = 1e-6
    products: Literal["gates", "half"] = "gates"
    constant: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.products not in {"gates", "half"}:
            raise ParameterError(f"lrp: products={self.products} does not fit (it must be gates or half).")
        if isinstance(self.constant, str) or not all(isinstance(name, str) and name for name in self.constant):
            raise ParameterError(
                f"lrp: constant={self.constant!r} does not fit (it must be names of modules: constant=('x_proj',), on "
                "the command line constant=x_proj or constant=x_proj/dt_proj)."
            )

    def identity(self) -> dict[str, Any]:
        """See :meth:`Plugin.identity`: later parameters add nothing by default, so that older results are found."""
        identity = super().identity()
        for name, default in _LATER.items():
            if getattr(self, name) == default:
                del identity["parameters"][name]
        return identity

    def _relevance(self, score: nn.Module, inputs: Tensor, expected: Tensor) -> Tensor:
        shares = Shares(self.epsilon, self.bias_factor, attention_gates=self.products == "gates")
        return relevances(score, inputs, shares, expected, self.constant).values


_CONTROL_SECTIONS: Final = """\
Everything else is as in `lrp`, except that any product of two factors that depend on the input follows the same rule.

Parameters:
    epsilon: ε, which moves every sum away from 0; the default is that of the published code.
    bias_factor: fraction of the relevance of biases and of ε that goes to the terms of a sum.

Cost: 1 forward and 1 backward sequence-equivalent for each sequence.
Fails where: always, on gated cells; and on long sequences (with `lrp-prop` on all but short ones) relevance grows from
    step to step until it overflows, which is an error.
Source: Arras et al. 2019, arXiv:1904.11829.
"""


@dataclass(frozen=True)
class _GateControl(_Propagation):
    """Base class of the negative controls: LRP with a rule that gives relevance to gates.

    It adds the sections that all controls share to the docstring of each subclass, from which its page is made.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__doc__ = f"{inspect.getdoc(cls)}\n\n{_CONTROL_SECTIONS}"


@register
@dataclass(frozen=True)
class LrpHalf(_GateControl):
    """LRP in which gate and signal receive half the relevance of their product each: a negative control, known to fail.

    A gate near 0 receives as much as the signal that it blocks, and passes it to the inputs of its pre-activation,
    where it has no meaning.
    """

    name: ClassVar[str] = "lrp-half"
    product: ClassVar[Product] = "half"
    source: ClassVar[str] = "Arras et al. 2019"


@register
@dataclass(frozen=True)
class LrpAbs(_GateControl):
    """LRP in which gate and signal receive relevance in proportion to their absolute values: a negative control.

    It is known to fail, because gates are near 1 when open and signals are near 0 when uncertain, so that gates receive
    most of the relevance.
    """

    name: ClassVar[str] = "lrp-abs"
    product: ClassVar[Product] = "abs"
    source: ClassVar[str] = "Arras et al. 2019"


@register
@dataclass(frozen=True)
class LrpProp(_GateControl):
    """LRP in which gate and signal receive relevance in proportion to their values: a negative control, known to fail.

    The product is treated like a sum, so that a gate of 0.5 and a signal of −0.49 receive fifty times their product's
    relevance, with opposite signs. The stabiliser ε also applies to this sum.
    """

    name: ClassVar[str] = "lrp-prop"
    product: ClassVar[Product] = "prop"
    source: ClassVar[str] = "Arras et al. 2019"
