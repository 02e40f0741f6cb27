"""Attention as explanation."""
