"""Costs of a user's own tasks and methods for a plan: sizes from their data, and trials on a few sequences."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ....errors import UsageError
from ....tasks.trained import TrainedTask
from ..guard.failures import failure_of
from ..guard.limits import Limits
from ..guard.plugin_call import PluginCall
from .calibration import MethodFigures, Shape
from .costs import Costs, Estimate
from .trial import measured_shape, tried_method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ....tasks.base import Task
    from ....tasks.subject import Subject
    from ...results.cells import PluginInfo
    from ..grid import Grid
    from ..missing_work import TaskCells

# Seconds for all trials together; what is left out then costs what such methods cost in the middle.
BUDGET: Final = 12.0
# Of one trial; a plug-in that hangs costs no more.
_TRIAL: Final = Limits(seconds=60.0)
# A training runs small batches: seconds of a pass relative to one in a large batch, the median of the calibrated tasks.
_SMALL_BATCHES: Final = 5.0


@dataclass
class _Findings:
    """What was measured for a plan; see :class:`xrnnbench.harness.execution.forecast.costs.Costs`."""

    shapes: dict[str, Shape] = field(default_factory=dict)
    trials: dict[tuple[str, str], MethodFigures | None] = field(default_factory=dict)
    trainings: dict[str, Estimate] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measured_costs(
    grid: Grid, stored: Sequence[TaskCells], speed: float, *, retrain: bool
) -> tuple[Costs, tuple[str, ...]]:
    """Costs of a grid, exact about which models are there, and with the user's own plug-ins measured.

    Args:
        grid: the grid.
        stored: the stored cells of each task, in the order of the grid.
        speed: seconds of this machine for a second of that of the calibration.
        retrain: whether models are trained anew.

    Returns:
        the costs, and sentences about what could not be measured.

    Raises:
        UsageError: the data of a task are missing, or a parameter does not fit them, as in a run.
    """
    known = Costs.of(grid.tasks, retrain=retrain)
    found = _Findings()
    unknown = [pair for pair in grid.methods if pair[0].identity.get("name") not in known.calibration.methods]
    deadline = time.perf_counter() + BUDGET
    for (info, task), cells in zip(grid.tasks, stored, strict=True):
        seeds = cells.seeds_with_work()
        if not seeds:
            continue
        try:
            if isinstance(task, TrainedTask):
                task.data()
            if unknown or not known.is_calibrated(info):
                with PluginCall(f"Task {task.name!r}", _TRIAL):
                    subject = _subject(task, seeds[0], trained=not retrain)
                    _measure_task(info, task, subject, known, speed, found)
                _try_methods(info, subject, grid, unknown, known, speed, deadline, found)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a plug-in raises
            found.notes.append(f"{info.spec} cannot be measured ({failure_of(error).kind}); it counts as a usual task.")
    costs = Costs(
        known.tasks,
        retrain=retrain,
        exact=True,
        shapes=found.shapes,
        trials=found.trials,
        trainings=found.trainings,
    )
    return costs, tuple(found.notes)


def _subject(task: Task, seed: int, *, trained: bool) -> Subject:
    """Subject of a task whose model is there, or of an untrained network."""
    if not isinstance(task, TrainedTask):
        return task.subject(seed)
    return task.subject(seed) if trained and task.available(seed) else task.untrained_subject()


def _measure_task(info: PluginInfo, task: Task, subject: Subject, known: Costs, speed: float, found: _Findings) -> None:
    """Measure the sizes of a task that is not calibrated, and estimate the training of its model."""
    if known.is_calibrated(info):
        return
    shape = measured_shape(subject)
    found.shapes[info.spec] = shape = shape.model_copy(update={"forward": shape.forward / speed})
    if isinstance(task, TrainedTask):
        sequences = len(task.data().train) * int(task.recipe.parameters()["epochs"])
        seconds = 3 * sequences * shape.forward * _SMALL_BATCHES
        found.trainings[info.spec] = Estimate(seconds, sequences, sequences)


def _try_methods(
    info: PluginInfo,
    subject: Subject,
    grid: Grid,
    unknown: Sequence[tuple[PluginInfo, object]],
    known: Costs,
    speed: float,
    deadline: float,
    found: _Findings,
) -> None:
    """Try methods that are not calibrated, and see which of the others apply to a task that is not."""
    tried = {method.spec for method, _ in unknown}
    for method_info, method in grid.methods:
        place = (info.spec, method_info.spec)
        if method_info.spec not in tried:
            if not known.is_calibrated(info) and method.applicable(subject):
                found.trials[place] = None
        elif time.perf_counter() < deadline:
            try:
                with PluginCall(f"Method {method.name!r}", _TRIAL):
                    figures = tried_method(method, subject)
            except Exception as error:  # noqa: BLE001  # whatever a plug-in raises
                found.notes.append(
                    f"{method_info.spec} on {info.spec} cannot be tried out ({failure_of(error).kind}); it counts as a "
                    "usual method."
                )
                continue
            found.trials[place] = figures and figures._replace(fixed=figures.fixed / speed, slope=figures.slope / speed)
        else:
            found.notes.append(f"{method_info.spec} on {info.spec} was not tried out; it counts as a usual method.")
