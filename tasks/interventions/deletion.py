"""Deletion: nothing is put in the place of a step that is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...plugins import register
from .base import Intervention

if TYPE_CHECKING:
    from ..engine.variants import Removal, Variants
    from ..subject import Subject


@register
@dataclass(frozen=True)
class Delete(Intervention):
    """The step is taken out and what followed moves up: the sequence is shorter.

    Whole steps only, also where others remove cells. A sequence cannot have no step at all: where all are removed, one
    of the reference remains. Models that take one length only cannot be asked, nor those whose context speaks of each
    cell, as in ``rare-feature``: it would not move up with the steps.

    Source: Li, Monroe & Jurafsky 2016, arXiv:1612.08220, eq. 5.
    """

    name: ClassVar[str] = "delete"
    whole_steps: ClassVar[bool] = True
    source: ClassVar[str] = "Li, Monroe & Jurafsky 2016, arXiv:1612.08220, eq. 5"

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        shape = subject.batch.inputs.shape
        for name, value in subject.batch.context.items():
            if value.dim() == 3 and value.shape == shape:
                return f"its context {name!r} speaks of each cell and would not move up with the steps"
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (subject,)

    def variants(self, removal: Removal) -> Variants:
        """See :meth:`Intervention.variants`."""
        return removal.deleted()
