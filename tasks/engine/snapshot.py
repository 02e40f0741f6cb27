"""Snapshots of the state that explaining and scoring must not change: model, data, and global states."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


def state_of(model: nn.Module, batch: Tensor, reference: Tensor) -> dict[str, object]:
    """Snapshot of a model, its inputs and reference, and the global states, by the names used in messages."""
    return dict(_state(model, batch, reference))


def changed_since(before: dict[str, object], model: nn.Module, batch: Tensor, reference: Tensor) -> list[str]:
    """Names of the parts that differ from a snapshot."""
    after = state_of(model, batch, reference)
    return [name for name in before | after if not _equal(before.get(name), after.get(name))]


def _state(model: nn.Module, batch: Tensor, reference: Tensor) -> Iterator[tuple[str, object]]:
    modules, parameters = list(model.modules()), list(model.parameters())
    for name, tensor in model.state_dict().items():
        yield f"the weight {name}", tensor.clone()
    yield "the mode of the model", [module.training for module in modules]
    yield "requires_grad", [parameter.requires_grad for parameter in parameters]
    yield "a gradient", [None if parameter.grad is None else parameter.grad.tolist() for parameter in parameters]
    yield "the hooks", [len(module._forward_hooks) + len(module._backward_hooks) for module in modules]  # noqa: SLF001  # torch has no public access to hooks
    yield "the batch", batch.clone()
    yield "the reference", reference.clone()
    yield "torch's random state", torch.get_rng_state()
    numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state itself is compared
    yield "NumPy's random state", [numpy["pos"], *numpy["key"].tolist()]
    yield "Python's random state", random.getstate()
    yield "cuDNN's flags", (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark)


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    return left == right
