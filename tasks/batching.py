"""Which sequences are run together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

# Measured on two cores (docs/engine.md): time per sequence is flat, within 10 % of its least, once a batch holds
# about this many hidden values per layer and pass; smaller batches pay per-call overhead, larger ones leave the cache.
# A rule and not a timing at run time, because the size of a batch decides the last bits of a result, and a run that
# is taken up again must give the same bits.
_VALUES_PER_BATCH = 3_276_800
_LEAST_ROWS, _MOST_ROWS = 256, 2048
# The share of a batch that should be sequence and not padding.
_FULL = 0.9


def rows_per_batch(model: nn.Module, steps: int) -> int:
    """How many sequences of so many steps are run at once: a power of two."""
    width = max((getattr(module, "hidden_size", 0) or 0 for module in model.modules()), default=0) or 64
    rows = _VALUES_PER_BATCH // (steps * int(width))
    return min(max(1 << max(rows, 1).bit_length() - 1, _LEAST_ROWS), _MOST_ROWS)


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
    return [chunk for group in groups for part in group.split(rows) for chunk in _even(part, lengths)]


def _even(chunk: Tensor, lengths: Tensor) -> list[Tensor]:
    """A batch in order of length, cut in two for as long as much of it is padding and its halves are large enough."""
    own = lengths[chunk]
    if len(chunk) < 2 * _LEAST_ROWS or float(own.sum()) > _FULL * len(own) * int(own[-1]):
        return [chunk]
    half = len(chunk) // 2
    return [*_even(chunk[:half], lengths), *_even(chunk[half:], lengths)]
