"""Doing jobs in this process, one after the other.

A plug-in that ends the process ends the run. The file ``.running`` in the folder of the run names the job that was done
at that moment. The next run does this job in a cell process (:mod:`.workers.supervision`), where it costs nothing but
itself, and all others here. If a plug-in has changed this process so that a model no longer computes what it did, and
nothing that is put back helps (:mod:`.guard.model_state`), all further jobs are done in a cell process.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import deque
from typing import TYPE_CHECKING

import cloudpickle

from ...atomic import write_note
from ...bounded_files import read_text
from ...errors import CrashError, DataError
from ...tasks.custom.given import GivenTask
from ..results.cells import Failure
from .jobs import ExplainJob, ModelJob, ScoreJob, explained, facts_of, make_model, parts_of, scored
from .steps.build_model import Model, failure_of, stops
from .steps.score_cell import failed_record
from .workers.replies import records_of, result_of
from .workers.supervision import NOWHERE, Reply, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from .guard.limits import Limits
    from .jobs import Job, ModelId, StoredEvidence
    from .progress import Reporter
    from .steps.score_cell import ScoredMetric
    from .steps.time_and_memory import Stopwatch
    from .task_run import TaskRun
    from .workers.terms import Terms

# Bytes of the file that names a job; the longest place of a job takes a tenth of it.
_LONGEST_PLACE = 10_000


class InProcess:
    """Does jobs in this process; a context manager around all of them.

    Args:
        folder: of the run.
        limits: of each call of a plug-in.
        terms: gives the terms for a cell process.
        report: receives the progress.
        watch: measures the time of each phase.
    """

    def __init__(
        self, folder: Path, limits: Limits, terms: Callable[[], Terms], report: Reporter, watch: Stopwatch
    ) -> None:
        self._file = folder / ".running"
        self._limits, self._terms, self._report, self._watch = limits, terms, report, watch
        self._suspect = ""
        self._models: dict[ModelId, Model] = {}
        # once this process cannot be trusted any more: what does the jobs, and the models that it has made
        self._substitute: Supervisor | None = None
        self._made_apart: dict[ModelId, Reply] = {}

    def __enter__(self) -> Self:
        with contextlib.suppress(DataError):
            self._suspect = read_text(self._file, _LONGEST_PLACE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._substitute is not None:
            self._substitute.close()
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)

    def do(self, runs: Iterable[TaskRun]) -> None:
        """Do all jobs of some tasks, task by task; what follows a job is done before the next one.

        Raises:
            UsageError: a task cannot make its model as it was asked for.
        """
        for run in runs:
            jobs = deque(run.jobs())
            while jobs:
                job = jobs.popleft()
                self._report.doing(str(job))
                with self._watch.phase(job.phase):
                    self._do(job, run)
                jobs.extendleft(reversed(run.jobs()))
            self._models.clear()
            self._made_apart.clear()

    def _do(self, job: Job, run: TaskRun) -> None:
        """Do one job, and give its result to the run of its task."""
        if self._substitute is not None:
            self._take(job, run, self._substituted(job, run))
            return
        if job.place == self._suspect:
            self._do_apart(job, run)
            return
        with contextlib.suppress(OSError):  # it only spares the next run a crash
            write_note(self._file, job.place)
        if isinstance(job, ModelJob):
            made = self._made(job)
            run.take_model(job, made if isinstance(made, Failure) else facts_of(made))
            return
        model = self._model(job, run)
        if isinstance(job, ExplainJob):
            run.take_explained(job, model if isinstance(model, Failure) else explained(job, model, self._limits))
        elif isinstance(model, Failure):
            run.take_scored(job, [(failed_record(info, model), None) for info, _ in job.metrics])
        else:
            run.take_scored(job, self._scored(job, run, model))
        if isinstance(model, Model) and model.state.lost:
            self._leave(job)

    def _scored(self, job: ScoreJob, run: TaskRun, model: Model) -> list[ScoredMetric]:
        """Records of a cell; if a metric changes this process for good, the others score in another one."""
        evidence = run.evidence(job)
        records = [record for _, record in scored(job, evidence, model, self._limits)]
        if len(records) < len(job.metrics):
            self._leave(job)
            rest = dataclasses.replace(job, metrics=job.metrics[len(records) :])
            records += records_of(rest, self._substituted(rest, run))
        return records

    def _leave(self, job: Job) -> None:
        """Have all further jobs done in a cell process."""
        if self._substitute is None:
            self._report.line(f"{job}: it has changed this process for good; the rest is computed in another one.")
            self._substitute = Supervisor(self._terms())

    def _made(self, job: ModelJob) -> Model | Failure:
        """Model of a job, or the failure to make it; a usage error is raised."""
        try:
            model = make_model(job, self._limits, self._models.values())
        except Exception as error:
            if stops(error):
                raise
            return failure_of(error)
        self._models[job.model] = model
        return model

    def _model(self, job: ExplainJob | ScoreJob, run: TaskRun) -> Model | Failure:
        """Model of a job, or the failure to make it; one that was made in another process is made here too."""
        return self._models.get(job.model) or self._made(run.model_job(job.model[1]))

    # ---- a job that has ended this process before ----------------------------------------------------------------

    def _do_apart(self, job: Job, run: TaskRun) -> None:
        """Do a job in a process of its own."""
        self._report.line(f"{job}: computed in a process of its own, since the last run ended here.")
        supervisor = Supervisor(self._terms())
        try:
            reply = self._reply(supervisor, job, run)
        finally:
            supervisor.close()
        self._take(job, run, reply)

    def _take(self, job: Job, run: TaskRun, reply: Reply) -> None:
        """Give the reply of a cell process to the run of its task."""
        if isinstance(job, ModelJob):
            run.take_model(job, result_of(reply))
        elif isinstance(job, ExplainJob):
            run.take_explained(job, result_of(reply))
        else:
            run.take_scored(job, records_of(job, reply))

    def _substituted(self, job: Job, run: TaskRun) -> Reply:
        """Reply of a cell process that does all jobs because this process has been changed; it makes the model too."""
        supervisor = self._substitute
        assert supervisor is not None  # noqa: S101  # it is asked for then only
        model_job = run.model_job(job.model[1])
        if isinstance(model_job.task, GivenTask):
            return _not_apart("its model lives in this process, which a plug-in has changed for good: run again")
        made = self._made_apart.get(job.model)
        if made is None:
            made = self._made_apart[job.model] = self._sent(supervisor, model_job, None, b"")
        if isinstance(job, ModelJob) or made.kind != "done" or made.model is None:
            return made
        return self._sent(supervisor, job, run.evidence(job) if isinstance(job, ScoreJob) else None, made.model)

    def _reply(self, supervisor: Supervisor, job: Job, run: TaskRun) -> Reply:
        """Reply of a cell process to a job; that of a failure if the job cannot be sent to one."""
        made = None if isinstance(job, ModelJob) else self._model(job, run)
        if isinstance(made, Failure):
            return Reply("failed", failures={NOWHERE: made.model_dump_json()})
        try:
            model = b"" if made is None else cloudpickle.dumps(parts_of(made), protocol=5)
        except Exception as error:  # noqa: BLE001  # whatever pickling the user's own objects raises
            return _not_apart(f"{type(error).__name__}: {error}")
        return self._sent(supervisor, job, run.evidence(job) if isinstance(job, ScoreJob) else None, model)

    def _sent(self, supervisor: Supervisor, job: Job, evidence: StoredEvidence | None, model: bytes) -> Reply:
        """Reply of a cell process to a job that is sent to it."""
        try:
            data = cloudpickle.dumps((job, evidence), protocol=5)
        except Exception as error:  # noqa: BLE001  # as above
            return _not_apart(f"{type(error).__name__}: {error}")
        reply = supervisor.do(data, str(job.model), lambda: model, scores=isinstance(job, ScoreJob))
        return reply if reply.kind in {"done", "failed"} else _not_apart(reply.sentence)


def _not_apart(reason: str) -> Reply:
    """Reply to a job that cannot be done in another process."""
    failure = failure_of(CrashError(f"It has ended the process of the run, and cannot run in another ({reason})."))
    return Reply("failed", failures={NOWHERE: failure.model_dump_json()})
