"""Models that know what it is when features are missing: trained on with some of them removed at random."""

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
    """Why the model of a subject cannot be trained again, in a few words; empty if it can."""
    if subject.retraining is None:
        return "the task cannot train its model again"
    if subject.retraining.train.tokens != subject.batch.tokens:
        return "the model is seen from its embeddings, and trained from tokens"
    return ""


def retraining_of(subject: Subject) -> Retraining:
    """How the model of a subject came about.

    Raises:
        UnsupportedModelError: nobody knows (see :func:`unfit`).
    """
    if (reason := unfit(subject)) or subject.retraining is None:
        raise UnsupportedModelError(f"{subject.label} cannot be judged or explained by training models: {reason}.")
    return subject.retraining


def mask_trained(subject: Subject, share: float, epochs: int) -> Subject:
    """The subject with its model trained on under random masking, for which removed features are then nothing new.

    In every minibatch each sequence of n features loses a number of them drawn uniformly from 0 to ⌈share·n⌉, which
    ones at random; they take the reference's value. Features are steps or cells, as the subject's granularity says.
    Made once for a model and kept with its retraining.

    Args:
        subject: whose model; batch, target and reference stay.
        share: the largest share of features removed, above 0 and at most 1.
        epochs: passes over the training data.

    Raises:
        ParameterError: share or epochs do not fit.
        UnsupportedModelError: the task cannot train its model again.
    """
    if not 0 < share <= 1 or epochs < 1:
        raise ParameterError(
            f"Masks of a share of {share} in {epochs} epochs do not fit: the share is above 0 and at most 1, and there "
            "is at least one epoch."
        )
    retraining = retraining_of(subject)
    granularity: Granularity = subject.granularity or "step"
    key = "mask training", share, epochs, granularity

    def make_batch(batch: Batch, rng: torch.Generator) -> Batch:
        gone = random_removal(features_of(batch, granularity), share, rng)
        return replaced(batch, gone, retraining.reference_of(batch))

    def make() -> nn.Module:
        return retraining.tune(subject.model, make_batch, seed_from(*key), epochs)

    return subject.with_model(retraining.once(subject.model, key, make))
