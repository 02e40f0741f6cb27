"""Removal of features from a subject: by an intervention, as whole steps or as single cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...tasks.data.batch import Granularity
from ...tasks.data.masking import feature_shape
from ...tasks.engine.variants import Masked
from ...tasks.interventions.base import Intervention, intervention, views_of
from ...tasks.subject import Subject
from .outcomes import evidence_sign

if TYPE_CHECKING:
    from ...methods.base import Attribution
    from ...tasks.engine.variants import Removal, Variants
    from ..base import Evidence, Probes


@dataclass(frozen=True, eq=False)
class FeatureRemover:
    """Removes features from the sequences of a subject, and runs the model on the result.

    Attributes:
        subject: the model and the complete sequences.
        by: the intervention.
        views: the subjects whose model is run, one for each draw of the intervention; scores are means over them.
        granularity: whether steps or cells are removed.
        valid: bool[B, N], False on padding.
        sign: float64[B], the sign of evidence, see :func:`xrnnbench.metrics.removal.outcomes.evidence_sign`.
    """

    subject: Subject
    by: Intervention
    views: tuple[Subject, ...]
    granularity: Granularity
    valid: Tensor
    sign: Tensor

    def keeping(self, keep: Tensor, instance: Tensor) -> Variants:
        """Variants of instances int64[V] that keep only the features bool[V, N]."""
        shape = feature_shape(self.subject.batch, self.granularity)
        return self.without(Masked(keep.view(-1, *shape), instance))

    def without(self, removal: Removal) -> Variants:
        """Variants in which the intervention removes the features of a removal."""
        return self.by.variants(removal)

    def signed_scores(self, variants: Variants) -> Tensor:
        """Signed scores s·f of variants, float64[V]; mean over views.

        f is the raw explained output (logit or value).
        """
        scores = torch.stack([view.scores(variants).double() for view in self.views])
        return scores.mean(0) * self.sign[variants.instance]

    @property
    def unperturbed_scores(self) -> Tensor:
        """Signed scores s·f(x) of the unperturbed sequences, float64[B]; mean over views, without another model run."""
        return torch.stack([view.score.double() for view in self.views]).mean(0) * self.sign

    @property
    def outputs(self) -> int:
        """Number of model outputs, K."""
        return self.subject.batch_outputs.shape[1]


def shared_remover(shared: Probes, by: str, granularity: Granularity) -> FeatureRemover:
    """Feature remover of a subject, whose views are cached and shared by all methods.

    Args:
        shared: the cache of the subject.
        by: spec of the intervention. One that can only remove whole steps does so also for attributions over cells.
        granularity: granularity of the attribution.
    """
    subject, chosen = shared.subject, intervention(by)
    views = shared.get(("views", chosen.spec), lambda subject: views_of(subject, chosen))
    level: Granularity = "step" if chosen.whole_steps else granularity
    return FeatureRemover(subject, chosen, views, level, subject.features(level), evidence_sign(subject))


def remover_for(evidence: Evidence, by: str) -> FeatureRemover:
    """Feature remover for the granularity of an attribution."""
    return shared_remover(evidence.shared, by, evidence.attribution.granularity)


def feature_values(attribution: Attribution, granularity: Granularity) -> Tensor:
    """Attribution of each feature that can be removed, float64[B, N]; that of a step is the sum over its cells."""
    return flat_values(attribution, granularity).double()


def flat_values(attribution: Attribution, granularity: Granularity) -> Tensor:
    """Attribution of each feature as float[B, N], in the dtype of the method and without a copy."""
    return (attribution.steps if granularity == "step" else attribution.values).flatten(1)
