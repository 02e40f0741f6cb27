"""What is put in the place of a feature that is removed.

A method or a metric that removes features has to say by what, because it decides what "absent" means. Each of these but
deletion is a value, so that removing is the same act with another reference: :func:`intervened` gives the subject that
has it. Deletion takes whole steps out, and is a kind of variant (:class:`xrnnbench.tasks.variants.Deleted`).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModelError

if TYPE_CHECKING:
    from .subject import Subject

Intervention = Literal["reference", "zero", "mean", "pad", "delete"]


def unfit(subject: Subject, by: Intervention) -> str:
    """Why features of a subject cannot be removed in this way, in a few words; empty if they can."""
    tokens = subject.batch.tokens
    if by == "pad" and not tokens:
        return "numbers have no padding token: remove by zero or mean"
    if by in {"zero", "mean"} and tokens and not subject.differentiable:
        return f"tokens have no {by} without an embedding: remove by pad, or by the reference"
    if by == "mean" and subject.background is None:
        return "the task has no background data to take the mean of"
    return ""


def intervened(subject: Subject, by: Intervention) -> Subject:
    """The subject in which the reference is what removes: the same model, sequences, targets and count of passes.

    Args:
        subject: what is explained.
        by: ``"reference"``, the subject's own; ``"zero"``, of numbers or of embeddings; ``"mean"``, of each feature
            over the steps of the background, or of its embeddings; ``"pad"``, the padding token.

    Raises:
        UnsupportedModelError: that cannot be (see :func:`unfit`), or is deletion, which is no value.
    """
    if reason := unfit(subject, by):
        raise UnsupportedModelError(f"{subject.label} cannot be explained by removing features by {by}: {reason}.")
    if by == "delete":
        raise UnsupportedModelError("Deletion puts nothing in a step's place: take variants that are shorter.")
    if by == "reference":
        return subject
    if by == "pad":
        return dataclasses.replace(subject, reference=torch.full_like(subject.reference, _padding(subject)))
    view = subject.continuous()
    if by == "zero":
        return dataclasses.replace(view, reference=torch.zeros_like(view.reference))
    return dataclasses.replace(view, reference=_mean(view).expand_as(view.reference).clone())


def _padding(subject: Subject) -> int:
    """The padding token: what the model's embedding says it is, or 0."""
    known = {m.padding_idx for m in subject.model.modules() if isinstance(m, nn.Embedding)} - {None}
    return known.pop() or 0 if len(known) == 1 else 0


def _mean(view: Subject) -> Tensor:
    """float[D]: the mean of each feature over the valid steps of the background."""
    background = view.background
    if background is None:
        raise UnsupportedModelError(f"{view.label} has no background data to take the mean of.")
    found: Tensor = background.inputs[background.valid].mean(0)
    return found
