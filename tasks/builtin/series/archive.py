"""Series of the UCR and UEA archives, and a network for them."""

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
class ArchiveTask(ClassificationTask):
    """Series of an archive, split as it splits them; the model is a bidirectional GRU, pooled over its steps.

    Attributes:
        hidden: units of the GRU in each direction.
        window: how many successive values make a step. The features of a step are then all its values, in order of
            time, dimension by dimension within each.

    Class attributes:
        pooling: what is read out of the GRU.
        dropout: share of pooled features dropped while training.
    """

    licence: ClassVar[str] = LICENCE
    citation: ClassVar[str] = UCR_CITATION
    recipe: ClassVar[Recipe] = Recipe(epochs=60, learning_rate=1e-2, batch_size=16, weight_decay=1e-2)
    pooling: ClassVar[Pooling] = "max"
    dropout: ClassVar[float] = 0.2

    hidden: int = 16
    window: int = 1

    def tables(self) -> tuple[Table, Table]:
        """The training and the test series."""
        raise NotImplementedError

    def called(self, width: int, classes: tuple[str, ...]) -> Names:
        """What the features of a step and the classes are called, given how many and which there are."""
        features = ("value",) if width == 1 else tuple(f"dimension {number}" for number in range(1, width + 1))
        return Names(features=features, outputs=tuple(f"class {label}" for label in classes))

    def splits(self) -> Splits:
        """See :meth:`ClassificationTask.splits`."""
        train, test = self.tables()
        width, other = train.series[0].shape[1], test.series[0].shape[1]
        if width != other:
            raise DataError(f"Task {self.spec!r}: training series have {width} dimensions, test series {other}.")
        places = {label: place for place, label in enumerate(train.classes)}
        strange = sorted(set(test.labels) - set(places))
        if strange:
            raise DataError(f"Task {self.spec!r}: test series are of class {strange[0]!r}, of which none was learnt.")
        return Splits(self._labelled(train, places), self._labelled(test, places), self._names(width, train.classes))

    def network(self) -> nn.Module:
        """A bidirectional GRU, pooled over its steps."""
        data = self.data()
        family = AttentiveRecurrentNet if "attention" in self.pooling else RecurrentNet
        return family(
            data.train.inputs.shape[2],
            self.hidden,
            len(data.names.outputs),
            cell="gru",
            bidirectional=True,
            pooling=self.pooling,
            dropout=self.dropout,
        )

    def _labelled(self, table: Table, places: dict[str, int]) -> Labelled:
        series = tuple(self._in_windows(torch.from_numpy(values)) for values in table.series)
        return Labelled(series, torch.tensor([places[label] for label in table.labels]))

    def _in_windows(self, series: Tensor) -> Tensor:
        """float[T / window, window × D] of a series float[T, D]."""
        if self.window > 1 and series.isnan().any():
            raise ParameterError(
                f"{self.name}: window={self.window} does not fit (values are missing: write window=1)."
            )
        if len(series) % self.window:
            raise ParameterError(
                f"{self.name}: window={self.window} does not fit (it does not divide a series of {len(series)} values)."
            )
        return series.reshape(len(series) // self.window, -1)

    def _names(self, width: int, classes: tuple[str, ...]) -> Names:
        names = self.called(width, classes)
        if self.window == 1:
            return names
        places = range(1, self.window + 1)
        features = (f"{name} ({place} of {self.window})" for place in places for name in names.features)
        return Names(tuple(features), names.outputs)


@dataclass(frozen=True)
class FetchedTask(ArchiveTask):
    """A data set of the archives that is fetched on demand.

    A model is fit to be explained from halfway between the most frequent class and no error.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        # which data set is read is a parameter here; of other tasks it is a fact of the class
        object.__setattr__(self, "data_sets", (self.set_name,))

    @property
    def set_name(self) -> str:
        """The data set by its name among those that can be fetched: ``"ucr:ECG200"``."""
        raise NotImplementedError

    def gate_above(self, baseline: float) -> float:
        """See :meth:`ClassificationTask.gate_above`."""
        return (1 + baseline) / 2

    def tables(self) -> tuple[Table, Table]:
        """See :meth:`ArchiveTask.tables`.

        Raises:
            DataError: the data set is not here, or a file is damaged.
        """
        folder, member = located(self.set_name), self.set_name.partition(":")[2]
        return read_table(_file(folder, f"{member}_TRAIN")), read_table(_file(folder, f"{member}_TEST"))


def _file(folder: Path, stem: str) -> Path:
    """The file of that name, preferably with a header."""
    for suffix in SUFFIXES:
        if list(folder.rglob(f"{stem}{suffix}")):
            return find(folder, f"{stem}{suffix}")
    raise DataError(f"There is no {stem} with one of the endings {', '.join(SUFFIXES)} in {folder}: fetch it again.")
