"""Surrogate methods: a simple model, or a game of coalitions, fitted around one sequence."""
