"""Imputation of missing values by carrying the last value forward, with a mask of the measured values."""

from __future__ import annotations

import torch
from torch import Tensor


def marked(inputs: Tensor, valid: Tensor, masks: Tensor | None = None, before: Tensor | None = None) -> Tensor:
    """Impute missing values and append the mask of measured values as D more features, 1 where a value was measured.

    A missing value becomes the last one measured in its sequence. Before the first measurement it becomes the mean.

    Args:
        inputs: float[B, T, D], NaN where a value is missing.
        valid: bool[B, T], False on padding, which becomes 0.
        masks: bool[B, T, C], False on padding: the mask to append, if it is not that of the features one by one.
        before: float[D], what stands before the first measurement; by default 0, the mean of standardised features.

    Returns:
        float[B, T, 2D] or float[B, T, D + C]: the imputed features, then the mask.

    Source: Che et al. 2018, "GRU-forward" with the mask as further inputs.
    """
    measured = ~inputs.isnan() & valid[:, :, None]
    steps = torch.arange(inputs.shape[1])[:, None].expand_as(inputs)
    last = torch.where(measured, steps, -1).cummax(1).values
    carried = inputs.gather(1, last.clamp(min=0))
    missing = torch.zeros((), dtype=inputs.dtype) if before is None else before.to(inputs.dtype)
    filled = torch.where(valid[:, :, None], torch.where(last >= 0, carried, missing), 0.0)
    return torch.cat([filled, (measured if masks is None else masks).to(inputs.dtype)], 2)


def marked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the 2D features returned by :func:`marked`."""
    return (*names, *(f"{name} measured" for name in names))
