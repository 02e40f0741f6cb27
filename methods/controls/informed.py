"""Controls that use the truth or search the model: bounds that methods can be compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from ...errors import ParameterError, UnsupportedModelError
from ...plugins import register
from ..base import Explainer, Need
from . import greedy_search

if TYPE_CHECKING:
    from ...tasks.data.batch import Granularity
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class Oracle(Explainer):
    """The truth of the task, if it is known: the best possible attribution by metrics that compare with the truth.

    A truth that is signed towards one of two classes is turned towards the explained class, as attributions are.

    Cost: none.
    Fails where: the model does not compute what the generator of the task did; the oracle's faithfulness is then below
        that of other methods.
    """

    name: ClassVar[str] = "oracle"
    group: ClassVar[str] = "control"
    needs: ClassVar[frozenset[Need]] = frozenset({"truth"})

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        truth = subject.batch.truth
        if truth is None:
            raise UnsupportedModelError(f"The oracle needs a truth, and {subject.label} has none.")
        values = truth.turned(subject.target).to(torch.get_default_dtype())
        return values.sum(2) if values.dim() == 3 and subject.granularity == "step" else values  # [B, T, D]


@register
@dataclass(frozen=True)
class Greedy(Explainer):
    """Greedy search for the order of removal that lowers the score fastest, under a budget of model rows.

    The order approximates the best possible deletion curve. A method with a better curve has found features that the
    search of the model itself did not find. Of n features, the first one removed has the value n, the last one 1.

    Parameters:
        budget: model rows for each sequence. Where n ≤ budget, the search tries all remaining features budget // n
            times along the curve; where n is larger, it tries groups of neighbouring features.

    Cost: at most budget forward sequence-equivalents for each sequence, or n if that is more than half of it.
    Fails where: features can replace each other; where there are so many features that a few of them do not move the
        score; and for every use but ranking.
    """

    name: ClassVar[str] = "greedy"
    group: ClassVar[str] = "control"
    signed: ClassVar[bool] = False

    budget: int = 1024

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ParameterError(f"greedy: budget={self.budget} does not fit (at least 1).")

    def attribute(self, subject: Subject, rng: torch.Generator) -> Tensor:  # noqa: ARG002  # nothing random
        """See :meth:`Explainer.attribute`."""
        granularity = cast("Granularity", subject.granularity)
        n = subject.features(granularity).sum(1)
        values = torch.zeros(len(subject), subject.valid[0].numel())
        for count in n.unique().tolist():
            # the points of the curve depend on n, so sequences with equally many features are searched together
            chunk = (n == count).nonzero().squeeze(1)
            grid = torch.arange(count + 1).expand(len(subject), -1)
            ranks, _ = greedy_search.removal_ranks(subject, granularity, chunk, grid, self.budget)
            values[chunk] = (count - ranks).to(values.dtype)
        return values.view(subject.shape)
