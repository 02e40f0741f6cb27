"""Queue of jobs: which job a worker gets next.

A worker that has a model also has what the metrics of that model share, so it goes on with its own models, the longest
chain of jobs first. Then it takes over a model that nobody has, the one with the most work. When there is none left, it
helps with the model that has most work waiting.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..jobs import Job
from ..task_run import TaskRun

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..jobs import ModelId


@dataclass(order=True)
class WaitingJob:
    """A job that waits for its turn, the longest first, and among equals the oldest.

    Attributes:
        rank: the length of the chain that begins with it, below 0, and its number.
        job: the job.
        run: the run of its task.
    """

    rank: tuple[float, int]
    job: Job = field(compare=False)
    run: TaskRun = field(compare=False)

    @property
    def cost(self) -> float:
        """The length of the chain that begins with it."""
        return -self.rank[0]


class JobQueue:
    """Jobs that wait, by model, and the models that workers have."""

    def __init__(self) -> None:
        self._number = itertools.count()
        self._jobs: dict[ModelId, list[WaitingJob]] = {}
        self._work: dict[ModelId, float] = {}
        self._models_of: dict[str, set[ModelId]] = {}
        self._taken: set[ModelId] = set()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __iter__(self) -> Iterator[WaitingJob]:
        return itertools.chain.from_iterable(self._jobs.values())

    def put(self, job: Job, run: TaskRun, cost: float) -> None:
        """Add a job.

        Args:
            job: the job.
            run: the run of its task.
            cost: the length of the chain that begins with it, at least 0.
        """
        self.put_back(WaitingJob((-cost, next(self._number)), job, run))

    def put_back(self, waiting: WaitingJob) -> None:
        """Add a job that was taken before."""
        model = waiting.job.model
        heapq.heappush(self._jobs.setdefault(model, []), waiting)
        self._work[model] = self._work.get(model, 0.0) + waiting.cost

    def take(self, worker: str) -> WaitingJob:
        """Take the next job for a worker.

        Args:
            worker: names the worker; "" stands for none in particular.

        Raises:
            LookupError: no job waits.
        """
        model = self._next_model(worker)
        waiting = heapq.heappop(self._jobs[model])
        self._work[model] -= waiting.cost
        if not self._jobs[model]:
            del self._jobs[model], self._work[model]
        if worker:
            self._models_of.setdefault(worker, set()).add(model)
            self._taken.add(model)
        return waiting

    def forget(self, models: Iterable[ModelId]) -> None:
        """Forget who has some models, because there are no more jobs for them."""
        gone = set(models)
        self._taken -= gone
        for own in self._models_of.values():
            own.difference_update(gone)

    def lose(self, workers: Iterable[str]) -> None:
        """Forget workers that are gone, with the models that they had."""
        for worker in workers:
            self._models_of.pop(worker, None)
        self._taken = set().union(*self._models_of.values())

    def _next_model(self, worker: str) -> ModelId:
        own = [model for model in self._models_of.get(worker, ()) if model in self._jobs]
        if own:
            return min(own, key=lambda model: self._jobs[model][0])
        waiting = self._jobs.keys()
        candidates = (waiting - self._taken) or waiting
        if not candidates:
            raise LookupError("no job waits")
        return max(candidates, key=lambda model: (self._work[model], model))
