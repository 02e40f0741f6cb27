"""Heartbeat classification on electrocardiograms of the UCR archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from ....plugins import register
from ...data.batch import Names
from ...models.training import Recipe
from ...readers.ucr import Table
from .archive import UCR_CITATION, FetchedTask

# Augmentation: shifts of the training beats in values, later or, with a minus sign, earlier.
_SHIFTS: Final = (0, -1, 1, -2, 2, -3, 3)
_MEANINGS: Final = {"-1": "infarction", "1": "normal"}
_BEATS: Final = {
    "1": "normal",
    "2": "R-on-T premature ventricular contraction",
    "3": "premature ventricular contraction",
    "4": "supraventricular premature or ectopic beat",
    "5": "unclassified beat",
}


@register
@dataclass(frozen=True)
class Ecg200(FetchedTask):
    """Heartbeat classification, normal or myocardial infarction, from 96 values of one electrode.

    The split is the archive's own: 100 training beats and 100 test beats. Each beat was brought to mean 0 and deviation
    1 by the archive, and is read in 24 steps of ``window`` = 4 values each. Each of the four is standardised by mean
    and deviation of the training steps; the reference, 0, is the mean training step. The position of a beat within the
    96 values carries no information, so the training data are augmented: each beat is also shifted by one, two and
    three values to either side, with the value at the border repeated, which makes 700 training series. The model is a
    bidirectional GRU, max-pooled over its steps.

    Truth: not known.

    Source: Olszewski 2001, as ECG200 in the UCR archive (Dau et al. 2019).
    """

    name: ClassVar[str] = "ecg200"
    application: ClassVar[str] = "medical diagnosis"
    source: ClassVar[str] = "https://www.timeseriesclassification.com/description.php?Dataset=ECG200"
    citation: ClassVar[str] = (
        "R. T. Olszewski: Generalized Feature Extraction for Structural Pattern Recognition in Time-Series Data. "
        f"Carnegie Mellon University, 2001; archive: {UCR_CITATION}"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("ucr:ECG200",)
    recipe: ClassVar[Recipe] = Recipe(epochs=15, learning_rate=5e-3, batch_size=16, weight_decay=0.1)
    gate: ClassVar[float] = 0.8
    dropout: ClassVar[float] = 0.5

    hidden: int = 32
    window: int = 4

    def tables(self) -> tuple[Table, Table]:
        """See :meth:`FetchedTask.tables`; the training table is augmented."""
        train, test = super().tables()
        return _augmented(train), test

    @property
    def set_name(self) -> str:
        """See :meth:`FetchedTask.set_name`."""
        return "ucr:ECG200"

    def gate_above(self, baseline: float) -> float:  # noqa: ARG002  # the gate is fixed
        """See :meth:`ClassificationTask.gate_above`."""
        return self.gate

    def names_of(self, width: int, classes: tuple[str, ...]) -> Names:  # noqa: ARG002  # there is one electrode
        """See :meth:`ArchiveTask.names_of`."""
        return Names(("electric potential",), tuple(_MEANINGS.get(label, label) for label in classes))


@register
@dataclass(frozen=True)
class Ecg5000(FetchedTask):
    """Heartbeat classification into five types, from 140 values of one electrode, in a patient with heart failure.

    The split is the archive's own: 500 training beats and 4,500 test beats, more than half of them normal, and few of
    the rarest types. Each beat was brought to mean 0 and deviation 1 by the archive, and is read in 35 steps of
    ``window`` = 4 values each. Each of the four is standardised by mean and deviation of the training steps; the
    reference, 0, is the mean training step. The model is a bidirectional GRU, max-pooled over its steps.

    Truth: not known.

    Source: PhysioNet, BIDMC congestive heart failure database, record chf07 (Goldberger et al. 2000), as ECG5000 in the
    UCR archive (Dau et al. 2019).
    """

    name: ClassVar[str] = "ecg5000"
    application: ClassVar[str] = "medical diagnosis"
    source: ClassVar[str] = "https://www.timeseriesclassification.com/description.php?Dataset=ECG5000"
    licence: ClassVar[str] = "Open Data Commons Attribution 1.0 (the database); of the excerpt none stated"
    citation: ClassVar[str] = (
        "A. L. Goldberger et al.: PhysioBank, PhysioToolkit, and PhysioNet. Circulation 101 (23), e215–e220, 2000. "
        f"doi:10.1161/01.CIR.101.23.e215; archive: {UCR_CITATION}"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("ucr:ECG5000",)
    recipe: ClassVar[Recipe] = Recipe(epochs=30, learning_rate=1e-2, batch_size=32, weight_decay=1e-2)
    gate: ClassVar[float] = 0.88

    window: int = 4

    @property
    def set_name(self) -> str:
        """See :meth:`FetchedTask.set_name`."""
        return "ucr:ECG5000"

    def gate_above(self, baseline: float) -> float:  # noqa: ARG002  # the gate is fixed
        """See :meth:`ClassificationTask.gate_above`."""
        return self.gate

    def names_of(self, width: int, classes: tuple[str, ...]) -> Names:  # noqa: ARG002  # there is one electrode
        """See :meth:`ArchiveTask.names_of`."""
        return Names(("electric potential",), tuple(_BEATS.get(label, label) for label in classes))


def _augmented(table: Table) -> Table:
    """The series at every shift in time, 0 included; the value at the border is repeated."""
    shifted = tuple(
        values[np.clip(np.arange(len(values)) - shift, 0, len(values) - 1)]
        for shift in _SHIFTS
        for values in table.series
    )
    return Table(shifted, table.labels * len(_SHIFTS), table.classes)
