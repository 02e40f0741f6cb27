"""Roles of tensors in a product: which factor carries the relevance, and which one only scales it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Role(IntEnum):
    """Role of a tensor that depends on the input; in a product, the factors of the lowest role share the relevance.

    A *signal* is what anything is that is neither of the others. A *scale* is the result of an exponential, a softplus,
    a norm, a variance or a reciprocal, or is computed from scales and gates alone: exponential gates, step sizes and
    normalisers. A *gate* is the result of a sigmoid or a softmax, or is computed from gates by operations that move,
    scale, shift or add them.
    """

    SIGNAL = 0
    SCALE = 1
    GATE = 2


# Functions whose results are scales, whatever their argument.
SCALES: Final = frozenset({
    "exp", "exp2", "softplus", "sqrt", "rsqrt", "reciprocal", "norm", "linalg_norm", "linalg_vector_norm",
})  # fmt: skip
