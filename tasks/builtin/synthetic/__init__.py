"""Synthetic tasks with known truth: generated data, or networks with weights set by hand."""
