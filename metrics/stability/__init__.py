"""Stability: whether similar inputs, other seeds and other models are explained alike."""
