"""Missing values: what a model is given in their place, and how it is told."""

from __future__ import annotations

import torch
from torch import Tensor


def marked(inputs: Tensor, valid: Tensor) -> Tensor:
    """float[B, T, 2D]: each missing value replaced, and D more features that are 1 where a value was measured.

    A missing value becomes the last one measured in its sequence, and 0 before the first: the mean, where features are
    standardised. (Che et al. 2018, "GRU-forward" with the mask beside it.)

    Args:
        inputs: float[B, T, D], NaN where a value is missing.
        valid: bool[B, T]: False on padding, which becomes 0.
    """
    measured = ~inputs.isnan() & valid[:, :, None]
    steps = torch.arange(inputs.shape[1])[:, None].expand_as(inputs)
    last = torch.where(measured, steps, -1).cummax(1).values
    carried = inputs.gather(1, last.clamp(min=0))
    filled = torch.where((last >= 0) & valid[:, :, None], carried, 0.0)
    return torch.cat([filled, measured.to(inputs.dtype)], 2)


def marked_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """What the 2D features are called."""
    return (*names, *(f"{name} measured" for name in names))
