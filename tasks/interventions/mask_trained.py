"""Mask training as an intervention: the model is fine-tuned on masked inputs before features are removed."""

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
    """Replacement by the reference, evaluated on the model after fine-tuning with features removed at random.

    Under the other interventions a score mixes the worth of the features with the model's response to inputs unlike
    any it was trained on. Here the model was trained on such inputs, so this intervention checks whether an order of
    methods comes from that response. The evaluated model is another one, close to the explained one. The task has to
    be able to train its model again, which is done once for each model.

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
                f"mask-trained: share={self.share}, epochs={self.epochs} does not fit; the share must be above "
                "0 and at most 1, and there must be at least one epoch."
            )

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        return unfit(subject)

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        trained = mask_trained(subject, self.share, self.epochs)
        return (dataclasses.replace(trained, cost=subject.cost),)
