"""Conformance checks of a plug-in by the kit of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...methods.conformance import check_method
from ...metrics.conformance.kit import check_metric
from ...plugins import build
from ...tasks.conformance import check_task
from ...tasks.interventions.conformance import check_intervention
from .plugin_facts import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...conformance import Finding

_KITS: dict[str, Callable[[Any], list[Finding]]] = {
    "task": check_task,
    "method": check_method,
    "metric": check_metric,
    "intervention": check_intervention,
}


def check_plugin(spec: str, kind: str = "") -> list[Finding]:
    """Check every promise of a plug-in's contract.

    Args:
        spec: ``name``, ``name:key=value`` or ``path/to/file.py:Class``.
        kind: kind of the plug-in; needed only if several kinds have that name.

    Returns:
        one finding for each promise.

    Raises:
        UsageError: there is no such plug-in.
    """
    kind = kind_of(spec, kind)
    return _KITS[kind](build(kind, spec))
