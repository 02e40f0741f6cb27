"""Side of the padding: sequences that end at the last step, with their padding first, and those that begin at step 0.

Batches are padded on the right. Models that read sequences padded on the left, as Keras' ``pad_sequences`` and many
tokenizers make them, are given each sequence moved to the end of the given width.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padded_right(values: Tensor, lengths: Tensor) -> Tensor:
    """Sequences [B, T, …] with their padding last, from such with their padding first.

    Args:
        values: [B, T, …], each sequence in its last steps.
        lengths: int64[B], from 1 to T.
    """
    return _rotated(values, values.shape[1] - lengths)


def padded_left(values: Tensor, lengths: Tensor) -> Tensor:
    """Sequences [B, T, …] with their padding first, from such with their padding last; see :func:`padded_right`."""
    return _rotated(values, lengths)


def leading(padding: Tensor) -> Tensor:
    """Number of steps before the first one that is no padding, int64[B].

    Args:
        padding: mask bool[B, T] of the steps that may be padding.
    """
    return padding.long().cumprod(1).sum(1)


def _rotated(values: Tensor, first: Tensor) -> Tensor:
    """Rows [B, T, …], each beginning with its step ``first``, int64[B], and going round at the end."""
    steps = values.shape[1]
    order = (torch.arange(steps, device=values.device) + first.to(values.device)[:, None]) % steps
    return values.gather(1, order.view(*order.shape, *[1] * (values.dim() - 2)).expand_as(values))
