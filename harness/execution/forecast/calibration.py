"""Calibration: measured costs of the built-in plug-ins on the tasks of ``core``, packaged as ``calibration.json``.

``tests/benchmarks/costs.py`` makes the file. All seconds are of one core of the machine that it names; passes are for
one sequence of a task. Reading it needs neither torch nor a plug-in.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

NAME: Final = "calibration.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(_Frozen):
    """Sizes of a task that decide what its cells cost.

    Attributes:
        instances: number of sequences that are explained.
        features: features of one, on average: steps, or cells where these are explained.
        steps: steps of one, on average.
        forward: seconds of a forward pass of one sequence in a large batch.
    """

    instances: int
    features: float
    steps: float
    forward: float


class TaskFigures(_Frozen):
    """Figures of a task.

    Attributes:
        shape: its sizes, with the ``instances`` of the calibration.
        training: seconds to train a model.
        sequences: training sequences, times epochs.
        data: seconds to make the data.
        build: seconds to load a published model and run it once.
    """

    shape: Shape
    training: float
    sequences: int
    data: float
    build: float


class MethodFigures(NamedTuple):
    """Figures of a method on a task.

    Attributes:
        fixed: seconds for a batch of any size.
        slope: seconds that each sequence adds.
        forward, backward, executed: passes for each sequence; see :class:`xrnnbench.tasks.engine.cost.Cost`.
        orders: orders in which the features of a sequence are removed, 1, or 8 if all have ties; 0 if there is no
            attribution, since the method failed.
        mebibytes: rise of the memory for the calibrated number of sequences.
    """

    fixed: float
    slope: float
    forward: float
    backward: float = 0.0
    executed: float = 0.0
    orders: float = 1.0
    mebibytes: float = 0.0


class MetricFigures(NamedTuple):
    """Figures of a metric on a task, for the calibrated number of sequences.

    Attributes:
        shared: seconds for what other metrics of the same cell share.
        own: seconds for the rest.
        forward, backward, executed: passes for all sequences, without those of the method.
        calls: how often it calls the method again, if that draws random numbers.
        plain_calls: the same if it draws none.
        rows: sequences that it has explained again.
        model: seconds for what all cells of a model share.
    """

    shared: float
    own: float
    forward: float = 0.0
    backward: float = 0.0
    executed: float = 0.0
    calls: float = 0.0
    plain_calls: float = 0.0
    rows: float = 0.0
    model: float = 0.0


class MethodEntry(_Frozen):
    """Entry of a method: its parameters, whether it claims completeness, and its figures by the names of tasks.

    A task is missing where the method is not applicable.
    """

    parameters: dict[str, Any]
    complete: bool
    cells: dict[str, MethodFigures]


class MetricEntry(_Frozen):
    """Entry of a metric: its name and parameters, and its figures by the names of tasks.

    Attributes:
        needs: what the method must be: ``"stochastic"``, ``"complete"``.
        curve: whether it follows the orders of removal, several for a sequence with ties.
        shares: numbers of the results that it shares with other metrics of a cell.
        cells: a task is missing where the metric is not applicable.
    """

    name: str
    parameters: dict[str, Any]
    needs: tuple[Literal["stochastic", "complete"], ...] = ()
    curve: bool = False
    shares: tuple[int, ...] = ()
    cells: dict[str, MetricFigures]


class Calibration(_Frozen):
    """Content of the packaged file.

    Attributes:
        machine: name of the processor, and the versions.
        standard: seconds of the standard workload of :mod:`.machine` there.
        tasks: figures of tasks by name.
        methods: entries by name, with the parameters' defaults.
        metrics: entries by spec.
    """

    format: Literal[1] = 1
    machine: str
    standard: float
    tasks: dict[str, TaskFigures]
    methods: dict[str, MethodEntry]
    metrics: dict[str, MetricEntry]


@lru_cache(maxsize=1)
def packaged_calibration() -> Calibration:
    """The packaged calibration, read once."""
    return Calibration.model_validate_json((resources.files(__package__) / NAME).read_bytes())
