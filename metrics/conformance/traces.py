"""What judging leaves behind: everything that must be as it was before."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...tasks.subject import Subject


def state_of(subject: Subject) -> dict[str, object]:
    """The model, the batch and the global random states as they are now, by the name an error gives them."""
    return dict(_state(subject))


def changed_since(before: dict[str, object], subject: Subject) -> list[str]:
    """What is no longer as it was, by name."""
    return [name for name, new in _state(subject) if not _equal(before[name], new)]


def _state(subject: Subject) -> Iterator[tuple[str, object]]:
    for name, tensor in subject.model.state_dict().items():
        yield f"the weight {name}", tensor.clone()
    yield "the mode of the model", [module.training for module in subject.model.modules()]
    yield "a gradient", [parameter.grad for parameter in subject.model.parameters()]
    yield "the batch", subject.batch.inputs.clone()
    yield "torch's random state", torch.get_rng_state()
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state is what is watched
    yield "NumPy's random state", [numpy["pos"], *numpy["key"].tolist()]
    yield "Python's random state", random.getstate()


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    return left == right
