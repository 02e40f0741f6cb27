"""Padding of sequences of different lengths to one length, without taking memory that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.filesize import decimal
from torch.nn.utils.rnn import pad_sequence

from ...errors import DataError
from ...outside_files import ALWAYS_ALLOWED, EXPANSION, free_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def padded(sequences: Sequence[Tensor]) -> Tensor:
    """Sequences [T, …] of different lengths, padded with 0 on the right: [B, T, …].

    Raises:
        DataError: one sequence is so much longer than the others that all of its length would take over 256 MiB, and
            either fifty times what the sequences take themselves, or the free memory.
    """
    longest = max(sequences, key=len)
    needed = len(sequences) * longest.numel() * longest.element_size()
    held = sum(sequence.numel() for sequence in sequences) * longest.element_size()
    if needed > ALWAYS_ALLOWED and (needed > EXPANSION * held or needed > free_memory()):
        raise DataError(
            f"One of {len(sequences):,} sequences has {len(longest):,} steps, and padded to its length all would take "
            f"{decimal(needed)} of memory: cut it, or leave it out."
        )
    return pad_sequence(list(sequences), batch_first=True)
