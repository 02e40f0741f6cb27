"""DeepLIFT, exact for recurrent networks, and captum's as the control that is not."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...plugins import register
from ..base import Explainer, Need
from .rescale import multipliers

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class DeepLift(Explainer):
    """DeepLIFT with the Rescale rule, exact for LSTM, GRU and RNN: attributions sum to f(x) − f(x⁰) to rounding.

    The user's own module is run once on the sequence and its reference side by side. Fused recurrent layers are taken
    apart on the fly with their own weights; products (gates, attention) are shared out by the mean of the other factor,
    which is their Shapley value; softmax and log-softmax through the logarithmic means of their weights. An operation
    without a rule is an error that names it.

    Cost: 2 forward and 1 backward sequence-equivalents for each sequence.
    Fails where: the score depends on the input by a decision (a comparison, an index) that the reference decides
        otherwise.
    Source: Shrikumar, Greenside & Kundaje 2017, equations 3, 6 and the chain rule of section 3.4; products and softmax
        as
    in docs/methods.md.
    """

    name: ClassVar[str] = "deeplift"
    group: ClassVar[str] = "propagation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Shrikumar et al. 2017"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        found = torch.zeros_like(view.batch.inputs)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs, reference = view.batch.inputs[rows, :steps], view.reference[rows, :steps]
            expected = view.score[rows], view.reference_score[rows]
            found[rows, :steps] = multipliers(score, inputs, reference, expected).values * (inputs - reference)
            subject.cost.ran(len(rows), steps)  # the reference's run, beside the one that is counted at the model
        return subject.reduced(found)


@register
@dataclass(frozen=True)
class CaptumDeepLift(Explainer):
    """captum's DeepLift, as a control: on a fused recurrent layer it is gradient × (x − x⁰), and says nothing.

    captum (0.9.0) attaches its rules to leaf modules such as ``nn.Sigmoid``; ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``
    have none, so the plain gradient goes through them. Published tables of recurrent explainers carry this row as
    DeepLIFT. It claims completeness, and the completeness gap on the board shows what the claim is worth.

    Cost: 2 forward and 2 backward sequence-equivalents for each sequence.
    Fails where: always, on recurrent layers.
    Source: captum.attr.DeepLift.
    """

    name: ClassVar[str] = "captum-deeplift"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "captum.attr.DeepLift"

    def prepare(self) -> None:
        """See :meth:`Explainer.prepare`."""
        importlib.import_module("captum.attr")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        from captum.attr import DeepLift as Captum  # noqa: PLC0415  # captum takes over a second to import

        view = subject.continuous()
        found = torch.zeros_like(view.batch.inputs)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs, reference = view.batch.inputs[rows, :steps], view.reference[rows, :steps]
            with torch.enable_grad(), warnings.catch_warnings():
                # captum says that it sets hooks and requires_grad; isolation takes both back
                warnings.simplefilter("ignore", UserWarning)
                found[rows, :steps] = Captum(score).attribute(inputs, reference).detach()
        return subject.reduced(found)
