"""Removal of features: removal curves and their baselines, effects of features and subsets, and retraining."""
