"""Merging of runs that were computed on several machines."""
