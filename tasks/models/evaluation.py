"""Held-out scores that measure a model's competence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(scores: Tensor, targets: Tensor) -> float:
    """Accuracy: the share of sequences whose highest score is that of their class.

    Args:
        scores: float[B, K].
        targets: int64[B], the classes.
    """
    return float((scores.argmax(1) == targets).double().mean())


def balanced_accuracy(scores: Tensor, targets: Tensor) -> float:
    """Balanced accuracy: the mean, over the classes that occur, of the share of their sequences that are recognised.

    Args:
        scores: float[B, K].
        targets: int64[B], the classes.
    """
    from sklearn.metrics import recall_score  # noqa: PLC0415  # loading it takes a second, which most tasks do not need

    # not balanced_accuracy_score: it warns of predicted classes that do not occur
    occurring = targets.unique().numpy()
    return float(recall_score(targets.numpy(), scores.argmax(1).numpy(), labels=occurring, average="macro"))


def majority(train: Tensor, test: Tensor) -> float:
    """Accuracy of the majority class on test int64[B]: always predict the most frequent class of train int64[B]."""
    return float((test == train.bincount().argmax()).double().mean())


def r_squared(predicted: Tensor, targets: Tensor) -> float:
    """Coefficient of determination R²: 1 − squared error / variance, over all entries.

    Predicting the mean of the targets scores 0; predictions that are not finite score NaN.
    """
    if not torch.isfinite(predicted).all():
        return math.nan
    from sklearn.metrics import r2_score  # noqa: PLC0415  # loading it takes a second, which most tasks do not need

    return float(r2_score(targets.double().flatten().numpy(), predicted.double().flatten().numpy()))


def auroc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the probability that a positive scores above a negative, ties counted half.

    Args:
        scores: float[N].
        labels: bool[N] or int64[N] of 0 and 1, both present.

    Returns:
        the area; NaN if a score is not finite.
    """
    if not torch.isfinite(scores).all():
        return math.nan
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415  # as above

    return float(roc_auc_score(labels.bool().numpy(), scores.double().numpy()))


def pearson(left: Tensor, right: Tensor) -> float:
    """Pearson's correlation of two tensors of the same shape, over all entries."""
    return float(torch.corrcoef(torch.stack([left.double().flatten(), right.double().flatten()]))[0, 1])
