"""Base class of methods and their result: the contribution of each step or cell of a sequence to an output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ..errors import ContractError, UnsupportedModelError
from ..fingerprints import seed_from
from ..plugins import Plugin

if TYPE_CHECKING:
    from ..tasks.data.batch import Batch, Granularity
    from ..tasks.subject import Subject

Need = Literal["attention", "gradients", "background", "targets", "truth"]


@dataclass(frozen=True)
class Attribution:
    """Contribution of each feature of a batch to the explained output.

    Attributes:
        values: float[B, T] (granularity ``"step"``) or float[B, T, D] (``"cell"``); exactly 0 on padding.
        signed: whether a positive value means "raised the explained score". If not, a larger value means "mattered
            more".
        complete: whether the values claim to sum to f(x) − f(x⁰), the scores of the sequence and of its reference.
    """

    values: Tensor
    signed: bool
    complete: bool = False

    @property
    def granularity(self) -> Granularity:
        """Granularity of the values: ``"step"`` or ``"cell"``."""
        return "step" if self.values.dim() == 2 else "cell"  # [B, T]

    @property
    def steps(self) -> Tensor:
        """Contributions of steps, float[B, T]: the sum over the cells of each step.

        Unsigned values are summed as they are too: a cell below 0 mattered less than a cell of 0.
        """
        return self.values if self.granularity == "step" else self.values.sum(2)


@dataclass(frozen=True)
class Explainer(Plugin):
    """Base class of methods. To write a method, derive from this class and define ``attribute``.

    Class attributes:
        group: family of the method: ``"control"``, ``"attention"``, ``"gradient"``, ``"propagation"``,
            ``"perturbation"``, ``"surrogate"`` or ``"temporal"``.
        needs: what the subject must provide. The method is not applicable to a subject that lacks one of these.
        stochastic: whether another seed gives another result.
        signed: whether values carry a sign (see :class:`Attribution`).
        complete: whether values claim to sum to f(x) − f(x⁰).
        local: whether each sequence is explained on its own. The values of a global method depend on the other
            sequences of the batch.
        granularity: ``"any"`` for the granularity of the subject, ``"step"`` if the method gives one value a step for
            every subject.
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
        """Return the attribution of the subject's batch. This is the only function a method must define.

        Args:
            subject: the model and the batch to explain. Run the model through the subject only.
            rng: the only source of randomness.

        Returns:
            float of ``subject.shape`` ([B, T] or [B, T, D]), or of [B, T] if the granularity is ``"step"``. Values on
            padding are ignored.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Do one-time work that does not count as cost of explaining, such as importing a library."""

    def applicable(self, subject: Subject) -> str:
        """Return the reason why this method cannot explain a subject, in a few words; empty if it can."""
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
        """Attribution of a subject, checked against the contract.

        The values are 0 on padding, and the model is left as it was.

        Args:
            subject: the model and the batch to explain.
            seed: explainer seed. The same seed gives the same values.

        Raises:
            ContractError: the values have a wrong shape or are not finite, or the method changed the model.
        """
        rng = self.generator(seed)
        # the caller may have switched gradients off
        with subject.isolated(f"method {self.name!r}"), torch.enable_grad():
            torch.manual_seed(rng.initial_seed())
            values = self.attribute(subject, rng)
        return Attribution(self._checked(values, subject), self.signed, self.complete)

    def generator(self, seed: int) -> torch.Generator:
        """Random number generator of an explainer seed.

        It differs from ``torch.manual_seed(seed)``, with which the data may have been drawn: a random attribution
        would repeat the data and look informed.
        """
        return torch.Generator().manual_seed(seed_from("explainer", self.name, seed))

    def _checked(self, values: object, subject: Subject) -> Tensor:
        """Values of :meth:`attribute`, detached and 0 on padding.

        Raises:
            ContractError: the values are no float tensor, have a wrong shape, or are not finite.
        """
        origin = f"Method {self.name!r} on {subject.label}"
        shapes = [list(subject.shape), list(subject.shape[:2])][:: 1 if self.granularity == "any" else -1]
        if not isinstance(values, torch.Tensor) or not values.is_floating_point():
            raise ContractError(f"{origin} returned a {type(values).__name__}, not a tensor float{shapes[0]}.")
        if list(values.shape) not in shapes:
            raise ContractError(f"{origin} returned shape {list(values.shape)}; expected {shapes[0]}.")
        values = values.detach()
        valid = subject.batch.valid if values.dim() == 2 else subject.valid  # [B, T]
        values = torch.where(valid, values, torch.zeros((), dtype=values.dtype))
        nonfinite = ~torch.isfinite(values).flatten(1).all(1)
        if nonfinite.any():
            raise ContractError(f"{origin} gave a value that is not finite for instance {int(nonfinite.nonzero()[0])}.")
        return values


def background_of(subject: Subject, method: str) -> Batch:
    """Background sequences of a subject.

    Args:
        subject: model and batch with a background.
        method: name of the method that needs it, for the error.

    Raises:
        UnsupportedModelError: the subject has no background.
    """
    if subject.background is None:
        raise UnsupportedModelError(f"{method} needs background sequences, and {subject.label} has none.")
    return subject.background
