"""Deprecated module paths that plug-ins may still import, and the modules that replace them.

Importing an old path returns the module of the new path and issues a :class:`DeprecationWarning`. The table will be
removed in version 0.3.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

# Old path: new path, both relative to the package; the entry of a package covers all modules in it.
MOVED: Final[Mapping[str, str]] = {
    "harness.cells": "harness.results.cells",
    "harness.measuring": "harness.execution.steps.time_and_memory",
    "harness.pytestplugin": "harness.gate.pytest_plugin",
    "harness.run": "harness.execution.run",
    "harness.suite": "harness.suites.suite",
    "methods.gradients": "methods.gradient.gradients",
    "metrics.curves": "metrics.removal.curves",
    "metrics.effects": "metrics.removal.effects",
    "metrics.features": "metrics.removal.features",
    "tasks.batching": "tasks.engine.batching",
    "tasks.calling": "tasks.engine.signature",
    "tasks.beginnings": "tasks.engine.prefix_tree",
    "tasks.cost": "tasks.engine.cost",
    "tasks.conversion": "tasks.custom.arrays",
    "tasks.given": "tasks.custom.given",
    "tasks.isolation": "tasks.engine.isolation",
    "tasks.known": "tasks.builtin.synthetic",
    "tasks.masking": "tasks.data.masking",
    "tasks.prints": "tasks.engine.hashing",
    "tasks.readers.archives": "tasks.downloads.unpacking",
    "tasks.readers.downloads": "tasks.downloads.locate",
    "tasks.readers.sources": "tasks.downloads.catalogue",
    "tasks.retraining": "tasks.models.retraining",
    "tasks.scores": "tasks.models.evaluation",
    "tasks.series": "tasks.builtin.series",
    "tasks.series.own": "tasks.custom.csv_forecast",
    "tasks.sharing": "tasks.engine.shared_prefixes",
    "tasks.tabled": "tasks.custom.csv_task",
    "tasks.text": "tasks.builtin.text",
    "tasks.translation": "tasks.builtin.translation",
    "tasks.translation.own": "tasks.custom.parallel_text",
    "tasks.variants": "tasks.engine.variants",
}
_ROOT: Final = __package__


class _MovedFinder(MetaPathFinder):
    """Import finder for the modules of :data:`MOVED`.

    It comes first in ``sys.meta_path``, so that a module of a moved package is not loaded twice.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the import system passes it
        target: ModuleType | None = None,  # noqa: ARG002  # as above
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        # a package of somebody else's may be named metrics.curves, too
        new = _new_path(fullname.removeprefix(f"{_ROOT}.")) if fullname.startswith(f"{_ROOT}.") else ""
        return ModuleSpec(fullname, _MovedLoader(f"{_ROOT}.{new}")) if new else None


def _new_path(old: str) -> str:
    """The new path of a module, relative to the package; empty if it did not move."""
    if old in MOVED:
        return MOVED[old]
    parent, _, name = old.rpartition(".")
    new = _new_path(parent) if parent else ""
    return f"{new}.{name}" if new else ""


class _MovedLoader(Loader):
    """Import loader that returns the module of the new path for the old one, so that each class exists once."""

    def __init__(self, new: str) -> None:
        self._new = new

    def exec_module(self, module: ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""
        old = module.__name__
        warnings.warn(f"{old} is now {self._new}: import it from there.", DeprecationWarning, stacklevel=2)
        # the import system returns the entry of sys.modules
        sys.modules[old] = importlib.import_module(self._new)


def install() -> None:
    """Make the old paths importable; the package calls this once, when it is imported."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedFinder())
