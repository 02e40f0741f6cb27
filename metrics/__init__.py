"""Metrics: everything that judges an explanation."""
