"""Speed of this machine: how long a standard workload takes, compared with the machine of the calibration."""

from __future__ import annotations

import functools
import statistics
import time
from typing import TYPE_CHECKING, Final

import torch

from ....tasks.models.networks import RecurrentNet
from .calibration import packaged_calibration

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS: Final = 15


def standard_seconds(rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one round of the standard workload on one intra-op thread, the median of some rounds.

    A round runs a small LSTM forward on 512 sequences of 20 steps, forward and backward on 16, and a hundred tiny
    operations, in about 20 ms: large batches, gradients, and the overhead of Python and torch, of which runs consist.

    Args:
        rounds: number of rounds, after two that do not count.
        clock: gives seconds; processor seconds leave out what other processes take.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network, large = RecurrentNet(4, 32, 2, cell="lstm").eval(), torch.randn(512, 20, 4)
        return statistics.median([_round(network, large, clock) for _ in range(rounds + 2)][2:])
    finally:
        torch.set_num_threads(threads)


@functools.cache
def relative_speed(rounds: int = ROUNDS) -> float:
    """Seconds on this machine for a second on the machine of the calibration: below 1 on a faster one.

    It is measured once in a process, in seconds of the processor: while a run starts, its workers are starting too.
    """
    return standard_seconds(rounds, time.process_time) / packaged_calibration().standard


def _round(network: torch.nn.Module, large: torch.Tensor, clock: Callable[[], float]) -> float:
    """Seconds of one round."""
    start = clock()
    with torch.no_grad():
        network(large, torch.full((len(large),), 20))
    small = large[:16].clone().requires_grad_()
    with torch.enable_grad():
        scores = network(small, torch.full((16,), 20))[:, 0].sum()
        torch.autograd.grad(scores, small)
    with torch.no_grad():
        for step in range(100):
            _ = (large[step, 0] * 2 + 1).sum()
    return clock() - start
