"""Costs of the pieces of a grid before they are computed: training models, explaining cells, scoring them.

No model is run for it. The figures are those of the calibration, which were measured and counted on the tasks of
``core``. For another grid they are changed by these rules:

1. Sequences. Explaining B sequences takes fixed + slope · B seconds and passes in proportion to B. Scoring is in
   proportion to B, but not for a metric with a parameter ``instances``, which chooses its sequences.
2. Parameters. Figures are in proportion to each parameter of :data:`.scaling.EFFORT`, such as ``samples``.
3. Shape. A task that is not calibrated has the figures of the nearest one, or, where its sizes are not known, of the
   task in the middle; so has a variant of a calibrated one. Passes change with the features and steps as the power law
   that is fitted to all tasks of the calibration; seconds with the passes, and with the seconds of one.
4. Sharing. Results that several metrics of a cell need are counted once. A metric that removes features in an order
   needs several orders of an attribution with ties.
5. Asking again. A metric that calls the method again costs what the method does for so many sequences.
6. A plug-in that is not calibrated costs the median of all others on the task, unless a trial was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ....tasks.base import Task
from ....tasks.models import cache
from ....tasks.trained import TrainedTask
from .calibration import Calibration, MethodFigures, MetricFigures, Shape, packaged_calibration
from .scaling import differing, distance, effort_ratio, equal_parameters, growth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...results.cells import Key, PluginInfo
    from .calibration import MethodEntry, MetricEntry, TaskFigures


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a piece of work.

    Attributes:
        seconds: on one core of the machine of the calibration.
        forward, backward: passes of sequences that are requested.
        mebibytes: rise of the memory of the process.
    """

    seconds: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    mebibytes: float = 0.0

    @property
    def equivalents(self) -> float:
        """Sequence-equivalents: a backward pass counts as two forward passes."""
        return self.forward + 2 * self.backward

    def __add__(self, other: Estimate) -> Estimate:
        """Cost of both, one after the other."""
        return Estimate(
            self.seconds + other.seconds,
            self.forward + other.forward,
            self.backward + other.backward,
            max(self.mebibytes, other.mebibytes),
        )


@dataclass
class Costs:
    """Costs of the pieces of a grid. No call raises an error for a plug-in that is not known.

    ``training``, ``explaining`` and ``scoring`` give seconds on one core of the machine of the calibration: not those
    of this machine, but comparable with each other. The other functions give passes too.

    Attributes:
        tasks: tasks of the grid, by spec.
        calibration: the figures.
        retrain: whether models are trained again.
        exact: whether the data of a task may be made, to say exactly which models are there; otherwise a model counts
            as there if one of this task and seed is published or in the cache.
        shapes: sizes of tasks, by spec, where they were measured.
        trials: figures of methods that were tried out, by the specs of task and method; None where not applicable.
        trainings: cost of training a model, by the spec of the task, where it was estimated from its data.
    """

    tasks: Mapping[str, Task]
    calibration: Calibration = field(default_factory=packaged_calibration)
    retrain: bool = False
    exact: bool = False
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    trials: Mapping[tuple[str, str], MethodFigures | None] = field(default_factory=dict)
    trainings: Mapping[str, Estimate] = field(default_factory=dict)
    _methods: dict[tuple[str, str], MethodFigures | None] = field(default_factory=dict, repr=False)
    _metrics: dict[tuple[str, str], MetricFigures | None] = field(default_factory=dict, repr=False)
    _sums: dict[object, tuple[MetricFigures, MetricFigures]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, tasks: Sequence[tuple[PluginInfo, Task]], *, retrain: bool = False) -> Costs:
        """Costs of a grid with these tasks, by the packaged calibration.

        Args:
            tasks: :attr:`xrnnbench.harness.execution.grid.Grid.tasks`.
            retrain: whether models are trained again.
        """
        return cls({info.spec: task for info, task in tasks}, retrain=retrain)

    # ---- seconds, for the order of the work -----------------------------------------------------------------------

    def training(self, task: PluginInfo, seed: int) -> float:
        """Seconds to train the model of a seed; 0 if it is published or in the cache, or the user's own."""
        return self.training_estimate(task, seed).seconds

    def explaining(self, key: Key) -> float:
        """Seconds to explain a cell; 0 if the method is known not to be applicable."""
        return self.explaining_estimate(key).seconds

    def scoring(self, key: Key, metrics: Iterable[PluginInfo]) -> float:
        """Seconds to score a cell by some metrics; 0 if the method is known to give no attribution."""
        return self.scoring_estimate(key, metrics).seconds

    # ---- estimates ------------------------------------------------------------------------------------------------

    def training_estimate(self, task: PluginInfo, seed: int) -> Estimate:
        """Cost of training the model of a seed; see :meth:`training`."""
        plugin = self.tasks.get(task.spec)
        if not isinstance(plugin, TrainedTask) or self._model_is_there(plugin, seed):
            return Estimate()
        if task.spec in self.trainings:
            return self.trainings[task.spec]
        figures = self.figures_of(task)
        return Estimate(figures.training, figures.sequences, figures.sequences)

    def building(self, task: PluginInfo) -> float:
        """Seconds to make the data of a task and load a model that is there."""
        figures = self.figures_of(task)
        return figures.data + figures.build

    def attributes(self, key: Key) -> bool:
        """Whether the method of a cell gives an attribution, as far as known: it applies, and does not fail."""
        figures = self.method_figures(key.task, key.method)
        return figures is not None and figures.orders > 0

    def explaining_estimate(self, key: Key) -> Estimate:
        """Cost of explaining a cell; see :meth:`explaining`."""
        figures = self.method_figures(key.task, key.method)
        return _of_method(figures, 1, self.shape_of(key.task).instances) if figures is not None else Estimate()

    def scoring_estimate(self, key: Key, metrics: Iterable[PluginInfo]) -> Estimate:
        """Cost of scoring a cell by some metrics; see :meth:`scoring`."""
        figures = self.method_figures(key.task, key.method)
        if figures is None or not figures.orders:
            return Estimate()
        stochastic = key.method.facts.get("stochastic", "True") == "True"
        entry = self.calibration.methods.get(str(key.method.identity.get("name")))
        complete = entry is None or entry.complete
        plain, curves = self._scoring_of(key.task, tuple(metrics), stochastic=stochastic, complete=complete)
        again = _of_method(figures, plain.calls if stochastic else plain.plain_calls, plain.rows)
        orders = figures.orders
        return again + Estimate(
            plain.own + plain.shared + curves.shared * (1 + (orders - 1) * self._order_share(key.task)),
            plain.forward + curves.forward * orders,
            plain.backward + curves.backward * orders,
        )

    def _order_share(self, task: PluginInfo) -> float:
        """Seconds of a further order of removal, as a share of those of the first.

        Orders of few features have much in common, which is run once. Measured on `quick`: 0.07 with 14 features, 0.26
        with 20, 0.5 with 600.
        """
        features = self.shape_of(task).features
        return 0.5 * features / (features + 20)

    def _scoring_of(
        self, task: PluginInfo, metrics: tuple[PluginInfo, ...], *, stochastic: bool, complete: bool
    ) -> tuple[MetricFigures, MetricFigures]:
        """Sums of the figures of metrics on a task for one kind of method: of all but curves, and of curves alone."""
        place = (task.spec, stochastic, complete, tuple(info.spec for info in metrics))
        if place not in self._sums:
            lacking = {word for word, has in (("stochastic", stochastic), ("complete", complete)) if not has}
            self._sums[place] = self._summed(task, metrics, lacking)
        return self._sums[place]

    def _summed(
        self, task: PluginInfo, metrics: Iterable[PluginInfo], lacking: set[str]
    ) -> tuple[MetricFigures, MetricFigures]:
        """The sums of :meth:`_scoring_of`; what one metric has computed is there for the others."""
        own = 0.0
        shared: dict[object, list[MetricFigures]] = {}
        curves: set[object] = set()
        for info in metrics:
            figures, entry = self.metric_figures(task, info), self._metric_entry(info)
            if figures is None or (entry is not None and lacking.intersection(entry.needs)):
                continue
            own += figures.own
            shares = _shares(entry, info)
            for share in shares:
                shared.setdefault(share, []).append(_scaled(figures, 1 / len(shares)))
            if entry is not None and entry.curve:
                curves.update(shares)
        dearest = {share: list(map(max, zip(*each, strict=True))) for share, each in shared.items()}
        sums = [
            _sum([each for share, each in dearest.items() if (share in curves) is curve]) for curve in (False, True)
        ]
        return sums[0]._replace(own=own), sums[1]

    def model_scoring(self, task: PluginInfo, metrics: Iterable[PluginInfo]) -> float:
        """Seconds of scoring that all cells of a model share."""
        found = [self.metric_figures(task, info) for info in metrics]
        return sum(figures.model for figures in found if figures is not None)

    # ---- figures of a task ----------------------------------------------------------------------------------------

    def shape_of(self, task: PluginInfo) -> Shape:
        """Sizes of a task: as measured, or those of its calibration, with the task's own number of sequences."""
        if (measured := self.shapes.get(task.spec)) is not None:
            return measured
        shape = self.calibration.tasks[self.base_of(task)].shape
        instances = task.identity.get("parameters", {}).get("instances")
        known = isinstance(instances, int) and not isinstance(instances, bool) and instances > 0
        return shape.model_copy(update={"instances": instances}) if known else shape

    def base_of(self, task: PluginInfo) -> str:
        """Name of the calibrated task whose figures a task has."""
        name = str(task.identity.get("name"))
        if name in self.calibration.tasks:
            return name
        measured = self.shapes.get(task.spec)
        if measured is None:
            return self._middle
        return self._nearest(measured, self.calibration.tasks)

    def is_calibrated(self, task: PluginInfo) -> bool:
        """Whether a task is one of the calibration, but for the number of sequences."""
        changed = {pair.partition("=")[0] for pair in task.spec.partition(":")[2].split(",")} - {"", "instances"}
        return not changed and str(task.identity.get("name")) in self.calibration.tasks

    def _nearest(self, shape: Shape, names: Iterable[str]) -> str:
        """Name of the calibrated task of the nearest shape, among some."""
        known = self.calibration.tasks
        return min(names, key=lambda name: distance(known[name].shape, shape))

    def figures_of(self, task: PluginInfo) -> TaskFigures:
        """Figures of a task."""
        return self.calibration.tasks[self.base_of(task)]

    @cached_property
    def _middle(self) -> str:
        """Name of the calibrated task in the middle, by the seconds of explaining."""
        totals = {
            name: sum(entry.cells[name].slope for entry in self.calibration.methods.values() if name in entry.cells)
            for name in self.calibration.tasks
        }
        return sorted(totals, key=totals.__getitem__)[len(totals) // 2]

    @cached_property
    def _cached_models(self) -> frozenset[str]:
        """Beginnings ``<task>-seed<seed>`` of the names of cached models."""
        files = (cache.folder() / "models").glob("*.safetensors")
        return frozenset(file.name.rpartition("-")[0] for file in files)

    def _model_is_there(self, task: TrainedTask, seed: int) -> bool:
        """Whether the model of a seed is published or in the cache."""
        if self.retrain:
            return False
        if self.exact:
            return task.available(seed)
        return f"{task.name}-seed{seed}" in self._cached_models or task.listed(seed) is not None

    # ---- figures of plug-ins --------------------------------------------------------------------------------------

    def method_figures(self, task: PluginInfo, method: PluginInfo) -> MethodFigures | None:
        """Figures of a method on a task; None if it is known not to be applicable."""
        place = (task.spec, method.spec)
        if place in self.trials:
            return self.trials[place]
        if place not in self._methods:
            self._methods[place] = self._found_method(task, method)
        return self._methods[place]

    def metric_figures(self, task: PluginInfo, metric: PluginInfo) -> MetricFigures | None:
        """Figures of a metric on a task, for all its sequences; None if it is known not to be applicable."""
        place = (task.spec, metric.spec)
        if place not in self._metrics:
            self._metrics[place] = self._found_metric(task, metric)
        return self._metrics[place]

    def _found_method(self, task: PluginInfo, method: PluginInfo) -> MethodFigures | None:
        base = self.base_of(task)
        entry = self.calibration.methods.get(str(method.identity.get("name")))
        if entry is None:
            everything = [entry.cells[base] for entry in self.calibration.methods.values() if base in entry.cells]
            median = MethodFigures(*map(float, np.median(everything, axis=0)))
            return self._reshaped(median, None, self.calibration.tasks[base].shape, self.shape_of(task))
        if base not in entry.cells and not self.is_calibrated(task) and task.spec in self.shapes:
            # whether it applies there says nothing about another task
            base = self._nearest(self.shapes[task.spec], entry.cells)
        figures = entry.cells.get(base)
        if figures is None:
            return None
        ratio = effort_ratio(method.identity.get("parameters", {}), entry.parameters)
        changed = figures._replace(
            slope=figures.slope * ratio,
            **{name: getattr(figures, name) * ratio for name in ("forward", "backward", "executed")},
        )
        return self._reshaped(changed, entry, self.calibration.tasks[base].shape, self.shape_of(task))

    def _reshaped(self, figures: MethodFigures, entry: MethodEntry | None, base: Shape, shape: Shape) -> MethodFigures:
        """Figures of a task of one shape for another shape."""
        memory = figures.mebibytes * shape.instances / base.instances
        if shape.model_copy(update={"instances": base.instances}) == base:
            return figures._replace(mebibytes=memory)
        passes = growth(entry, self.calibration, base, shape)
        speed = shape.forward / base.forward
        return figures._replace(
            fixed=figures.fixed * shape.steps / base.steps,
            slope=figures.slope * passes * speed,
            **{name: getattr(figures, name) * passes for name in ("forward", "backward", "executed")},
            mebibytes=memory * shape.features / base.features,
        )

    def _found_metric(self, task: PluginInfo, metric: PluginInfo) -> MetricFigures | None:
        base = self.base_of(task)
        entry = self._metric_entry(metric)
        if entry is None:
            everything = [entry.cells[base] for entry in self.calibration.metrics.values() if base in entry.cells]
            return MetricFigures(*map(float, np.median(everything, axis=0)))
        figures = entry.cells.get(base)
        if figures is None:
            return None
        parameters = metric.identity.get("parameters", {})
        shape, known = self.shape_of(task), self.figures_of(task).shape
        sequences = 1.0 if "instances" in parameters else shape.instances / known.instances
        speed = shape.forward / known.forward
        ratio = effort_ratio(parameters, entry.parameters)
        calls = effort_ratio(parameters, entry.parameters, without=("instances",))
        scaled = _scaled(figures, ratio * sequences * speed)
        return scaled._replace(
            own=figures.own * ratio * sequences,
            calls=figures.calls * calls,
            plain_calls=figures.plain_calls * calls,
            rows=figures.rows * ratio * sequences,
            model=figures.model * sequences * speed * shape.features / known.features,
        )

    def _metric_entry(self, metric: PluginInfo) -> MetricEntry | None:
        """Entry of a metric: that of its spec, or of the same metric with the most equal parameters."""
        exact = self.calibration.metrics.get(metric.spec)
        if exact is not None:
            return exact
        name, parameters = metric.identity.get("name"), metric.identity.get("parameters", {})
        alike = [entry for entry in self.calibration.metrics.values() if entry.name == name]
        return max(alike, key=lambda entry: equal_parameters(entry.parameters, parameters), default=None)


def _of_method(figures: MethodFigures, calls: float, rows: float) -> Estimate:
    """Cost of some calls of a method for some sequences together."""
    passes = (figures.forward * rows, figures.backward * rows)
    return Estimate(figures.fixed * calls + figures.slope * rows, *passes, figures.mebibytes if calls else 0.0)


def _scaled(figures: MetricFigures, ratio: float) -> MetricFigures:
    """Figures of a metric, all in proportion."""
    return MetricFigures(*(value * ratio for value in figures))


def _sum(figures: Sequence[Sequence[float]]) -> MetricFigures:
    """Sum of figures, field by field."""
    return (
        MetricFigures(*(sum(column) for column in zip(*figures, strict=True))) if figures else MetricFigures(0.0, 0.0)
    )


def _shares(entry: MetricEntry | None, info: PluginInfo) -> tuple[object, ...]:
    """Names of the results that a metric shares with others; its own spec if there are none."""
    if entry is None or not entry.shares:
        return (info.spec,)
    parameters = info.identity.get("parameters", {})
    changed = tuple(sorted((name, str(parameters.get(name))) for name in differing(parameters, entry.parameters)))
    return tuple((share, changed) for share in entry.shares)
