"""Which sequences are run together, and where."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

# Measured on two cores (docs/engine.md): time per sequence is flat, within 10 % of its least, once a batch holds
# about this many hidden values per layer and pass; smaller batches pay per-call overhead, larger ones leave the cache.
# A rule and not a timing at run time, because the size of a batch decides the last bits of a result, and a run that
# is taken up again must give the same bits.
_VALUES_PER_BATCH = 1_638_400
_LEAST_ROWS, _MOST_ROWS = 128, 2048
# torch's fused LSTM keeps everything for the way back, and its best batches are smaller then; other cells are run step
# by step with gradients, and want large ones.
_VALUES_WITH_GRADIENTS, _LEAST_WITH_GRADIENTS = 524_288, 64
# The share of a batch that should be sequence and not padding.
_FULL = 0.9


def rows_per_batch(model: nn.Module, steps: int, *, gradients: bool = False) -> int:
    """How many sequences of so many steps are run at once: a power of two.

    Args:
        model: what is run.
        steps: of the sequences.
        gradients: whether the way back is run too.
    """
    width = max((_width(module) for module in model.modules()), default=0) or 64
    fused = gradients and any(isinstance(module, nn.LSTM) for module in model.modules())
    values, least = (_VALUES_WITH_GRADIENTS, _LEAST_WITH_GRADIENTS) if fused else (_VALUES_PER_BATCH, _LEAST_ROWS)
    rows = values // (steps * width)
    return min(max(1 << max(rows, 1).bit_length() - 1, least), _MOST_ROWS)


def _width(module: nn.Module) -> int:
    """Hidden values of a step, both directions; 0 of what is no recurrent layer."""
    return int(getattr(module, "hidden_size", 0) or 0) * (2 if getattr(module, "bidirectional", False) is True else 1)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are, or its buffers; the CPU if it has neither."""
    found = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if found is None else found.device


def in_batches(lengths: Tensor, rows: int, *, equal: bool) -> list[Tensor]:
    """Positions into lengths int64[N] in batches: sorted by length, so that little padding is run.

    Args:
        lengths: of the sequences.
        rows: how many there are in a batch, at most.
        equal: whether only sequences of one length may be together, because the model is not told lengths and must not
            see padding.
    """
    order = lengths.argsort(stable=True)
    groups = list(order.split(lengths.unique(return_counts=True)[1].tolist())) if equal else [order]
    return [chunk for group in groups for part in evenly(group, rows) for chunk in _even(part, lengths)]


def evenly(positions: Tensor, rows: int) -> list[Tensor]:
    """Positions int64[N] in as few parts of at most so many rows as there can be, of one size: a small one is dear."""
    return list(positions.tensor_split(-(-len(positions) // rows)))


def _even(chunk: Tensor, lengths: Tensor) -> list[Tensor]:
    """A batch in order of length, cut in two for as long as much of it is padding and its halves are large enough."""
    own = lengths[chunk]
    if len(chunk) < 2 * _LEAST_ROWS or float(own.sum()) > _FULL * len(own) * int(own[-1]):
        return [chunk]
    half = len(chunk) // 2
    return [*_even(chunk[:half], lengths), *_even(chunk[half:], lengths)]
