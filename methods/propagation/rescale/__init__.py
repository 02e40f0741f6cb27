"""DeepLIFT's Rescale rule for recurrent networks: exact multipliers for any module, operation by operation."""

from __future__ import annotations

from . import decisions, elementwise, layers, maxima, normalisations, orders, path, products, selections, softmax
from .propagation import multipliers

__all__ = [
    "decisions",
    "elementwise",
    "layers",
    "maxima",
    "multipliers",
    "normalisations",
    "orders",
    "path",
    "products",
    "selections",
    "softmax",
]
