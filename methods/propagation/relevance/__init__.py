"""Layer-wise relevance propagation for any recurrent module: relevance is propagated operation by operation."""

from __future__ import annotations

from . import layers, linearised, logarithms, normalisations, products, rules, sums
from .propagation import Relevances, relevances
from .shares import Product, Shares

__all__ = [
    "Product",
    "Relevances",
    "Shares",
    "layers",
    "linearised",
    "logarithms",
    "normalisations",
    "products",
    "relevances",
    "rules",
    "sums",
]
