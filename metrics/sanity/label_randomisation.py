"""Relabelling: does an explanation tell a model that learnt from one that was taught nonsense?"""

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
    """How alike a method explains the model and one that was trained on shuffled labels (data randomisation test).

    Spearman's ρ over the valid features of a sequence between the two attributions of the same output, |Φ| each, or Φ
    with ``sign``. The other model comes from the same recipe and the same training sequences, whose targets were dealt
    out anew among them (of targets by step, among all valid steps): whatever it has learnt is not the task. A method
    that explains it as it explains the first explains the data or the architecture. Lower is better; 1 for a method
    that ignores the model, about 0 for unrelated maps.

    NaN where either attribution is constant, and so for sequences of one feature. How far the other model fits its
    labels depends on the recipe: it may have learnt them by heart or next to nothing, and in either case a map that
    stays the same is not about the task.

    Cost: one training, shared by all methods, and one more explanation of each sequence.

    Args:
        sign: whether Φ itself is compared instead of its size.

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
        other = subject.with_model(evidence.shared.get("model of shuffled labels", _misled).model)
        values = [evidence.attribution.values, evidence.explainer.explain(other, evidence.seed).values]
        sides = [(found if self.sign else found.abs()).flatten(1) for found in values]
        return spearman(sides[0], sides[1], subject.features(evidence.attribution.granularity))


def _misled(subject: Subject) -> Subject:
    """The question put to a model that was trained on shuffled labels."""
    retraining = retraining_of(subject)
    rng = torch.Generator().manual_seed(seed_from("shuffled labels"))
    model = retraining.fit(shuffled(retraining.train, rng), seed_from("model of shuffled labels"))
    return subject.with_model(model)


def shuffled(batch: Batch, rng: torch.Generator) -> Batch:
    """The same sequences with the same targets, dealt out anew; of targets by step, those of all valid steps."""
    targets = batch.targets.clone()
    there = batch.valid if targets.dim() == 2 and not targets.is_floating_point() else torch.ones(len(batch)).bool()
    targets[there] = targets[there][torch.randperm(int(there.sum()), generator=rng)]
    return replace(batch, targets=targets, truths={})
