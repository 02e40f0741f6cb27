"""Any data set of the UCR and UEA archives, by its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....plugins import register
from .archive import UEA_CITATION, FetchedTask


@register
@dataclass(frozen=True)
class Ucr(FetchedTask):
    """A data set of the UCR archive: series of one value a step, and the class of each.

    ``ucr:data_set=NAME`` reads the archive's own training and test set. The value is standardised by mean and deviation
    of the training steps; the reference is 0, their mean. Where a value is missing ("?" or NaN) the last one before it
    stands, and a second feature, "value measured", says so. Long series are learnt better where ``window`` successive
    values make a step (it has to divide their lengths, and no value may be missing). The model is a bidirectional GRU,
    pooled by the maximum over its steps. It is fit to be explained from halfway between the most frequent class and no
    error.

    Truth: not known.

    Source: Dau et al. 2019.
    """

    name: ClassVar[str] = "ucr"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = "https://www.timeseriesclassification.com, the UCR archive"

    data_set: str = "ECG200"

    @property
    def set_name(self) -> str:
        """See :meth:`FetchedTask.set_name`."""
        return f"ucr:{self.data_set}"


@register
@dataclass(frozen=True)
class Uea(FetchedTask):
    """A data set of the UEA archive: series of several values a step, and the class of each.

    ``uea:data_set=NAME`` reads the archive's own training and test set, whose series may differ in length. Each
    dimension is standardised by mean and deviation of the training steps; the reference is 0, the mean step. Where a
    value is missing ("?" or NaN) the last one before it stands, and another feature, "… measured", says so. Long series
    are learnt better where ``window`` successive values of all dimensions make a step (it has to divide their lengths,
    and no value may be missing). The model is a bidirectional GRU, pooled by the maximum over its steps. It is fit to
    be explained from halfway between the most frequent class and no error.

    Truth: not known.

    Source: Bagnall et al. 2018.
    """

    name: ClassVar[str] = "uea"
    application: ClassVar[str] = "time series"
    source: ClassVar[str] = "https://www.timeseriesclassification.com, the UEA archive"
    citation: ClassVar[str] = UEA_CITATION

    instances: int = 40
    data_set: str = "BasicMotions"

    @property
    def set_name(self) -> str:
        """See :meth:`FetchedTask.set_name`."""
        return f"uea:{self.data_set}"
