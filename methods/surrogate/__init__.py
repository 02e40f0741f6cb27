"""Surrogate methods: LIME and Shapley values, computed from perturbed copies of one sequence."""
