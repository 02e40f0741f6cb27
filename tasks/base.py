"""What a task is: data and a model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..plugins import Plugin

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from torch import Tensor, nn

    from .data import Truth
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

    @staticmethod
    def from_model(  # the signature is the contract with users: each is a plain thing of theirs
        model: nn.Module | Callable[..., Any],
        inputs: Tensor,
        lengths: Tensor | None,
        targets: Tensor,
        reference: Tensor | None = None,
        truth: Truth | None = None,
        name: str = "my-model",
        **options: Any,  # noqa: ANN401  # passed on to GivenTask, which types and checks them
    ) -> Task:
        """A user's own model and data as a task; see :class:`xrnnbench.tasks.given.GivenTask`."""
        from .given import GivenTask  # noqa: PLC0415  # given.py derives from this class: a façade must look down late

        return GivenTask.of(model, inputs, lengths, targets, reference=reference, truth=truth, label=name, **options)

    @staticmethod
    def from_csv(
        path: str | os.PathLike[str],
        model: nn.Module | Callable[..., Any] | None = None,
        **options: Any,  # noqa: ANN401  # the fields of the task, typed and checked where they are read
    ) -> Task:
        """A CSV file as a task: with a user's own model, or with one that is trained on it.

        Args:
            path: of the file.
            model: explained with what is held out of the file, in its own units, as :meth:`from_model` does; if None,
                a network of the family is trained for each model seed.
            options: which columns hold what and how the file is written, see
                :class:`xrnnbench.tasks.readers.labelled.LabelledFile`, or, for a single long series (``forecast=…``),
                :class:`xrnnbench.tasks.series.own.SeriesFile`. Without a model also the parameters of
                :class:`xrnnbench.tasks.tabled.CsvTask` or :class:`xrnnbench.tasks.series.own.CsvForecast`; with one
                also those of :meth:`from_model`, ``vocabulary``, the token of each word of its texts, and
                ``instances``, how many sequences are explained at most (64).

        Raises:
            ParameterError: no such option, or one of another type.
            DataError: something in the file does not fit; the sentence says where, and what to do.
        """
        from .from_csv import task_from_csv  # noqa: PLC0415  # as above

        return task_from_csv(path, model, **options)
