"""Metrics: evaluation of explanations."""
