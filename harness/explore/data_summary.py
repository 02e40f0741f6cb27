"""Summary of the data of a task, as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from ...tasks.models.interpretability import has_step_targets
from ..results.samples import name_of
from .task_text import shortened_list

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Batch, Truth
    from ...tasks.trained import Dataset


def summarise_data(data: Dataset) -> dict[str, Any]:
    """Summary of a data set: numbers of sequences and steps, inputs, targets, reference, and readings of the truth."""
    lengths = torch.cat([data.train.lengths, data.test.lengths])
    return {
        "train": len(data.train),
        "test": len(data.test),
        "explained": len(data.explained),
        "steps": _range(lengths),
        "inputs": _inputs(data),
        "targets": _targets(data),
        "reference": _reference(data),
        "readings": [_reading(name, truth, data.explained) for name, truth in data.explained.truths.items()],
    }


def _range(lengths: Tensor) -> dict[str, int]:
    """Smallest, median and largest length."""
    return {"least": int(lengths.min()), "median": int(lengths.median()), "most": int(lengths.max())}


def _inputs(data: Dataset) -> dict[str, Any]:
    """Size of the vocabulary, or names of the features."""
    if data.train.tokens:
        most = max(int(part.inputs.max()) for part in (data.train, data.test))
        return {"tokens": len(data.names.vocabulary) or most + 1}
    return {"features": name_list(data.names.features, data.train.inputs.shape[2], "x")}


def _targets(data: Dataset) -> dict[str, Any]:
    """Classes with their counts, values with their range, or numbers of output tokens."""
    train, test = data.train.targets, data.test.targets
    if train.is_floating_point():
        both = torch.cat([train, test]).flatten(1)
        names = name_list(data.names.outputs, both.shape[1], "output ")
        columns = zip(names, both.amin(0).tolist(), both.amax(0).tolist(), strict=True)
        return {"values": [{"name": name, "least": least, "most": most} for name, least, most in columns]}
    if train.dim() == 2 and not has_step_targets(data.train):
        used = _range((train != 0).sum(1))
        return {"tokens": len(data.names.outputs) or int(max(train.max(), test.max())) + 1, "produced": used}
    parts = {"train": _classes(data.train), "test": _classes(data.test)}
    count = max(int(part.max()) + 1 for part in parts.values())
    names = name_list(data.names.outputs, max(count, len(data.names.outputs)), "class ")
    counts = {part: classes.bincount(minlength=len(names)).tolist() for part, classes in parts.items()}
    of = "steps" if has_step_targets(data.train) else "sequences"
    return {
        "classes": [
            {"name": name, "train": counts["train"][number], "test": counts["test"][number]}
            for number, name in enumerate(names)
        ],
        "of": of,
    }


def _classes(batch: Batch) -> Tensor:
    """Class targets of all sequences, or of all steps that are not padding."""
    return batch.targets[:, : batch.inputs.shape[1]][batch.valid] if has_step_targets(batch) else batch.targets


def _reference(data: Dataset) -> str | float | list[float]:
    """Reference as a number, a list of numbers, the name of a token, or a description."""
    if not data.portable:
        return "one for each explained sequence"
    if data.train.tokens and data.reference.dim() == 0:
        return name_of(data.names.vocabulary, int(data.reference), "token ")
    return cast("float | list[float]", data.reference.tolist())


def _reading(name: str, truth: Truth, batch: Batch) -> dict[str, Any]:
    """Facts of a reading of the truth, with the share of the explained sequences' cells that it calls relevant."""
    valid = batch.valid if truth.values.dim() == 2 else batch.valid[:, :, None].expand(truth.values.shape)
    relevant = truth.relevant & valid
    return {
        "name": name,
        "semantics": truth.semantics,
        "output": truth.output,
        "signed": truth.signed,
        "toward": truth.toward,
        "retrospective": truth.retrospective,
        "relevant": float(relevant.sum() / valid.sum()),
        "sequences": int(relevant.flatten(1).any(1).sum()),
    }


def name_list(known: tuple[str, ...], count: int, otherwise: str) -> list[str]:
    """Names of the first ``count`` items; see :func:`xrnnbench.harness.results.samples.name_of`."""
    return [name_of(known, number, otherwise) for number in range(count)]


def target_text(target: Tensor, outputs: tuple[str, ...]) -> str:
    """Target of a sequence as text: the class, the values, or the counts of classes or tokens."""
    if target.is_floating_point():
        values = target.flatten().tolist()
        names = name_list(outputs, len(values), "output ")
        return shortened_list([f"{name} = {value:.4g}" for name, value in zip(names, values, strict=True)])
    if target.dim() == 0:
        return name_of(outputs, int(target), "class ")
    counts = enumerate(target.flatten().bincount().tolist())
    return shortened_list([f"{name_of(outputs, number, 'class ')} × {count}" for number, count in counts if count])
