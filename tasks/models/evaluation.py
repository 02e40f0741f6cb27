"""Held-out scores by which a model's competence is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def accuracy(scores: Tensor, targets: Tensor) -> float:
    """Share of sequences whose highest of the scores float[B, K] is that of their class int64[B]."""
    return float((scores.argmax(1) == targets).double().mean())


def majority(train: Tensor, test: Tensor) -> float:
    """Accuracy on test int64[B] of always saying the most frequent class of train int64[B]."""
    return float((test == train.bincount().argmax()).double().mean())


def r_squared(predicted: Tensor, targets: Tensor) -> float:
    """1 − squared error / variance, over all entries; 0 is what the mean of the targets reaches."""
    residual = (targets.double() - predicted.double()).square().sum()
    return float(1 - residual / (targets.double() - targets.double().mean()).square().sum())


def auroc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counted half.

    Args:
        scores: float[N].
        labels: bool[N] or int64[N] of 0 and 1, both present.
    """
    _, place, count = scores.double().unique(return_inverse=True, return_counts=True)
    ranks = (count.cumsum(0) - (count.double() - 1) / 2)[place]
    positive = labels.bool()
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def pearson(left: Tensor, right: Tensor) -> float:
    """Pearson's correlation of two tensors of one shape, over all entries."""
    return float(torch.corrcoef(torch.stack([left.double().flatten(), right.double().flatten()]))[0, 1])
