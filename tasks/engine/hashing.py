"""64-bit content hashes that find duplicate steps and sequences without comparing them.

The hash of a step depends on its content alone, so equal steps have equal hashes wherever they are. It must be the same
in every process, because it decides the order in which rows are run, and with it the last bits of their scores. The
chance that any two of a million different steps or sequences have the same hash is below 1e-6.
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
# Words hashed at once: few enough that intermediate values stay in the cache and torch uses no further threads.
_WORDS_AT_ONCE: Final = 1 << 14


def step_hashes(rows: Tensor) -> Tensor:
    """Hash int64[N, T] of each step of rows [N, T] or [N, T, D]; none is 0.

    The hash is the sum of a step's words, each multiplied by a weight that depends on its position. Each word is spread
    by a multiplication first: floats differ in their high bits, and the weights alone would leave the difference there.
    """
    words = _words(rows.reshape(rows.shape[0] * rows.shape[1], -1))
    hashes = torch.empty(len(words), dtype=torch.int64)
    weights = _weights(words.shape[1])
    size = max(1, _WORDS_AT_ONCE // words.shape[1])
    for part, sums in zip(words.split(size), hashes.split(size), strict=True):
        spread = part.to(torch.int64) * _SPREAD
        spread ^= spread >> 32
        spread *= weights
        torch.sum(spread, 1, out=sums)
    hashes = (hashes ^ (hashes >> 32)) * _SPREAD
    return (hashes | (hashes == 0)).view(rows.shape[:2])


def _words(steps: Tensor) -> Tensor:
    """Bits of steps [N, D] as integers [N, W]: 64-bit ones where a step divides into them."""
    size = steps.element_size()
    if size * steps.shape[1] % 8:
        return steps.contiguous().view({2: torch.int16, 4: torch.int32}[size])
    if steps.storage_offset() * size % 8:
        steps = steps.clone()
    return steps.contiguous().view(torch.int64)


def row_hashes(keys: Tensor) -> Tensor:
    """Hash int64[N] of each row of keys int64[N, C]: their sum modulo 2⁶⁴ with odd random weights.

    Trailing zeros change nothing, so the hash of a row does not depend on the length of the other rows.
    """
    return (keys * _weights(keys.shape[1])).sum(1)


@functools.lru_cache(maxsize=64)
def _weights(count: int) -> Tensor:
    """Odd random weights int64[count], the same in every process."""
    generator = random.Random(0)  # noqa: S311  # no secret: they only have to be odd and unlike each other
    return torch.tensor([generator.getrandbits(62) * 2 + 1 for _ in range(count)])


def unique_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct values among keys int64[N], in order of first appearance.

    Returns:
        first int64[U], the position at which each distinct key first appears, and inverse int64[N], the index of each
        key among the distinct ones.
    """
    array = keys.numpy()
    order = array.argsort()
    begins = np.flatnonzero(np.diff(array[order], prepend=~array[order[:1]]))
    first = np.minimum.reduceat(order, begins)
    appearance = first.argsort()
    rank = np.empty_like(order)
    rank[order] = np.repeat(appearance.argsort(), np.diff(begins, append=len(order)))
    return torch.from_numpy(first[appearance]), torch.from_numpy(rank)
