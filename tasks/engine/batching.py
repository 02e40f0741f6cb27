"""Batching: how many sequences one model call takes, which ones, and on which device."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

# Measured on two cores (docs/engine.md): time per sequence is flat, within 10 % of its least, once a batch holds
# about this many hidden values per layer and pass; smaller batches pay per-call overhead, larger ones leave the cache.
# The size follows a rule and not a timing at run time: it decides the last bits of a result, and a resumed run must
# give the same bits.
_VALUES_PER_BATCH = 1_638_400
_LEAST_ROWS, _MOST_ROWS = 128, 2048
# torch's fused LSTM keeps all activations for the backward pass, so its best batches are smaller; other cells are run
# step by step with gradients, and are fastest in large batches.
_VALUES_WITH_GRADIENTS, _LEAST_WITH_GRADIENTS = 524_288, 64
# Batches of which much is shared are larger, because only a part of their steps is run; a tensor of this size is still
# taken from memory that the process has. Measured: docs/engine.md.
_VALUES_IF_SHARED, _TIMES_IF_SHARED = 4 * _VALUES_PER_BATCH, 4
# The most sequences that a check of a model runs.
_FEW = 8
# Least share of a batch that should be sequence and not padding.
_LEAST_FILL = 0.9


def rows_per_batch(model: nn.Module, steps: int, *, gradients: bool = False) -> int:
    """Number of sequences that are run at once: a power of two.

    Args:
        model: the module.
        steps: T, the steps of the sequences.
        gradients: whether the backward pass is run too.
    """
    width = max((_width(module) for module in model.modules()), default=0) or 64
    fused = gradients and any(isinstance(module, nn.LSTM) for module in model.modules())
    values, least = (_VALUES_WITH_GRADIENTS, _LEAST_WITH_GRADIENTS) if fused else (_VALUES_PER_BATCH, _LEAST_ROWS)
    rows = values // (steps * width)
    return min(max(1 << max(rows, 1).bit_length() - 1, least), _MOST_ROWS)


def rows_if_shared(model: nn.Module, steps: int) -> int:
    """Number of sequences that are run at once if recurrent layers share their prefixes: a power of two.

    Args:
        model: the module.
        steps: T, the steps of the sequences.
    """
    rows, width = rows_per_batch(model, steps), max(map(_width, model.modules())) or 64
    most = max(1, _VALUES_IF_SHARED // (steps * width))
    return max(rows, min(_TIMES_IF_SHARED * rows, 1 << most.bit_length() - 1))


def _width(module: nn.Module) -> int:
    """Hidden values of a step, of both directions together; 0 if the module is no recurrent layer.

    A layer whose states are larger than its outputs says by ``values_per_step`` how many they are.
    """
    size = getattr(module, "values_per_step", 0) or getattr(module, "hidden_size", 0) or 0
    return int(size) * (2 if getattr(module, "bidirectional", False) is True else 1)


def device_of(model: nn.Module) -> torch.device:
    """Device of a model's parameters, or of its buffers; the CPU if it has neither."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def few_sequences(lengths: Tensor, most: int = _FEW) -> Tensor:
    """Indices of a few sequences, from the shortest to the longest, evenly between them: int64[N].

    Args:
        lengths: int64[B].
        most: the most of them.
    """
    order = lengths.argsort(stable=True)
    if len(order) <= most:
        return order
    return order[torch.linspace(0, len(order) - 1, most).round().long()]


def in_batches(lengths: Tensor, rows: int, *, equal: bool, falling: bool = False) -> list[Tensor]:
    """Batches of positions into lengths int64[N], sorted by length so that little padding is run.

    Args:
        lengths: int64[N], of the sequences.
        rows: the most sequences in a batch.
        equal: whether a batch holds sequences of one length only, because the model takes no lengths and must not see
            padding.
        falling: whether the sequences of a batch are sorted by falling length; rising if not.
    """
    order = lengths.argsort(stable=True)
    groups = list(order.split(lengths.unique(return_counts=True)[1].tolist())) if equal else [order]
    batches = [
        chunk for group in groups for part in equal_parts(group, rows) for chunk in _with_little_padding(part, lengths)
    ]
    return [batch.flip(0) for batch in batches] if falling else batches


def equal_parts(positions: Tensor, rows: int) -> list[Tensor]:
    """The fewest parts of positions int64[N] with at most so many rows each, of equal size up to one.

    A small last part would cost as much as a whole one.
    """
    return list(positions.tensor_split(-(-len(positions) // rows)))


def _with_little_padding(chunk: Tensor, lengths: Tensor) -> list[Tensor]:
    """Halve a batch sorted by length, repeatedly, while much of it is padding and its halves are large enough."""
    own = lengths[chunk]
    if len(chunk) < 2 * _LEAST_ROWS or float(own.sum()) > _LEAST_FILL * len(own) * int(own[-1]):
        return [chunk]
    half = len(chunk) // 2
    return [*_with_little_padding(chunk[:half], lengths), *_with_little_padding(chunk[half:], lengths)]
