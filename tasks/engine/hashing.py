"""Prints: numbers by which equal steps and equal sequences are found without comparing them.

A step has a 64-bit print of its content alone, so that steps from different places can be told to be equal. It is the
same in every process: it decides in which order rows are run, and so the last bits of what a model says of them. The
chance that any two of a million different steps or sequences have one print is below 1e-6.
"""

from __future__ import annotations

import functools
import random
from typing import Final

import numpy as np
import torch
from torch import Tensor

# The golden ratio in 64 bits, the usual multiplier that spreads neighbouring numbers.
_SPREAD: Final = 0x9E3779B97F4A7C15 - (1 << 64)
# Words printed at once: what is computed with them stays in the cache, and is too little to be dealt out to threads.
_WORDS_AT_ONCE: Final = 1 << 14


def prints(rows: Tensor) -> Tensor:
    """The print of each step, int64[N, T], of rows [N, T] or [N, T, D]; none is 0.

    A sum over a step's words of a product that depends on the place, each word spread by a multiplication first: floats
    differ in their high bits, which products alone would leave there.
    """
    words = _words(rows.reshape(rows.shape[0] * rows.shape[1], -1))
    found = torch.empty(len(words), dtype=torch.int64)
    weights = _weights(words.shape[1])
    size = max(1, _WORDS_AT_ONCE // words.shape[1])
    for part, own in zip(words.split(size), found.split(size), strict=True):
        spread = part.to(torch.int64) * _SPREAD
        spread ^= spread >> 32
        spread *= weights
        torch.sum(spread, 1, out=own)
    found = (found ^ (found >> 32)) * _SPREAD
    return (found | (found == 0)).view(rows.shape[:2])


def _words(steps: Tensor) -> Tensor:
    """The bits of steps [N, D] as whole numbers [N, W]: of 64 bits where they come out even."""
    size = steps.element_size()
    if size * steps.shape[1] % 8:
        return steps.contiguous().view({2: torch.int16, 4: torch.int32}[size])
    if steps.storage_offset() * size % 8:
        steps = steps.clone()
    return steps.contiguous().view(torch.int64)


def mixed(keys: Tensor) -> Tensor:
    """One number for each row of keys int64[N, C]: int64[N], their sum modulo 2⁶⁴ with odd random weights.

    Zeros behind the others change nothing, so that a row has the same number however many steps its mates have.
    """
    return (keys * _weights(keys.shape[1])).sum(1)


@functools.lru_cache(maxsize=64)
def _weights(count: int) -> Tensor:
    drawn = random.Random(0)  # noqa: S311  # no secret: they only have to be odd and unlike each other
    return torch.tensor([drawn.getrandbits(62) * 2 + 1 for _ in range(count)])


def same(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the keys int64[N] are equal.

    Returns:
        first int64[U], the first of each set in order of appearance, and inverse int64[N], the set each is in.
    """
    array = keys.numpy()
    order = array.argsort()
    begins = np.flatnonzero(np.diff(array[order], prepend=~array[order[:1]]))
    first = np.minimum.reduceat(order, begins)
    appearance = first.argsort()
    rank = np.empty_like(order)
    rank[order] = np.repeat(appearance.argsort(), np.diff(begins, append=len(order)))
    return torch.from_numpy(first[appearance]), torch.from_numpy(rank)
