"""How much data of what kind a task has, ready for JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from ...tasks.models.interpretability import by_step
from .task_text import listed

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Batch, Truth
    from ...tasks.trained import Dataset


def inventory(data: Dataset) -> dict[str, Any]:
    """Numbers of sequences and of steps, what the inputs and the targets are, the reference, and the readings."""
    lengths = torch.cat([data.train.lengths, data.test.lengths])
    return {
        "train": len(data.train),
        "test": len(data.test),
        "explained": len(data.explained),
        "steps": _range(lengths),
        "inputs": _inputs(data),
        "targets": _targets(data),
        "reference": _reference(data),
        "readings": [_read(name, truth, data.explained) for name, truth in data.explained.truths.items()],
    }


def _range(lengths: Tensor) -> dict[str, int]:
    return {"least": int(lengths.min()), "median": int(lengths.median()), "most": int(lengths.max())}


def _inputs(data: Dataset) -> dict[str, Any]:
    if data.train.tokens:
        most = max(int(part.inputs.max()) for part in (data.train, data.test))
        return {"tokens": len(data.names.vocabulary) or most + 1}
    return {"features": all_called(data.names.features, data.train.inputs.shape[2], "x")}


def _targets(data: Dataset) -> dict[str, Any]:
    """Classes with their counts, values with their range, or how many tokens are produced."""
    train, test = data.train.targets, data.test.targets
    if train.is_floating_point():
        both = torch.cat([train, test]).flatten(1)
        names = all_called(data.names.outputs, both.shape[1], "output ")
        columns = zip(names, both.amin(0).tolist(), both.amax(0).tolist(), strict=True)
        return {"values": [{"name": name, "least": least, "most": most} for name, least, most in columns]}
    if train.dim() == 2 and not by_step(data.train):
        used = _range((train != 0).sum(1))
        return {"tokens": len(data.names.outputs) or int(max(train.max(), test.max())) + 1, "produced": used}
    parts = {"train": _classes(data.train), "test": _classes(data.test)}
    count = max(int(part.max()) + 1 for part in parts.values())
    names = all_called(data.names.outputs, max(count, len(data.names.outputs)), "class ")
    counts = {part: classes.bincount(minlength=len(names)).tolist() for part, classes in parts.items()}
    of = "steps" if by_step(data.train) else "sequences"
    return {
        "classes": [
            {"name": name, "train": counts["train"][number], "test": counts["test"][number]}
            for number, name in enumerate(names)
        ],
        "of": of,
    }


def _classes(batch: Batch) -> Tensor:
    return batch.targets[:, : batch.inputs.shape[1]][batch.valid] if by_step(batch) else batch.targets


def _reference(data: Dataset) -> str | float | list[float]:
    if not data.portable:
        return "one for each explained sequence"
    found = data.reference.tolist()
    if data.train.tokens and data.reference.dim() == 0:
        return called(data.names.vocabulary, int(data.reference), "token ")
    return cast("float | list[float]", found)


def _read(name: str, truth: Truth, batch: Batch) -> dict[str, Any]:
    """What a reading of the truth says, and how much of the explained sequences it calls relevant."""
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


def all_called(known: tuple[str, ...], count: int, otherwise: str) -> list[str]:
    """The first names, as many as there are things; see :func:`called`."""
    return [called(known, number, otherwise) for number in range(count)]


def called(known: tuple[str, ...], number: int, otherwise: str) -> str:
    """The name of a token, feature or output by its number, or the number after what it is otherwise called."""
    return known[number] if number < len(known) else f"{otherwise}{number}"


def said_target(target: Tensor, outputs: tuple[str, ...]) -> str:
    """What is right for a sequence, in words."""
    if target.is_floating_point():
        values = target.flatten().tolist()
        names = all_called(outputs, len(values), "output ")
        return listed([f"{name} = {value:.4g}" for name, value in zip(names, values, strict=True)])
    if target.dim() == 0:
        return called(outputs, int(target), "class ")
    counts = enumerate(target.flatten().bincount().tolist())
    return listed([f"{called(outputs, number, 'class ')} × {count}" for number, count in counts if count])
