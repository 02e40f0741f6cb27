"""Intra-op threads: one in a run, and one in a single explanation while its model is small.

torch splits each operation among several threads. The operations of a small recurrent network are so short that the
threads wait for each other longer than they work, and if another process uses the cores, much longer: the task `state`
takes 28 s on one thread and 390 s on two beside one busy process. How an operation is split also decides the last bits
of its result, so the numbers of a run would depend on the machine. A run therefore uses one thread for every model, and
uses more cores by more processes. A single explanation gives torch's own number of threads to a model with many
parameters. Whoever sets ``OMP_NUM_THREADS`` decides for all models.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

VARIABLE: Final = "OMP_NUM_THREADS"
# Parameters from which on a model counts as large: an LSTM of 512 units has more, one of 256 fewer.
LARGE: Final = 1_000_000


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    """Run what is inside on this number of threads, and restore the former number afterwards."""
    before = torch.get_num_threads()
    if count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_threads(count: int) -> None:
    """Make a number of threads that of this process, as if ``OMP_NUM_THREADS`` had said so."""
    os.environ[VARIABLE] = str(count)
    torch.set_num_threads(count)


def default_threads() -> int:
    """Threads of a run: 1, or what ``OMP_NUM_THREADS`` says."""
    return torch.get_num_threads() if os.environ.get(VARIABLE) else 1


def threads_for(model: nn.Module, available: int) -> int:
    """Threads for a single explanation of a model: all that are available for a large one, else the default."""
    size = sum(parameter.numel() for parameter in model.parameters())
    return max(available, default_threads()) if size >= LARGE else default_threads()
