"""Speaker identification on the Japanese Vowels data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ....plugins import register
from ...data.batch import Batch, Competence, Names
from ...engine.isolation import same_randomness
from ...models.evaluation import accuracy, majority
from ...models.networks import AttentiveRecurrentNet
from ...models.training import Recipe
from ...trained import Dataset, RecurrentTask, background, held_out, missing_extra

if TYPE_CHECKING:
    from torch import Tensor, nn


@register
@dataclass(frozen=True)
class Vowels(RecurrentTask):
    """Speaker identification among nine men who utter the Japanese vowels "ae", from 12 cepstra of 7 to 29 frames.

    There are 270 training utterances (30 a speaker) and 370 test utterances. Each of the 12 LPC cepstrum coefficients
    is standardised by its mean and deviation over the training frames, so the reference, 0, is the mean training frame.
    The model is a GRU with additive attention over its states.

    Truth: not known.

    Source: UCI Machine Learning Repository, "Japanese Vowels", as packaged in sktime.
    """

    name: ClassVar[str] = "vowels"
    application: ClassVar[str] = "speech"
    source: ClassVar[str] = "https://archive.ics.uci.edu/dataset/128/japanese+vowels, packaged in sktime"
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "M. Kudo, J. Toyama, M. Shimbo: Multidimensional Curve Classification Using Passing-Through Regions. "
        "Pattern Recognition Letters 20 (11–13), 1103–1111, 1999. doi:10.1016/S0167-8655(99)00077-X"
    )
    extra: ClassVar[str] = "data"
    recipe: ClassVar[Recipe] = Recipe(epochs=40, learning_rate=1e-2, batch_size=30, weight_decay=1e-2)

    hidden: int = 32

    def dataset(self) -> Dataset:
        """See :meth:`TrainedTask.dataset`."""
        series, classes = _utterances("TRAIN")
        frames = torch.cat(series)
        mean, deviation = frames.mean(0), frames.std(0)
        train = _batch(series, classes, mean, deviation)
        test = _batch(*_utterances("TEST"), mean, deviation)
        explained = held_out(test, self.instances, self.name)
        return Dataset(
            train=train,
            test=test,
            explained=explained,
            reference=torch.zeros(()),
            background=background(train, self.name),
            names=Names(
                features=tuple(f"cepstrum {number}" for number in range(1, 13)),
                outputs=tuple(f"speaker {number}" for number in range(1, 10)),
            ),
        )

    def network(self) -> nn.Module:
        """A GRU with additive attention."""
        return AttentiveRecurrentNet(
            12, self.hidden, 9, cell=self.cell, layers=self.layers, pooling="attention", dropout=0.3
        )

    def competence(self, model: nn.Module, data: Dataset) -> Competence:
        """Accuracy on the held-out recordings; the baseline is the most frequent speaker."""
        score = accuracy(model(data.test.inputs, data.test.lengths), data.test.targets)
        return Competence("accuracy", score, 0.9, majority(data.train.targets, data.test.targets))


def _utterances(split: Literal["TRAIN", "TEST"]) -> tuple[list[Tensor], Tensor]:
    """The utterances of a split, float32[T, 12] each with its own length T, and the speakers int64[B] from 0."""
    # importing sktime draws random numbers
    with same_randomness():
        try:
            from sktime.datasets import load_japanese_vowels  # noqa: PLC0415  # an optional extra
        except ImportError as error:
            raise missing_extra("vowels", "data") from error
        table, speakers = load_japanese_vowels(split=split, return_type="nested_univ")
    series = [
        torch.from_numpy(np.stack([np.asarray(channel, dtype=np.float32) for channel in row], axis=1))
        for row in table.itertuples(index=False)
    ]
    return series, torch.from_numpy(np.asarray(speakers).astype(np.int64) - 1)


def _batch(series: list[Tensor], classes: Tensor, mean: Tensor, deviation: Tensor) -> Batch:
    """A padded batch of standardised utterances."""
    inputs = pad_sequence([(values - mean) / deviation for values in series], batch_first=True)
    return Batch(inputs, torch.tensor([len(values) for values in series]), classes)
