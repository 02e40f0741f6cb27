"""Contextual decomposition for recurrent networks: a module's score as the sum of a relevant and an irrelevant part."""

from __future__ import annotations

from . import choices, joint, layers, rules
from .propagation import Decomposition, decompose

__all__ = ["Decomposition", "choices", "decompose", "joint", "layers", "rules"]
