"""Execution of a grid: missing results, building of models, explaining and scoring of cells, and publishing."""
