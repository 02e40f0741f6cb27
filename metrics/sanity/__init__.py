"""Sanity checks: whether an attribution depends on the parameters and the labels of the model."""
