"""Base class of spoken word classification: log-mel frames of wav files, and a network for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ....errors import DataError
from ...data.batch import Names
from ...models.networks import AttentiveRecurrentNet
from ...readers.audio import BANDS, band_centres, log_mel, read_recording
from ...trained import RecurrentTask
from .classification import ClassificationTask, Labelled, Splits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn


@dataclass(frozen=True)
class SpeechTask(ClassificationTask, RecurrentTask):
    """Base class of spoken word classification from log-mel frames. Define ``vocabulary`` and ``recordings``.

    A step is a window of 25 ms, the next begins 10 ms later. The 40 features of a step are the logarithms of the
    energies in mel bands, see :func:`xrnnbench.tasks.readers.audio.log_mel`.
    """

    hidden: int = 64

    def network(self) -> nn.Module:
        """A GRU with additive attention."""
        return AttentiveRecurrentNet(
            BANDS,
            self.hidden,
            len(self.vocabulary()),
            cell=self.cell,
            layers=self.layers,
            pooling="attention",
            dropout=0.3,
        )

    def vocabulary(self) -> tuple[str, ...]:
        """The words, in the order of the classes."""
        raise NotImplementedError

    def recordings(self) -> tuple[Sequence[tuple[Path, int]], Sequence[tuple[Path, int]]]:
        """Training and held-out recordings, each with its file and class."""
        raise NotImplementedError

    def splits(self) -> Splits:
        """See :meth:`ClassificationTask.splits`.

        Raises:
            DataError: the data set is not downloaded, a file is damaged, or the files differ in their sampling rate.
        """
        parts = self.recordings()
        rates: dict[int, Path] = {}
        train, test = (
            Labelled(
                tuple(_frames(path, rates) for path, _ in part),
                torch.tensor([number for _, number in part]),
            )
            for part in parts
        )
        features = tuple(f"{round(centre)} Hz" for centre in band_centres(next(iter(rates))))
        return Splits(train, test, Names(features=features, outputs=self.vocabulary()))


def _frames(path: Path, rates: dict[int, Path]) -> Tensor:
    """Log-mel frames float32[T, 40] of a file.

    Args:
        path: a wav file.
        rates: the first file of each sampling rate so far, which this file is added to.

    Raises:
        DataError: the file is damaged, or its sampling rate differs from that of the files before.
    """
    recording = read_recording(path)
    rates.setdefault(recording.rate, path)
    if len(rates) > 1:
        first, other = rates.items()
        raise DataError(
            f"{other[1]} has {other[0]} samples a second and {first[1]} has {first[0]}: resample one of them."
        )
    return torch.from_numpy(log_mel(recording))
