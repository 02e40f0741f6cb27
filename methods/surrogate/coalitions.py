"""Which coalitions the kernel regression asks for: whole sizes while the budget lasts, then random ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor


def pairs_of_coalitions(count: int, budget: int, seed: int) -> tuple[Tensor, Tensor]:
    """Coalitions for the kernel regression, one of each pair of complements, and their weights.

    Args:
        count: n, the number of features.
        budget: how many pairs; at most all 2ⁿ⁻¹ − 1.
        seed: of the draws.

    Returns:
        bool[budget, n], all different and no two of them complements, with at most half of the features; and their
        weights float64[budget], which sum to that of all pairs.
    """
    sizes = range(1, count // 2 + 1)
    # of both sizes s and n − s together, where they differ
    weights = [(count - 1) / (size * (count - size)) * (1 if 2 * size == count else 2) for size in sizes]
    masks, found = [torch.zeros(0, count, dtype=torch.bool)], [torch.zeros(0, dtype=torch.float64)]
    left = budget
    for place, size in enumerate(sizes):
        rest = sum(weights[place:])
        number = math.comb(count, size) // (2 if 2 * size == count else 1)
        if left * weights[place] < number * rest * (1 - 1e-9):
            drawn, times = _drawn(count, left, weights[place:], seed)
            masks.append(drawn)
            found.append(rest * times / times.sum())
            break
        chosen = torch.tensor(list(itertools.islice(itertools.combinations(range(count), size), number)))
        masks.append(torch.zeros(number, count, dtype=torch.bool).scatter_(1, chosen, value=True))
        found.append(torch.full((number,), weights[place] / number, dtype=torch.float64))
        left -= number
    return torch.cat(masks), torch.cat(found)


def _drawn(count: int, budget: int, weights: list[float], seed: int) -> tuple[Tensor, Tensor]:
    """Random pairs of the largest sizes until so many different ones are there, and how often each was drawn.

    Args:
        count: n, the number of features.
        budget: how many different ones.
        weights: of the sizes up to ⌊n / 2⌋.
        seed: of the draws.
    """
    rng = torch.Generator().manual_seed(seed)
    shares = torch.tensor(weights, dtype=torch.float64)
    drawn = torch.zeros(0, count, dtype=torch.bool)
    while True:
        more = max(budget, len(drawn))
        size = torch.multinomial(shares, more, replacement=True, generator=rng) + count // 2 + 1 - len(weights)
        values = torch.rand(more, count, generator=rng, dtype=torch.float64)
        new = values <= values.sort(1).values.gather(1, size[:, None] - 1)
        new ^= ((2 * size == count) & ~new[:, 0])[:, None]  # of two halves, the one with the first feature
        drawn = torch.cat([drawn, new])
        first = np.sort(np.unique(np.packbits(drawn.numpy(), axis=1), axis=0, return_index=True)[1])
        if len(first) >= budget:
            break
    drawn = drawn[: int(first[budget - 1]) + 1]
    different, times = np.unique(np.packbits(drawn.numpy(), axis=1), axis=0, return_counts=True)
    masks = np.unpackbits(different, axis=1, count=count).astype(bool)
    return torch.from_numpy(masks), torch.from_numpy(times).double()
