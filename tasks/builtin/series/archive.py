"""Base classes of classification tasks on data sets of the UCR and UEA archives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

import torch

from ....errors import DataError, ParameterError
from ...data.batch import Names
from ...downloads.locate import find, located
from ...models.networks import AttentiveRecurrentNet, Pooling, RecurrentNet
from ...models.training import Recipe
from ...readers.ucr import SUFFIXES, read_table
from ...trained import RecurrentTask
from .classification import ClassificationTask, Labelled, Splits

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

    from ...readers.ucr import Table

UCR_CITATION: Final = (
    "H. A. Dau, A. Bagnall, K. Kamgar, C.-C. M. Yeh, Y. Zhu, S. Gharghabi, C. A. Ratanamahatana, E. Keogh: The UCR "
    "Time Series Archive. IEEE/CAA Journal of Automatica Sinica 6 (6), 1293–1305, 2019. doi:10.1109/JAS.2019.1911747"
)
UEA_CITATION: Final = (
    "A. Bagnall, H. A. Dau, J. Lines, M. Flynn, J. Large, A. Bostrom, P. Southam, E. Keogh: The UEA multivariate time "
    "series classification archive, 2018. arXiv:1811.00075"
)
LICENCE: Final = "none stated: free for research, to be cited; single sets may have terms of their own"


@dataclass(frozen=True)
class ArchiveTask(ClassificationTask, RecurrentTask):
    """Base class of classification on a data set of the archives, with the archive's own split.

    The model is a bidirectional GRU, pooled over its steps.

    Attributes:
        hidden: units of the GRU in each direction.
        window: the number of successive values in a step. The features of a step are then all its values, in order of
            time, dimension by dimension within each.

    Class attributes:
        pooling: pooling of the GRU's states.
        dropout: share of pooled features dropped during training.
    """

    licence: ClassVar[str] = LICENCE
    citation: ClassVar[str] = UCR_CITATION
    recipe: ClassVar[Recipe] = Recipe(epochs=60, learning_rate=1e-2, batch_size=16, weight_decay=1e-2)
    pooling: ClassVar[Pooling] = "max"
    dropout: ClassVar[float] = 0.2

    hidden: int = 16
    window: int = 1

    def tables(self) -> tuple[Table, Table]:
        """Load the training and the test series."""
        raise NotImplementedError

    def names_of(self, width: int, classes: tuple[str, ...]) -> Names:
        """Names of the ``width`` dimensions of the series, and of the classes, by the archive's class names."""
        features = ("value",) if width == 1 else tuple(f"dimension {number}" for number in range(1, width + 1))
        return Names(features=features, outputs=tuple(f"class {label}" for label in classes))

    def splits(self) -> Splits:
        """See :meth:`ClassificationTask.splits`."""
        train, test = self.tables()
        width, other = train.series[0].shape[1], test.series[0].shape[1]
        if width != other:
            raise DataError(f"Task {self.spec!r}: training series have {width} dimensions, test series {other}.")
        numbers = {label: number for number, label in enumerate(train.classes)}
        unknown = sorted(set(test.labels) - set(numbers))
        if unknown:
            raise DataError(
                f"Task {self.spec!r}: the test series have the class {unknown[0]!r}, which no training series has."
            )
        names = self._step_names(width, train.classes)
        return Splits(self._labelled(train, numbers), self._labelled(test, numbers), names)

    def network(self) -> nn.Module:
        """A bidirectional GRU, pooled over its steps."""
        data = self.data()
        family = AttentiveRecurrentNet if "attention" in self.pooling else RecurrentNet
        return family(
            data.train.inputs.shape[2],
            self.hidden,
            len(data.names.outputs),
            cell=self.cell,
            layers=self.layers,
            bidirectional=True,
            pooling=self.pooling,
            dropout=self.dropout,
        )

    def _labelled(self, table: Table, numbers: dict[str, int]) -> Labelled:
        """The series of a table in steps, with their class numbers."""
        series = tuple(self._in_windows(torch.from_numpy(values)) for values in table.series)
        return Labelled(series, torch.tensor([numbers[label] for label in table.labels]))

    def _in_windows(self, series: Tensor) -> Tensor:
        """A series float[T, D] in steps of ``window`` values, float[T / window, window × D]."""
        if self.window > 1 and series.isnan().any():
            raise ParameterError(
                f"{self.name}: window={self.window} does not fit (the data set has missing values: write window=1)."
            )
        if len(series) % self.window:
            raise ParameterError(
                f"{self.name}: window={self.window} does not fit (it does not divide a series of {len(series)} values)."
            )
        return series.reshape(len(series) // self.window, -1)

    def _step_names(self, width: int, classes: tuple[str, ...]) -> Names:
        """Names of all values of a step, and of the classes."""
        names = self.names_of(width, classes)
        if self.window == 1:
            return names
        places = range(1, self.window + 1)
        features = (f"{name} ({place} of {self.window})" for place in places for name in names.features)
        return Names(tuple(features), names.outputs)


@dataclass(frozen=True)
class FetchedTask(ArchiveTask):
    """Base class of classification on a data set of the archives that is downloaded on demand.

    The gate lies halfway between the accuracy of the most frequent class and 1.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        # the data set is a parameter here; in other tasks it is a class attribute
        object.__setattr__(self, "data_sets", (self.set_name,))

    @property
    def set_name(self) -> str:
        """The name of the data set in the catalogue of downloads: ``"ucr:ECG200"``."""
        raise NotImplementedError

    def gate_above(self, baseline: float) -> float:
        """See :meth:`ClassificationTask.gate_above`."""
        return (1 + baseline) / 2

    def tables(self) -> tuple[Table, Table]:
        """See :meth:`ArchiveTask.tables`.

        Raises:
            DataError: the data set is not downloaded, or a file is damaged.
        """
        folder, member = located(self.set_name), self.set_name.partition(":")[2]
        return read_table(_file(folder, f"{member}_TRAIN")), read_table(_file(folder, f"{member}_TEST"))


def _file(folder: Path, stem: str) -> Path:
    """The file with a stem and one of the known suffixes, preferably one with a header."""
    for suffix in SUFFIXES:
        if list(folder.rglob(f"{stem}{suffix}")):
            return find(folder, f"{stem}{suffix}")
    raise DataError(f"There is no {stem} with one of the endings {', '.join(SUFFIXES)} in {folder}: fetch it again.")
