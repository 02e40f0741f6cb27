"""Batches of sequences with their targets and truths, and the random removal of their features."""

from .batch import Batch, Competence, Granularity, Names, Outputs, Truth

__all__ = ["Batch", "Competence", "Granularity", "Names", "Outputs", "Truth"]
