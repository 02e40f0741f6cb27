"""Perturbation methods: change one feature and watch the score."""
