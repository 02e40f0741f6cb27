"""Doing jobs in this process, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results.cells import Failure
from .build_model import PLUGIN_ERRORS, Model, failure_of, stops
from .jobs import ExplainJob, ModelJob, explained, facts_of, make_model, scored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .jobs import Job, ModelId
    from .progress import Reporter
    from .task_run import TaskRun
    from .time_and_memory import Stopwatch


def run_in_process(runs: Iterable[TaskRun], report: Reporter, watch: Stopwatch) -> None:
    """Do all jobs of some tasks, task by task.

    Raises:
        UsageError: a task cannot make its model as it was asked for.
    """
    for run in runs:
        models: dict[ModelId, Model] = {}
        while jobs := run.jobs():
            for job in jobs:
                report.doing(str(job))
                with watch.phase(job.phase):
                    _do(job, run, models)


def _do(job: Job, run: TaskRun, models: dict[ModelId, Model]) -> None:
    """Do one job, and give its result to the run of its task."""
    if isinstance(job, ModelJob):
        made = _made(job)
        if isinstance(made, Failure):
            run.take_model(job, made)
        else:
            models[job.model] = made
            run.take_model(job, facts_of(made))
        return
    if job.model not in models:  # it was made by a worker, before it turned out that its plug-ins cannot be sent
        models[job.model] = make_model(run.model_job(job.model[1]))
    if isinstance(job, ExplainJob):
        run.take_explained(job, explained(job, models[job.model]))
    else:
        results = scored(job, run.evidence(job), models[job.model])
        run.take_scored(job, [record for _, record in results])


def _made(job: ModelJob) -> Model | Failure:
    """Model of a job, or the failure to make it; a usage error is raised."""
    try:
        return make_model(job)
    except PLUGIN_ERRORS as error:
        if stops(error):
            raise
        return failure_of(error)
