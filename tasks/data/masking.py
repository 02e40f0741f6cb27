"""Taking features away at random: which ones a batch has, which of them go, and what stands in their place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .batch import Batch, Granularity


def granularity_of(batch: Batch) -> Granularity:
    """What is taken away as a whole where nobody says otherwise: tokens and single numbers by step, others by cell."""
    return "step" if batch.tokens or batch.inputs.shape[2] == 1 else "cell"


def features_of(batch: Batch, granularity: Granularity) -> Tensor:
    """bool[B, N]: the features a batch has, steps (N = T) or cells (N = T·D), False on padding."""
    if granularity == "step":
        return batch.valid
    return batch.valid[:, :, None].expand(batch.inputs.shape).flatten(1)


def replaced(batch: Batch, gone: Tensor, reference: Tensor) -> Batch:
    """A batch without some features, which take the value of the reference.

    Args:
        batch: the sequences; its targets, truths and context stay.
        gone: bool[B, N], steps (N = T) or cells (N = T·D); what it says of padding counts as well.
        reference: the shape and dtype of the inputs.
    """
    mask = gone if batch.tokens else gone.view(*batch.inputs.shape[:2], -1)
    return replace(batch, inputs=torch.where(mask, reference, batch.inputs))


def random_removal(valid: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """bool[B, N]: of n valid features, a number drawn uniformly from 0 to ⌈share·n⌉, which ones at random."""
    most = at_most(valid.sum(1), share)
    count = (torch.rand(len(valid), generator=rng, dtype=torch.float64) * (most + 1)).long()
    keys = torch.rand(valid.shape, generator=rng).masked_fill(~valid, torch.inf)
    return keys.argsort(1).argsort(1) < count[:, None]


def at_most(n: Tensor, share: float) -> Tensor:
    """int64: ⌈share·n⌉ of whole numbers n."""
    # less a hair: .07 · 100 is 7.000000000000001 in floating point
    return (share * n.double() - 1e-9).ceil().long()
