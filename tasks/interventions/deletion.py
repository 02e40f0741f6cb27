"""Deletion: a removed step is taken out of the sequence, and nothing replaces it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ...plugins import register
from ..engine.signature import PADDING
from .base import Intervention

if TYPE_CHECKING:
    from ..engine.variants import Removal, Variants
    from ..subject import Subject


@register
@dataclass(frozen=True)
class Delete(Intervention):
    """Deletion of steps: a removed step is taken out, the later steps move up, and the sequence gets shorter.

    Only whole steps are removed, even where other interventions remove cells. A sequence cannot be empty: where all
    steps are removed, one step of the reference remains. The context of a user's model that runs along the steps moves
    up with them. Deletion does not fit models that take one length only, nor models with another context that has a
    value for each cell, as in ``rare-feature``.

    Source: Li, Monroe & Jurafsky 2016, arXiv:1612.08220, eq. 5.
    """

    name: ClassVar[str] = "delete"
    whole_steps: ClassVar[bool] = True
    source: ClassVar[str] = "Li, Monroe & Jurafsky 2016, arXiv:1612.08220, eq. 5"

    def unfit(self, subject: Subject) -> str:
        """See :meth:`Intervention.unfit`."""
        shape, adapter = subject.batch.inputs.shape, subject.adapter
        if subject.batch.layout is not None:
            return "the model has several inputs, whose steps cannot be taken out"
        if adapter is not None and adapter.undecided:
            name = min(adapter.undecided)
            return f"its context {name!r} may run along the steps or not; say along=({name!r},) or along=()"
        moved = {PADDING} | (frozenset() if adapter is None else adapter.along)
        for name, value in subject.batch.context.items():
            if name not in moved and value.dim() == 3 and value.shape == shape:
                return f"its context {name!r} has a value for each cell and would not move up with the steps"
        return ""

    def views(self, subject: Subject) -> tuple[Subject, ...]:
        """See :meth:`Intervention.views`."""
        return (subject,)

    def variants(self, removal: Removal) -> Variants:
        """See :meth:`Intervention.variants`."""
        return removal.deleted()
