"""Interventions: the ways to remove a feature from an input, each a plug-in."""
