"""Benchmark: a grid that is run into a folder, and resumed where it stopped."""

from __future__ import annotations

import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import DataError, FailedCellsWarning, warn
from ...plugins import Plugin
from ...tasks.custom.given import GivenTask
from ...tasks.engine.threads import default_threads, intra_op_threads
from ..results import run_file
from ..results.provenance import provenance
from ..results.scored_cells import model_origins
from ..results.store import Store
from ..suites.suite import Suite
from .device import check_device
from .failed_cells import failed_cells
from .forecast.costs import Costs
from .forecast.machine import relative_speed
from .forecast.plan import plan_work
from .forecast.plan_costs import measured_costs
from .grid import Grid
from .guard.limits import Limits, chosen_limits
from .in_process import InProcess
from .missing_work import TaskCells
from .progress import Reporter, Silent, reporter
from .reference_rows import RunWithReferences, find_reference_rows, reference_source
from .resume import finished, plan_of
from .run import Run
from .steps.time_and_memory import Stopwatch
from .task_run import TaskRun
from .workers.parallel import Cluster
from .workers.places import Scheduler, Workers, all_cores
from .workers.priorities import Priorities
from .workers.terms import Terms

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from ...methods.base import Explainer
    from ...metrics.base import Metric
    from ...tasks.base import Task
    from .forecast.plan import Plan

__all__ = ["Benchmark", "Run"]

ValueT = TypeVar("ValueT")
# Rounds of the standard workload by which a plan times this machine: a second.
_ROUNDS_OF_A_PLAN = 200


@dataclass
class _Work:
    """Settings of one call of :meth:`Benchmark.run`.

    Attributes:
        store: the folder of the run.
        report: receives the progress.
        watch: measures the time of each phase.
        workers: where the work is done.
        limits: of each call of a plug-in.
        limits_of_workers: whether the memory limit is that of the workers of a cluster, each for itself.
        device: see :meth:`Benchmark.run`.
        fresh, retrain, examples: see :meth:`Benchmark.run`.
        references_wanted: whether the user names results of the methods that are not run.
    """

    store: Store
    report: Reporter
    watch: Stopwatch
    workers: Workers
    limits: Limits
    limits_of_workers: bool
    device: str
    fresh: bool
    retrain: bool
    examples: bool
    references_wanted: bool


class Benchmark:
    """Benchmark of methods: every method on every model of every task, scored by every metric.

    Args:
        tasks, methods, metrics: plug-ins, or their specs: ``name``, ``name:key=value``, ``path/to/file.py:Class``.
        seeds: model seeds.
        explainer_seeds: seeds of the methods that draw random numbers.
        name: names the folder of the results.
        skipped: methods that are not run; their stored results are shown as reference rows.
        variant: see :class:`xrnnbench.harness.suites.suite.Suite`.
        beside: the old name of ``skipped``, until version 0.3.
        time_limit, memory_limit: limits of one call of a plug-in; see :class:`xrnnbench.harness.suites.suite.Suite`.

    Raises:
        UsageError: a plug-in cannot be built, or something is listed twice.
    """

    def __init__(  # noqa: PLR0913  # the axes of the grid, and an old name
        self,
        tasks: Sequence[str | Task],
        methods: Sequence[str | Explainer],
        metrics: Sequence[str | Metric],
        seeds: Sequence[int] = (0,),
        explainer_seeds: Sequence[int] = (0,),
        name: str = "benchmark",
        skipped: Sequence[str | Explainer] = (),
        variant: str = "",
        *,
        beside: Sequence[str | Explainer] = (),
        time_limit: str = "",
        memory_limit: str = "",
    ) -> None:
        skipped = _renamed("beside", beside, "skipped", skipped)
        tasks, methods, metrics = map(_listed, (tasks, methods, metrics))
        self.grid = Grid.of(tasks, methods, metrics, seeds, explainer_seeds)
        self.skipped = self.grid.with_methods(skipped)
        values = {
            "name": name,
            "tasks": [info.spec for info, _ in self.grid.tasks],
            "methods": [info.spec for info, _ in self.grid.methods],
            "metrics": [info.spec for info, _ in self.grid.metrics],
            "seeds": list(seeds),
            "explainer_seeds": list(explainer_seeds),
            "beside": [info.spec for info, _ in self.skipped.methods],
            "variant": variant,
            "time_limit": time_limit,
            "memory_limit": memory_limit,
        }
        # empty texts are no limits, as in a suite that has none
        values = {key: value for key, value in values.items() if value or not key.endswith("_limit")}
        self.suite = Suite.of(values, "The benchmark")
        if all(isinstance(spec, str) for spec in (*tasks, *methods, *metrics, *skipped)):
            # specs as they were written: the path of a plug-in's file is part of the plan
            specs = {"tasks": list(tasks), "methods": list(methods), "metrics": list(metrics), "beside": list(skipped)}
            self._planned: Suite | None = Suite.of(values | specs, "The benchmark")
        else:
            self._planned = None

    @classmethod
    def of(cls, suite: Suite, given: Mapping[str, Task] = MappingProxyType({})) -> Benchmark:
        """Benchmark of a suite; some of its tasks may be given as they are, by their specs in the suite."""
        tasks = [given.get(spec, spec) for spec in suite.tasks]
        axes = (tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds)
        names = (suite.name, suite.skipped, suite.variant)
        return cls(*axes, *names, time_limit=suite.time_limit, memory_limit=suite.memory_limit)

    def run(  # noqa: PLR0913  # what can be chosen for a run
        self,
        out: str | os.PathLike[str] = "results",
        *,
        fresh: bool = False,
        retrain: bool = False,
        reference_rows: str | os.PathLike[str] | None = None,
        progress: Reporter | None = None,
        command: Sequence[str] = (),
        jobs: int | None = 1,
        scheduler: Scheduler = "",
        device: str = "",
        time_limit: str = "",
        memory_limit: str = "",
        workers: Workers | None = None,
        examples: bool | None = None,
        beside: str | os.PathLike[str] | None = None,
    ) -> Run:
        """Compute the missing cells of the grid, and write the boards.

        Args:
            out: output folder; the run is written to ``<out>/runs/<name>`` and the boards to ``<out>/leaderboard.*``,
                but the boards of a variant to the folder of the run.
            fresh: delete the stored cells of this grid first.
            retrain: train the models again, instead of taking published or cached ones.
            reference_rows: an archive or a run with results of the methods that are not run; by default
                ``<out>/archives/<name>``.
            progress: receives the progress; by default a bar on the standard error stream, if that is a terminal.
            command: the command line, which is stored with the results.
            jobs: number of worker processes; 1 computes everything in this process, None takes all cores.
            scheduler: address of a dask scheduler, such as ``"tcp://127.0.0.1:8786"``, or a client of one; its workers
                do the work instead of ``jobs``.
            device: device that models are moved to when they are made, such as ``"cuda"``; empty leaves them where
                they are.
            time_limit: limit of each call of a plug-in, such as ``"10 min"`` or ``"none"``; by default that of the
                suite, or an hour.
            memory_limit: limit of the process that makes the call, such as ``"4 GB"`` or ``"none"``; by default that
                of the suite, or 90 % of the memory for all processes together.
            workers: what ``jobs`` and ``scheduler`` say, and more; for the command line.
            examples: whether boards show a few sequences of the data with their attributions; by default as before in
                this folder, and at first they do. If not, the folder keeps no such sequences either.
            beside: the old name of ``reference_rows``, until version 0.3.

        Returns:
            the run; its ``nothing_to_do`` is true if all of it was stored already.

        Warns:
            FailedCellsWarning: cells failed, with the first reason; all of the run is stored.

        Raises:
            UsageError: the folder cannot be used, or a task cannot be built (an extra is not installed, or a parameter
                does not fit its data); stored cells are not changed.
        """
        watch = Stopwatch()
        reference_rows = _renamed("beside", beside, "reference_rows", reference_rows)
        reference = reference_source(self.suite, out, reference_rows)
        if self._planned is not None and not fresh:
            run = finished(self._planned, out, retrain=retrain, reference=reference, examples=examples)
            if run is not None:
                return run
        workers = workers or Workers.chosen(jobs, scheduler)
        limits = chosen_limits(self.suite, time_limit, memory_limit, workers.jobs)
        if device:
            check_device(device)
        if progress is None:
            progress = reporter() if sys.stderr.isatty() else Silent()
        with Store(out, self.suite.name, self.suite.variant) as store, progress as report:
            work = _Work(
                store,
                report,
                watch,
                workers,
                limits,
                not (workers.local or memory_limit or self.suite.memory_limit),
                device,
                fresh=fresh,
                retrain=retrain,
                examples=_examples_before(store) if examples is None else examples,
                references_wanted=reference_rows is not None,
            )
            with intra_op_threads(default_threads()):
                run = self._run(work, reference, command)
        if sentence := failed_cells(run):
            warn(sentence, FailedCellsWarning)
        return run

    def plan(
        self,
        out: str | os.PathLike[str] = "results",
        *,
        jobs: int | None = None,
        fresh: bool = False,
        retrain: bool = False,
    ) -> Plan:
        """Plan what :meth:`run` would compute: numbers of models and cells, passes, time, memory, disk.

        Nothing is written. Methods that are not part of the package explain a few sequences for it.

        Args:
            out: output folder, see :meth:`run`.
            jobs: number of processes; by default one for each core.
            fresh: plan everything, also what is stored.
            retrain: whether the models are trained again.

        Raises:
            UsageError: a task cannot be built, as for :meth:`run`.
        """
        store = Store(out, self.suite.name, self.suite.variant)
        stored = [
            TaskCells(self.grid, info, task, store, fresh=fresh, retrain=retrain) for info, task in self.grid.tasks
        ]
        with intra_op_threads(default_threads()):
            speed = relative_speed(_ROUNDS_OF_A_PLAN)
            costs, notes = measured_costs(self.grid, stored, speed, retrain=retrain)
            return plan_work(
                self.suite.name,
                self.grid,
                stored,
                costs,
                jobs=jobs or all_cores(),
                speed=speed,
                retrain=retrain,
                notes=notes,
            )

    def _run(self, work: _Work, reference: str, command: Sequence[str]) -> Run:
        """Compute the missing cells in a locked folder, and write the run file and the boards."""
        store, watch = work.store, work.watch
        keys = list(self.grid.all_keys())
        plan = plan_of(self._planned, retrain=work.retrain, reference=reference) if self._planned is not None else ""
        content: dict[str, Any] = {
            "format": 2,
            "sealed_cells": True,
            "suite": self.suite.model_dump(mode="json"),
            "plan": plan,
            "complete": False,
            "grid": self.grid.summary(),
            "cells": {key.path: "" for key in keys},
            "boards": {},
            "provenance": provenance(command),
            "retrain": work.retrain,
            "examples": work.examples,
        }
        self._report_damage(store)
        runs = [
            TaskRun(
                self.grid,
                info,
                task,
                store,
                work.report,
                fresh=work.fresh,
                retrain=work.retrain,
                device=work.device,
                examples=work.examples,
            )
            for info, task in self.grid.tasks
        ]
        with _cluster(runs, work) as cluster:
            for task_run in runs:
                task_run.check_data(watch, work.limits)
            costs = Costs.of(self.grid.tasks, retrain=work.retrain)
            content["forecast"] = self._forecast(runs, costs, work)
            store.write_run(content)
            if work.fresh:
                for key in keys:
                    store.discard(key)
            _compute(runs, work, cluster, Priorities(self.grid, costs))
        content["provenance"]["device"] = _devices(runs)
        content["provenance"]["threads"] = default_threads()
        if self.skipped.methods:
            self._add_reference_rows(content, work, reference)
        run = RunWithReferences(store, content)
        run.publish(jobs=work.workers.jobs)
        for notice in store.new_notices():
            work.report.line(notice)
        content["cells"] = store.states(key.path for key in keys)
        # a cell that was damaged meanwhile, and moved aside, has no state
        content["complete"] = not run.failed and all(run.cells.values()) and all(content["cells"].values())
        content["boards"] = store.boards_state()
        content["models"] = model_origins(run.scored_cells)
        content["times"] = watch.times
        store.write_run(content)
        return run

    def _forecast(self, runs: Sequence[TaskRun], costs: Costs, work: _Work) -> dict[str, float]:
        """Predicted seconds by phase, of the rest, and in total, and the speed of the machine; empty if complete."""
        stored = [run.stored for run in runs]
        jobs, speed = work.workers.jobs, relative_speed()
        plan = plan_work(self.suite.name, self.grid, stored, costs, jobs=jobs, speed=speed, retrain=work.retrain)
        return {} if plan.nothing_to_do else {**plan.phases, "speed": speed}

    def _add_reference_rows(self, content: dict[str, Any], work: _Work, results: str) -> None:
        """Add the stored results of the methods that are not run to the content of the run file."""
        tasks = [TaskCells(self.skipped, info, task, work.store) for info, task in self.skipped.tasks]
        own = {key: work.store.load(key) for key in self.grid.all_keys()}
        seeds = {"seeds": self.suite.seeds, "explainer_seeds": self.suite.explainer_seeds}
        references = find_reference_rows(tasks, own, work.store, results, seeds)
        brought = all(isinstance(task, GivenTask) for _, task in self.grid.tasks)
        for sentence in references.sentences:
            # of models of the user's own there are no published results to miss
            if work.references_wanted or not brought:
                work.report.line(sentence)
        content["beside"] = references.rows.model_dump(mode="json")
        content["grid"]["methods"] += [info.model_dump(mode="json") for info in references.methods]

    @staticmethod
    def _report_damage(store: Store) -> None:
        """Add a notice if the run file is damaged."""
        try:
            store.read_run()
        except DataError as error:
            store.notices.append(str(error))


def _examples_before(store: Store) -> bool:
    """Whether boards show examples as before: as in the run file, or else as in those of all other variants."""
    files = [store.run_file] if store.run_file.is_file() else store.folder.glob("run*.json")
    return all(map(run_file.shows_examples, files))


def _cluster(runs: Sequence[TaskRun], work: _Work) -> AbstractContextManager[Cluster | None]:
    """Context with the cluster of a run; with None if it is not needed."""
    steps = sum(run.stored.steps() for run in runs)
    work.report.begin(steps)
    return nullcontext() if work.workers.in_process or not steps else Cluster(work.workers, steps)


def _compute(runs: Sequence[TaskRun], work: _Work, cluster: Cluster | None, priorities: Priorities) -> None:
    """Do all that is missing."""

    def terms() -> Terms:
        return Terms.of_this_process(default_threads(), work.limits, work.device, worker_memory=work.limits_of_workers)

    left = runs if cluster is None else cluster.do(runs, terms(), priorities, work.report, work.watch)
    with InProcess(work.store.folder, work.limits, terms, work.report, work.watch) as here:
        here.do(left)


def _listed(plugins: Any) -> Any:  # noqa: ANN401  # one plug-in or several
    """Several plug-ins as they are, and a single one in a list."""
    return [plugins] if isinstance(plugins, str | Plugin) else plugins


def _devices(runs: Sequence[TaskRun]) -> str:
    """Names of the devices that the models of all cells ran on; ``"cpu"`` if no cell has one."""
    names = {cell.measured.device for run in runs for cell in run.stored.cells.values() if cell is not None} - {""}
    return ", ".join(sorted(names)) or "cpu"


def _renamed(old: str, old_value: ValueT, new: str, value: ValueT) -> ValueT:
    """The value of a keyword that has a new name; the old name still works, with a warning."""
    if not old_value:
        return value
    warnings.warn(f"The keyword {old}= is now {new}=.", DeprecationWarning, stacklevel=3)
    return old_value
