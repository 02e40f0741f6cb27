"""Labelled sequences: what the targets and the truth of the sequences of a file are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...errors import DataError
from ...plugins import nearest
from ..data.batch import Semantics, Truth
from .sequences import ColumnMap, Floats, Sequences

TargetsAre = Literal["auto", "classes", "values"]
# Whole numbers of more kinds than these may be classes or may be values: the user has to say.
_MOST_CLASSES: Final = 20
_NO_TARGET: Final = "drop the rows, from which nothing can be learnt"


@dataclass(frozen=True)
class LabelledFile(ColumnMap):
    """A file of sequences with a class or values for each: a :class:`ColumnMap`, and what the targets are.

    Attributes:
        targets_are: ``classes``, ``values``, or ``auto``: text is classes, fractions are values, and so are several
            columns; whole numbers are classes if there are at most 20.
        classes: the classes in the order of the model's outputs; if none, all there are in alphabetical order (numbers
            in ascending order).
        semantics: what the numbers of the truth are; see :class:`Truth`.
        signed: whether the sign of the truth carries meaning.
    """

    targets_are: TargetsAre = "auto"
    classes: tuple[str, ...] = ()
    semantics: Semantics = "planted"
    signed: bool = False

    def categorical(self) -> bool:
        """Whether the targets are classes.

        Raises:
            DataError: they could be either.
        """
        if self.targets_are != "auto":
            return self.targets_are == "classes"
        table = self.table()
        if self.classes or len(self.predict) > 1:
            return bool(self.classes)
        name = table.column(self.predict[0])
        if not table.numeric(name):
            return True
        numbers = table.numbers(name, remedy=_NO_TARGET)
        if (numbers % 1).any():
            return False
        count = len(np.unique(numbers))
        if count > _MOST_CLASSES:
            raise DataError(
                f"The column {name!r} of {table.file} holds {count} different whole numbers: say targets_are=classes "
                "or targets_are=values."
            )
        return True

    def targets_of(self, found: Sequences) -> tuple[Tensor, tuple[str, ...]]:
        """int64[B] classes or float32[B, K] values, and the names of the outputs.

        Raises:
            DataError: a class that is not among those given, or a target that differs within a sequence.
        """
        texts = [self.constant(found, name) for name in self.predict]
        if not self.categorical():
            columns = [found.table.numbers(name, remedy=_NO_TARGET)[found.rows] for name in self.predict]
            return torch.from_numpy(np.stack(columns, 1)).float(), self.predict
        if len(texts) > 1:
            raise DataError(
                f"Classes stand in one column, and {len(texts)} are given: name one, or say targets_are=values."
            )
        classes = self.classes or tuple(sorted(set(texts[0]), key=_rank))
        number = {name: place for place, name in enumerate(classes)}
        for place, text in enumerate(texts[0]):
            if text not in number:
                raise found.table.refuse(
                    int(found.rows[place]),
                    self.predict[0],
                    f"holds {text!r}{nearest(text, classes)}, none of classes=….",
                )
        return torch.tensor([number[text] for text in texts[0]]), classes

    def tested(self, found: Sequences) -> Tensor | None:
        """bool[B]: which sequences are held out; None if no column says.

        Raises:
            DataError: a cell says neither ``train`` nor ``test``.
        """
        if not self.split:
            return None
        parts = self.constant(found, self.split)
        for place, part in enumerate(parts):
            if part not in {"train", "test"}:
                raise found.table.refuse(
                    int(found.rows[place]), self.split, f"holds {part!r}: write train or test, or leave the row out."
                )
        return torch.from_numpy(parts == "test")

    def truths_of(self, found: Sequences) -> dict[str, Truth]:
        """The truth of the sequences, by name; padded. Of the marks of missing values it says 0."""
        if not found.truths:
            return {}
        values = padded(found.truths)
        if not self.signed and (values < 0).any():
            raise DataError(f"The truth in {found.table.file} holds negative values: say signed=true, or mend them.")
        if self.missing == "mask" and values.dim() == 3:
            values = torch.cat([values, torch.zeros_like(values)], 2)
        return {"given": Truth(values, self.semantics, ", ".join(self.predict), signed=self.signed)}


def padded(sequences: list[Floats]) -> Tensor:
    """float32[B, T, …]: sequences of different lengths, 0 behind their ends."""
    return pad_sequence([torch.from_numpy(values) for values in sequences], batch_first=True).float()


def _rank(name: str) -> tuple[float, str]:
    """Numbers in their order, and before all words."""
    try:
        return float(name), ""
    except ValueError:
        return np.inf, name
