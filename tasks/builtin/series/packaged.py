"""Tasks on data sets of the UCR and UEA archives that sktime ships, so that no download is needed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from ....plugins import register
from ...data.batch import Names
from ...engine.isolation import same_randomness
from ...models.networks import Pooling
from ...models.training import Recipe
from ...readers.ucr import Table
from ...trained import missing_extra
from .archive import UEA_CITATION, ArchiveTask


@dataclass(frozen=True)
class PackagedTask(ArchiveTask):
    """Base class of tasks on a data set that sktime ships.

    Class attributes:
        loader: name of the function of ``sktime.datasets`` that loads the data set.
        features: names of the values of a step.
        meanings: class names, keyed by the archive's own class names in small letters, in the order of the outputs.
    """

    extra: ClassVar[str] = "data"
    loader: ClassVar[str] = ""
    features: ClassVar[tuple[str, ...]] = ()
    meanings: ClassVar[dict[str, str]] = {}

    def tables(self) -> tuple[Table, Table]:
        """See :meth:`ArchiveTask.tables`.

        Raises:
            DataError: sktime is not installed.
        """
        return self._table("TRAIN"), self._table("TEST")

    def names_of(self, width: int, classes: tuple[str, ...]) -> Names:  # noqa: ARG002  # the number of values is fixed
        """See :meth:`ArchiveTask.names_of`."""
        return Names(self.features, tuple(self.meanings[label] for label in classes))

    def _table(self, split: Literal["TRAIN", "TEST"]) -> Table:
        """The series of a split, as sktime loads them, with class names in small letters."""
        # importing sktime draws random numbers
        with same_randomness():
            try:
                datasets = importlib.import_module("sktime.datasets")
            except ImportError as error:
                raise missing_extra(self.name, self.extra) from error
            values, labels = getattr(datasets, self.loader)(split=split, return_type="numpy3D")
        series = tuple(np.ascontiguousarray(channels.T, dtype=np.float32) for channels in values)
        return Table(series, tuple(str(label).lower() for label in labels), tuple(self.meanings))


@register
@dataclass(frozen=True)
class ItalyPower(PackagedTask):
    """Season classification of a day, October to March or April to September, from Italy's hourly power demand.

    A day has 24 hourly values, brought to mean 0 and deviation 1 by the archive. Here the value is also standardised by
    mean and deviation of the training hours, so the reference, 0, is their mean. The split is the archive's own: 67
    training days and 1,029 test days. The archive does not document which of its two classes is which half of the
    year. The model is a bidirectional GRU, read out after each direction's last step.

    Truth: not known.

    Source: Keogh et al. 2006, as ItalyPowerDemand in the UCR archive (Dau et al. 2019), as packaged in sktime.
    """

    name: ClassVar[str] = "italy-power"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = (
        "https://www.timeseriesclassification.com/description.php?Dataset=ItalyPowerDemand, packaged in sktime"
    )
    loader: ClassVar[str] = "load_italy_power_demand"
    features: ClassVar[tuple[str, ...]] = ("power demand",)
    meanings: ClassVar[dict[str, str]] = {"1": "class 1", "2": "class 2"}
    pooling: ClassVar[Pooling] = "last"


@register
@dataclass(frozen=True)
class BasicMotions(PackagedTask):
    """Activity recognition with a smartwatch: standing, running, walking, or playing badminton.

    The series are acceleration and angular velocity in three directions, ten times a second for ten seconds. They are
    read in 20 steps of ``window`` = 5 times the six values. Each of the thirty is standardised by mean and deviation of
    the training steps; the reference, 0, is the mean training step. The split is the archive's own: 40 training series
    and 40 test series, of the same four students. The model is a bidirectional GRU, max-pooled over its steps.

    Truth: not known.

    Source: BasicMotions in the UEA archive (Bagnall et al. 2018), as packaged in sktime.
    """

    name: ClassVar[str] = "basic-motions"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = (
        "https://www.timeseriesclassification.com/description.php?Dataset=BasicMotions, packaged in sktime"
    )
    citation: ClassVar[str] = UEA_CITATION
    loader: ClassVar[str] = "load_basic_motions"
    features: ClassVar[tuple[str, ...]] = tuple(
        f"{quantity} {direction}" for quantity in ("acceleration", "angular velocity") for direction in "xyz"
    )
    meanings: ClassVar[dict[str, str]] = {name: name for name in ("standing", "running", "walking", "badminton")}
    recipe: ClassVar[Recipe] = Recipe(epochs=60, learning_rate=1e-2, batch_size=8, weight_decay=1e-2)

    instances: int = 40
    window: int = 5


@register
@dataclass(frozen=True)
class GunPoint(PackagedTask):
    """Motion classification, drawing a gun or pointing a finger, from the position of the right hand.

    A series has 150 positions of the hand along one axis, brought to mean 0 and deviation 1 by the archive. It is read
    in 30 steps of ``window`` = 5 positions each. Each of the five is standardised by mean and deviation of the training
    steps; the reference, 0, is the mean training step. The split is the archive's own: 50 training motions and 150 test
    motions, of the same two actors. The model is a bidirectional GRU, max-pooled over its steps.

    Truth: not known.

    Source: Ratanamahatana & Keogh 2005, as GunPoint in the UCR archive (Dau et al. 2019), as packaged in sktime.
    """

    name: ClassVar[str] = "gun-point"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = (
        "https://www.timeseriesclassification.com/description.php?Dataset=GunPoint, packaged in sktime"
    )
    recipe: ClassVar[Recipe] = Recipe(epochs=100, learning_rate=1e-2, batch_size=8, weight_decay=1e-2)
    loader: ClassVar[str] = "load_gunpoint"
    features: ClassVar[tuple[str, ...]] = ("horizontal place of the hand",)
    meanings: ClassVar[dict[str, str]] = {"1": "gun", "2": "point"}

    window: int = 5
