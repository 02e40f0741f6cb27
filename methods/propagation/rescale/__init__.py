"""DeepLIFT's Rescale rule for recurrent networks: exact multipliers for any module, operation by operation."""

from __future__ import annotations

from . import layers, rules
from .propagation import multipliers

__all__ = ["layers", "multipliers", "rules"]
