"""How features of a subject are removed: by which intervention, in its views, as steps or as cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...tasks.data.batch import Granularity
from ...tasks.engine.variants import Masked
from ...tasks.interventions.base import Intervention, intervention, views_of
from ...tasks.subject import Subject
from .outcomes import evidence_sign

if TYPE_CHECKING:
    from ...methods.base import Attribution
    from ...tasks.engine.variants import Removal, Variants
    from ..base import Evidence, Probes


@dataclass(frozen=True, eq=False)
class Removing:
    """One way of removing features.

    Attributes:
        subject: whose features.
        by: the intervention.
        views: the subjects that are asked; what they say counts as a mean.
        granularity: whether steps or cells are removed.
        valid: bool[B, N], the features there are.
        sign: float64[B], that of evidence.
    """

    subject: Subject
    by: Intervention
    views: tuple[Subject, ...]
    granularity: Granularity
    valid: Tensor
    sign: Tensor

    def lacking(self, keep: Tensor, instance: Tensor) -> Variants:
        """The variants of instances int64[V] that keep the features bool[V, N] only."""
        shape = (
            self.subject.batch.inputs.shape[1:2] if self.granularity == "step" else self.subject.batch.inputs.shape[1:]
        )
        return self.without(Masked(keep.view(-1, *shape), instance))

    def without(self, removal: Removal) -> Variants:
        """The variants that lack what a removal says."""
        return self.by.variants(removal)

    def raw(self, variants: Variants) -> Tensor:
        """float64[V]: s·f of variants, f being the raw explained output (logit or value); the mean over the views."""
        scores = torch.stack([view.scores(variants).double() for view in self.views])
        return scores.mean(0) * self.sign[variants.instance]

    @property
    def whole(self) -> Tensor:
        """float64[B]: s·f(x), raw, of the views; their outputs for the sequences themselves are known."""
        return torch.stack([view.score.double() for view in self.views]).mean(0) * self.sign

    @property
    def outputs(self) -> int:
        """K."""
        return self.subject.batch_outputs.shape[1]


def removing(shared: Probes, by: str, granularity: Granularity) -> Removing:
    """A way of removing features; its views are made once for a subject, whatever the method.

    Args:
        shared: the probes of the subject.
        by: spec of the intervention. One that removes whole steps only does so also where cells are told apart.
        granularity: of the attribution.
    """
    subject, chosen = shared.subject, intervention(by)
    views = shared.get(("views", chosen.spec), lambda found: views_of(found, chosen))
    level: Granularity = "step" if chosen.whole_steps else granularity
    return Removing(subject, chosen, views, level, subject.features(level), evidence_sign(subject))


def removing_for(evidence: Evidence, by: str) -> Removing:
    """How the features of an attribution are removed."""
    return removing(evidence.shared, by, evidence.attribution.granularity)


def values_of(attribution: Attribution, granularity: Granularity) -> Tensor:
    """float64[B, N]: the attribution of each feature that is removed; of a step, the sum over its cells."""
    return flat(attribution, granularity).double()


def flat(attribution: Attribution, granularity: Granularity) -> Tensor:
    """The same as the method gave it, float[B, N]: no copy."""
    return (attribution.steps if granularity == "step" else attribution.values).flatten(1)
