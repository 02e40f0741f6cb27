"""The conformance kit for metrics, and the attributions with known scores that it uses."""

from .kit import check_metric

__all__ = ["check_metric"]
