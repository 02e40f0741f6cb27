"""Regression gate: comparison of the attributions of a run with those of a baseline."""
