"""Selection of the samples of a task from its data; see :mod:`xrnnbench.harness.results.samples`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from ...explore.data_summary import target_text
from ...results.samples import CELLS, COUNT, TOKENS, Reading, Sample, Samples, name_of
from ...results.shown_inputs import ShownInputs

if TYPE_CHECKING:
    from torch import Tensor

    from ....tasks.data.batch import Batch, Names

    Rows = tuple[tuple[float | None, ...], ...]


def samples_of(batch: Batch, names: Names, data: str) -> Samples:
    """Samples of a batch: the first sequences that are short enough, or else the shortest, cut to their first steps.

    Args:
        batch: the explained sequences.
        names: names of tokens, features and outputs.
        data: fingerprint of the data.
    """
    if batch.layout is not None:
        return _of_several(batch, ShownInputs.of(batch.layout), names, data)
    width = 1 if batch.tokens else batch.inputs.shape[2]
    most = TOKENS if batch.tokens else max(1, CELLS // width)
    features = () if batch.tokens else tuple(name_of(names.features, place, "x") for place in range(width))
    return Samples(
        data=data,
        features=features,
        outputs=names.outputs,
        reading=_reading(batch),
        sequences=tuple(_sample(batch, names, place, most) for place in _chosen(batch, most)),
    )


def _reading(batch: Batch) -> Reading | None:
    """Meaning of the main truth."""
    truth = next(iter(batch.truths.items()), None)
    if truth is None:
        return None
    name, values = truth
    return Reading(
        name=name, semantics=values.semantics, output=values.output, signed=values.signed, toward=values.toward
    )


def _of_several(batch: Batch, shown: ShownInputs, names: Names, data: str) -> Samples:
    """Samples of several inputs: the first sequences, as few as fit a page."""
    cells = max(1, shown.steps * len(shown.features))
    count = max(1, min(COUNT, len(batch), COUNT * CELLS // cells))
    return Samples(
        data=data,
        features=shown.features,
        outputs=names.outputs,
        reading=_reading(batch),
        sequences=tuple(_sample_of_several(batch, shown, names, place) for place in range(count)),
        layout=shown,
    )


def _sample_of_several(batch: Batch, shown: ShownInputs, names: Names, place: int) -> Sample:
    """Sample of one sequence of several inputs."""
    truth, cells = batch.truth, batch.cells[place]
    mask = cells if truth is None or truth.values.dim() == 3 else cells.any(1)  # [B, S] of steps
    return Sample(
        place=place,
        length=shown.steps,
        steps=shown.step_names,
        inputs=_rows(_arranged(shown, batch.inputs[place], cells)),
        target=target_text(batch.targets[place], names.outputs),
        truth=() if truth is None else _rows(_arranged(shown, truth.values[place], mask)),
    )


def _arranged(shown: ShownInputs, values: Tensor, mask: Tensor) -> Tensor:
    """Values of several inputs of one sequence as in a picture, NaN where there is none."""
    return torch.from_numpy(shown.arranged(values.double().masked_fill(~mask, torch.nan).numpy()))


def _chosen(batch: Batch, most: int) -> list[int]:
    """Indices of the samples: sequences of at most this length, or the shortest if there are too few of these."""
    lengths = batch.lengths.tolist()
    short = [place for place, length in enumerate(lengths) if length <= most]
    shortest = sorted(range(len(lengths)), key=lambda place: (lengths[place], place))
    return short[:COUNT] if len(short) >= COUNT else sorted(shortest[:COUNT])


def _sample(batch: Batch, names: Names, place: int, most: int) -> Sample:
    """Sample of one sequence with at most this many steps."""
    length = int(batch.lengths[place])
    inputs = batch.inputs[place, : min(length, most)]
    if batch.tokens:
        steps = tuple(name_of(names.vocabulary, token, "") for token in inputs.tolist())
    else:
        steps = tuple(map(str, range(len(inputs))))
    truth = batch.truth
    return Sample(
        place=place,
        length=length,
        steps=steps,
        inputs=() if batch.tokens else _rows(inputs),
        target=target_text(batch.targets[place], names.outputs),
        truth=() if truth is None else _rows(truth.values[place, : len(inputs)]),
    )


def _rows(values: Tensor) -> Rows:
    """Rows of float[T, D], rounded to six digits, because they are only drawn."""
    table = values.double().reshape(len(values), -1)
    return tuple(tuple(None if math.isnan(value) else float(f"{value:.6g}") for value in row) for row in table.tolist())
