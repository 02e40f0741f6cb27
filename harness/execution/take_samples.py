"""Taking samples of a task while its data are at hand; :mod:`xrnnbench.harness.results.samples` says what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..explore.data_summary import called, said_target
from ..results.samples import CELLS, COUNT, TOKENS, Reading, Sample, Samples

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Batch, Names

    Rows = tuple[tuple[float, ...], ...]


def samples_of(batch: Batch, names: Names, data: str) -> Samples:
    """The first sequences that are short enough; if these are too few, the shortest, and of each its first steps.

    Args:
        batch: the explained sequences.
        names: what things are called.
        data: fingerprint of the data.
    """
    width = 1 if batch.tokens else batch.inputs.shape[2]
    most = TOKENS if batch.tokens else max(1, CELLS // width)
    truth = next(iter(batch.truths.items()), None)
    reading = None
    if truth is not None:
        name, found = truth
        reading = Reading(
            name=name, semantics=found.semantics, output=found.output, signed=found.signed, toward=found.toward
        )
    features = () if batch.tokens else tuple(called(names.features, place, "x") for place in range(width))
    return Samples(
        data=data,
        features=features,
        outputs=names.outputs,
        reading=reading,
        sequences=tuple(_sample(batch, names, place, most) for place in _chosen(batch, most)),
    )


def _chosen(batch: Batch, most: int) -> list[int]:
    lengths = batch.lengths.tolist()
    short = [place for place, length in enumerate(lengths) if length <= most]
    shortest = sorted(range(len(lengths)), key=lambda place: (lengths[place], place))
    return short[:COUNT] if len(short) >= COUNT else sorted(shortest[:COUNT])


def _sample(batch: Batch, names: Names, place: int, most: int) -> Sample:
    length = int(batch.lengths[place])
    kept = batch.inputs[place, : min(length, most)]
    if batch.tokens:
        steps = tuple(called(names.vocabulary, token, "") for token in kept.tolist())
    else:
        steps = tuple(map(str, range(len(kept))))
    truth = batch.truth
    return Sample(
        place=place,
        length=length,
        steps=steps,
        inputs=() if batch.tokens else _rows(kept),
        target=said_target(batch.targets[place], names.outputs),
        truth=() if truth is None else _rows(truth.values[place, : len(kept)]),
    )


def _rows(values: Tensor) -> Rows:
    """float[T, D], of six digits: they are drawn, not computed with."""
    table = values.double().reshape(len(values), -1)
    return tuple(tuple(float(f"{value:.6g}") for value in row) for row in table.tolist())
