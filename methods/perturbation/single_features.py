"""Perturbation methods: change one feature, watch the score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ...tasks.data.batch import Batch
from ...tasks.engine.hashing import prints
from ...tasks.engine.variants import Given, Removal, own_prints
from ...tasks.interventions.base import intervention, views_of
from ..base import Explainer, Need

if TYPE_CHECKING:
    from ...tasks.subject import Subject


@dataclass(frozen=True, eq=False)
class OneChanged(Removal):
    """Variants in which one feature of a sequence is taken from elsewhere; built row by row when run.

    Attributes:
        of: int64[V], which sequence.
        feature: int64[V], which feature of it: the step, or step · D + column for cells.
        columns: D, or 1 where a step changes as a whole.
        donors: where the new value comes from; None for the reference.
        donor: int64[V], which of the donors. One that has no such step gives its last.
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
        """int64[V]: the step that is changed."""
        return self.feature // self.columns

    def kept(self, chosen: Tensor, batch: Batch) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Removal`."""
        steps = torch.arange(batch.inputs.shape[1])
        if self.columns == 1:
            return steps != self.step[chosen, None]
        return torch.arange(len(steps) * self.columns).view(-1, self.columns) != self.feature[chosen, None, None]

    def rows(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        found = batch.inputs[self.of[chosen]]
        found[torch.arange(len(chosen)), self.step[chosen]] = self._changed(chosen, batch, reference)
        return found

    def prints(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`; those of the sequence but for one step."""
        found = own_prints(batch.inputs, self.of[chosen])
        changed = prints(self._changed(chosen, batch, reference)[:, None])
        found[torch.arange(len(chosen)), self.step[chosen]] = changed.squeeze(1)
        return found

    def at(self, chosen: Tensor, step: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """See :class:`xrnnbench.tasks.engine.variants.Variants`."""
        found = batch.inputs[self.of[chosen], step]
        changed = step == self.step[chosen]
        found[changed] = self._changed(chosen[changed], batch, reference)
        return found

    def _changed(self, chosen: Tensor, batch: Batch, reference: Tensor) -> Tensor:
        """The step [N(, D)] that is changed, as it is then."""
        instance, step = self.of[chosen], self.step[chosen]
        if self.donors is None or self.donor is None:
            new = reference[instance, step]
        else:
            donor = self.donor[chosen]
            new = self.donors.inputs[donor, torch.minimum(step, self.donors.lengths[donor] - 1)]
        if self.columns == 1:
            return new
        column = torch.arange(self.columns) == self.feature[chosen, None] % self.columns
        return torch.where(column, new, batch.inputs[instance, step])


def _features(subject: Subject) -> tuple[Tensor, Tensor, int]:
    """Every valid feature of every sequence: instance int64[V], feature int64[V], and the number of columns."""
    instance, feature = subject.valid.flatten(1).nonzero(as_tuple=True)
    return instance, feature, subject.shape[2] if subject.granularity == "cell" else 1


@register
@dataclass(frozen=True)
class Occlusion(Explainer):
    """f(x) − f(x without one feature), for each feature.

    Parameters:
        by: what takes the feature's place, one of the interventions (``xrnnbench list interventions``):
            ``"reference"``, the task's own; ``"zero"``, of numbers or of a token's embedding; ``"mean"``, the feature's
            mean over the background; ``"pad"``, the padding token; ``"marginal"``, what other sequences have there; or
            nothing (``"delete"``): the step is taken out and what followed moves up, which explains steps even where
            others explain cells, and leaves one step of the reference where there was one step only.

    Cost: n + 1 forward sequence-equivalents for a sequence of n features, times the draws of a random intervention.
    Fails where: features stand in for each other, so that removing one alone changes nothing.
    Source: Zeiler & Fergus 2014; Li, Monroe & Jurafsky 2016 for text (deletion: equation 5).
    """

    name: ClassVar[str] = "occlusion"
    group: ClassVar[str] = "perturbation"
    source: ClassVar[str] = "Zeiler & Fergus 2014"

    by: str = "reference"

    def __post_init__(self) -> None:
        intervention(self.by)  # a name that is not known is said at once

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
        found = torch.zeros(len(subject), subject.batch.inputs.shape[1] * columns)
        views = views_of(subject, by)
        for view in views:
            whole = view.scores(Given(view.batch.inputs))
            found = found.to(whole.dtype)
            found[instance, feature] += (whole[instance] - view.scores(variants)) / len(views)
        return found.view(-1, *([found.shape[1]] if columns == 1 else [found.shape[1] // columns, columns]))


@register
@dataclass(frozen=True)
class Permutation(Explainer):
    """f(x) − mean of f(x with one feature taken from other sequences at the same step): local permutation.

    Unlike occlusion it needs no value that stands for absence: what is removed is the knowledge of which of the values
    that occur there occurred here. A donor that is too short gives its last step.

    Parameters:
        draws: how many donors each feature is taken from.

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
        if subject.background is None:
            raise UnsupportedModelError(f"permutation needs background sequences, and {subject.label} has none.")
        instance, feature, columns = _features(subject)
        donor = self._donors(subject, len(subject.background), rng)
        whole = subject.scores(Given(subject.batch.inputs))
        changed = OneChanged(
            instance.repeat(self.draws), feature.repeat(self.draws), columns, subject.background, donor.T.flatten()
        )
        without = subject.scores(changed).view(self.draws, -1).mean(0)
        found = whole.new_zeros(len(subject), subject.valid[0].numel())
        found[instance, feature] = whole[instance] - without
        return found.view(subject.shape)

    def _donors(self, subject: Subject, count: int, rng: torch.Generator) -> Tensor:
        """int64[V, draws]: one stream of draws for each sequence, so that batch mates and padding do not shift it."""
        seeds = torch.randint(2**62, (len(subject),), generator=rng).tolist()
        features = subject.valid.flatten(1).sum(1).tolist()
        streams = [torch.Generator().manual_seed(seed) for seed in seeds]
        return torch.cat(
            [
                torch.randint(count, (own, self.draws), generator=stream)
                for own, stream in zip(features, streams, strict=True)
            ]
        )


@register
@dataclass(frozen=True)
class PermutationImportance(Explainer):
    """How much the model's score on the data drops when a feature or a step is shuffled among the sequences: global.

    The score is accuracy (classification) or R² of the explained output (regression) on the explained batch and its
    targets. All sequences get the same values: the method tells which features or steps matter to the model at all.

    Parameters:
        unit: ``"feature"`` shuffles a whole column of all steps at once, ``"step"`` a whole step, ``"cell"`` one
            feature of one step; ``"auto"`` takes features where the subject has cells and steps where it has not.
        repeats: shuffles per unit, averaged.

    Cost: (repeats · units + 1) forward sequence-equivalents for each sequence.
    Fails where: one sequence is asked about: it says nothing of any one of them; and where features are correlated.
    Source: Breiman 2001, section 10; Fisher, Rudin & Dominici 2019.
    """

    name: ClassVar[str] = "permutation-importance"
    group: ClassVar[str] = "perturbation"
    stochastic: ClassVar[bool] = True
    needs: ClassVar[frozenset[Need]] = frozenset({"targets"})
    signed: ClassVar[bool] = False
    local: ClassVar[bool] = False
    source: ClassVar[str] = "Breiman 2001"

    unit: Literal["auto", "feature", "step", "cell"] = "auto"
    repeats: int = 5

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ParameterError(f"permutation-importance: repeats={self.repeats} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:
        """See :meth:`Explainer.attribute`."""
        units = self._units(subject)
        whole = _model_score(subject, subject.outputs(Given(subject.batch.inputs)))
        drops = torch.zeros(len(units), dtype=torch.float64)
        for place, columns in enumerate(units):
            shuffled = [self._shuffled(subject, columns, rng) for _ in range(self.repeats)]
            outputs = subject.outputs(Given(torch.cat(shuffled), torch.arange(len(subject)).repeat(self.repeats)))
            scores = [_model_score(subject, part) for part in outputs.split(len(subject))]
            drops[place] = whole - sum(scores) / self.repeats
        return self._spread(subject, units, drops)

    def applicable(self, subject: Subject) -> str:
        """See :meth:`Explainer.applicable`."""
        if subject.granularity == "step" and self.unit in {"feature", "cell"}:
            return f"a step has no {self.unit}s of its own to shuffle"
        return super().applicable(subject)

    def _units(self, subject: Subject) -> list[tuple[slice, slice]]:
        """The blocks (steps, columns) that are shuffled together."""
        steps = range(subject.batch.inputs.shape[1])
        unit = self.unit if self.unit != "auto" else ("feature" if subject.granularity == "cell" else "step")
        if unit == "step":
            return [(slice(step, step + 1), slice(None)) for step in steps]
        columns = range(subject.batch.inputs.shape[2])
        if unit == "feature":
            return [(slice(None), slice(column, column + 1)) for column in columns]
        return [(slice(step, step + 1), slice(column, column + 1)) for step in steps for column in columns]

    @staticmethod
    def _shuffled(subject: Subject, block: tuple[slice, slice], rng: torch.Generator) -> Tensor:
        """The batch with one block taken from a random other order of the sequences that have it."""
        found = subject.batch.inputs.clone()
        steps, columns = block
        first = steps.start or 0
        having = (subject.batch.lengths > first).nonzero().squeeze(1)
        donor = having[torch.randperm(len(having), generator=rng)]
        step = torch.arange(found.shape[1])[steps]
        step = torch.minimum(step[None], subject.batch.lengths[donor, None] - 1)
        taken = subject.batch.inputs[donor[:, None], step]
        if subject.batch.tokens:
            found[having, steps] = taken
        else:
            found[having, steps, columns] = taken[..., columns]
        return found

    @staticmethod
    def _spread(subject: Subject, units: list[tuple[slice, slice]], drops: Tensor) -> Tensor:
        """The drops at the places of their blocks, the same for every sequence."""
        found = torch.zeros(subject.shape, dtype=torch.get_default_dtype())
        for (steps, columns), drop in zip(units, drops.tolist(), strict=True):
            if subject.granularity == "cell":
                found[:, steps, columns] = drop
            else:
                found[:, steps] = drop
        return found


def _model_score(subject: Subject, outputs: Tensor) -> float:
    """Accuracy, or R² of the explained output, of outputs float[B, K] against the batch's targets."""
    targets = subject.batch.targets
    if subject.classification:
        return float((outputs.argmax(1) == targets).double().mean())
    predicted = outputs.gather(1, subject.target[:, None]).squeeze(1).double()
    actual = targets.reshape(len(targets), -1).gather(1, subject.target[:, None]).squeeze(1).double()
    return float(1 - ((predicted - actual) ** 2).sum() / ((actual - actual.mean()) ** 2).sum())
