"""Labelled sequences: targets, split and truth of the sequences of a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from torch import Tensor

from ...errors import DataError
from ...plugins import nearest
from ..data import padding
from ..data.batch import Semantics, Truth
from .sequences import ColumnMap, Sequences
from .tables import Floats, by_value
from .written import shown

if TYPE_CHECKING:
    from .tables import Table

TargetsAre = Literal["auto", "classes", "values"]
# Above this number of distinct whole numbers, they may be classes or values, and the user has to decide.
_MOST_CLASSES: Final = 20
_NO_TARGET_REMEDY: Final = "drop the rows, from which nothing can be learnt"


@dataclass(frozen=True)
class LabelledFile(ColumnMap):
    """CSV file of sequences with a class or values for each: a :class:`ColumnMap` with the kind of the targets.

    Attributes:
        targets_are: ``classes``, ``values``, or ``auto``: text is classes, fractions are values, several columns are
            values, and whole numbers are classes if at most 20 of them are distinct.
        classes: the classes in the order of the model's outputs; if empty, all classes of the file in alphabetical
            order (numbers in ascending order), or in the order of a pandas categorical.
        semantics: meaning of the numbers of the truth; see :class:`Truth`.
        signed: whether the sign of the truth carries meaning.
    """

    targets_are: TargetsAre = "auto"
    classes: tuple[str, ...] = ()
    semantics: Semantics = "planted"
    signed: bool = False

    def categorical(self) -> bool:
        """Whether the targets are classes.

        Raises:
            DataError: the targets are whole numbers with more than 20 distinct values, so they could be either.
        """
        if self.targets_are != "auto":
            return self.targets_are == "classes"
        table = self.table()
        if self.classes or len(self.predict) > 1:
            return bool(self.classes)
        name = table.column(self.predict[0])
        if table.declared(name) or not table.numeric(name):
            return True
        numbers = table.numbers(name, remedy=_NO_TARGET_REMEDY)
        if (numbers % 1).any():
            return False
        count = len(np.unique(numbers))
        if count > _MOST_CLASSES:
            raise DataError(
                f"The column {name!r} of {table.file} holds {count} different whole numbers: say targets_are=classes "
                "or targets_are=values."
            )
        return True

    def targets_of(self, sequences: Sequences) -> tuple[Tensor, tuple[str, ...]]:
        """Targets, classes int64[B] or values float32[B, K], and the names of the outputs.

        Raises:
            DataError: a class is not in ``classes``, or a target differs within a sequence.
        """
        texts = [self.constant(sequences, name) for name in self.predict]
        if not self.categorical():
            columns = [sequences.table.numbers(name, remedy=_NO_TARGET_REMEDY)[sequences.rows] for name in self.predict]
            return torch.from_numpy(np.stack(columns, 1)).float(), self.predict
        if len(texts) > 1:
            raise DataError(
                f"Classes need one column, and {len(texts)} are given: name one, or say targets_are=values."
            )
        classes = self.classes or self.classes_of(sequences.table)
        index_of = {name: index for index, name in enumerate(classes)}
        for index, text in enumerate(texts[0]):
            if text not in index_of:
                raise sequences.table.refuse(
                    int(sequences.rows[index]),
                    self.predict[0],
                    f"holds {shown(text)}, which is not in classes=…{nearest(text[:100], classes) or '.'}",
                )
        return torch.tensor([index_of[text] for text in texts[0]]), classes

    def classes_of(self, table: Table) -> tuple[str, ...]:
        """Classes that occur: a pandas categorical keeps the order of its categories."""
        occurring = set(table.texts(self.predict[0]))
        declared = table.declared(self.predict[0])
        return tuple(filter(occurring.__contains__, declared)) or tuple(sorted(occurring, key=by_value))

    def tested(self, sequences: Sequences) -> Tensor | None:
        """Mask of the held-out sequences, bool[B]; None without a ``split`` column.

        Raises:
            DataError: a cell of the column is neither ``train`` nor ``test``.
        """
        if not self.split:
            return None
        parts = self.constant(sequences, self.split)
        for index, part in enumerate(parts):
            if part not in {"train", "test"}:
                raise sequences.table.refuse(
                    int(sequences.rows[index]),
                    self.split,
                    f"holds {shown(part)}: write train or test, or leave the row out.",
                )
        return torch.from_numpy(parts == "test")

    def truths_of(self, sequences: Sequences) -> dict[str, Truth]:
        """Padded truth of the sequences, by name; it is 0 for the mask features of missing values.

        Raises:
            DataError: the truth has negative values and is not signed.
        """
        if not sequences.truths:
            return {}
        values = padded(sequences.truths)
        if not self.signed and (values < 0).any():
            raise DataError(
                f"The truth in {sequences.table.file} holds negative values: say signed=true, or correct them."
            )
        if self.missing == "mask" and values.dim() == 3:
            values = torch.cat([values, torch.zeros_like(values)], 2)
        return {"given": Truth(values, self.semantics, ", ".join(self.predict), signed=self.signed)}


def padded(sequences: list[Floats]) -> Tensor:
    """Sequences of different lengths, right-padded with 0: float32[B, T, …].

    Raises:
        DataError: they would take too much memory; see :func:`xrnnbench.tasks.data.padding.padded`.
    """
    return padding.padded([torch.from_numpy(values) for values in sequences]).float()
