"""Mask training: fine-tuning of a model on inputs from which features are removed at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ParameterError, UnsupportedModelError
from ...fingerprints import seed_from
from ..data.masking import features_of, random_removal, replaced

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..data.batch import Batch, Granularity
    from ..models.retraining import Retraining
    from ..subject import Subject


def unfit(subject: Subject) -> str:
    """Return the reason why the model of a subject cannot be trained again; empty if it can."""
    if subject.retraining is None:
        return "the task cannot train its model again"
    if subject.retraining.train.tokens != subject.batch.tokens:
        return "its inputs are embeddings here, but its model is trained on tokens"
    return ""


def retraining_of(subject: Subject) -> Retraining:
    """The retraining of a subject: its training data, network and recipe.

    Raises:
        UnsupportedModelError: the task does not offer it (see :func:`unfit`).
    """
    if (reason := unfit(subject)) or subject.retraining is None:
        raise UnsupportedModelError(f"{subject.label} cannot be judged or explained by training models: {reason}.")
    return subject.retraining


def mask_trained(subject: Subject, share: float, epochs: int) -> Subject:
    """The subject with its model fine-tuned under random masking, so that removed features are in distribution.

    In every minibatch each sequence of n features loses a random subset of them, whose size is drawn uniformly from 0
    to ⌈share·n⌉. Removed features take the reference's value. Features are steps or cells, according to the subject's
    granularity. A model is fine-tuned once, and the result is kept with its retraining.

    Args:
        subject: the subject whose model is fine-tuned; batch, target and reference stay the same.
        share: the largest share of features removed, above 0 and at most 1.
        epochs: passes over the training data.

    Raises:
        ParameterError: share or epochs do not fit.
        UnsupportedModelError: the task cannot train its model again.
    """
    if not 0 < share <= 1 or epochs < 1:
        raise ParameterError(
            f"Mask training with share={share} and epochs={epochs} does not fit: the share must be above 0 and at most "
            "1, and there must be at least one epoch."
        )
    retraining = retraining_of(subject)
    granularity: Granularity = subject.granularity or "step"
    key = "mask training", share, epochs, granularity

    def make_batch(batch: Batch, rng: torch.Generator) -> Batch:
        removed = random_removal(features_of(batch, granularity), share, rng)
        return replaced(batch, removed, retraining.reference_of(batch))

    def fine_tune() -> nn.Module:
        return retraining.tune(subject.model, make_batch, seed_from(*key), epochs)

    return subject.with_model(retraining.once(subject.model, key, fine_tune))
