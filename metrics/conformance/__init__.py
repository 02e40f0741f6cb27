"""Conformance kit for metrics, with the specimens and prescribed attributions that it uses."""

from .kit import check_metric

__all__ = ["check_metric"]
