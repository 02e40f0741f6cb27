"""What a method is: something that says how much each step or cell of a sequence contributed to an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ..errors import ContractError
from ..fingerprints import seed_from
from ..plugins import Plugin

if TYPE_CHECKING:
    from ..tasks.data.batch import Granularity
    from ..tasks.subject import Subject

Need = Literal["attention", "gradients", "background", "targets", "truth"]


@dataclass(frozen=True)
class Attribution:
    """How much each feature contributed.

    Attributes:
        values: float[B, T] (granularity ``"step"``) or float[B, T, D] (``"cell"``); exactly 0 on padding.
        signed: whether positive means "raised the explained score"; if not, larger means "mattered more".
        complete: whether the values claim to sum to f(x) − f(x⁰).
    """

    values: Tensor
    signed: bool
    complete: bool = False

    @property
    def granularity(self) -> Granularity:
        """``"step"`` or ``"cell"``."""
        return "step" if self.values.dim() == 2 else "cell"  # [B, T]

    @property
    def steps(self) -> Tensor:
        """float[B, T]: contributions by step, those of its cells summed.

        Signed or not: an unsigned value below 0 says that a cell mattered less than one of 0.
        """
        return self.values if self.granularity == "step" else self.values.sum(2)


@dataclass(frozen=True)
class Explainer(Plugin):
    """A method. Write one by deriving from this class and giving it ``attribute``.

    Class attributes:
        group: ``"control"``, ``"attention"``, ``"gradient"``, ``"propagation"``, ``"perturbation"``, ``"surrogate"``,
            ``"temporal"``.
        needs: what the subject must offer; a method is not applicable where it does not.
        stochastic: whether another seed gives another result.
        signed: whether values carry a sign (see :class:`Attribution`).
        complete: whether values claim to sum to f(x) − f(x⁰).
        local: whether each sequence is explained on its own; a global method's values depend on its batch mates.
        granularity: ``"any"``, the subject's own, or ``"step"`` if the method only ever tells steps apart.
        source: paper and equation.
    """

    kind: ClassVar[str] = "method"
    group: ClassVar[str] = ""
    needs: ClassVar[frozenset[Need]] = frozenset()
    stochastic: ClassVar[bool] = False
    signed: ClassVar[bool] = True
    complete: ClassVar[bool] = False
    local: ClassVar[bool] = True
    granularity: ClassVar[Literal["any", "step"]] = "any"
    source: ClassVar[str] = ""

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """The attributions of the subject's batch: the one method to write.

        Args:
            subject: run the model through it only.
            rng: the only source of randomness.

        Returns:
            float of ``subject.shape`` ([B, T] or [B, T, D]), or of [B, T] if the granularity is ``"step"``. What
            is said of padding is ignored.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """What is done once and is no part of the cost of explaining, such as importing a library."""

    def applicable(self, subject: Subject) -> str:
        """Why this method cannot explain that subject, in a few words; empty if it can."""
        if "attention" in self.needs and not subject.attentive:
            return "the model shows no attention"
        if "gradients" in self.needs and not subject.differentiable:
            return "the model is a plain function, which has no gradients"
        if "background" in self.needs and subject.background is None:
            return "the task has no background data"
        if "truth" in self.needs and subject.batch.truth is None:
            return "the truth is not known"
        return ""

    def explain(self, subject: Subject, seed: int = 0) -> Attribution:
        """Attribute under the contract: without a trace on the model, checked, 0 on padding.

        Args:
            subject: what to explain.
            seed: explainer seed; the same gives the same values.

        Raises:
            ContractError: wrong shape, a value that is not finite, or a changed model.
        """
        rng = self.generator(seed)
        # whoever calls may have switched gradients off
        with subject.isolated(f"method {self.name!r}"), torch.enable_grad():
            torch.manual_seed(rng.initial_seed())
            values = self.attribute(subject, rng)
        return Attribution(self._checked(values, subject), self.signed, self.complete)

    def generator(self, seed: int) -> torch.Generator:
        """The random numbers of an explainer seed.

        Never those of ``torch.manual_seed(seed)``, with which somebody's data may have been drawn: a random explanation
        would repeat the data, and look informed.
        """
        return torch.Generator().manual_seed(seed_from("explainer", self.name, seed))

    def _checked(self, values: object, subject: Subject) -> Tensor:
        who = f"Method {self.name!r} on {subject.label}"
        shapes = [list(subject.shape), list(subject.shape[:2])][:: 1 if self.granularity == "any" else -1]
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            raise ContractError(f"{who} returned a {type(values).__name__}, not a tensor float{shapes[0]}.")
        if list(values.shape) not in shapes:
            raise ContractError(f"{who} returned shape {list(values.shape)}; expected {shapes[0]}.")
        values = values.detach()
        valid = subject.batch.valid if values.dim() == 2 else subject.valid  # [B, T]
        values = torch.where(valid, values, torch.zeros((), dtype=values.dtype))
        wrong = ~torch.isfinite(values).flatten(1).all(1)
        if wrong.any():
            raise ContractError(f"{who} gave a value that is not finite for instance {int(wrong.nonzero()[0])}.")
        return values
