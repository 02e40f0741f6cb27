"""The benchmark: a grid that is run into a folder, and taken up where it was left."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from .grid import Grid
from .measuring import Stopwatch
from .plan import finished, plan_of
from .progress import Silent, reporter
from .provenance import provenance
from .run import Run
from .runner import TaskRun
from .store import Store
from .suite import Suite

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ..methods.base import Explainer
    from ..metrics.base import Metric
    from ..tasks.base import Task
    from .progress import Reporter

__all__ = ["Benchmark", "Run"]


class Benchmark:
    """Every method on every model of every task, judged by every metric.

    Args:
        tasks, methods, metrics: plug-ins, or their specs: ``name``, ``name:key=value``, ``path/to/file.py:Class``.
        seeds: model seeds.
        explainer_seeds: seeds of the methods that draw random numbers.
        name: names the folder of the results.

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
    ) -> None:
        self.grid = Grid.of(tasks, methods, metrics, seeds, explainer_seeds)
        values = {
            "name": name,
            "tasks": [source.spec for source, _ in self.grid.tasks],
            "methods": [source.spec for source, _ in self.grid.methods],
            "metrics": [source.spec for source, _ in self.grid.metrics],
            "seeds": list(seeds),
            "explainer_seeds": list(explainer_seeds),
        }
        self.suite = Suite.of(values, "The benchmark")
        written = [spec for spec in (*tasks, *methods, *metrics) if isinstance(spec, str)]
        if len(written) == len(tasks) + len(methods) + len(metrics):
            # as it was written: the path of a plug-in's file is part of the plan
            given = {"tasks": list(tasks), "methods": list(methods), "metrics": list(metrics)}
            self._planned: Suite | None = Suite.of(values | given, "The benchmark")
        else:
            self._planned = None

    @classmethod
    def of(cls, suite: Suite) -> Benchmark:
        """The benchmark of a suite."""
        return cls(suite.tasks, suite.methods, suite.metrics, suite.seeds, suite.explainer_seeds, suite.name)

    def run(
        self,
        out: str | os.PathLike[str] = "results",
        *,
        fresh: bool = False,
        progress: Reporter | None = None,
        command: Sequence[str] = (),
    ) -> Run:
        """Compute what is missing, and write the boards.

        Args:
            out: the run goes to ``<out>/runs/<name>``, the boards to ``<out>/leaderboard.*``.
            fresh: forget this grid's cells first.
            progress: told how it goes; by default a bar on the standard error stream, if that is a terminal.
            command: the command line, to be kept with the results.

        Raises:
            UsageError: the folder cannot be used, or a task cannot be had as asked (an extra that is not installed, a
                parameter that does not fit its data); cells that are kept stay.
        """
        watch = Stopwatch()
        if self._planned is not None and not fresh:
            found = finished(self._planned, out)
            if found is not None:
                return found
        if progress is None:
            progress = reporter() if sys.stderr.isatty() else Silent()
        with Store(out, self.suite.name) as store, progress as report:
            return self._run(store, report, watch, fresh=fresh, command=command)

    def _run(self, store: Store, report: Reporter, watch: Stopwatch, *, fresh: bool, command: Sequence[str]) -> Run:
        keys = list(self.grid.all_keys())
        plan = plan_of(self._planned) if self._planned is not None else ""
        content: dict[str, Any] = {
            "format": 1,
            "suite": self.suite.model_dump(mode="json"),
            "plan": plan,
            "complete": False,
            "grid": self.grid.summary(),
            "cells": {key.path: "" for key in keys},
            "boards": {},
            "provenance": provenance(command),
        }
        self._say_if_damaged(store)
        runs = [TaskRun(self.grid, source, task, store, fresh=fresh) for source, task in self.grid.tasks]
        for each in runs:
            each.foresee(watch)
        store.write_run(content)
        if fresh:
            for key in keys:
                store.discard(key)
        self._compute(runs, store, report, watch)
        run = Run(store, content)
        run.publish()
        content["cells"] = {key.path: store.state(key.path) for key in keys}
        content["complete"] = not run.failed and all(run.cells.values())
        content["boards"] = store.boards_state()
        content["times"] = watch.times
        store.write_run(content)
        return run

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
