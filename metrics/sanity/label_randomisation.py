"""Label randomisation: similarity of the explanations of a model and of one that was trained on shuffled labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch

from ...fingerprints import seed_from
from ...plugins import register
from ...tasks.interventions.mask_training import retraining_of
from ..base import Direction, Evidence, Family, Metric
from ..ranking.order_statistics import spearman

if TYPE_CHECKING:
    from torch import Tensor

    from ...tasks.data.batch import Batch
    from ...tasks.subject import Subject


@register
@dataclass(frozen=True)
class LabelRandomisation(Metric):
    """Rank correlation with the explanation of a model that was trained on shuffled labels (data randomisation test).

    Spearman's ρ over the valid features of a sequence between the two attributions of the same output, |Φ| each, or Φ
    with ``sign``. The other model is trained by the same recipe on the same training sequences, whose targets are
    randomly permuted (targets by step among all valid steps). It cannot have learnt the task. A method that explains
    both models alike explains the data or the architecture. Lower is better; 1 for a method that ignores the model,
    about 0 for unrelated maps.

    NaN where either attribution is constant, which includes sequences of one feature. How well the other model fits its
    labels depends on the recipe: it may have memorised them or learnt almost nothing. In both cases a map that stays
    the same does not reflect the task.

    Cost: one training, shared by all methods, and one more explanation of each sequence.

    Args:
        sign: whether to compare Φ instead of |Φ|.

    Source: Adebayo et al. 2018, §3.2 (data randomisation test), with the rank correlation of §3.
    """

    name: ClassVar[str] = "label-randomisation"
    family: ClassVar[Family] = "sanity"
    direction: ClassVar[Direction] = "lower"
    low: ClassVar[float] = -1.0
    high: ClassVar[float] = 1.0
    needs_retraining: ClassVar[bool] = True
    source: ClassVar[str] = "Adebayo et al. 2018, arXiv:1810.03292 (data randomisation test)"

    sign: bool = False

    def score(self, evidence: Evidence) -> Tensor:
        """See the class."""
        subject = evidence.subject
        other = subject.with_model(evidence.shared.get("model of shuffled labels", _model_of_shuffled_labels).model)
        attributions = [evidence.attribution.values, evidence.explainer.explain(other, evidence.seed).values]
        sides = [(attribution if self.sign else attribution.abs()).flatten(1) for attribution in attributions]
        return spearman(sides[0], sides[1], subject.features(evidence.attribution.granularity))


def _model_of_shuffled_labels(subject: Subject) -> Subject:
    """The subject with a model that was trained on shuffled labels."""
    retraining = retraining_of(subject)
    rng = torch.Generator().manual_seed(seed_from("shuffled labels"))
    model = retraining.fit(shuffled(retraining.train, rng), seed_from("model of shuffled labels"))
    return subject.with_model(model)


def shuffled(batch: Batch, rng: torch.Generator) -> Batch:
    """Batch with randomly permuted targets; targets by step are permuted among all valid steps."""
    targets = batch.targets.clone()
    labelled = batch.valid if targets.dim() == 2 and not targets.is_floating_point() else torch.ones(len(batch)).bool()
    targets[labelled] = targets[labelled][torch.randperm(int(labelled.sum()), generator=rng)]
    return replace(batch, targets=targets, truths={})
