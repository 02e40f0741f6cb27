"""Gradient methods: saliency, gradient × input, integrated gradients, and expectations over baselines or noise."""
