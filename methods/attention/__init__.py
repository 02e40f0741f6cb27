"""Attention methods: explanations read from the attention weights of the model."""
