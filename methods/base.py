"""Base class of methods and their result: the contribution of each step or cell of a sequence to an output."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal

import torch
from torch import Tensor

from ..errors import CompletenessWarning, ContractError, UnsupportedModelError, XrnnbenchError, warn
from ..fingerprints import seed_from
from ..plugins import Plugin
from ..tasks.engine.agreement import rounding_of
from ..tasks.engine.isolation import seed_generators

if TYPE_CHECKING:
    from ..tasks.data.batch import Batch, Granularity
    from ..tasks.subject import Subject

Need = Literal["attention", "gradients", "background", "targets", "truth", "time", "selection"]

# Largest accepted gap of attributions that claim completeness, as a share of the difference of the scores; differences
# near 0 count as this share of the largest one of the batch.
_LARGEST_GAP: Final = 0.01
_LEAST_DIFFERENCE: Final = 0.01


@dataclass(frozen=True)
class Attribution:
    """Contribution of each feature of a batch to the explained output.

    Attributes:
        values: float[B, T] (granularity ``"step"``) or float[B, T, D] (``"cell"``); exactly 0 on padding.
        signed: whether a positive value means "raised the explained score". If not, a larger value means "mattered
            more".
        complete: whether the values claim to sum to f(x) − f(x⁰), the scores of the sequence and of its reference.
        target: int64[B], index of the explained output. This and what follows is None for an attribution that was made
            to probe another one, as metrics do.
        score: float[B], the raw explained score f(x).
        reference: x⁰, in the shape and dtype of the inputs.
        reference_score: float[B], f(x⁰); None also if the model cannot take the reference.
        lengths: int64[B], number of steps of each sequence.
        gap: float[B], ΣΦ − (f(x) − f(x⁰)), by which the values miss their claim; None if they make none.
    """

    values: Tensor
    signed: bool
    complete: bool = False
    target: Tensor | None = None
    score: Tensor | None = None
    reference: Tensor | None = None
    reference_score: Tensor | None = None
    lengths: Tensor | None = None
    gap: Tensor | None = None

    @property
    def incomplete(self) -> Tensor:
        """Mask bool[B] of the sequences whose gap is above 1 % of the difference of their scores.

        A difference below 1 % of the largest one of the batch counts as that much, and rounding is no gap.
        """
        if self.gap is None or self.score is None or self.reference_score is None:
            return torch.zeros(len(self.values), dtype=torch.bool)
        difference = (self.score - self.reference_score).abs()
        rounding = rounding_of(self.score, self.reference_score)
        least = _LEAST_DIFFERENCE * difference.max()
        return self.gap.abs() > _LARGEST_GAP * difference.clamp_min(least) + rounding

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
        needs: what the subject must provide. The method is not applicable to a subject that lacks one of these;
            ``"time"`` are steps in the order of time, which several inputs together do not have.
        stochastic: whether another seed gives another result.
        signed: whether values carry a sign (see :class:`Attribution`).
        complete: whether values claim to sum to f(x) − f(x⁰).
        local: whether each sequence is explained on its own. The values of a global method depend on the other
            sequences of the batch.
        generates: whether the model is run on numbers that no sequence holds: points of a path, noise, generated steps.
            A method that reads gradients does so in effect. Such a method is not applicable to a model that reads
            features as ids.
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
    generates: ClassVar[bool | None] = None
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
        lacks: dict[Need, tuple[bool, str]] = {
            "attention": (not subject.attentive, "the model shows no attention"),
            "gradients": (not subject.differentiable, "the model is a plain function, which has no gradients"),
            "background": (subject.background is None, "the task has no background data"),
            "truth": (subject.batch.truth is None, "the truth is not known"),
            "targets": (not subject.targets_known, "the correct outputs are not known; give targets"),
            "selection": (not subject.selective, "the model does not show how it selects its variables"),
            "time": (subject.batch.layout is not None, "the model has several inputs, which have no time in common"),
        }
        for need, (lacking, reason) in lacks.items():
            if need in self.needs and lacking:
                return reason
        if ".propagation." in type(self).__module__ and subject.scripted:
            return "the model is TorchScript, whose operations cannot be followed; give the module it was made from"
        generates = "gradients" in self.needs if self.generates is None else self.generates
        layout = subject.batch.layout
        if generates and layout is not None and layout.categories and "gradients" not in self.needs:
            return f"{', '.join(layout.categories)} are categories, and the method makes numbers that are none"
        if generates and subject.categories:
            columns = ", ".join(map(str, subject.categories))
            return (
                f"the model reads feature {columns} as ids of categories, or rounds it (its scores depend on it and "
                "have no derivative by it); give it as context, or use a method that replaces values only, such as "
                "occlusion"
            )
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
            seed_generators(rng.initial_seed())
            values = self.attribute(subject, rng)
        attribution = Attribution(self._checked(values, subject), self.signed, self.complete)
        return attribution if subject.probe else self._with_scores(attribution, subject)

    def _with_scores(self, attribution: Attribution, subject: Subject) -> Attribution:
        """An attribution with what it explains; warns if it misses the sum that it claims.

        Controls are known to miss, so nothing is said of them.
        """
        score = subject.score
        try:
            reference_score: Tensor | None = subject.reference_score
        except XrnnbenchError:
            reference_score = None
        gap = None
        if self.complete and reference_score is not None:
            # in double precision, so that the sum adds no rounding of its own
            total = attribution.values.double().flatten(1).sum(1)
            gap = (total - (score.double() - reference_score.double())).to(score.dtype)
        whole = replace(
            attribution,
            target=subject.target,
            score=score,
            reference=subject.reference,
            reference_score=reference_score,
            lengths=subject.batch.lengths,
            gap=gap,
        )
        if self.group != "control" and bool(whole.incomplete.any()):
            warn(_shortfall(self, whole, subject), CompletenessWarning)
        return whole

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
        if self.granularity == "any" and subject.batch.layout is not None and list(values.shape) != shapes[0]:
            values = values.view(shapes[0])  # of several inputs of one column, a cell is a step
        valid = subject.batch.valid if values.dim() == 2 else subject.valid  # [B, T]
        values = torch.where(valid, values, torch.zeros((), dtype=values.dtype))
        nonfinite = ~torch.isfinite(values).flatten(1).all(1)
        if nonfinite.any():
            raise ContractError(f"{origin} gave a value that is not finite for instance {int(nonfinite.nonzero()[0])}.")
        return values


def _shortfall(method: Explainer, attribution: Attribution, subject: Subject) -> str:
    """Sentence about the sequences on which an attribution misses the sum that it claims."""
    score, reference_score, gap = attribution.score, attribution.reference_score, attribution.gap
    if score is None or reference_score is None or gap is None:  # an attribution without a gap misses nothing
        return ""
    missed = attribution.incomplete
    share = gap.abs() / (score - reference_score).abs().clamp_min(torch.finfo(gap.dtype).tiny)
    worst = int(share.masked_fill(~missed, -1.0).argmax())
    return (
        f"{method.name!r} on {subject.label} does not sum to the difference of the scores on {int(missed.sum())} of "
        f"{len(missed)} sequences (sequence {worst} by {float(gap[worst]):.3g} of "
        f"{float(score[worst] - reference_score[worst]):.3g}): its values are not complete there; use more model "
        "calls, another reference, or deeplift."
    )


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
