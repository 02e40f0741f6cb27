"""Old module paths that plug-ins may still import, and where their content is now.

Each import of an old path gives the module of the new path and a :class:`DeprecationWarning`. The table goes with
version 0.3.
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

# Old path: new path, both below the package; of a package also everything in it.
MOVED: Final[Mapping[str, str]] = {
    "harness.cells": "harness.results.cells",
    "harness.measuring": "harness.execution.time_and_memory",
    "harness.run": "harness.execution.run",
    "harness.suite": "harness.suites.suite",
    "methods.gradients": "methods.gradient.gradients",
    "metrics.curves": "metrics.removal.curves",
    "metrics.effects": "metrics.removal.effects",
    "metrics.features": "metrics.removal.features",
    "tasks.batching": "tasks.engine.batching",
    "tasks.calling": "tasks.engine.calling",
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
    """Finds the modules of :data:`MOVED`; asked first, so that a module of a moved package is not loaded twice."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002  # the import system hands it over
        target: ModuleType | None = None,  # noqa: ARG002  # as above
    ) -> ModuleSpec | None:
        """See :meth:`importlib.abc.MetaPathFinder.find_spec`."""
        new = _new_path(fullname.removeprefix(f"{_ROOT}."))
        return ModuleSpec(fullname, _MovedLoader(f"{_ROOT}.{new}")) if new else None


def _new_path(old: str) -> str:
    """The new path of a module, below the package; empty if it did not move."""
    if old in MOVED:
        return MOVED[old]
    parent, _, name = old.rpartition(".")
    new = _new_path(parent) if parent else ""
    return f"{new}.{name}" if new else ""


class _MovedLoader(Loader):
    """Puts the module of the new path in the place of the old one, so that classes exist once."""

    def __init__(self, new: str) -> None:
        self._new = new

    def exec_module(self, module: ModuleType) -> None:
        """See :meth:`importlib.abc.Loader.exec_module`."""
        old = module.__name__
        warnings.warn(f"{old} is now {self._new}: import it from there.", DeprecationWarning, stacklevel=2)
        # the import system hands out whatever stands in sys.modules afterwards
        sys.modules[old] = importlib.import_module(self._new)


def install() -> None:
    """Make the old paths importable; done once by the package."""
    if not any(isinstance(finder, _MovedFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MovedFinder())
