"""What a task is: data and a model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..plugins import Plugin

if TYPE_CHECKING:
    from .subject import Subject


@dataclass(frozen=True)
class Task(Plugin):
    """Data and a model trained on them. Derive from :class:`xrnnbench.tasks.trained.TrainedTask` to write one.

    Class attributes:
        application: ``"sentiment"``, ``"speech"``, ``"weather forecasting"``, ``"known truth"``, …
        source, licence, citation: where the data come from, under what terms, and whom to cite.
        extra: the optional-dependency group that must be installed; empty if none.
        data_sets: which data sets it reads that are fetched on demand: ``("sst-trees",)``; ``xrnnbench download TASK``
            fetches them.
        trainable: whether each model seed gives another model; if not, only the first seed is run.
    """

    kind: ClassVar[str] = "task"
    application: ClassVar[str] = ""
    source: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    data_sets: ClassVar[tuple[str, ...]] = ()
    trainable: ClassVar[bool] = True

    def subject(self, seed: int) -> Subject:
        """The model of this seed, trained or taken from the cache, with the batch to be explained.

        Args:
            seed: model seed; everything random in the model and its training follows from it. The batch and its
                truth are the same for all seeds.
        """
        raise NotImplementedError

    # The two below stand here so that they are found where people look for them. They call the public functions of
    # the package: this module cannot import what derives from it.

    @staticmethod
    def from_model(*arguments: Any, **options: Any) -> Task:  # noqa: ANN401  # typed and checked by the function
        """A task of a user's own model and data: :func:`xrnnbench.task_from_model`, with the same arguments."""
        from .. import task_from_model  # noqa: PLC0415  # the public face, which loads everything on first use

        return task_from_model(*arguments, **options)

    @staticmethod
    def from_csv(*arguments: Any, **options: Any) -> Task:  # noqa: ANN401  # as above
        """A task of a user's own CSV file: :func:`xrnnbench.task_from_csv`, with the same arguments."""
        from .. import task_from_csv  # noqa: PLC0415  # as above

        return task_from_csv(*arguments, **options)
