"""The benchmark: a grid that is run into a folder, and taken up where it was left."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DataError
from ..results.provenance import provenance
from ..results.scored_cells import model_origins
from ..results.store import Store
from ..suites.suite import Suite
from .grid import Grid
from .progress import Reporter, Silent, reporter
from .reference_rows import RunBeside, known_beside, results_beside
from .resume import finished, plan_of
from .run import Run
from .task_run import TaskRun
from .time_and_memory import Stopwatch

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ...methods.base import Explainer
    from ...metrics.base import Metric
    from ...tasks.base import Task

__all__ = ["Benchmark", "Run"]


@dataclass
class _Work:
    """Where and how a run works.

    Attributes:
        store: its folder.
        report: told how it goes.
        watch: measures how long what takes.
        fresh, retrain: see :meth:`Benchmark.run`.
    """

    store: Store
    report: Reporter
    watch: Stopwatch
    fresh: bool
    retrain: bool


class Benchmark:
    """Every method on every model of every task, judged by every metric.

    Args:
        tasks, methods, metrics: plug-ins, or their specs: ``name``, ``name:key=value``, ``path/to/file.py:Class``.
        seeds: model seeds.
        explainer_seeds: seeds of the methods that draw random numbers.
        name: names the folder of the results.
        beside: methods that are not run; their rows are shown as far as they are known.
        variant: see :class:`xrnnbench.harness.suites.suite.Suite`.

    Raises:
        UsageError: a plug-in cannot be built, or something is listed twice.
    """

    def __init__(  # the axes of the grid
        self,
        tasks: Sequence[str | Task],
        methods: Sequence[str | Explainer],
        metrics: Sequence[str | Metric],
        seeds: Sequence[int] = (0,),
        explainer_seeds: Sequence[int] = (0,),
        name: str = "benchmark",
        beside: Sequence[str | Explainer] = (),
        variant: str = "",
    ) -> None:
        self.grid = Grid.of(tasks, methods, metrics, seeds, explainer_seeds)
        self.beside = self.grid.with_methods(beside)
        values = {
            "name": name,
            "tasks": [source.spec for source, _ in self.grid.tasks],
            "methods": [source.spec for source, _ in self.grid.methods],
            "metrics": [source.spec for source, _ in self.grid.metrics],
            "seeds": list(seeds),
            "explainer_seeds": list(explainer_seeds),
            "beside": [source.spec for source, _ in self.beside.methods],
            "variant": variant,
        }
        self.suite = Suite.of(values, "The benchmark")
        if all(isinstance(spec, str) for spec in (*tasks, *methods, *metrics, *beside)):
            # as it was written: the path of a plug-in's file is part of the plan
            given = {"tasks": list(tasks), "methods": list(methods), "metrics": list(metrics), "beside": list(beside)}
            self._planned: Suite | None = Suite.of(values | given, "The benchmark")
        else:
            self._planned = None

    @classmethod
    def of(cls, suite: Suite) -> Benchmark:
        """The benchmark of a suite."""
        axes = (suite.tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds)
        return cls(*axes, suite.name, suite.beside, suite.variant)

    def run(
        self,
        out: str | os.PathLike[str] = "results",
        *,
        fresh: bool = False,
        retrain: bool = False,
        beside: str | os.PathLike[str] | None = None,
        progress: Reporter | None = None,
        command: Sequence[str] = (),
    ) -> Run:
        """Compute what is missing, and write the boards.

        Args:
            out: the run goes to ``<out>/runs/<name>``, the boards to ``<out>/leaderboard.*``, those of a variant to
                the run.
            fresh: forget this grid's cells first.
            retrain: train the models anew, instead of taking published ones or those in the cache.
            beside: the folder of an archive or a run, from which rows of methods that are not run are taken; by default
                ``<out>/archives/<name>``.
            progress: told how it goes; by default a bar on the standard error stream, if that is a terminal.
            command: the command line, to be kept with the results.

        Raises:
            UsageError: the folder cannot be used, or a task cannot be had as asked (an extra that is not installed, a
                parameter that does not fit its data); cells that are kept stay.
        """
        watch = Stopwatch()
        others = results_beside(self.suite, out, beside)
        if self._planned is not None and not fresh:
            found = finished(self._planned, out, retrain=retrain, beside=others)
            if found is not None:
                return found
        if progress is None:
            progress = reporter() if sys.stderr.isatty() else Silent()
        with Store(out, self.suite.name, self.suite.variant) as store, progress as report:
            work = _Work(store, report, watch, fresh=fresh, retrain=retrain)
            return self._run(work, others, command)

    def _run(self, work: _Work, beside: str, command: Sequence[str]) -> Run:
        store, watch = work.store, work.watch
        keys = list(self.grid.all_keys())
        plan = plan_of(self._planned, retrain=work.retrain, beside=beside) if self._planned is not None else ""
        content: dict[str, Any] = {
            "format": 1,
            "suite": self.suite.model_dump(mode="json"),
            "plan": plan,
            "complete": False,
            "grid": self.grid.summary(),
            "cells": {key.path: "" for key in keys},
            "boards": {},
            "provenance": provenance(command),
            "retrain": work.retrain,
        }
        self._say_if_damaged(store)
        runs = [
            TaskRun(self.grid, source, task, store, fresh=work.fresh, retrain=work.retrain)
            for source, task in self.grid.tasks
        ]
        for each in runs:
            each.foresee(watch)
        store.write_run(content)
        if work.fresh:
            for key in keys:
                store.discard(key)
        self._compute(runs, store, work.report, watch)
        if self.beside.methods:
            self._show_beside(content, work, beside)
        run = RunBeside(store, content)
        run.publish()
        content["cells"] = {key.path: store.state(key.path) for key in keys}
        content["complete"] = not run.failed and all(run.cells.values())
        content["boards"] = store.boards_state()
        content["models"] = model_origins(run.judged)
        content["times"] = watch.times
        store.write_run(content)
        return run

    def _show_beside(self, content: dict[str, Any], work: _Work, results: str) -> None:
        """Put into the content of a run what is known of the methods that it does not run."""
        runs = [TaskRun(self.beside, source, task, work.store) for source, task in self.beside.tasks]
        own = {key: work.store.load(key) for key in self.grid.all_keys()}
        seeds = {"seeds": self.suite.seeds, "explainer_seeds": self.suite.explainer_seeds}
        known = known_beside(runs, own, work.store, results, seeds)
        for sentence in known.sentences:
            work.report.line(sentence)
        content["beside"] = known.beside.model_dump(mode="json")
        content["grid"]["methods"] += [source.model_dump(mode="json") for source in known.methods]

    @staticmethod
    def _say_if_damaged(store: Store) -> None:
        try:
            store.read_run()
        except DataError as error:
            store.notices.append(str(error))

    @staticmethod
    def _compute(runs: Sequence[TaskRun], store: Store, report: Reporter, watch: Stopwatch) -> None:
        report.begin(sum(run.steps() for run in runs))
        said = 0
        for run in runs:
            run.run(watch, report)
            for notice in store.notices[said:]:
                report.line(notice)
            said = len(store.notices)
