"""What a task is: data and a model trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..plugins import Plugin

if TYPE_CHECKING:
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
        trainable: whether each model seed gives another model; if not, only the first seed is run.
    """

    kind: ClassVar[str] = "task"
    application: ClassVar[str] = ""
    source: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    citation: ClassVar[str] = ""
    extra: ClassVar[str] = ""
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
