"""Doing jobs on the workers of a dask cluster: the run hands them out, the longest first, and takes the results.

The run is a client of the cluster. A model is made on some worker and stays there; dask brings it once to each worker
that needs it. The scheduler knows of a few jobs for each worker at a time, so that its work grows with the number of
workers and not with that of the cells.
"""

from __future__ import annotations

import contextlib
import sys
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

import cloudpickle

from ....errors import UsageError
from ....tasks.models import cache
from ...results.cells import Failure
from ..jobs import ExplainJob, Job, ModelFacts, ModelJob, ScoreJob, with_belongings
from . import worker
from .job_queue import JobQueue, WaitingJob
from .replies import records_of, result_of
from .supervision import NOWHERE, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from distributed import Client, Future

    from ..jobs import ModelId, StoredEvidence
    from ..progress import Reporter
    from ..steps.time_and_memory import Stopwatch
    from ..task_run import TaskRun
    from .terms import Terms

    Cost = Callable[[Job], float]

# Jobs that the scheduler holds for each thread of a worker: one that is done, and one that waits.
_AHEAD: Final = 2
# Seconds after which the scheduler is asked again which workers there are.
_LOOK_SECONDS: Final = 1.0


class SchedulerLostError(Exception):
    """The scheduler of the cluster has ended, or cannot be reached any longer."""


class ClusterRun:
    """The jobs of some tasks on a cluster.

    Args:
        client: of the cluster.
        terms: see :class:`.terms.Terms`.
        cost: estimates how long a job takes, in any unit.
        report: receives the progress.
        watch: receives the seconds that the workers were busy.

    Attributes:
        set_aside: tasks whose models or plug-ins cannot be sent, with the reason; their jobs are still to do.
    """

    def __init__(self, client: Client, terms: Terms, cost: Cost, report: Reporter, watch: Stopwatch) -> None:
        self.set_aside: dict[TaskRun, str] = {}
        self._client, self._cost, self._report, self._watch = client, cost, report, watch
        # a result of the cluster, and no scattered value: it is made again if the worker that holds it is gone
        self._terms = client.submit(worker.terms_here, terms, pure=False)
        self._queue = JobQueue()
        # jobs that are out, with the worker that they were meant for
        self._out: dict[Future, tuple[WaitingJob, str]] = {}
        self._workers: dict[str, int] = {}
        self._looked = 0.0
        self._models: dict[ModelId, Future] = {}
        # modules that were sent with a job because the worker lacked them
        self._modules: dict[tuple[float, int], set[str]] = {}

    def do(self, runs: Iterable[TaskRun]) -> None:
        """Do all jobs of some tasks that can be sent.

        Raises:
            UsageError: a task cannot make its model as it was asked for, or the workers are not like this process.
            SchedulerLostError: the scheduler is gone; the jobs that were out are still to do.
        """
        from distributed import as_completed  # noqa: PLC0415  # takes half a second, which a run in this process saves

        for run in runs:
            self._collect(run)
        finished = as_completed(loop=self._client.loop)
        try:
            self._fill(finished)
            while self._out:
                future = next(finished)
                self._take(self._out.pop(future)[0], future)
                self._fill(finished)
        finally:
            for waiting in (*(waiting for waiting, _ in self._out.values()), *self._queue):
                waiting.run.give_back(waiting.job)

    # ---- out -----------------------------------------------------------------------------------------------------

    def _collect(self, run: TaskRun) -> None:
        """Queue the jobs of a task that can start now; forget its models when it is done."""
        if run in self.set_aside:
            return
        for job in run.jobs():
            self._queue.put(job, run, self._cost(job))
        if run.done:
            models = [model for model in self._models if model[0] == run.info.folder]
            self._queue.forget(models)
            for model in models:
                del self._models[model]

    def _fill(self, finished: Any) -> None:  # noqa: ANN401  # an as_completed of distributed
        """Submit jobs as long as the workers have room."""
        room = self._room()
        while self._queue and room:
            target = max(room, key=lambda worker: room[worker])
            if (future := self._submit_next(target)) is not None:
                finished.add(future)
                room[target] -= 1
            room = {worker: count for worker, count in room.items() if count > 0}

    def _room(self) -> dict[str, int]:
        """Number of jobs that each worker can take; as long as there is no worker, a few wait for the first one."""
        self._look_at_workers()
        room = {address: _AHEAD * threads for address, threads in self._workers.items()} or {"": _AHEAD}
        for _, target in self._out.values():
            if target in room:
                room[target] -= 1
        return {worker: count for worker, count in room.items() if count > 0}

    def _look_at_workers(self) -> None:
        """Ask the scheduler for its workers, now and then."""
        if self._workers and time.monotonic() < self._looked + _LOOK_SECONDS:
            return
        with _connected():
            workers = dict(self._client.nthreads())
        self._queue.lose(self._workers.keys() - workers.keys())
        self._workers, self._looked = workers, time.monotonic()

    def _submit_next(self, target: str) -> Future | None:
        """Submit the next job of a worker; None if it cannot be sent and is left to this process."""
        waiting = self._queue.take(target)
        if waiting.run in self.set_aside:
            waiting.run.give_back(waiting.job)
            return None
        self._report.doing(str(waiting.job))
        try:
            future = self._submit(waiting, target)
        except _CannotPickleError as error:
            self._set_aside(waiting, str(error))
            return None
        self._out[future] = waiting, target
        return future

    def _submit(self, waiting: WaitingJob, target: str) -> Future:
        """Submit a job for a worker; another one does it if that is gone.

        Raises:
            _CannotPickleError: it holds something that cannot be sent.
        """
        job, run = waiting.job, waiting.run
        more: dict[str, Any] = {"pure": False, "priority": waiting.cost}
        if target:
            more |= {"workers": [target], "allow_other_workers": True}
        if isinstance(job, ModelJob):
            self._models.pop(job.model, None)
            return self._client.submit(worker.facts, self._model(job, **more), **more)
        function = worker.explain if isinstance(job, ExplainJob) else worker.score
        data = _pickled(job, run.evidence(job) if isinstance(job, ScoreJob) else None)
        model = self._model(run.model_job(job.model[1]), **more)
        return self._client.submit(function, self._terms, data, _name(job), model, **more)

    def _model(self, job: ModelJob, **more: Any) -> Future:  # noqa: ANN401  # options of submit
        """The model of a job on the cluster, made there if it is not."""
        if job.model not in self._models:
            data = _pickled(with_belongings(job), None)
            self._models[job.model] = self._client.submit(worker.make_model, self._terms, data, _name(job), **more)
        return self._models[job.model]

    # ---- back ----------------------------------------------------------------------------------------------------

    def _take(self, waiting: WaitingJob, future: Future) -> None:
        """Take the reply to a job."""
        job, run = waiting.job, waiting.run
        try:
            reply = self._reply(future)
        except SchedulerLostError:
            run.give_back(job)
            raise
        self._watch.add(job.phase, reply.seconds)
        if reply.kind == "refused":
            run.give_back(job)
            raise UsageError(reply.sentence)
        if reply.kind == "unsendable":
            self._send_otherwise(waiting, reply)
        elif isinstance(job, ModelJob):
            run.take_model(job, _kept(result_of(reply)))
        elif isinstance(job, ExplainJob):
            run.take_explained(job, result_of(reply))
        else:
            run.take_scored(job, records_of(job, reply))
        self._collect(run)

    def _reply(self, future: Future) -> Reply:
        """The reply to a job; one whose workers have ended again and again has failed."""
        from distributed import KilledWorker  # noqa: PLC0415  # as above

        try:
            with _connected():
                reply: Reply = future.result()
        except KilledWorker as error:
            sentence = f"The workers that had it ended, again and again ({error.last_worker.address} was the last)."
            failure = Failure(kind="CrashError", sentence=sentence)
            reply = Reply("failed", failures={NOWHERE: failure.model_dump_json()})
        finally:
            future.release()
        return reply

    def _send_otherwise(self, waiting: WaitingJob, reply: Reply) -> None:
        """Send a job with the module that the worker has not found, or set its task aside."""
        module, sent = sys.modules.get(reply.module), self._modules.setdefault(waiting.rank, set())
        if module is None or reply.module in sent:
            self._set_aside(waiting, reply.sentence)
            return
        # another job may have registered it while this one was out
        cloudpickle.register_pickle_by_value(module)
        sent.add(reply.module)
        self._models.pop(waiting.job.model, None)
        self._queue.put_back(waiting)

    def _set_aside(self, waiting: WaitingJob, reason: str) -> None:
        """Leave a task to this process."""
        self.set_aside.setdefault(waiting.run, reason)
        waiting.run.give_back(waiting.job)


class _CannotPickleError(Exception):
    """Something of the user's cannot be sent to another process."""


def _pickled(job: Job, stored: StoredEvidence | None) -> bytes:
    """A job with what is stored for it.

    Raises:
        _CannotPickleError: it holds something that cannot be sent.
    """
    try:
        data: bytes = cloudpickle.dumps((job, stored), protocol=5)
    except Exception as error:  # whatever the user's own objects raise
        raise _CannotPickleError(f"{type(error).__name__}: {error}") from error
    return data


def _name(job: Job) -> str:
    """Name of the model of a job, by which cell processes know it again."""
    return f"{job.model[0]} {job.model[1]}"


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Context of a conversation with the scheduler.

    Raises:
        SchedulerLostError: there is nobody to talk to.
    """
    try:
        yield
    except (CancelledError, OSError) as error:
        raise SchedulerLostError from error


def _kept(made: ModelFacts | Failure) -> ModelFacts | Failure:
    """The facts of a model, whose weights are kept in the cache of this machine if they were trained elsewhere."""
    if isinstance(made, ModelFacts) and made.weights is not None:
        cache.keep_file(*made.weights)
    return made
