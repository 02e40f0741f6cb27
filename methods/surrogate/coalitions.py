"""Coalitions of kernel SHAP: all of sizes 1 and n − 1, then 2 and n − 2, … while the budget lasts, then random ones.

The budget counts pairs of a coalition and its complement.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor


def pairs_of_coalitions(count: int, budget: int, seed: int) -> tuple[Tensor, Tensor]:
    """Coalitions and weights of the kernel regression; one coalition of each pair of complements.

    Args:
        count: n, the number of features.
        budget: number of pairs; at most 2ⁿ⁻¹ − 1, which is all.
        seed: seed of the random coalitions.

    Returns:
        the coalitions bool[budget, n], all different, no two of them complements, each with at most half of the
        features; and their weights float64[budget], which sum to the weight of all pairs.
    """
    sizes = range(1, count // 2 + 1)
    # a pair has the weights of both its sizes, s and n − s, unless they are equal
    weights = [(count - 1) / (size * (count - size)) * (1 if 2 * size == count else 2) for size in sizes]
    masks, mask_weights = [torch.zeros(0, count, dtype=torch.bool)], [torch.zeros(0, dtype=torch.float64)]
    left = budget
    for place, size in enumerate(sizes):
        rest = sum(weights[place:])
        number = math.comb(count, size) // (2 if 2 * size == count else 1)
        if left * weights[place] < number * rest * (1 - 1e-9):
            drawn, times = _drawn(count, left, weights[place:], seed)
            masks.append(drawn)
            mask_weights.append(rest * times / times.sum())
            break
        chosen = torch.tensor(list(itertools.islice(itertools.combinations(range(count), size), number)))
        masks.append(torch.zeros(number, count, dtype=torch.bool).scatter_(1, chosen, value=True))
        mask_weights.append(torch.full((number,), weights[place] / number, dtype=torch.float64))
        left -= number
    return torch.cat(masks), torch.cat(mask_weights)


def _drawn(count: int, budget: int, weights: list[float], seed: int) -> tuple[Tensor, Tensor]:
    """Random coalitions of the largest sizes, and how often each was drawn.

    Coalitions are drawn until there are ``budget`` different ones.

    Args:
        count: n, the number of features.
        budget: number of different coalitions.
        weights: weights of the last sizes up to ⌊n / 2⌋.
        seed: seed of the draws.

    Returns:
        bool[budget, n] and float64[budget].
    """
    rng = torch.Generator().manual_seed(seed)
    shares = torch.tensor(weights, dtype=torch.float64)
    drawn = torch.zeros(0, count, dtype=torch.bool)
    while True:
        more = max(budget, len(drawn))
        size = torch.multinomial(shares, more, replacement=True, generator=rng) + count // 2 + 1 - len(weights)
        values = torch.rand(more, count, generator=rng, dtype=torch.float64)
        new = values <= values.sort(1).values.gather(1, size[:, None] - 1)
        new ^= ((2 * size == count) & ~new[:, 0])[
            :, None
        ]  # of two complements of half the size, keep the one with the first feature
        drawn = torch.cat([drawn, new])
        first = np.sort(np.unique(np.packbits(drawn.numpy(), axis=1), axis=0, return_index=True)[1])
        if len(first) >= budget:
            break
    drawn = drawn[: int(first[budget - 1]) + 1]
    different, times = np.unique(np.packbits(drawn.numpy(), axis=1), axis=0, return_counts=True)
    masks = np.unpackbits(different, axis=1, count=count).astype(bool)
    return torch.from_numpy(masks), torch.from_numpy(times).double()
