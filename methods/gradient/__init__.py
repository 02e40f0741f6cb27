"""Gradient methods: saliency, gradient × input, integrated gradients, expected gradients and SmoothGrad."""
