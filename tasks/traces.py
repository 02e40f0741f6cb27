"""Traces that code leaves behind it: what it has changed of a subject and of the global states."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from .engine.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .subject import Subject


class Traces:
    """Traces of whatever is done after this is made.

    Args:
        subject: the model with its data.
    """

    def __init__(self, subject: Subject) -> None:
        _ = subject.valid, subject.batch.valid
        self._parameters = list(subject.model.parameters())
        self._snapshot = Snapshot({"the model": subject.model, **subject.data(), "the subject": subject})
        self._before = dict(self._states())

    def found(self) -> list[str]:
        """Names of what has changed."""
        after = dict(self._states())
        changed = [str(place) for place in self._snapshot.changed()]
        return changed + [name for name, state in self._before.items() if not _equal(state, after[name])]

    def _states(self) -> Iterator[tuple[str, object]]:
        """What no snapshot of objects has: marks and gradients of parameters, and global states."""
        yield "requires_grad", [parameter.requires_grad for parameter in self._parameters]
        grads = [parameter.grad for parameter in self._parameters]
        yield "a gradient", [None if grad is None else grad.tolist() for grad in grads]
        yield "torch's random state", torch.get_rng_state()
        numpy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002  # the global state itself is compared
        yield "NumPy's random state", [numpy["pos"], *numpy["key"].tolist()]
        yield "Python's random state", random.getstate()
        yield "cuDNN's flags", (torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark)


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    return left == right
