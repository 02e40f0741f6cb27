"""Removing features and running the model again: curves, their baselines, single effects, and retraining."""
