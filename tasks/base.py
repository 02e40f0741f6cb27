"""Base class of tasks: data and a model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..plugins import Plugin

if TYPE_CHECKING:
    from .subject import Subject


@dataclass(frozen=True)
class Task(Plugin):
    """Base class of tasks: data and a model trained on them.

    To write a task, derive from :class:`xrnnbench.tasks.trained.TrainedTask`.

    Class attributes:
        application: ``"sentiment"``, ``"speech"``, ``"weather forecasting"``, ``"known truth"``, …
        source, licence, citation: origin of the data, their licence, and the publication to cite.
        extra: the optional-dependency group that must be installed; empty if none.
        data_sets: names of the data sets that are downloaded on demand: ``("sst-trees",)``; ``xrnnbench download TASK``
            fetches them.
        trainable: whether each model seed gives another model; if not, only the first seed is run.
        contract: what happens if a model breaks a promise of :mod:`xrnnbench.tasks.contract`: ``"refuse"`` it, or
            ``"explain"`` it all the same; the board then shows the promise.
    """

    kind: ClassVar[str] = "task"
    application: ClassVar[str] = ""
    source: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    extra: ClassVar[str] = ""
    data_sets: ClassVar[tuple[str, ...]] = ()
    trainable: ClassVar[bool] = True
    contract: ClassVar[Literal["refuse", "explain"]] = "refuse"

    @property
    def model_seeds(self) -> tuple[int, ...]:
        """Seeds of the models that the task brings along, which are run whatever the grid says; mostly empty."""
        return ()

    def subject(self, seed: int) -> Subject:
        """The model of a seed, trained or loaded from the cache, with the batch to be explained.

        Args:
            seed: model seed, which decides everything random in the model and its training. The batch and its truths
                are the same for all seeds.
        """
        raise NotImplementedError

    # The next two exist so that users find them on the class. They call the package's public functions, because this
    # module cannot import the classes that derive from it.

    @staticmethod
    def from_model(*arguments: Any, **options: Any) -> Task:  # noqa: ANN401  # typed and checked by the function
        """Task from a user's own model and data: :func:`xrnnbench.task_from_model`, with the same arguments."""
        from .. import task_from_model  # noqa: PLC0415  # the package loads its public names on first use

        return task_from_model(*arguments, **options)

    @staticmethod
    def from_csv(*arguments: Any, **options: Any) -> Task:  # noqa: ANN401  # as above
        """Task from a user's CSV file or DataFrame: :func:`xrnnbench.task_from_csv`, with the same arguments."""
        from .. import task_from_csv  # noqa: PLC0415  # as above

        return task_from_csv(*arguments, **options)
