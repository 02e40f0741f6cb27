"""Classification tasks on any data set of the UCR and UEA archives, chosen by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ....plugins import register
from .archive import UEA_CITATION, FetchedTask


@register
@dataclass(frozen=True)
class Ucr(FetchedTask):
    """Time series classification on a data set of the UCR archive, with one value a step.

    ``ucr:data_set=NAME`` reads the archive's own training and test set. The value is standardised by mean and deviation
    of the training steps; the reference is 0, their mean. A missing value ("?" or NaN) is replaced by the last one
    before it, and a second feature, "value measured", indicates it. Long series are learnt better with ``window``
    successive values as a step (it has to divide their lengths, and no value may be missing). The model is a
    bidirectional GRU, max-pooled over its steps. The gate lies halfway between the accuracy of the most frequent class
    and 1.

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
    """Time series classification on a data set of the UEA archive, with several values a step.

    ``uea:data_set=NAME`` reads the archive's own training and test set, whose series may differ in length. Each
    dimension is standardised by mean and deviation of the training steps; the reference is 0, the mean step. A missing
    value ("?" or NaN) is replaced by the last one before it, and another feature, "… measured", indicates it. Long
    series are learnt better with ``window`` successive values of all dimensions as a step (it has to divide their
    lengths, and no value may be missing). The model is a bidirectional GRU, max-pooled over its steps. The gate lies
    halfway between the accuracy of the most frequent class and 1.

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
