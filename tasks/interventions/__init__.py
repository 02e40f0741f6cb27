"""Interventions: what is put in the place of a feature that is removed, each a plug-in."""
