"""Sentence about the failed cells of a run: how many, the first reason with its place, and how many others."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from ...error_places import is_expected, place_in
from ...errors import UnknownNameError
from ...plugins import find

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..results.cells import Cell, Failure, Key, PluginInfo
    from .run import Run


class _Failed(NamedTuple):
    """A failure with the plug-ins that may be at fault.

    Attributes:
        who: what failed, in words.
        failure: the failure.
        plugins: the plug-ins.
    """

    who: str
    failure: Failure
    plugins: tuple[PluginInfo, ...]


def failed_cells(run: Run) -> str:
    """Sentences about the failed cells of a run; empty if there are none."""
    cells = [(key, cell) for key, cell in run.cells.items() if cell is not None]
    failed = [each for key, cell in cells for each in _failures(key, cell, run.axes.metrics)]
    if not failed:
        return ""
    kinds = len({(each.failure.kind, each.failure.sentence) for each in failed})
    others = f" There are {kinds} different failures." if kinds > 1 else ""
    return (
        f"{run.failed} of {len(run.cells)} cells failed; the board says why, and running it again tries them again. "
        f"The first: {_reason(failed[0])}{others}"
    )


def _failures(key: Key, cell: Cell, metrics: tuple[PluginInfo, ...]) -> Iterator[_Failed]:
    """Failure of the method of a cell, or else the failures of the metrics."""
    place = f"task {key.task.spec!r} (model seed {key.model_seed})"
    if cell.failure is not None:
        # a cell without fingerprints has no model
        who = f"method {key.method.spec!r} on {place}" if cell.fingerprints.model else f"the model of {place}"
        yield _Failed(who, cell.failure, (key.task, key.method))
        return
    for metric in metrics:
        record = cell.record(metric)
        if record is not None and record.failure is not None:
            who = f"metric {metric.spec!r} of method {key.method.spec!r} on {place}"
            yield _Failed(who, record.failure, (key.task, key.method, metric))


def _reason(failed: _Failed) -> str:
    """A failure in a sentence; that of an unexpected exception has the place in the author's own file."""
    failure = failed.failure
    place = None if is_expected(failure.kind) else place_in(failure.traceback, *_classes(failed.plugins))
    if place is None:
        return f"{failed.who}: {failure}{'' if failure.sentence.endswith('.') else '.'}"
    return f"{failed.who}: {failure} ({place})."


def _classes(plugins: tuple[PluginInfo, ...]) -> Iterator[type]:
    """Classes of plug-ins; one that was given as an instance may not be registered."""
    for plugin in plugins:
        with contextlib.suppress(UnknownNameError):
            yield find(plugin.identity["kind"], plugin.identity["name"])
