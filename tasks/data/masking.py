"""Random removal of features: masks of the features of a batch, and their replacement by the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from .batch import Batch, Granularity


def granularity_of(batch: Batch) -> Granularity:
    """Default granularity of removals: steps for tokens and single numbers, cells for sequences of several features."""
    several = batch.layout is not None
    return "step" if batch.tokens or (batch.inputs.shape[2] == 1 and not several) else "cell"


def features_of(batch: Batch, granularity: Granularity) -> Tensor:
    """Mask bool[B, N] of the features of a batch: steps (N = T) or cells (N = T·D), False on padding."""
    if granularity == "step":
        return batch.valid
    return batch.cells.flatten(1)


def feature_shape(batch: Batch, granularity: Granularity) -> torch.Size:
    """Shape of the features of one sequence: (T,) for steps, (T, D) for cells."""
    return batch.inputs.shape[1:2] if granularity == "step" else batch.inputs.shape[1:]


def replaced(batch: Batch, gone: Tensor, reference: Tensor) -> Batch:
    """A batch in which some features are replaced by the reference.

    Args:
        batch: the sequences; their targets, truths and context stay.
        gone: bool[B, N], True where a feature is replaced: steps (N = T) or cells (N = T·D). Padding is replaced as
            well where it is True.
        reference: has the shape and dtype of the inputs.
    """
    mask = gone if batch.tokens else gone.view(*batch.inputs.shape[:2], -1)
    return replace(batch, inputs=torch.where(mask, reference, batch.inputs))


def random_removal(valid: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Random mask bool[B, N] of features to remove.

    The number of removed features is drawn uniformly from 0 to ⌈share·n⌉, then which ones.

    Args:
        valid: bool[B, N], the n features that each sequence has.
        share: the largest share of them that is removed, from 0 to 1.
        rng: random generator.
    """
    most = ceil_share(valid.sum(1), share)
    count = (torch.rand(len(valid), generator=rng, dtype=torch.float64) * (most + 1)).long()
    keys = torch.rand(valid.shape, generator=rng).masked_fill(~valid, torch.inf)
    return keys.argsort(1).argsort(1) < count[:, None]


def ceil_share(n: Tensor, share: float) -> Tensor:
    """⌈share·n⌉ as int64, for integers n."""
    # minus a tolerance: .07 · 100 is 7.000000000000001 in floating point
    return (share * n.double() - 1e-9).ceil().long()
