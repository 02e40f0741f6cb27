"""Mask training: the model is taught what missing features are before it is asked about them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...errors import ParameterError
from ...plugins import register
from .base import Intervention
from .mask_training import mask_trained, unfit

if TYPE_CHECKING:
    from ..subject import Subject


@register
@dataclass(frozen=True)
class MaskTrained(Intervention):
    """The reference, asked of the model after it was trained on with features missing at random.

    The other interventions mix what features are worth with how the model takes to sequences it has never met. Here
    it has met them: the check whether an order of methods comes from the latter. It is another model that is asked,
    close to the one that is explained; needs a task that can train its model again, which is done once for a model.

    Args:
        share: the largest share of a training sequence's features that is removed.
        epochs: passes over the training data.

    Source: Zheng et al. 2024 (F-Fidelity), arXiv:2410.02970, §4; Hase et al. 2021, arXiv:2106.00786, §4.
    """

    name: ClassVar[str] = "mask-trained"
    source: ClassVar[str] = "Zheng et al. 2024, arXiv:2410.02970, §4; Hase et al. 2021, arXiv:2106.00786, §4"

    share: float = 0.5
    epochs: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1 or self.epochs < 1:
            raise ParameterError(
                f"mask-trained: share={self.share}, epochs={self.epochs} does not fit; the share is above 0 and at "
                "most 1, and there is at least one epoch."
            )

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        return unfit(subject)

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        trained = mask_trained(subject, self.share, self.epochs)
        return (dataclasses.replace(trained, cost=subject.cost),)
