"""Attributions of all output steps of a model at once: forecasts of several horizons, labels of every step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...errors import DataError
from ...methods.base import Attribution
from ...methods.joint_attribution import JointAttribution
from ...tasks.engine.adapters import AdaptedModel, part_of
from ...tasks.engine.output_cache import OutputCache
from ...tasks.engine.signature import OUTPUT_STEP
from .explain_subject import explain_subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...methods.base import Explainer
    from ...tasks.subject import Subject


@dataclass(frozen=True, eq=False)
class StepAttributions:
    """Attributions of all output steps of a model, in order.

    Attributes:
        by_step: the attribution of each output step, of the sequences that have it.
        rows: int64[R] for each output step, the sequences that have it: those longer than that, where the model labels
            every step.
        count: number of sequences.
    """

    by_step: tuple[Attribution | JointAttribution, ...]
    rows: tuple[Tensor, ...]
    count: int

    def __len__(self) -> int:
        """Number U of output steps."""
        return len(self.by_step)

    def __iter__(self) -> Iterator[Attribution | JointAttribution]:
        """The attributions of the steps."""
        return iter(self.by_step)

    def __getitem__(self, step: int) -> Attribution | JointAttribution:
        """The attribution of an output step."""
        return self.by_step[step]

    @cached_property
    def values(self) -> Tensor | dict[str, Tensor]:
        """Values of all steps, float[B, U, T] or float[B, U, T, D]; by the names of inputs, if there are several.

        They are 0 for sequences that do not have a step.
        """
        first = self.by_step[0].values
        if isinstance(first, dict):
            return {name: self._stacked([each.values[name] for each in self.by_step]) for name in first}  # type: ignore[index]  # all are alike
        return self._stacked([each.values for each in self.by_step])  # type: ignore[misc]  # as above

    @cached_property
    def score(self) -> Tensor:
        """The raw explained scores f(x), float[B, U]; NaN for sequences that do not have a step."""
        scores = [each.score for each in self.by_step]
        together = torch.full(
            (self.count, len(self)), torch.nan, dtype=scores[0].dtype if scores[0] is not None else None
        )
        for step, (own, rows) in enumerate(zip(scores, self.rows, strict=True)):
            if own is not None:
                together[rows, step] = own
        return together

    def _stacked(self, values: list[Tensor]) -> Tensor:
        steps = max(each.shape[1] for each in values) if values[0].dim() > 1 else 0
        shape = values[0].shape[1:] if not steps else (steps, *values[0].shape[2:])
        together = values[0].new_zeros(self.count, len(values), *shape)
        for step, (own, rows) in enumerate(zip(values, self.rows, strict=True)):
            if steps:
                together[rows, step, : own.shape[1]] = own
            else:
                together[rows, step] = own
        return together


def explain_every_step(subject: Subject, method: str | Explainer, seed: int, target: Tensor | None) -> StepAttributions:
    """Attributions of all output steps of a subject's model.

    Methods that only run the model pay about as much as for one step, because the model returns the scores of all steps
    for each perturbed sequence; those with gradients take them for each step.

    Args:
        subject: its model has several output steps.
        method: a method or its spec.
        seed: seed of methods that draw random numbers, the same for all steps.
        target: int64[B], the explained output of each sequence at every step; None for the predicted class of each
            step, or output 0.

    Raises:
        DataError: the model has no output steps.
    """
    adapter = subject.adapter
    if adapter is None or not adapter.steps:
        raise DataError(f"{subject.label} has no output steps: step='all' is for scores [B, U, K].")
    count = _output_steps(subject, adapter)
    cached = subject if adapter.kept else _with_cache(subject, adapter)
    labels = count == subject.batch.inputs.shape[1] and subject.batch.layout is None
    found, all_rows = [], []
    for step in range(count):
        own = cached.batch.lengths > step if labels else torch.ones(len(cached), dtype=torch.bool)
        rows = own.nonzero().squeeze(1)
        batch = replace(cached.batch, context={**cached.batch.context, OUTPUT_STEP: torch.full((len(cached),), step)})
        of_step = replace(cached, batch=batch, target=torch.zeros(len(cached), dtype=torch.int64))
        of_step = of_step.select(rows) if len(rows) < len(cached) else of_step
        chosen = None if target is None else target[rows]
        of_step = replace(of_step, target=chosen)  # type: ignore[arg-type]  # None asks for the prediction
        attribution = explain_subject(of_step, method, seed)
        layout = of_step.batch.layout
        found.append(attribution if layout is None else JointAttribution(attribution, layout))
        all_rows.append(rows)
    return StepAttributions(tuple(found), tuple(all_rows), len(subject))


def _output_steps(subject: Subject, adapter: AdaptedModel) -> int:
    """Number of output steps of the longest sequence."""
    row = subject.batch.lengths.argmax()[None]
    steps = int(subject.batch.lengths[row])
    context = {name: value[row] for name, value in subject.batch.context.items()}
    with subject.isolated(), torch.no_grad():
        parts, _ = adapter.arranged(subject.batch.inputs[row, :steps], subject.batch.lengths[row], context)
        output = adapter.output(parts[0])
    scores = output if adapter.part is None else part_of(output, adapter.part, subject.label)
    return int(scores.shape[0 if adapter.time_first_scores or not adapter.batch_first else 1])


def _with_cache(subject: Subject, adapter: AdaptedModel) -> Subject:
    """The subject with a module that keeps its outputs, and a cost of its own."""
    cached = subject.with_model(adapter.around(OutputCache(adapter.model)))
    return replace(cached, probe=subject.probe, competence=subject.competence)
