"""Stability metrics: similarity of the explanations of similar inputs, with other seeds and of other models."""
