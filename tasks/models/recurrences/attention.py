"""Implicit attention of linear recurrences: with which weights the steps of a sequence enter the states."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from .layer import LinearRecurrentLayer

if TYPE_CHECKING:
    from .layer import RecurrentLayer
    from .stack import RecurrentStack


def is_linear(stack: RecurrentStack) -> bool:
    """Whether all layers of a stack are linear in their states."""
    return all(isinstance(layer, LinearRecurrentLayer) for layer in stack.layers)


def attention_of_stack(stack: RecurrentStack, inputs: Tensor, read: list[Tensor], *, norms: bool) -> Tensor:
    """Share float[n] of each step of one sequence in what is read of the last layer's states; they sum to 1.

    The weights of a layer are the means over its channels of the absolute weights, and each step's weights of the steps
    up to it are scaled to sum to 1. Stacked layers are multiplied (rollout), both directions of a layer averaged.

    Args:
        stack: layers that are linear in their states.
        inputs: float[n, D].
        read: for each direction float[n], the share of each of its states in what is read; all of them sum to 1.
        norms: whether a weight is multiplied by the norm of the value that it weighs.

    Source: Ali, Zimerman & Wolf 2024, "The Hidden Attention of Mamba Models" (arXiv:2403.01590), section 3; rollout:
    Abnar & Zuidema 2020, without skip connections, which these layers do not have.
    """
    below, features = [], inputs
    for number in range(stack.num_layers):
        layers = [stack.direction(direction)[number] for direction in range(2 if stack.bidirectional else 1)]
        matrices = [_matrix(layer, features, way, norms=norms) for way, layer in enumerate(layers)]
        if number + 1 < stack.num_layers:
            below.append(cast("Tensor", sum(matrices)) / len(matrices))
            features = torch.cat(
                [_turned(layer(_turned(features, way)[None])[0], way) for way, layer in enumerate(layers)], 1
            )
    shares = cast("Tensor", sum(share @ matrix for share, matrix in zip(read, matrices, strict=True)))
    for matrix in reversed(below):
        shares = shares @ matrix
    return shares


def _matrix(layer: RecurrentLayer, features: Tensor, direction: int, *, norms: bool) -> Tensor:
    """Weights float[n, n] of the steps (columns) in the states (rows) of one layer; each row sums to 1."""
    mixing = cast("LinearRecurrentLayer", layer).mixing(_turned(features, direction))
    weights = mixing.weights.abs()
    if norms:
        weights = weights * mixing.values.norm(dim=2)
    matrix = weights.mean(2)
    total = matrix.sum(1, keepdim=True)
    # a step that mixes nothing is at least its own
    own = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    matrix = torch.where(total > 0, matrix / total.clamp(min=torch.finfo(matrix.dtype).tiny), own)
    return matrix.flip(0, 1) if direction else matrix


def _turned(steps: Tensor, direction: int) -> Tensor:
    """Steps in the order in which a direction reads them."""
    return steps.flip(0) if direction else steps
