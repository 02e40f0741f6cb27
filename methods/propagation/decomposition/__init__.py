"""Contextual decomposition for recurrent networks: a module's score in what a span made and what the rest made."""

from __future__ import annotations

from . import choices, layers, rules
from .propagation import Decomposition, decompose

__all__ = ["Decomposition", "choices", "decompose", "layers", "rules"]
