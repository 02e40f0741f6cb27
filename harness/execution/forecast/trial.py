"""Trials: the sizes of a task, and what a method costs on a few of its sequences, measured on its own model."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import torch

from ....tasks.engine.batching import device_of, few_sequences
from .calibration import MethodFigures, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....methods.base import Explainer
    from ....tasks.subject import Subject

# Sequences of a forward pass that is timed, all in one batch, and values they may have together.
_ROWS: Final = 512
_VALUES: Final = 1 << 22
FEW: Final = 4


def measured_shape(subject: Subject, clock: Callable[[], float] = time.process_time) -> Shape:
    """Sizes of a subject; one batch is run through its model, twice.

    Args:
        subject: the model and its batch.
        clock: gives seconds.
    """
    batch = subject.batch
    features = subject.features(subject.granularity or "step")
    rows = torch.arange(max(1, min(_ROWS, _VALUES // max(1, batch.inputs[0].numel())))) % len(batch)
    before = subject.cost.copy()
    seconds = []
    with subject.isolated(), torch.no_grad():
        for _ in range(2):
            start = clock()
            subject.forward(batch.inputs[rows].to(device_of(subject.model)), batch.lengths[rows], rows)
            seconds.append(clock() - start)
    subject.cost.restore(before)
    return Shape(
        instances=len(subject),
        features=float(features.sum(1).double().mean()),
        steps=float(batch.lengths.double().mean()),
        forward=max(min(seconds) / len(rows), 1e-9),
    )


def tried_method(method: Explainer, subject: Subject, seed: int = 0) -> MethodFigures | None:
    """Figures of a method, from explaining one sequence and then a few; None if it is not applicable.

    Args:
        method: the method.
        subject: the model with its whole batch.
        seed: explainer seed.

    Raises:
        Exception: any error of the method.
    """
    if method.applicable(subject):
        return None
    method.prepare()
    few = subject.select(few_sequences(subject.batch.lengths, FEW))
    method.explain(few.select(slice(0, 1)), seed)
    one, _ = _timed(method, few.select(slice(0, 1)), seed)
    several, passes = _timed(method, few, seed)
    count = len(few)
    slope = max(0.0, several - one) / (count - 1) if count > 1 else one
    return MethodFigures(max(0.0, several - slope * count), slope, *(each / count for each in passes))


def _timed(method: Explainer, subject: Subject, seed: int) -> tuple[float, tuple[int, int, int]]:
    """Seconds and passes of explaining a subject."""
    before, start = subject.cost.copy(), time.process_time()
    method.explain(subject, seed)
    cost = subject.cost.since(before)
    return time.process_time() - start, (cost.forward, cost.backward, cost.executed)
