"""DeepLIFT, exact for recurrent networks, and captum's DeepLIFT as a control, which is not."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from ...errors import UnsupportedModelError
from ...plugins import register
from ..base import Explainer, Need
from .rescale import multipliers

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class DeepLift(Explainer):
    """DeepLIFT with the Rescale rule, exact for any network of torch: attributions sum to f(x) − f(x⁰) to rounding.

    The user's own module is run once, on the sequence and on its reference together. Fused recurrent layers are
    decomposed into elementary operations with their own weights, during the run. In a product (gates, attention) each
    factor is multiplied by the mean of the other one, which gives the Shapley values of the two factors. Softmax and
    log-softmax use the logarithmic means of their weights. Normalisations, norms and variances are decomposed into
    sums, squares, roots and products. A maximum, a sort or a pool credits the winners of both sides. A comparison is a
    step function, which counts where its result is used as a number or selects. Complex numbers are followed. Any other
    operation that has a derivative is integrated along its own path, from its reference to its arguments, until its own
    sum holds; an operation that bends too sharply for this is named in a warning.

    Explained is what the module computes, and not its gradient: values that are detached, or computed without
    gradients, or by an autograd function of the user, are followed as well. A compiled module (torch.compile) is run as
    it was written.

    Cost: 2 forward and 1 backward sequence-equivalents for each sequence. Where operations are integrated along their
        path, the numbers that are made at its nodes count as a share of those of one run, in forward and backward
        passes, rounded up.
    Fails where: the score depends on the input by a decision that is used as an index or in the model's own control
        flow, and whose result is another one for the reference: it is refused by name.
    Source: Shrikumar, Greenside & Kundaje 2017, equations 3, 6 and the chain rule of section 3.4; products, softmax,
        decisions and paths as in docs/methods.md.
    """

    name: ClassVar[str] = "deeplift"
    group: ClassVar[str] = "propagation"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    # it refuses reading a number as an id that differs between input and reference
    generates: ClassVar[bool | None] = False
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "Shrikumar et al. 2017"

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        view = subject.continuous()
        attributions = torch.zeros_like(view.batch.inputs)
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs, reference = view.batch.inputs[rows, :steps], view.reference[rows, :steps]
            expected = view.score[rows], view.reference_score[rows]
            found = multipliers(score, inputs, reference, expected)
            attributions[rows, :steps] = found.values * (inputs - reference)
            # the run on the reference; the model counts the other one
            subject.cost.ran(len(rows) + found.extra_passes, steps)
            subject.cost.backward += found.extra_passes
        return subject.reduced(attributions)


@register
@dataclass(frozen=True)
class CaptumDeepLift(Explainer):
    """captum's DeepLift, as a control: on a fused recurrent layer it is gradient × (x − x⁰), without a warning.

    captum (0.9.0) attaches its rules to leaf modules such as ``nn.Sigmoid``. ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``
    have no such leaf modules, so the plain gradient is propagated through them. Published tables of methods for
    recurrent networks list this result as DeepLIFT. It claims completeness, and the completeness gap on the board shows
    how far it is from it.

    Cost: 2 forward and 2 backward sequence-equivalents for each sequence.
    Fails where: always, on recurrent layers.
    Source: captum.attr.DeepLift.
    """

    name: ClassVar[str] = "captum-deeplift"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"gradients"})
    complete: ClassVar[bool] = True
    source: ClassVar[str] = "captum.attr.DeepLift"

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if subject.adapter is not None and subject.adapter.batch_size is not None:
            return "the model takes batches of one size only, and captum runs each batch together with its references"
        return super().applicable(subject)

    def prepare(self) -> None:
        """See :meth:`Explainer.prepare`."""
        importlib.import_module("captum.attr")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        from captum.attr import DeepLift as Captum  # noqa: PLC0415  # captum takes over a second to import

        view = subject.continuous()
        attributions = torch.zeros_like(view.batch.inputs)
        # captum's marks stay on modules that no gradient reaches, such as those before an explained layer
        unmarked = [module for module in view.model.modules() if not {"input", "output"} & vars(module).keys()]
        for rows, score in view.scorers():
            steps = int(view.batch.lengths[rows].max())
            inputs, reference = view.batch.inputs[rows, :steps], view.reference[rows, :steps]
            with torch.enable_grad(), warnings.catch_warnings():
                # captum warns that it sets hooks and requires_grad; the isolation of the model undoes both
                warnings.simplefilter("ignore", UserWarning)
                try:
                    attributions[rows, :steps] = Captum(score).attribute(inputs, reference).detach()
                except (AssertionError, RuntimeError) as error:
                    reason = " ".join(str(error).split())
                    raise UnsupportedModelError(
                        f"captum's DeepLift fails on {subject.label} ({reason}): use deeplift."
                    ) from error
                finally:
                    for module in unmarked:
                        vars(module).pop("input", None)
                        vars(module).pop("output", None)
        return subject.reduced(attributions)
