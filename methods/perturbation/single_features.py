"""Perturbation methods that change one feature at a time: occlusion, permutation and permutation importance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError, XrnnbenchWarning, warn
from ...plugins import register
from ...tasks.data.batch import Batch
from ...tasks.engine.hashing import step_hashes
from ...tasks.engine.variants import Given, Removal, sequence_hashes
from ...tasks.interventions.base import intervention, intervention_of, views_of
from ..base import Explainer, Need, background_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...tasks.subject import Subject

Score = Literal["log-likelihood", "accuracy", "balanced-accuracy"]


@dataclass(frozen=True, eq=False)
class OneChanged(Removal):
    """Variants in which one feature takes the value of the reference or of another sequence.

    The rows are built when they are run.

    Attributes:
        of: int64[V], sequence of the batch that each variant is made from.
        feature: int64[V], feature that changes: the step, or step · D + column for cells.
        columns: D, or 1 where a step changes as a whole.
        donors: sequences that the new values are taken from; None for the reference.
        donor: int64[V], index of the donor of each variant. A donor that is too short gives its last step.
    """

    of: Tensor
    feature: Tensor
    columns: int
    donors: Batch | None = None
    donor: Tensor | None = None

    @property
    def instance(self) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        return self.of

    @cached_property
    def step(self) -> Tensor:
        """Step that changes, int64[V]."""
        return self.feature // self.columns

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Removal`."""
        steps = torch.arange(batch.inputs.shape[1])
        if self.columns == 1:
            return steps != self.step[chosen, None]
        return torch.arange(len(steps) * self.columns).view(-1, self.columns) != self.feature[chosen, None, None]

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        inputs = batch.inputs[self.of[chosen]]
        inputs[torch.arange(len(chosen)), self.step[chosen]] = self._changed(chosen, batch, reference)
        return inputs

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`; only one step differs from the sequence's own."""
        hashes = sequence_hashes(batch.inputs, self.of[chosen])
        changed = step_hashes(self._changed(chosen, batch, reference)[:, None])
        hashes[torch.arange(len(chosen)), self.step[chosen]] = changed.squeeze(1)
        return hashes

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        inputs = batch.inputs[self.of[chosen], step]
        changed = step == self.step[chosen]
        inputs[changed] = self._changed(chosen[changed], batch, reference)
        return inputs

    def _changed(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """New values of the steps that change, [N(, D)], for the variants int64[N]."""
        instance, step = self.of[chosen], self.step[chosen]
        if self.donors is None or self.donor is None:
            new = reference[instance, step]
        else:
            donor = self.donor[chosen]
            new = self.donors.inputs[donor, self.donors.nearest_steps(donor, step[:, None]).squeeze(1)]
        if self.columns == 1:
            return new
        column = torch.arange(self.columns) == self.feature[chosen, None] % self.columns
        return torch.where(column, new, batch.inputs[instance, step])


def _features(subject: Subject) -> tuple[Tensor, Tensor, int]:
    """Valid features of all sequences: instance int64[V], feature int64[V], and the number of columns of a step."""
    instance, feature = subject.valid.flatten(1).nonzero(as_tuple=True)
    return instance, feature, subject.shape[2] if subject.granularity == "cell" else 1


@register
@dataclass(frozen=True)
class Occlusion(Explainer):
    """f(x) − f(x without one feature), for each feature.

    Parameters:
        by: the intervention that removes a feature (``xrnnbench list interventions``). ``"reference"`` puts in the
            reference of the task; ``"zero"`` a zero, of numbers or of a token's embedding; ``"mean"`` the feature's
            mean over the background; ``"pad"`` the padding token; ``"marginal"`` the values of other sequences at that
            step. ``"delete"`` takes the step out, and later steps move up: it explains steps even where other
            interventions explain cells, and a sequence of one step becomes one step of the reference.

    Cost: n + 1 forward sequence-equivalents for a sequence of n features, times the draws of a random intervention.
    Fails where: features can replace each other, so that removing one alone changes nothing.
    Source: Zeiler & Fergus 2014; Li, Monroe & Jurafsky 2016 for text (deletion: equation 5).
    """

    name: ClassVar[str] = "occlusion"
    group: ClassVar[str] = "perturbation"
    source: ClassVar[str] = "Zeiler & Fergus 2014"
    uses: ClassVar[Mapping[str, str]] = MappingProxyType({"by": "intervention"})

    by: str = "reference"

    def __post_init__(self) -> None:
        intervention_of(self)  # raises for an unknown name

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        return super().applicable(subject) or intervention(self.by).unfit(subject)

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        by = intervention(self.by)
        instance, feature, columns = _features(subject)
        if by.whole_steps:
            (instance, feature), columns = subject.batch.valid.nonzero(as_tuple=True), 1
        variants = by.variants(OneChanged(instance, feature, columns))
        values = torch.zeros(len(subject), subject.batch.inputs.shape[1] * columns)
        views = views_of(subject, by)
        for view in views:
            whole = view.scores(Given(view.batch.inputs))
            values = values.to(whole.dtype)
            values[instance, feature] += (whole[instance] - view.scores(variants)) / len(views)
        return values.view(-1, *([values.shape[1]] if columns == 1 else [values.shape[1] // columns, columns]))


@register
@dataclass(frozen=True)
class Permutation(Explainer):
    """f(x) − mean of f(x with one feature taken from other sequences at the same step): local permutation.

    Unlike occlusion, it needs no reference for an absent value: the feature takes values that occur at that step in the
    background. A donor sequence that is too short gives its last step.

    Parameters:
        draws: number of donors for each feature.

    Cost: draws · n + 1 forward sequence-equivalents for a sequence of n features; fewer are run where donors agree.
    Fails where: neighbouring steps determine each other, so that the mixture is no sequence that occurs.
    Source: Breiman 2001, section 10, for one instance; "feature permutation" of Fisher, Rudin & Dominici 2019.
    """

    name: ClassVar[str] = "permutation"
    group: ClassVar[str] = "perturbation"
    needs: ClassVar[frozenset[Need]] = frozenset({"background"})
    stochastic: ClassVar[bool] = True
    source: ClassVar[str] = "Breiman 2001"

    draws: int = 8

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ParameterError(f"permutation: draws={self.draws} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        background = background_of(subject, self.name)
        instance, feature, columns = _features(subject)
        donor = self._donors(subject, len(background), rng)
        whole = subject.scores(Given(subject.batch.inputs))
        changed = OneChanged(
            instance.repeat(self.draws), feature.repeat(self.draws), columns, background, donor.T.flatten()
        )
        without = subject.scores(changed).view(self.draws, -1).mean(0)
        values = whole.new_zeros(len(subject), subject.valid[0].numel())
        values[instance, feature] = whole[instance] - without
        return values.view(subject.shape)

    def _donors(self, subject: Subject, count: int, rng: torch.Generator) -> Tensor:
        """Donors of all features, int64[V, draws], out of ``count`` background sequences.

        Each sequence has its own random stream, so that its draws do not depend on other sequences or on padding.
        """
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        features = subject.valid.flatten(1).sum(1).tolist()
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        return torch.cat(
            [
                torch.randint(count, (number, self.draws), generator=stream)
                for number, stream in zip(features, streams, strict=True)
            ]
        )


@register
@dataclass(frozen=True)
class PermutationImportance(Explainer):
    """Drop of the model's quality when a feature or a step is shuffled among the sequences; a global method.

    The quality is measured on the explained batch and its targets: for classification by ``score``, for regression
    always by R² of the explained output. All sequences get the same values: the method ranks the features or steps by
    their importance to the model on the whole batch.

    Parameters:
        score: for classification. ``"log-likelihood"`` is the mean log-probability of the correct class, which moves
            with every probability; ``"accuracy"`` is the share of correct predictions, and ``"balanced-accuracy"`` its
            mean over the classes that occur. Both of these move only where a prediction changes, which it may never do
            if a class is rare. For a log-probability, a probability of 0 counts as the smallest positive number of its
            precision. A regression does not read this parameter.
        unit: ``"feature"`` shuffles a whole column of all steps at once, ``"step"`` a whole step, ``"cell"`` one
            feature of one step. ``"auto"`` shuffles features where the subject has cells, and steps elsewhere.
        repeats: shuffles per unit; their drops are averaged.

    Cost: (repeats · units + 1) forward sequence-equivalents for each sequence.
    Fails where: a single sequence is to be explained, because all get the same values; and where features are
        correlated.
    Source: Breiman 2001, section 10, with accuracy; Fisher, Rudin & Dominici 2019: model reliance with any loss, as a
        difference. The log-likelihood is that of scikit-learn's ``permutation_importance`` with ``neg_log_loss``.
    """

    name: ClassVar[str] = "permutation-importance"
    version: ClassVar[int] = 2
    group: ClassVar[str] = "perturbation"
    stochastic: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"targets"})
    signed: ClassVar[bool] = False
    local: ClassVar[bool] = False
    source: ClassVar[str] = "Breiman 2001"

    unit: Literal["auto", "feature", "step", "cell"] = "auto"
    repeats: int = 5
    score: Score = "log-likelihood"

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ParameterError(f"permutation-importance: repeats={self.repeats} does not fit (at least 1).")
        if self.score not in _SCORES:
            raise ParameterError(f"permutation-importance: score={self.score!r} is none of {', '.join(_SCORES)}.")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        units = self._units(subject)
        plain = subject.outputs(Given(subject.batch.inputs))
        whole, moved = self._quality(subject, plain), not subject.classification or self.score == "log-likelihood"
        drops = torch.zeros(len(units), dtype=torch.float64)
        for place, columns in enumerate(units):
            shuffled = [self._shuffled(subject, columns, rng) for _ in range(self.repeats)]
            outputs = subject.outputs(Given(torch.cat(shuffled), torch.arange(len(subject)).repeat(self.repeats)))
            parts = outputs.split(len(subject))
            drops[place] = self._drop(subject, whole, [self._quality(subject, part) for part in parts])
            moved = moved or any(not torch.equal(part.argmax(1), plain.argmax(1)) for part in parts)
        if not moved:
            warn(
                f"{self.name!r} on {subject.label}: no shuffle changed a prediction, so the {self.score} could not "
                "move and all values are 0; choose score=log-likelihood, which moves with every probability.",
                XrnnbenchWarning,
            )
        return self._spread(subject, units, drops)

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if subject.granularity == "step" and self.unit in {"feature", "cell"}:
            return f"a step has no {self.unit}s of its own to shuffle"
        return super().applicable(subject)

    def _drop(self, subject: Subject, whole: float, shuffled: list[float]) -> float:
        """Mean drop from a quality to those after shuffling."""
        if subject.classification and self.score == "log-likelihood":
            # exactly 0 for what the model does not read; the other form would leave a residue of rounding
            return sum(whole - each for each in shuffled) / self.repeats
        return whole - sum(shuffled) / self.repeats  # as in version 1, to the bit

    def _quality(self, subject: Subject, outputs: Tensor) -> float:
        """Quality of outputs float[B, K] for the batch's targets; the higher, the better."""
        return _SCORES[self.score](subject, outputs) if subject.classification else _r_squared(subject, outputs)

    def _units(self, subject: Subject) -> list[tuple[slice, slice]]:
        """Blocks (steps, columns) of the inputs that are shuffled as a whole."""
        steps = range(subject.batch.inputs.shape[1])
        unit = self.unit if self.unit != "auto" else ("feature" if subject.granularity == "cell" else "step")
        if unit == "step":
            return [(slice(step, step + 1), slice(None)) for step in steps]
        columns, layout = range(subject.batch.inputs.shape[2]), subject.batch.layout
        if unit == "feature" and layout is not None:
            return [(part.span, slice(column, column + 1)) for part in layout for column in range(part.columns)]
        if unit == "feature":
            return [(slice(None), slice(column, column + 1)) for column in columns]
        return [(slice(step, step + 1), slice(column, column + 1)) for step in steps for column in columns]

    @staticmethod
    def _shuffled(subject: Subject, block: tuple[slice, slice], rng: torch.Generator) -> Tensor:
        """Inputs with one block permuted at random among the sequences that have it."""
        inputs = subject.batch.inputs.clone()
        steps, columns = block
        first = steps.start or 0
        holders = (subject.batch.lengths > first).nonzero().squeeze(1)
        donor = holders[torch.randperm(len(holders), generator=rng)]
        step = torch.arange(inputs.shape[1])[steps]
        step = subject.batch.nearest_steps(donor, step)
        values = subject.batch.inputs[donor[:, None], step]
        if subject.batch.tokens:
            inputs[holders, steps] = values
        else:
            inputs[holders, steps, columns] = values[..., columns]
        return inputs

    @staticmethod
    def _spread(subject: Subject, units: list[tuple[slice, slice]], drops: Tensor) -> Tensor:
        """Attribution of the subject's shape with the drop of each block, the same for every sequence."""
        values = torch.zeros(subject.shape, dtype=torch.get_default_dtype())
        for (steps, columns), drop in zip(units, drops.tolist(), strict=True):
            if subject.granularity == "cell":
                values[:, steps, columns] = drop
            else:
                values[:, steps] = drop
        return values


def _log_likelihood(subject: Subject, outputs: Tensor) -> float:
    """Mean log-probability of the correct class."""
    if subject.gives_logits:
        logs = subject.logits(outputs.double()).log_softmax(1)
    else:
        logs = outputs.clamp_min(torch.finfo(outputs.dtype).tiny).double().log()
    return float(logs.gather(1, subject.batch.targets[:, None]).mean())


def _accuracy(subject: Subject, outputs: Tensor) -> float:
    """Share of correct predictions."""
    return float((outputs.argmax(1) == subject.batch.targets).double().mean())


def _balanced_accuracy(subject: Subject, outputs: Tensor) -> float:
    """Mean, over the classes that occur, of the share of their sequences that are predicted correctly."""
    targets = subject.batch.targets
    correct = (outputs.argmax(1) == targets).double()
    return float(torch.stack([correct[targets == own].mean() for own in targets.unique()]).mean())


_SCORES: dict[Score, Callable[[Subject, Tensor], float]] = {
    "log-likelihood": _log_likelihood,
    "accuracy": _accuracy,
    "balanced-accuracy": _balanced_accuracy,
}


def _r_squared(subject: Subject, outputs: Tensor) -> float:
    """R² of the explained output of a regression."""
    targets = subject.batch.targets
    predicted = outputs.gather(1, subject.target[:, None]).squeeze(1).double()
    actual = targets.reshape(len(targets), -1).gather(1, subject.target[:, None]).squeeze(1).double()
    return float(1 - ((predicted - actual) ** 2).sum() / ((actual - actual.mean()) ** 2).sum())
