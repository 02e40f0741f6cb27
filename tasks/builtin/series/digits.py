"""Handwritten digit recognition, with an image read row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from sklearn.datasets import load_digits

from ....plugins import register
from ...data.batch import Names
from ...models.networks import AttentiveRecurrentNet
from ...models.training import Recipe
from ...trained import RecurrentTask, sample
from .classification import ClassificationTask, Labelled, Splits

if TYPE_CHECKING:
    from torch import nn

_SIDE = 8
_TEST = 500


@register
@dataclass(frozen=True)
class Digits(ClassificationTask, RecurrentTask):
    """Handwritten digit recognition on images of 8 × 8 pixels: a row is a step, its 8 pixels are the features.

    There are 1,297 training images and 500 test images, a fixed sample; both may be of the same writers. Each column of
    pixels is standardised by mean and deviation of the training rows. The reference is 0, the mean training row. The
    model is a GRU with additive attention over its states.

    Truth: not known.

    Source: UCI Machine Learning Repository, "Optical Recognition of Handwritten Digits" (its test set), as packaged in
    scikit-learn.
    """

    name: ClassVar[str] = "digits"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = (
        "https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits, packaged in scikit-learn"
    )
    licence: ClassVar[str] = "CC BY 4.0"
    citation: ClassVar[str] = (
        "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998. "
        "doi:10.24432/C50P49"
    )
    recipe: ClassVar[Recipe] = Recipe(epochs=20, learning_rate=1e-2, batch_size=32, weight_decay=1e-2)

    hidden: int = 32

    def splits(self) -> Splits:
        """See :meth:`ClassificationTask.splits`."""
        pixels, classes = load_digits(return_X_y=True)
        series = torch.from_numpy(pixels.reshape(-1, _SIDE, _SIDE).astype(np.float32))
        targets = torch.from_numpy(classes.astype(np.int64))
        held = torch.zeros(len(series), dtype=torch.bool)
        held[sample(len(series), _TEST, self.name, "test")] = True
        names = Names(
            features=tuple(f"column {number}" for number in range(1, _SIDE + 1)),
            outputs=tuple(map(str, range(10))),
        )
        train, test = (Labelled(tuple(series[rows]), targets[rows]) for rows in (~held, held))
        return Splits(train, test, names)

    def network(self) -> nn.Module:
        """A GRU with additive attention."""
        return AttentiveRecurrentNet(
            _SIDE, self.hidden, 10, cell=self.cell, layers=self.layers, pooling="attention", dropout=0.2
        )
